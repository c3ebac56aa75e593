//! The bridge over an uplink: made, checked, and put back.

use std::path::PathBuf;
use std::time::Duration;

use proto_ids::{IfName, MacAddr};

use crate::fault::Fault;
use crate::wiring::{Segment, UplinkMode};

/// Where this node keeps its lock and its snapshots, and how long is waited for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The node-wide lock.
    pub lock: PathBuf,
    /// Folder of the snapshots of uplinks that were taken over.
    pub snapshots: PathBuf,
    /// How long to wait for the lock.
    pub lock_deadline: Duration,
    /// How long a gateway may take to answer after a take-over.
    pub gateway_deadline: Duration,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            lock: "/run/berth/node.lock".into(),
            snapshots: "/var/lib/berth/uplinks".into(),
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
    /// Whether anything had to be changed.
    pub changed: bool,
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
    /// The mode that would be in force; `None` where the uplink is missing or in conflict.
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

/// What [`restore`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The uplink.
    pub uplink: IfName,
    /// What was done, in words; empty: there was nothing to put back.
    pub done: Vec<String>,
}

/// Why a segment does not stand.
#[derive(Debug, thiserror::Error)]
pub enum EnsureSegmentError {}

impl EnsureSegmentError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        Fault::Kernel
    }
}

/// Why an uplink was not put back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreSegmentError {}

impl RestoreSegmentError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        Fault::Kernel
    }
}

/// Why a segment could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ObserveSegmentError {}

/// Makes the segment's bridge, or finds it right. Idempotent; takes the node's lock only when something has to change.
///
/// # Errors
/// See [`EnsureSegmentError`]; the node is as before, or the next call goes on where this one stopped.
pub fn ensure(_segment: &Segment, _node: &Node) -> Result<EnsuredSegment, EnsureSegmentError> {
    unimplemented!()
}

/// Puts the uplink back as it was: addresses and routes to the NIC, the bridge removed if Berth made it and no Pod is on it.
///
/// # Errors
/// See [`RestoreSegmentError`].
pub fn restore(_segment: &Segment, _node: &Node) -> Result<Restored, RestoreSegmentError> {
    unimplemented!()
}

/// Looks as CHECK does.
///
/// # Errors
/// When the kernel does not let itself be read.
pub(crate) fn compare(
    _segment: &Segment,
    _node: &Node,
) -> Result<(Option<EnsuredSegment>, Vec<String>), ObserveSegmentError> {
    unimplemented!()
}

/// Looks, and changes nothing.
///
/// # Errors
/// When the kernel does not let itself be read. A missing uplink is no error but a [`SegmentStatus`].
pub fn status(_segment: &Segment, _node: &Node) -> Result<SegmentStatus, ObserveSegmentError> {
    unimplemented!()
}
