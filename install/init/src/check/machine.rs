//! What each fact of the machine means for Berth: user, kernel, clock, folders, bridge filtering, cgroups. Pure; one
//! function a fact.

use std::path::PathBuf;

use super::Finding;

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

#[cfg(test)]
mod tests;
