//! Puts an uplink back as it was before Berth.

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::RouteMessage;
use proto_ids::IfName;

use super::observe::{is_link_local, mark, observe};
use super::snapshot::{Snapshot, SnapshotError};
use super::takeover::{put_back, subject};
use super::{Node, name};
use crate::fault::Fault;
use crate::lock::{AcquireLockError, NodeLock};
use crate::netlink::link::{self, Link};
use crate::netlink::{NetlinkError, Socket, address, route};
use crate::ports;
use crate::wiring::Segment;

/// What [`restore`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The uplink.
    pub uplink: IfName,
    /// What was done, in words; empty: there was nothing to put back.
    pub done: Vec<String>,
}

/// Why an uplink was not put back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreSegmentError {
    /// The kernel could not be read.
    #[error("read the state of uplink {uplink}")]
    Observe {
        /// The uplink.
        uplink: IfName,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
    /// Pods are on the bridge.
    #[error(
        "bridge {bridge} carries {count} Pod interfaces: remove these Pods (drain the node) first"
    )]
    InUse {
        /// The bridge.
        bridge: IfName,
        /// How many.
        count: usize,
    },
    /// The lock was not got.
    #[error(transparent)]
    Lock(#[from] AcquireLockError),
    /// The snapshot could not be read or removed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The kernel refused a step.
    #[error("uplink {uplink}: {step}")]
    Step {
        /// The uplink.
        uplink: IfName,
        /// The step, in words.
        step: String,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
}

impl RestoreSegmentError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        match self {
            Self::InUse { .. } => Fault::UplinkConflict,
            Self::Lock(error) => error.fault(),
            Self::Observe { .. } | Self::Snapshot(_) | Self::Step { .. } => Fault::Kernel,
        }
    }
}

/// Puts the uplink back as it was: addresses and routes to the NIC, the bridge and VLAN devices removed if Berth made
/// them and no Pod is on them. Finishes a take-over that was interrupted, backwards.
///
/// # Errors
/// See [`RestoreSegmentError`]. What was done stays done; the next call goes on.
pub fn restore(segment: &Segment, node: &Node) -> Result<Restored, RestoreSegmentError> {
    let uplink = &segment.uplink;
    let read = |source| RestoreSegmentError::Observe {
        uplink: uplink.clone(),
        source,
    };
    let _lock = NodeLock::acquire(&node.lock, node.lock_deadline)?;
    let mut socket = Socket::open().map_err(read)?;
    let observed = observe(&mut socket, segment).map_err(read)?;
    let key = name::sub_interface(segment).unwrap_or_else(|| uplink.clone());
    let mut undoing = Undoing {
        socket: &mut socket,
        uplink,
        done: Vec::new(),
    };
    let bridge = observed.master.as_ref().or(observed.named.as_ref());
    let bridge = bridge.filter(|bridge| mark(bridge).is_some());
    if let Some(bridge) = bridge {
        undoing.refuse_pods(bridge)?;
        if let Some(device) = observed.vlan_device.as_ref().filter(|d| mark(d).is_some()) {
            undoing.delete(device)?;
        }
    }
    if let Some(port) = observed.port(segment) {
        match Snapshot::load(&node.snapshots, subject(&key, port))? {
            Some(snapshot) => undoing.put_back(&snapshot, node, port, bridge)?,
            None => {
                if let Some(bridge) = bridge {
                    undoing.give(port, bridge)?;
                }
            }
        }
    }
    if let Some(sub) = observed
        .sub_interface
        .as_ref()
        .filter(|sub| mark(sub).is_some())
    {
        undoing.delete(sub)?;
    }
    let done = undoing.done;
    Snapshot::remove(&node.snapshots, &key)?;
    Ok(Restored {
        uplink: uplink.clone(),
        done,
    })
}

struct Undoing<'a> {
    socket: &'a mut Socket,
    uplink: &'a IfName,
    done: Vec<String>,
}

impl Undoing<'_> {
    fn refused(&self, step: String, source: NetlinkError) -> RestoreSegmentError {
        RestoreSegmentError::Step {
            uplink: self.uplink.clone(),
            step,
            source,
        }
    }

    fn refuse_pods(&mut self, bridge: &Link) -> Result<(), RestoreSegmentError> {
        let links = link::all(self.socket).map_err(|source| RestoreSegmentError::Observe {
            uplink: self.uplink.clone(),
            source,
        })?;
        let pods = ports::among(&links);
        let on_bridge = |port: &&ports::Port| {
            port.master
                .as_ref()
                .is_some_and(|m| m.as_str() == bridge.name)
        };
        let count = pods.iter().filter(on_bridge).count();
        match bridge.name.parse() {
            Ok(bridge) if count > 0 => Err(RestoreSegmentError::InUse { bridge, count }),
            _ => Ok(()),
        }
    }

    fn delete(&mut self, link: &Link) -> Result<(), RestoreSegmentError> {
        let step = format!("remove {}", link.name);
        match self.socket.call(&link::delete(link.index)) {
            Err(error) if !error.is(&[libc::ENODEV]) => Err(self.refused(step, error)),
            _ => {
                self.done.push(step);
                Ok(())
            }
        }
    }

    /// There is no snapshot: nothing was taken over, or it is lost, or of another boot. What the bridge carries then is
    /// the node's own, and goes to the NIC: removed with the bridge it would cut the node off.
    fn give(&mut self, port: &Link, bridge: &Link) -> Result<(), RestoreSegmentError> {
        let uplink = self.uplink.clone();
        let read = |source| RestoreSegmentError::Observe { uplink, source };
        let carried = carried(self.socket, bridge).map_err(read)?;
        if carried.addresses.is_empty() {
            return self.delete(bridge);
        }
        let step = format!(
            "give {} the {} addresses and {} routes that {} has",
            port.name,
            carried.addresses.len(),
            carried.routes.len(),
            bridge.name
        );
        let Carried { addresses, routes } = carried;
        put_back(self.socket, port, Some(bridge), &addresses, &routes)
            .map_err(|source| self.refused(step.clone(), source))?;
        self.done.extend([step, format!("remove {}", bridge.name)]);
        Ok(())
    }

    fn put_back(
        &mut self,
        snapshot: &Snapshot,
        node: &Node,
        port: &Link,
        bridge: Option<&Link>,
    ) -> Result<(), RestoreSegmentError> {
        let addresses = snapshot.addresses(&node.snapshots)?;
        let routes = snapshot.routes(&node.snapshots)?;
        let step = format!(
            "give {} back {} addresses and {} routes",
            port.name,
            addresses.len(),
            routes.len()
        );
        put_back(self.socket, port, bridge, &addresses, &routes)
            .map_err(|source| self.refused(step.clone(), source))?;
        self.done.push(step);
        self.done
            .extend(bridge.map(|bridge| format!("remove {}", bridge.name)));
        Ok(())
    }
}

/// What a bridge has besides what the kernel gives every link.
struct Carried {
    addresses: Vec<AddressMessage>,
    routes: Vec<RouteMessage>,
}

fn carried(socket: &mut Socket, bridge: &Link) -> Result<Carried, NetlinkError> {
    let mut addresses = address::of(socket, bridge.index)?;
    addresses.retain(|message| address::net(message).is_some_and(|net| !is_link_local(net)));
    for message in &mut addresses {
        // It is the bridge's name.
        let is_label = |it: &AddressAttribute| matches!(it, AddressAttribute::Label(_));
        message.attributes.retain(|attribute| !is_label(attribute));
    }
    let mut routes = route::messages(socket, None)?;
    routes.retain(|message| route::leads_through(message, bridge.index));
    routes.sort_by_key(route::order);
    Ok(Carried { addresses, routes })
}
