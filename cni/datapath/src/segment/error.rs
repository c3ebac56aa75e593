//! Why a segment does not stand.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use cni_neigh::ResolveError;
use proto_ids::IfName;

use super::observe::Observed;
use super::plan::Conflict;
use super::snapshot::SnapshotError;
use crate::fault::Fault;
use crate::lock::AcquireLockError;
use crate::netlink::NetlinkError;
use crate::wiring::Segment;

/// Why a segment does not stand.
#[derive(Debug, thiserror::Error)]
pub enum EnsureSegmentError {
    /// The kernel could not be read.
    #[error("read the state of uplink {uplink}")]
    Observe {
        /// The uplink.
        uplink: IfName,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
    /// The uplink does not exist.
    #[error(
        "uplink {uplink} does not exist on this node: correct the network's `uplink`, or bring the NIC back"
    )]
    UplinkMissing {
        /// The uplink.
        uplink: IfName,
    },
    /// The uplink has addresses, and taking over was not asked for.
    #[error(
        "uplink {uplink} carries addresses of the node ({addresses}): to move them to the bridge ask for it by name with mode \"take-over\", or make a bridge by hand (mode \"existing\")"
    )]
    NeedsTakeOver {
        /// The uplink.
        uplink: IfName,
        /// Its addresses.
        addresses: String,
    },
    /// Something is used in another way than the configuration says.
    #[error("uplink {uplink}: {why}")]
    Conflict {
        /// The uplink.
        uplink: IfName,
        /// What is used how, and what to do.
        why: String,
    },
    /// The lock was not got.
    #[error(transparent)]
    Lock(#[from] AcquireLockError),
    /// The kernel refused a step.
    #[error("uplink {uplink}: {step}{}", advice(source))]
    Step {
        /// The uplink.
        uplink: IfName,
        /// The step, in words.
        step: String,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
    /// A link went away meanwhile.
    #[error("uplink {uplink}: {link} vanished meanwhile: does another program manage it?")]
    Vanished {
        /// The uplink.
        uplink: IfName,
        /// The link.
        link: IfName,
    },
    /// A setting below `/proc/sys` was not taken.
    #[error("uplink {uplink}: write to {path}: is /proc/sys writable?")]
    Sysctl {
        /// The uplink.
        uplink: IfName,
        /// The file.
        path: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The snapshot could not be kept or read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A gateway did not answer over the bridge.
    #[error("gateway {gateway} did not answer on {bridge} within {waited:?}")]
    GatewaySilent {
        /// The bridge.
        bridge: IfName,
        /// The gateway.
        gateway: IpAddr,
        /// How long was waited, for all gateways together.
        waited: Duration,
    },
    /// A gateway could not be asked.
    #[error("ask gateway {gateway} for its MAC")]
    AskGateway {
        /// The gateway.
        gateway: IpAddr,
        /// Why not.
        #[source]
        source: ResolveError,
    },
    /// The take-over failed and everything was put back.
    #[error(
        "taking over uplink {uplink} failed and was rolled back, the node is as before: check the switch port (port security, LACP, VLAN) and the gateway"
    )]
    RolledBack {
        /// The uplink.
        uplink: IfName,
        /// The failure.
        #[source]
        failed: Box<Self>,
    },
    /// The take-over failed, and then putting back failed too.
    #[error(
        "taking over uplink {uplink} failed ({failed}), and so did putting back: run `berth uplink restore`, the snapshot is kept"
    )]
    PutBack {
        /// The uplink.
        uplink: IfName,
        /// The failure of the take-over.
        failed: String,
        /// Why it could not be put back.
        #[source]
        source: NetlinkError,
    },
    /// Everything was done, and yet something is missing.
    #[error(
        "uplink {uplink}: still to be done after everything was done: {missing}: does another program (NetworkManager, networkd) change it back?"
    )]
    Unsettled {
        /// The uplink.
        uplink: IfName,
        /// The steps.
        missing: String,
    },
}

impl EnsureSegmentError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        match self {
            Self::UplinkMissing { .. } => Fault::UplinkMissing,
            Self::NeedsTakeOver { .. } => Fault::NeedsTakeOver,
            Self::Conflict { .. } | Self::Unsettled { .. } => Fault::UplinkConflict,
            // The NIC is macvlan's or another bridge's, which only the kernel knows.
            Self::Step { source, .. } if source.is(&[libc::EBUSY]) => Fault::UplinkConflict,
            Self::RolledBack { .. } => Fault::RolledBack,
            Self::Lock(error) => error.fault(),
            Self::Observe { .. }
            | Self::Step { .. }
            | Self::Vanished { .. }
            | Self::Sysctl { .. }
            | Self::Snapshot(_)
            | Self::GatewaySilent { .. }
            | Self::AskGateway { .. }
            | Self::PutBack { .. } => Fault::Kernel,
        }
    }

    pub(super) fn of(segment: &Segment, observed: &Observed, conflict: Conflict) -> Self {
        let uplink = segment.uplink.clone();
        match conflict {
            Conflict::Missing => Self::UplinkMissing { uplink },
            Conflict::NeedsTakeOver => {
                let nets: Vec<_> = observed.addresses.iter().map(ToString::to_string).collect();
                Self::NeedsTakeOver {
                    uplink,
                    addresses: nets.join(", "),
                }
            }
            Conflict::Used(why) => Self::Conflict { uplink, why },
        }
    }
}

fn advice(error: &NetlinkError) -> &'static str {
    match error.errno() {
        Some(libc::EPERM | libc::EACCES) => ": CAP_NET_ADMIN is needed",
        Some(libc::EBUSY) => ": the NIC is in use by macvlan, ipvlan or another bridge",
        Some(libc::EOPNOTSUPP) => ": this kernel or NIC lacks it (VLANs, VLAN filtering, bridging)",
        Some(libc::EEXIST) => ": another program makes the same; try again",
        _ => "",
    }
}

/// A segment could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("read the state of uplink {uplink}")]
pub struct ObserveSegmentError {
    /// The uplink.
    pub uplink: IfName,
    /// What the kernel said.
    #[source]
    pub source: NetlinkError,
}

impl ObserveSegmentError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        Fault::Kernel
    }
}
