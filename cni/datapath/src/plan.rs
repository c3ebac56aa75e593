//! What has to be done so that a Pod is wired as desired. Pure: no IO, no clock.
//!
//! On an empty Pod the plan is ADD; on a wired one it is empty, and otherwise it is what CHECK reports. What others
//! added (addresses, routes, interfaces) never makes a step.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use proto_ids::MacAddr;

use crate::desired::{Nic, NodeRoute};
use crate::netlink::link::Link;
use crate::netlink::neighbour::Neighbour;
use crate::netlink::route::{Installed, NODE_PROTOCOL, Route};
use crate::netlink::vlan::Tagging;

/// The state of the kernel, as far as it matters to one attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// In the order of the desired interfaces.
    pub(crate) nics: Vec<ObservedNic>,
    pub(crate) loopback_up: bool,
    pub(crate) pod_routes: Vec<Installed>,
    pub(crate) pod_neighbours: Vec<Neighbour>,
    pub(crate) node_routes: Vec<Installed>,
}

/// What there is of one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ObservedNic {
    pub(crate) inside: Option<Link>,
    pub(crate) port: Option<Link>,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) vlans: Vec<(u16, Tagging)>,
}

/// One step, about the desired interface of the given position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) nic: usize,
    pub(crate) deed: Deed,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Remove a port of the same name whose Pod is gone, or whose other end is not the Pod's interface.
    RemoveLeftover { index: u32 },
    /// Make the pair with names, MACs and MTU, the port in its bridge and with its alias.
    CreatePair,
    /// Put the port into its bridge.
    Enslave,
    /// Give the port its alias.
    Describe,
    /// Set the MAC inside.
    SetMac(MacAddr),
    /// Set the MTU inside.
    SetMtu(u32),
    /// Settings inside that must hold before the interface comes up.
    Tune,
    /// Bring the loopback up.
    RaiseLoopback,
    /// Bring the end inside up.
    RaiseInside,
    /// Keep the port from speaking itself.
    SilencePort,
    /// Make the port an access port of a VLAN.
    JoinVlan(u16),
    /// Hairpin and isolation of the port.
    SetPort { hairpin: bool, isolated: bool },
    /// Bring the port up, in the link group of the Pod.
    RaisePort,
    /// Wait until the bridge forwards the port's frames.
    AwaitForwarding,
    /// Add an address inside.
    AddAddress(IpNet),
    /// Add a route inside.
    AddRoute(Route),
    /// Add a permanent neighbour entry inside.
    AddNeighbour(IpAddr, MacAddr),
    /// Let the node reach the Pod over the bridge.
    AddNodeRoute(NodeRoute),
    /// Tell the segment who has the addresses.
    Announce,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemoveLeftover { index } => {
                write!(f, "remove the leftover port (interface index {index})")
            }
            Self::CreatePair => f.write_str("create the interface and its port"),
            Self::Enslave => f.write_str("put the port into its bridge"),
            Self::Describe => f.write_str("write the alias of the port"),
            Self::SetMac(mac) => write!(f, "set the MAC to {mac}"),
            Self::SetMtu(mtu) => write!(f, "set the MTU to {mtu}"),
            Self::Tune => f.write_str("set the interface's ARP and IPv6 settings"),
            Self::RaiseLoopback => f.write_str("bring lo up"),
            Self::RaiseInside => f.write_str("bring the interface up"),
            Self::SilencePort => f.write_str("keep the port from making IPv6 addresses"),
            Self::JoinVlan(id) => write!(f, "make the port an access port of VLAN {id}"),
            Self::SetPort { hairpin, isolated } => {
                write!(f, "set the port's hairpin={hairpin} isolated={isolated}")
            }
            Self::RaisePort => f.write_str("bring the port up"),
            Self::AwaitForwarding => f.write_str("wait until the bridge forwards for the port"),
            Self::AddAddress(address) => write!(f, "add the address {address}"),
            Self::AddRoute(Route { dst, via, .. }) => match via {
                Some(via) => write!(f, "add the route to {dst} via {via}"),
                None => write!(f, "add the route to {dst}"),
            },
            Self::AddNeighbour(address, mac) => {
                write!(f, "add the neighbour {address} at {mac}")
            }
            Self::AddNodeRoute(NodeRoute { pod, node, .. }) => {
                write!(f, "add the node's route to {pod} from {node}")
            }
            Self::Announce => f.write_str("announce the addresses"),
        }
    }
}

/// The deeds of one kind for one interface.
type Phase = fn(&Nic, &ObservedNic, &Observed) -> Vec<Deed>;

/// The steps from what is to what shall be, in the order in which they work.
///
/// Phase by phase over all interfaces, so that each phase is one batch: nothing comes up before its settings hold,
/// no address is used before the bridge forwards, and of the interfaces' steps the announcements come last.
pub(crate) fn plan(desired: &[Nic], observed: &Observed) -> Vec<Step> {
    let phases: [Phase; 5] = [links, inside, port, contents, node];
    let absent = ObservedNic::default();
    let mut steps = Vec::new();
    for phase in phases {
        for (nic, wanted) in desired.iter().enumerate() {
            let seen = observed.nics.get(nic).unwrap_or(&absent);
            steps.extend(
                phase(wanted, seen, observed)
                    .into_iter()
                    .map(|deed| Step { nic, deed }),
            );
        }
    }
    let order = |step: &Step| rank(&step.deed);
    steps.sort_by_key(order);
    steps.dedup_by(|a, b| a.deed == Deed::RaiseLoopback && b.deed == Deed::RaiseLoopback);
    steps
}

/// Steps of one rank go to the kernel together.
fn rank(deed: &Deed) -> u8 {
    match deed {
        Deed::RemoveLeftover { .. } => 0,
        Deed::CreatePair => 1,
        Deed::Enslave
        | Deed::Describe
        | Deed::SilencePort
        | Deed::JoinVlan(_)
        | Deed::SetPort { .. } => 2,
        Deed::SetMac(_) | Deed::SetMtu(_) | Deed::Tune => 3,
        Deed::RaiseInside => 4,
        Deed::RaisePort => 5,
        Deed::AwaitForwarding => 6,
        Deed::AddAddress(_) => 7,
        Deed::AddRoute(_) => 8,
        Deed::AddNeighbour(..) => 9,
        Deed::AddNodeRoute(_) => 10,
        Deed::Announce => 11,
        // Not the attachment's, so no undo could tell whether to take it back: when nothing else can fail.
        Deed::RaiseLoopback => 12,
    }
}

fn links(wanted: &Nic, seen: &ObservedNic, _: &Observed) -> Vec<Deed> {
    match (&seen.inside, &seen.port) {
        (Some(inside), Some(port)) if paired(inside, port) => {
            let mut deeds = Vec::new();
            if port.master != Some(wanted.pair.bridge) {
                deeds.push(Deed::Enslave);
            }
            if port.alias.as_deref() != Some(&wanted.alias) {
                deeds.push(Deed::Describe);
            }
            deeds
        }
        (_, Some(port)) => vec![Deed::RemoveLeftover { index: port.index }, Deed::CreatePair],
        (_, None) => vec![Deed::CreatePair],
    }
}

/// Each is the other's end. Interface indexes alone may agree by chance, but not together with the derived name of the
/// port and both kinds.
fn paired(inside: &Link, port: &Link) -> bool {
    inside.is_kind("veth")
        && port.is_kind("veth")
        && inside.lower == Some(port.index)
        && port.lower == Some(inside.index)
}

/// The interface as it stays; `None`: it is made anew, with everything.
fn kept(seen: &ObservedNic) -> Option<(&Link, &Link)> {
    match (&seen.inside, &seen.port) {
        (Some(inside), Some(port)) if paired(inside, port) => Some((inside, port)),
        _ => None,
    }
}

fn inside(wanted: &Nic, seen: &ObservedNic, observed: &Observed) -> Vec<Deed> {
    let mut deeds = Vec::new();
    if !observed.loopback_up {
        deeds.push(Deed::RaiseLoopback);
    }
    let Some((inside, _)) = kept(seen) else {
        deeds.extend([Deed::Tune, Deed::RaiseInside]);
        return deeds;
    };
    if inside.mac != Some(wanted.pair.inside_mac) {
        deeds.push(Deed::SetMac(wanted.pair.inside_mac));
    }
    if inside.mtu != wanted.pair.mtu {
        deeds.push(Deed::SetMtu(wanted.pair.mtu));
    }
    if !tuned(wanted, inside) {
        deeds.push(Deed::Tune);
    }
    if !inside.up {
        deeds.push(Deed::RaiseInside);
    }
    deeds
}

/// Only what keeps two interfaces on one segment apart, and IPv6 being there at all: other settings are the `tuning`
/// plugin's to change.
fn tuned(wanted: &Nic, inside: &Link) -> bool {
    let ipv4 = inside
        .ipv4
        .as_ref()
        .is_none_or(|conf| conf.arp_ignore >= 1 && conf.arp_announce == 2);
    let ipv6 = inside
        .ipv6
        .as_ref()
        .is_none_or(|conf| !wanted.ipv6 || conf.settings.disable_ipv6 == 0);
    ipv4 && ipv6
}

fn port(wanted: &Nic, seen: &ObservedNic, _: &Observed) -> Vec<Deed> {
    let mut deeds = Vec::new();
    let join = wanted.access_vlan.map(Deed::JoinVlan);
    let set = Deed::SetPort {
        hairpin: wanted.hairpin,
        isolated: wanted.isolated,
    };
    let Some((_, port)) = kept(seen) else {
        deeds.push(Deed::SilencePort);
        deeds.extend(join);
        if wanted.hairpin || wanted.isolated {
            deeds.push(set);
        }
        deeds.extend([Deed::RaisePort, Deed::AwaitForwarding]);
        return deeds;
    };
    if let Some(id) = wanted.access_vlan
        && !seen.vlans.contains(&(id, Tagging::Access))
    {
        deeds.extend(join);
    }
    let as_set = port
        .port
        .is_some_and(|p| p.hairpin == wanted.hairpin && p.isolated == wanted.isolated);
    if !as_set {
        deeds.push(set);
    }
    if !port.up {
        deeds.push(Deed::RaisePort);
    }
    if !port.port.is_some_and(|p| p.forwarding) {
        deeds.push(Deed::AwaitForwarding);
    }
    deeds
}

fn contents(wanted: &Nic, seen: &ObservedNic, observed: &Observed) -> Vec<Deed> {
    let kept = kept(seen);
    let index = kept.map(|(inside, _)| inside.index);
    let mut deeds = Vec::new();
    for address in &wanted.addresses {
        if kept.is_none() || !seen.addresses.contains(address) {
            deeds.push(Deed::AddAddress(*address));
        }
    }
    for route in &wanted.routes {
        if !has_route(&observed.pod_routes, index, route) {
            deeds.push(Deed::AddRoute(route.clone()));
        }
    }
    for (address, mac) in &wanted.node_neighbours {
        let there = observed.pod_neighbours.iter().any(|n| {
            Some(n.index) == index && n.address == *address && n.mac == Some(*mac) && n.permanent
        });
        if !there {
            deeds.push(Deed::AddNeighbour(*address, *mac));
        }
    }
    if kept.is_none() && !wanted.addresses.is_empty() {
        deeds.push(Deed::Announce);
    }
    deeds
}

fn has_route(installed: &[Installed], index: Option<u32>, wanted: &Route) -> bool {
    installed.iter().any(|found| {
        Some(found.index) == index
            && found.route.dst == wanted.dst
            && found.route.via == wanted.via
            // A result of an older version tells neither; what is not known is not compared.
            && (wanted.metric.is_none()
                || found.route.effective_metric() == wanted.effective_metric())
            && (wanted.mtu.is_none() || found.route.mtu == wanted.mtu)
    })
}

fn node(wanted: &Nic, seen: &ObservedNic, observed: &Observed) -> Vec<Deed> {
    let kept = kept(seen);
    wanted
        .node_routes
        .iter()
        .filter(|wanted| {
            !kept.is_some_and(|(_, port)| {
                let route = node_route(wanted, port.index);
                observed
                    .node_routes
                    .iter()
                    .any(|found| found.index == wanted.link && same_route(found, &route))
            })
        })
        .cloned()
        .map(Deed::AddNodeRoute)
        .collect()
}

fn same_route(found: &Installed, wanted: &Route) -> bool {
    found.route.dst == wanted.dst
        && found.route.via == wanted.via
        && found.route.metric == wanted.metric
        && found.route.source == wanted.source
}

/// The node's route to a Pod. Its metric is the interface index of the Pod's port, which no other port has while this
/// one lives: so it can be told whose route it is when the port is gone, and an old Pod's late DEL never takes the
/// route of the new Pod that has the same address.
pub(crate) fn node_route(wanted: &NodeRoute, port: u32) -> Route {
    Route {
        via: wanted.via,
        onlink: wanted.via.is_some(),
        source: Some(wanted.node),
        metric: Some(port),
        ..Route::to_neighbour(wanted.pod, NODE_PROTOCOL)
    }
}

#[cfg(test)]
mod tests;
