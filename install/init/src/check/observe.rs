//! Reads what [`super::machine`] and [`super::network`] judge: `/proc`, `/sys`, file systems, one connection. Changes nothing.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cni_spec::{Network, UplinkMode};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, Uid, access};

use super::machine::{Clock, Folder, Free, Part, Presence};
use super::network::{Api, Configurations, Uplink};
use crate::args::Paths;
use crate::conflist::Conflist;
use crate::folder;
use crate::log::chain as chained;
use crate::outside::{self, Answer};
use crate::place;
use crate::plugin::PLUGIN;
use crate::ports::{self, LINKS};
use crate::run;
use crate::state::State;
use crate::stop::Stop;

/// A connection within a data centre takes milliseconds; a filter that drops says nothing for ever.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const CHECK_CONFIG_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn is_root() -> bool {
    Uid::effective().is_root()
}

pub(super) fn kernel() -> String {
    nix::sys::utsname::uname().map_or_else(
        |error| error.to_string(),
        |uname| uname.release().to_string_lossy().into_owned(),
    )
}

/// Whether the kernel has these parts, without making anything: a loaded or built-in module shows in `/sys/module` or
/// by its functions, one that can be loaded in the lists that `depmod` makes.
pub(super) fn parts(parts: &[Part]) -> Vec<(Part, Presence)> {
    let symbols = symbols(parts);
    let folder = Path::new("/lib/modules").join(kernel());
    let lists =
        ["modules.builtin", "modules.dep"].map(|name| fs::read_to_string(folder.join(name)));
    // A kernel without `/proc/modules` loads none.
    let loads_modules = Path::new("/proc/modules").exists();
    let presence = |part: &Part| {
        let there = Path::new("/sys/module").join(part.module).exists();
        if there
            || part
                .symbols
                .iter()
                .any(|symbol| symbols.contains(&(*symbol).to_owned()))
        {
            return Presence::There;
        }
        let file = format!("/{}.ko", part.module);
        if lists.iter().flatten().any(|list| list.contains(&file)) {
            return Presence::Loadable;
        }
        let seen = lists[1].is_ok() || (!loads_modules && !symbols.is_empty());
        if seen {
            Presence::Absent
        } else {
            Presence::Unknown
        }
    };
    parts.iter().map(|part| (*part, presence(part))).collect()
}

/// Which of the parts' functions the running kernel has; one more entry where it says any at all.
fn symbols(parts: &[Part]) -> Vec<String> {
    let Ok(file) = fs::File::open("/proc/kallsyms") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for line in BufReader::new(file).lines().map_while(Result::ok) {
        let Some(name) = line.split_ascii_whitespace().nth(2) else {
            continue;
        };
        // A compiler's suffix: `.llvm.1234`, `.isra.0`.
        let name = name.split('.').next().unwrap_or(name);
        if found.is_empty() || parts.iter().any(|part| part.symbols.contains(&name)) {
            found.push(name.to_owned());
        }
    }
    found
}

pub(super) fn clock() -> Clock {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    // The kernel's own word needs adjtimex, a call that is unsafe in Rust and not worth it for a warning.
    let timesync = Path::new("/run/systemd/timesync");
    Clock {
        seconds,
        synchronized: timesync
            .exists()
            .then(|| timesync.join("synchronized").exists()),
    }
}

/// The folder, or what it would be made in.
pub(super) fn folder(flag: &'static str, path: &Path, needed_bytes: u64) -> Folder {
    let nearest = path.ancestors().find(|folder| folder.exists());
    let nearest = nearest.unwrap_or_else(|| Path::new("/"));
    let closed = if nearest.is_dir() {
        access(nearest, AccessFlags::W_OK | AccessFlags::X_OK)
            .err()
            .map(|error| io::Error::from(error).to_string())
    } else {
        Some(format!("{} is no folder", nearest.display()))
    };
    Folder {
        flag,
        path: path.to_owned(),
        closed,
        needed_bytes,
        free: free(nearest),
    }
}

fn free(path: &Path) -> Option<Free> {
    let system = statvfs(path).ok()?;
    Some(Free {
        bytes: system
            .blocks_available()
            .saturating_mul(system.fragment_size()),
        inodes: (system.files() > 0).then(|| system.files_available()),
    })
}

/// What the plugin needs, unless it is there already: an upgrade writes it beside the old one.
pub(super) fn program_bytes(paths: &Paths) -> u64 {
    let Ok(source) = paths.source(PLUGIN) else {
        return 0;
    };
    if place::is_program_there(&source, &paths.plugin()) {
        return 0;
    }
    fs::metadata(source).map_or(0, |found| found.len())
}

/// Settings of the network namespace this runs in, `bridge-nf-call-…`.
pub(super) fn netfilter() -> Vec<(String, bool)> {
    ["iptables", "ip6tables", "arptables"]
        .into_iter()
        .filter_map(|table| {
            let name = format!("bridge-nf-call-{table}");
            let text = fs::read_to_string(Path::new("/proc/sys/net/bridge").join(&name)).ok()?;
            Some((name, text.trim() == "1"))
        })
        .collect()
}

pub(super) fn cgroup() -> String {
    fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}

/// Names of the links; an error where they or their state in sysfs cannot be known.
pub(super) fn links() -> Result<Vec<String>, String> {
    let links = ports::links().map_err(|error| chained(&error))?;
    ports::ensure_shown(Path::new(LINKS), &links).map_err(|error| chained(&error))?;
    Ok(links)
}

pub(super) fn configurations(paths: &Paths) -> Configurations {
    let state = State::load(&paths.state_dir);
    Configurations {
        entries: folder::configurations(&paths.conf_dir).map_err(|error| chained(&error)),
        placed: state.ok().and_then(|state| state.placed),
    }
}

pub(super) fn uplink(network: &Network) -> Uplink {
    let name = network.uplink.as_str();
    let folder = Path::new(LINKS).join(name);
    // The file cannot be read while the interface is down.
    let carrier = fs::read_to_string(folder.join("carrier")).ok();
    // In a bridge already, or to be taken over: then addresses are no hindrance.
    let free_to_have = folder.join("master").exists()
        || matches!(
            network.mode,
            Some(UplinkMode::TakeOver | UplinkMode::Existing)
        )
        || network.vlan.is_some();
    Uplink {
        network: network.name.to_string(),
        name: name.to_owned(),
        present: folder.exists(),
        carrier: carrier.map(|text| text.trim() == "1"),
        addressed: !free_to_have && has_addresses(name),
    }
}

/// Whether an interface has an address that is not link-local.
fn has_addresses(name: &str) -> bool {
    let Ok(addresses) = nix::ifaddrs::getifaddrs() else {
        return false;
    };
    addresses
        .filter(|found| found.interface_name == name)
        .filter_map(|found| found.address)
        .any(|address| {
            let six = address.as_sockaddr_in6();
            address.as_sockaddr_in().is_some()
                || six.is_some_and(|address| !address.ip().is_unicast_link_local())
        })
}

/// The plugins of the chain that do not come from us.
pub(super) fn chain(list: &Conflist, paths: &Paths) -> Answer {
    outside::others(list, &paths.bin_dir)
}

pub(super) fn ipamd(paths: &Paths, file: &Path) -> Result<String, String> {
    let program = paths
        .source("berth-ipamd")
        .unwrap_or_else(|_| PathBuf::from("berth-ipamd"));
    let mut command = Command::new(program);
    command.args([OsString::from("check-config"), file.into()]);
    let ended = run::run(command, b"", CHECK_CONFIG_LIMIT, &Stop::never())
        .map_err(|error| chained(&error))?;
    if ended.status.success() {
        return Ok(ended.stdout.trim().to_owned());
    }
    Err(format!("{} {}", ended.stdout.trim(), ended.stderr.trim())
        .trim()
        .to_owned())
}

pub(super) fn api(host: &str, port: u16) -> Api {
    let failure = connect(host, port).err();
    let address = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    Api {
        address,
        failure: failure.map(|error| error.to_string()),
    }
}

fn connect(host: &str, port: u16) -> io::Result<()> {
    let mut last = io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}
