//! The bridge over an uplink: made, checked, and put back.
//!
//! Looked at without the lock, changed only under it. Idempotent: what stands is left alone, what was begun is
//! continued. A bridge without Berth's mark is checked and never changed.

mod apply;
mod error;
mod mark;
mod name;
mod observe;
mod plan;
mod restore;
mod snapshot;
mod takeover;

use std::path::PathBuf;
use std::time::Duration;

use proto_ids::{IfName, MacAddr};

pub use self::error::{EnsureSegmentError, ObserveSegmentError};
pub use self::restore::{RestoreSegmentError, Restored, restore};
pub use self::snapshot::SnapshotError;
use crate::lock::NodeLock;
use crate::netlink::Socket;
use crate::wiring::{Segment, UplinkMode, VlanMode};
use observe::{Observed, observe};
use plan::{Conflict, Plan};
use snapshot::Snapshot;

/// Where this node keeps its lock and its snapshots, and how long is waited for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The node-wide lock.
    pub lock: PathBuf,
    /// Folder of the snapshots of uplinks that were taken over.
    pub snapshots: PathBuf,
    /// How long to wait for the lock.
    pub lock_deadline: Duration,
    /// How long the gateways may take to answer after a take-over.
    pub gateway_deadline: Duration,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            lock: "/run/berth/node.lock".into(),
            snapshots: "/var/lib/berth/uplinks".into(),
            // Longer than a take-over that waits for its gateways and is put back.
            lock_deadline: Duration::from_secs(30),
            gateway_deadline: Duration::from_secs(5),
        }
    }
}

/// A segment whose bridge stands: the token that [`crate::wire::wire`] asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnsuredSegment {
    /// What was asked for.
    pub segment: Segment,
    /// The mode in force.
    pub mode: UplinkMode,
    /// Name of the bridge.
    pub bridge: IfName,
    /// Its interface index.
    pub bridge_index: u32,
    /// Its MAC.
    pub bridge_mac: MacAddr,
    /// MTU of the segment in bytes: what a Pod's interface gets by default.
    pub mtu: u32,
    /// The port of the bridge that leads to the switch: the uplink, or its VLAN sub-interface.
    pub port: IfName,
    /// The node's own link in the segment, on which its frames are heard and its Pods reached: the bridge, or on a
    /// filtering bridge the VLAN device. `None`: an operator's filtering bridge without such a device.
    pub node_link: Option<NodeLink>,
    /// Whether anything had to be changed.
    pub changed: bool,
}

/// A link of the node's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLink {
    /// Its name.
    pub name: IfName,
    /// Its interface index.
    pub index: u32,
}

/// How a segment stands, changed by nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentStatus {
    /// The uplink.
    pub uplink: IfName,
    /// Whether the uplink exists.
    pub present: bool,
    /// Whether the uplink is up and has carrier.
    pub carrier: bool,
    /// The mode that is or would be in force; `None` where the uplink is missing or in conflict.
    pub mode: Option<UplinkMode>,
    /// The bridge, where it exists.
    pub bridge: Option<IfName>,
    /// What [`ensure`] would do, in words; empty: the segment is right.
    pub pending: Vec<String>,
    /// Why [`ensure`] would refuse.
    pub conflict: Option<String>,
    /// Whether a snapshot of a take-over is kept.
    pub snapshot: bool,
}

/// Makes the segment's bridge, or finds it right. Takes the node's lock only when something has to change.
///
/// # Errors
/// See [`EnsureSegmentError`]; the node is as before, or the next call goes on where this one stopped.
///
/// # Guarantees
/// A take-over loses no packet of the node's, or is put back as a whole.
pub fn ensure(segment: &Segment, node: &Node) -> Result<EnsuredSegment, EnsureSegmentError> {
    let mut socket = Socket::open().map_err(|source| EnsureSegmentError::Observe {
        uplink: segment.uplink.clone(),
        source,
    })?;
    // A conflict seen without the lock is none yet: between a bridge and its mark lies a moment, and whoever makes them
    // holds the lock.
    if let Ok((plan, observed)) = look(&mut socket, segment)
        && let Some(ensured) = standing(segment, &plan, &observed, false)
    {
        return Ok(ensured);
    }
    let _lock = NodeLock::acquire(&node.lock, node.lock_deadline)?;
    // Who held the lock before may have done it all.
    let (plan, observed) = look(&mut socket, segment)?;
    if let Some(ensured) = standing(segment, &plan, &observed, false) {
        return Ok(ensured);
    }
    apply::Maker {
        socket: &mut socket,
        segment,
        node,
        plan: &plan,
    }
    .apply()?;
    let (plan, observed) = look(&mut socket, segment)?;
    standing(segment, &plan, &observed, true).ok_or_else(|| EnsureSegmentError::Unsettled {
        uplink: segment.uplink.clone(),
        missing: in_words(&plan).join(", "),
    })
}

fn look(socket: &mut Socket, segment: &Segment) -> Result<(Plan, Observed), EnsureSegmentError> {
    let observed = observe(socket, segment).map_err(|source| EnsureSegmentError::Observe {
        uplink: segment.uplink.clone(),
        source,
    })?;
    match plan::plan(segment, &observed) {
        Ok(plan) => Ok((plan, observed)),
        Err(conflict) => Err(EnsureSegmentError::of(segment, &observed, conflict)),
    }
}

fn in_words(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

/// The segment, if nothing is left to do.
fn standing(
    segment: &Segment,
    plan: &Plan,
    observed: &Observed,
    changed: bool,
) -> Option<EnsuredSegment> {
    let bridge = observed.master.as_ref()?;
    let port = observed.port(segment)?;
    let filtering = segment
        .vlan
        .is_some_and(|vlan| vlan.mode == VlanMode::Filtering);
    let node_link = match &observed.vlan_device {
        Some(device) => Some(NodeLink {
            name: device.name.parse().ok()?,
            index: device.index,
        }),
        None if filtering => None,
        None => Some(NodeLink {
            name: plan.bridge.clone(),
            index: bridge.index,
        }),
    };
    plan.steps.is_empty().then_some(EnsuredSegment {
        segment: segment.clone(),
        mode: plan.mode,
        bridge: plan.bridge.clone(),
        bridge_index: bridge.index,
        bridge_mac: bridge.mac?,
        mtu: segment.mtu.unwrap_or_else(|| port.mtu.min(bridge.mtu)),
        port: plan.port.clone(),
        node_link,
        changed,
    })
}

/// Looks as CHECK does: the segment if it stands, and what is not right in words.
pub(crate) fn compare(
    segment: &Segment,
) -> Result<(Option<EnsuredSegment>, Vec<String>), ObserveSegmentError> {
    let observed = read(segment)?;
    Ok(match plan::plan(segment, &observed) {
        Ok(plan) => {
            let missing = in_words(&plan);
            let as_if = Plan {
                steps: Vec::new(),
                ..plan
            };
            (standing(segment, &as_if, &observed, false), missing)
        }
        Err(conflict) => {
            let error = EnsureSegmentError::of(segment, &observed, conflict);
            (None, vec![error.to_string()])
        }
    })
}

fn read(segment: &Segment) -> Result<Observed, ObserveSegmentError> {
    Socket::open()
        .and_then(|mut socket| observe(&mut socket, segment))
        .map_err(|source| ObserveSegmentError {
            uplink: segment.uplink.clone(),
            source,
        })
}

/// Looks, and changes nothing.
///
/// # Errors
/// When the kernel does not let itself be read. A missing uplink is no error but a [`SegmentStatus`].
pub fn status(segment: &Segment, node: &Node) -> Result<SegmentStatus, ObserveSegmentError> {
    let observed = read(segment)?;
    let port = observed.port(segment).or(observed.uplink.as_ref());
    let bridge = observed.master.as_ref().or(observed.named.as_ref());
    let key = name::sub_interface(segment).unwrap_or_else(|| segment.uplink.clone());
    let mut status = SegmentStatus {
        uplink: segment.uplink.clone(),
        present: observed.uplink.is_some(),
        carrier: port.is_some_and(|port| port.carrier)
            && observed
                .uplink
                .as_ref()
                .is_some_and(|uplink| uplink.carrier),
        mode: None,
        bridge: bridge.and_then(|bridge| bridge.name.parse().ok()),
        pending: Vec::new(),
        conflict: None,
        snapshot: Snapshot::is_kept(&node.snapshots, &key),
    };
    match plan::plan(segment, &observed) {
        Ok(plan) => {
            status.mode = Some(plan.mode);
            status.pending = in_words(&plan);
        }
        Err(Conflict::Missing) => {}
        Err(conflict) => {
            let error = EnsureSegmentError::of(segment, &observed, conflict);
            status.conflict = Some(error.to_string());
        }
    }
    Ok(status)
}
