//! Why a step of a plan failed, and what the operator can do about it.

use std::io;
use std::time::Duration;

use cni_neigh::AnnounceError;
use proto_ids::IfName;

use crate::netlink::NetlinkError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The kernel refused it.
    #[error("{ifname}: {step}{}", advice(source))]
    Refused {
        /// The interface inside the Pod.
        ifname: IfName,
        /// The step, in words.
        step: String,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
    /// A link that was just made is not there any more.
    #[error(
        "{ifname}: the interface or its port vanished while it was being wired: did somebody remove it?"
    )]
    Vanished {
        /// The interface inside the Pod.
        ifname: IfName,
    },
    /// A setting below `/proc/sys` was not taken.
    #[error("{ifname}: write {value} to {path}: is /proc/sys writable?")]
    Sysctl {
        /// The interface inside the Pod.
        ifname: IfName,
        /// The file.
        path: String,
        /// What was written.
        value: u8,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The bridge does not forward for the port.
    #[error(
        "{ifname}: the bridge did not forward for port {port} within {waited:?}: see that it is up, and that its spanning tree is off (`stp_state 0`) or its forward delay 0 to 2 seconds"
    )]
    NotForwarding {
        /// The interface inside the Pod.
        ifname: IfName,
        /// The port.
        port: IfName,
        /// How long was waited.
        waited: Duration,
    },
    /// The segment was not told who has the addresses.
    #[error("announce the Pod's addresses: CAP_NET_RAW is needed")]
    Announce(#[source] AnnounceError),
    /// The socket failed.
    #[error("talk to the kernel")]
    Socket(#[source] NetlinkError),
}

/// What the operator can do about a refusal.
fn advice(error: &NetlinkError) -> &'static str {
    match error.errno() {
        Some(libc::EPERM | libc::EACCES) => ": CAP_NET_ADMIN is needed on both sides",
        Some(libc::EINVAL) => {
            ": check that gateways, source and node addresses of the configuration exist where they are used"
        }
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => {
            ": check that the gateway lies in a subnet of the interface"
        }
        Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => {
            ": this kernel lacks what is asked for (IPv6, VLAN filtering?)"
        }
        Some(libc::ENOSPC | libc::ENOMEM | libc::EXFULL) => ": the node is out of memory or ports",
        Some(libc::ENODEV) => ": the bridge was removed meanwhile; try again",
        _ => "",
    }
}

impl ApplyError {
    /// Somebody else made or removed a link between looking and doing.
    pub(crate) fn is_race(&self) -> bool {
        match self {
            Self::Refused { source, .. } => source.is(&[libc::EEXIST, libc::EBUSY, libc::ENODEV]),
            Self::Vanished { .. } => true,
            _ => false,
        }
    }
}
