//! What is to be wired: the desired state, in checked types.

use std::net::IpAddr;

use ipnet::IpNet;
use proto_ids::{Attachment, Identity, IfName, MacAddr, NetworkName, Route};
use serde::{Deserialize, Serialize};

/// One CNI ADD: everything that shall exist for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// The CNI ADD.
    pub attachment: Attachment,
    /// What its addresses stick to; goes into the ports' aliases.
    pub identity: Identity,
    /// The interfaces in order.
    pub interfaces: Vec<Interface>,
}

/// One interface of a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name inside the Pod.
    pub ifname: IfName,
    /// The network it joins.
    pub network: NetworkName,
    /// Where it is plugged in.
    pub segment: Segment,
    /// MAC inside the Pod.
    pub mac: MacAddr,
    /// MTU in bytes; `None`: the segment's.
    pub mtu: Option<u32>,
    /// Addresses with the prefix length of their subnet, with their gateways.
    pub addresses: Vec<(IpNet, Option<IpAddr>)>,
    /// Static routes.
    pub routes: Vec<Route>,
    /// Whether the default routes of the Pod leave here.
    pub default_route: bool,
    /// Frames may leave by the port they came from.
    pub hairpin: bool,
    /// The port may not talk to other isolated ports of the bridge.
    pub isolated: bool,
    /// Addresses of the node that shall be reachable from the Pod, and from which the Pod shall be reachable, without
    /// the switch. Empty: no host routes.
    pub node_addresses: Vec<IpAddr>,
    /// Service CIDRs to route to the node. Needs a node address of the same family.
    pub service_cidrs: Vec<IpNet>,
}

/// A bridge over an uplink: where ports of one network are plugged in on this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// The node's NIC.
    pub uplink: IfName,
    /// Name of the bridge; `None`: `br-` and the uplink's name (with VLAN sub-interface: the sub-interface's), cut to
    /// 15 bytes by a hash. In mode existing: the bridge the uplink is in.
    pub bridge: Option<IfName>,
    /// How the uplink becomes a port; `None`: existing where it is in a bridge already, else plain.
    pub mode: Option<UplinkMode>,
    /// VLAN of the network on the uplink.
    pub vlan: Option<Vlan>,
    /// MTU that Pods of the segment get by default and at most, in bytes; `None`: the uplink's, which the bridge always has.
    pub mtu: Option<u32>,
}

/// How an uplink becomes a port of the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UplinkMode {
    /// An operator made the bridge: it is checked, never changed.
    Existing,
    /// The NIC has no addresses: the bridge is created and the NIC enslaved.
    Plain,
    /// The NIC carries the node's addresses: they move to the bridge, or everything is put back.
    TakeOver,
}

/// A VLAN of the uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vlan {
    /// 1 to 4094.
    pub id: u16,
    /// How it is separated on the node.
    pub mode: VlanMode,
}

/// How a VLAN is separated on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VlanMode {
    /// A VLAN sub-interface of the uplink, with a bridge of its own.
    SubInterface,
    /// One VLAN-filtering bridge over the uplink; the port is an access port of the VLAN.
    Filtering,
}
