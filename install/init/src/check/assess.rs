//! What each fact of a node means for Berth. Pure; one function a fact.

use std::path::PathBuf;

use super::Finding;
use crate::args::Paths;
use crate::conflist::Conflist;
use crate::folder::Entry;
use crate::{arrange, outside};

/// The oldest kernel whose bridges, routes and veths were tried.
const OLDEST_KERNEL: (u32, u32) = (5, 10);
/// 2025-01-01 UTC: older than every release, newer than a clock that lost its battery.
const OLDEST_TIME_SECONDS: u64 = 1_735_689_600;
/// State, configuration and what the file system needs for itself.
const SPARE_BYTES: u64 = 1 << 20;
const SPARE_INODES: u64 = 16;

/// A part of the kernel that may be built in, a module, or missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Name of the module.
    pub(super) module: &'static str,
    /// Functions that are in a kernel that has it now.
    pub(super) symbols: &'static [&'static str],
    /// What it is for.
    pub(super) purpose: &'static str,
}

/// What every node needs.
pub(super) const PARTS: &[Part] = &[
    Part {
        module: "bridge",
        symbols: &["br_dev_setup", "br_add_if", "br_handle_frame"],
        purpose: "bridges (CONFIG_BRIDGE)",
    },
    Part {
        module: "veth",
        symbols: &["veth_newlink", "veth_setup", "veth_xmit"],
        purpose: "veth pairs (CONFIG_VETH)",
    },
    Part {
        module: "af_packet",
        symbols: &["packet_create", "packet_rcv"],
        purpose: "packet sockets (CONFIG_PACKET)",
    },
];

/// What a network with a VLAN needs besides.
pub(super) const VLAN: &[Part] = &[Part {
    module: "8021q",
    symbols: &["register_vlan_dev", "vlan_dev_init", "vlan_setup"],
    purpose: "VLANs (CONFIG_VLAN_8021Q)",
}];

/// Whether the kernel has a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Built in or loaded.
    There,
    /// A module that the kernel loads when it is needed.
    Loadable,
    /// Neither.
    Absent,
    /// Not loaded, and the modules of this kernel cannot be seen from here.
    Unknown,
}

/// The clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// Seconds since 1970.
    pub(super) seconds: u64,
    /// What systemd-timesyncd says; `None` where it does not run.
    pub(super) synchronized: Option<bool>,
}

/// A folder that must take files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    /// The flag that names it.
    pub(super) flag: &'static str,
    /// Its path.
    pub(super) path: PathBuf,
    /// Why it takes none, in the kernel's words.
    pub(super) closed: Option<String>,
    /// What shall go into it.
    pub(super) needed_bytes: u64,
    /// What is free there, where it can be known.
    pub(super) free: Option<Free>,
}

/// Room in a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Free {
    /// Bytes.
    pub(super) bytes: u64,
    /// Inodes; `None` where the file system has no fixed number.
    pub(super) inodes: Option<u64>,
}

/// The runtime's configuration folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Configurations {
    /// What a runtime reads, or why that cannot be known.
    pub(super) entries: Result<Vec<Entry>, String>,
    /// The name under which ours was put there.
    pub(super) placed: Option<String>,
}

/// An uplink that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uplink {
    /// The network.
    pub(super) network: String,
    /// The interface.
    pub(super) name: String,
    /// Whether it is there.
    pub(super) present: bool,
    /// Whether the cable has a signal; `None` while the interface is down.
    pub(super) carrier: Option<bool>,
    /// Whether it has addresses of its own and shall have none.
    pub(super) addressed: bool,
}

/// An attempt to connect to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Api {
    /// Host and port.
    pub(super) address: String,
    /// Why nothing came of it.
    pub(super) failure: Option<String>,
}

pub(super) fn user(is_root: bool) -> Finding {
    if is_root {
        Finding::good("user", "root")
    } else {
        let advice = "run it as root, or as a container with the node's folders mounted";
        Finding::refused("user", "not root", advice)
    }
}

pub(super) fn kernel(release: &str) -> Finding {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|text| text.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST_KERNEL => Finding::refused(
            "kernel",
            release,
            "Berth needs Linux 5.10 or newer: update the node's kernel",
        ),
        (Some(_), Some(_)) => Finding::good("kernel", release),
        _ => Finding::warning(
            "kernel",
            format!("{release:?}"),
            "its version cannot be read: Berth needs Linux 5.10 or newer",
        ),
    }
}

pub(super) fn parts(parts: &[(Part, Presence)]) -> Finding {
    const FACT: &str = "kernel parts";
    let of = |wanted: Presence| -> Vec<&Part> {
        parts
            .iter()
            .filter(|(_, presence)| *presence == wanted)
            .map(|(part, _)| part)
            .collect()
    };
    let purposes = |parts: &[&Part]| -> String {
        let words: Vec<_> = parts.iter().map(|part| part.purpose).collect();
        words.join(", ")
    };
    let modules = |parts: &[&Part]| -> String {
        let words: Vec<_> = parts.iter().map(|part| part.module).collect();
        words.join(" ")
    };
    let (absent, unknown) = (of(Presence::Absent), of(Presence::Unknown));
    if !absent.is_empty() {
        return Finding::refused(
            FACT,
            format!("the kernel has no {}", purposes(&absent)),
            format!(
                "use a kernel with it, or install the modules: {}",
                modules(&absent)
            ),
        );
    }
    if !unknown.is_empty() {
        return Finding::warning(
            FACT,
            format!("not loaded: {}", purposes(&unknown)),
            format!(
                "whether the kernel could load them cannot be seen here (/lib/modules); on the node: modprobe -a {}",
                modules(&unknown)
            ),
        );
    }
    let all: Vec<&Part> = parts.iter().map(|(part, _)| part).collect();
    Finding::good(FACT, purposes(&all))
}

pub(super) fn clock(clock: &Clock) -> Finding {
    let Clock { seconds, .. } = *clock;
    if seconds < OLDEST_TIME_SECONDS {
        return Finding::refused(
            "clock",
            format!("{seconds} seconds after 1970, before this program was made"),
            "set the clock (chrony, systemd-timesyncd): holds and certificates go by it",
        );
    }
    match clock.synchronized {
        Some(false) => Finding::warning(
            "clock",
            "set, but systemd-timesyncd has not synchronized it",
            "see `timedatectl timesync-status`: holds of addresses go by the clock",
        ),
        Some(true) => Finding::good("clock", "set and synchronized"),
        None => Finding::good(
            "clock",
            "set; whether it is synchronized cannot be seen here",
        ),
    }
}

/// Whether files can be made there, and whether there is room for them.
pub(super) fn folder(folder: &Folder) -> Finding {
    const FACT: &str = "folder";
    let Folder { flag, .. } = folder;
    let path = folder.path.display();
    if let Some(closed) = &folder.closed {
        return Finding::refused(
            FACT,
            format!("{path} takes no files: {closed}"),
            format!(
                "mount it writable, or name with {flag} the folder that the runtime really uses"
            ),
        );
    }
    let needed = folder.needed_bytes + SPARE_BYTES;
    let short = folder.free.filter(|free| free.bytes < needed);
    if let Some(free) = short {
        let (has, needs) = (free.bytes >> 10, needed >> 10);
        return Finding::refused(
            FACT,
            format!("{path} has {has} KiB free, {needs} KiB are needed"),
            "make room on that file system",
        );
    }
    let inodes = folder.free.and_then(|free| free.inodes);
    if inodes.is_some_and(|inodes| inodes < SPARE_INODES) {
        let advice = "remove files on that file system";
        return Finding::refused(FACT, format!("{path} has no free inodes"), advice);
    }
    Finding::good(FACT, format!("{path} takes files"))
}

/// `net.bridge.bridge-nf-call-*` as they stand; empty where `br_netfilter` is not loaded.
pub(super) fn netfilter(settings: &[(String, bool)]) -> Finding {
    const FACT: &str = "br_netfilter";
    let on: Vec<String> = settings
        .iter()
        .filter(|(_, on)| *on)
        .map(|(name, _)| format!("net.bridge.{name}=1"))
        .collect();
    if settings.is_empty() {
        return Finding::good(
            FACT,
            "not loaded: frames between Pods and switch pass no iptables",
        );
    }
    if on.is_empty() {
        return Finding::good(FACT, "off: frames between Pods and switch pass no iptables");
    }
    Finding::warning(
        FACT,
        on.join(" "),
        "every frame between Pods and switch passes iptables' FORWARD chain, whatever Berth says for its bridges: a policy DROP \
         there cuts Pods off, and conntrack sees all their traffic. Berth and kube-proxy with it do not need it: set it to 0 \
         unless something else on this node does",
    )
}

/// The lines of `/proc/self/cgroup`.
pub(super) fn cgroup(lines: &str) -> Finding {
    const FACT: &str = "cgroup";
    let unified = lines.lines().any(|line| line.starts_with("0::"));
    let separate = lines
        .lines()
        .filter(|line| !line.starts_with("0::") && !line.contains(":name="))
        .count();
    match (unified, separate) {
        (true, 0) => Finding::good(FACT, "v2"),
        (false, 1..) => Finding::good(FACT, "v1"),
        (true, 1..) => Finding::good(FACT, "v1, v2 beside it"),
        (false, 0) => Finding::warning(
            FACT,
            "none found",
            "a node without cgroups runs no containers: see whether /sys/fs/cgroup is mounted",
        ),
    }
}

/// Interfaces by which other networks are known: name, or its beginning with a `*`.
const TRACES: &[(&str, &str)] = &[
    ("cni0", "flannel or bridge"),
    ("cbr0", "kubenet"),
    ("flannel.1", "flannel"),
    ("flannel-v6.1", "flannel"),
    ("flannel-wg", "flannel"),
    ("cali*", "Calico"),
    ("vxlan.calico", "Calico"),
    ("tunl0", "Calico IPIP"),
    ("cilium_*", "Cilium"),
    ("lxc_health", "Cilium"),
    ("weave", "Weave Net"),
    ("antrea-gw0", "Antrea"),
    ("ovn-k8s-mp0", "OVN-Kubernetes"),
    ("kube-bridge", "kube-router"),
    ("vnet-br", "other"),
];

pub(super) fn links(names: &[String]) -> Finding {
    const FACT: &str = "other networks";
    let found: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let of = TRACES
                .iter()
                .find(|(pattern, _)| match pattern.strip_suffix('*') {
                    Some(begin) => name.starts_with(begin),
                    None => name == pattern,
                });
            of.map(|(_, owner)| format!("{name} ({owner})"))
        })
        .collect();
    if found.is_empty() {
        return Finding::good(FACT, "no interface of another plugin");
    }
    Finding::warning(
        FACT,
        found.join(", "),
        "another plugin made these; Pods it started keep them. When nothing uses them any more: ip link delete NAME, or a reboot",
    )
}

pub(super) fn configurations(paths: &Paths, found: &Configurations) -> Finding {
    const FACT: &str = "configurations";
    let entries = match &found.entries {
        Ok(entries) => entries,
        Err(error) => {
            let advice = "see whether --conf-dir names the runtime's folder";
            return Finding::refused(FACT, error, advice);
        }
    };
    let scene = arrange::Scene {
        name: &paths.name,
        placed: found.placed.as_deref(),
        entries,
        current: false,
        replace: paths.replace,
    };
    let others = |ends: fn(&str, &str) -> bool| -> String {
        let names: Vec<String> = entries
            .iter()
            .filter(|entry| ends(&entry.name, &paths.name))
            .map(Entry::describe)
            .collect();
        names.join(", ")
    };
    let ahead = arrange::ahead(&paths.name, found.placed.as_deref(), entries);
    let after = others(|name, ours| name > ours);
    match arrange::install(scene) {
        Err(error) => Finding::refused(FACT, others(|name, ours| name <= ours), error.to_string()),
        Ok(_) if !ahead.is_empty() => Finding::warning(
            FACT,
            others(|name, ours| name < ours),
            "moved aside with --replace, and given back by `berth-install uninstall`",
        ),
        Ok(_) if !after.is_empty() => Finding::good(
            FACT,
            format!("{after} sorts after ours: unused while ours is there"),
        ),
        Ok(_) => Finding::good(FACT, "none of other plugins"),
    }
}

pub(super) fn no_source(error: &str) -> Finding {
    let advice = "correct the file, or name another with --conflist";
    Finding::refused("configuration", error, advice)
}

pub(super) fn source(list: &Conflist) -> Finding {
    let networks: Vec<String> = list
        .ours
        .iter()
        .flat_map(|conf| &conf.networks)
        .map(|network| network.name.to_string())
        .collect();
    let versions: Vec<&str> = list.versions.iter().map(|v| v.as_str()).collect();
    Finding::good(
        "configuration",
        format!(
            "networks {}; CNI {}",
            if networks.is_empty() {
                "by other plugins".to_owned()
            } else {
                networks.join(", ")
            },
            versions.join(" or ")
        ),
    )
}

pub(super) fn uplink(uplink: &Uplink) -> Finding {
    const FACT: &str = "uplink";
    let Uplink { network, name, .. } = uplink;
    if !uplink.present {
        return Finding::refused(
            FACT,
            format!("{name} of network {network} does not exist"),
            "check driver, cable and the name in the configuration (`ip link`)",
        );
    }
    match uplink.carrier {
        Some(true) if uplink.addressed => Finding::refused(
            FACT,
            format!("{name} of network {network} carries the node's addresses"),
            "say \"mode\": \"take-over\" in the network: they move to the bridge; or make the bridge by hand",
        ),
        Some(true) => Finding::good(FACT, format!("{name} of network {network} is up")),
        Some(false) => Finding::refused(
            FACT,
            format!("{name} of network {network} has no carrier"),
            "check cable and switch port",
        ),
        None => Finding::warning(
            FACT,
            format!("{name} of network {network} is down"),
            "Berth sets it up with the first Pod; whether the cable has a signal is known only then",
        ),
    }
}

pub(super) fn chain(answer: &outside::Answer) -> Finding {
    const FACT: &str = "chain";
    if !answer.waits.is_empty() {
        return Finding::refused(
            FACT,
            answer.waits.join("; "),
            "no Pod could start with this configuration",
        );
    }
    if !answer.warnings.is_empty() {
        let advice = "containerd 2 chooses 1.1.0, containerd 1.6 and 1.7 choose 1.0.0";
        return Finding::warning(FACT, answer.warnings.join("; "), advice);
    }
    Finding::good(
        FACT,
        "every further plugin is there and speaks the versions",
    )
}

/// What `berth-ipamd check-config` said.
pub(super) fn ipamd(answer: &Result<String, String>) -> Finding {
    match answer {
        Ok(said) => Finding::good("ipamd", said),
        Err(said) => Finding::refused("ipamd", said, "correct the file (ConfigMap berth-ipamd)"),
    }
}

pub(super) fn api(api: &Api) -> Finding {
    const FACT: &str = "API server";
    let Api { address, failure } = api;
    match failure {
        None => Finding::good(FACT, format!("{address} answers")),
        Some(failure) => Finding::refused(
            FACT,
            format!("{address} cannot be reached: {failure}"),
            "where there is no kube-proxy, set KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT in the ConfigMap berth-api to an \
             address that this node reaches; else see whether kube-proxy and the network to the API server work",
        ),
    }
}

#[cfg(test)]
mod tests;
