//! What a wiring means in the kernel's terms: every name, MAC, route and neighbour entry, spelled out.
//!
//! Pure. What two interfaces of a Pod would both claim (a node address, a service CIDR) goes to the first.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proto_ids::{Attachment, IfName, MacAddr, PortAlias};

use crate::netlink::link::Pair;
use crate::netlink::route::{POD_PROTOCOL, Route};
use crate::segment::EnsuredSegment;
use crate::wiring::{Interface, VlanMode, Wiring};

/// One interface of a Pod with its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nic {
    pub(crate) pair: Pair,
    /// MTU of the port: the segment's, so that a Pod with a small MTU does not lower that of an operator's bridge.
    pub(crate) port_mtu: u32,
    pub(crate) alias: String,
    pub(crate) hairpin: bool,
    pub(crate) isolated: bool,
    /// The port is an access port of this VLAN of a VLAN-filtering bridge.
    pub(crate) access_vlan: Option<u16>,
    pub(crate) ipv6: bool,
    pub(crate) addresses: Vec<IpNet>,
    /// In the order in which the kernel accepts them.
    pub(crate) routes: Vec<Route>,
    /// Addresses of the node, all at the bridge's MAC.
    pub(crate) node_neighbours: Vec<(IpAddr, MacAddr)>,
    /// The node's own link in the segment: the bridge, or the VLAN device on it.
    pub(crate) node_link: u32,
    /// The link-local address of that link: the kernel asks for IPv6 neighbours from no other, where the node has no
    /// address of its own on the network.
    pub(crate) node_link_local: Ipv6Net,
    /// How the node reaches the addresses.
    pub(crate) node_routes: Vec<NodeRoute>,
}

/// How the node reaches an address of the Pod.
///
/// The Pod answers by the interface through which it reaches the node. So the node reaches all of its addresses through
/// that interface's: with strict reverse-path filtering (or a bridge without addresses, for which the kernel is strict
/// even when told to be loose) it would drop what comes back elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeRoute {
    pub(crate) pod: IpAddr,
    /// The node's address to speak from.
    pub(crate) node: IpAddr,
    /// The Pod's address on the interface through which it reaches the node; `None`: `pod` is on it.
    pub(crate) via: Option<IpAddr>,
    /// The node's link to that interface.
    pub(crate) link: u32,
}

/// Why a wiring makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Nonsense {
    /// No ensured segment for an interface.
    NoSegment(IfName),
    /// An interface wants a larger MTU than its segment has.
    LargeMtu {
        ifname: IfName,
        mtu: u32,
        bridge: IfName,
        limit: u32,
    },
}

/// Spells a wiring out.
pub(crate) fn desire(wiring: &Wiring, segments: &[EnsuredSegment]) -> Result<Vec<Nic>, Nonsense> {
    let mut taken = HashSet::new();
    let mut nics = Vec::with_capacity(wiring.interfaces.len());
    for interface in &wiring.interfaces {
        nics.push(nic(wiring, interface, segments, &mut taken)?);
    }
    for (position, interface) in wiring.interfaces.iter().enumerate() {
        nics[position].node_routes = node_routes(interface, &nics);
    }
    Ok(nics)
}

fn nic(
    wiring: &Wiring,
    interface: &Interface,
    segments: &[EnsuredSegment],
    taken: &mut HashSet<IpNet>,
) -> Result<Nic, Nonsense> {
    let ifname = &interface.ifname;
    let segment = segments
        .iter()
        .find(|ensured| ensured.segment == interface.segment)
        .ok_or_else(|| Nonsense::NoSegment(ifname.clone()))?;
    let mtu = interface.mtu.unwrap_or(segment.mtu);
    if mtu > segment.mtu {
        return Err(Nonsense::LargeMtu {
            ifname: ifname.clone(),
            mtu,
            bridge: segment.bridge.clone(),
            limit: segment.mtu,
        });
    }
    let near = segment.node_link.is_some();
    let node_addresses: Vec<_> = interface
        .node_addresses
        .iter()
        .copied()
        .filter(|node| near && has_family(interface, *node))
        .collect();
    let claimed: Vec<_> = node_addresses
        .iter()
        .copied()
        .filter(|node| taken.insert(IpNet::from(*node)))
        .collect();
    Ok(Nic {
        pair: Pair {
            port: Attachment::port_name(&wiring.attachment.sandbox, ifname),
            port_mac: port_mac(interface.mac),
            inside: ifname.clone(),
            inside_mac: interface.mac,
            mtu,
            bridge: segment.bridge_index,
        },
        port_mtu: segment.mtu,
        alias: alias(wiring, interface),
        hairpin: interface.hairpin,
        isolated: interface.isolated,
        access_vlan: interface
            .segment
            .vlan
            .filter(|vlan| vlan.mode == VlanMode::Filtering)
            .map(|vlan| vlan.id),
        ipv6: interface.addresses.iter().any(|(a, _)| a.addr().is_ipv6()),
        addresses: interface.addresses.iter().map(|(a, _)| *a).collect(),
        routes: routes(interface, &claimed, taken),
        node_neighbours: claimed
            .iter()
            .map(|node| (*node, segment.bridge_mac))
            .collect(),
        node_link: segment.node_link.as_ref().map_or(0, |link| link.index),
        node_link_local: link_local(segment.bridge_mac),
        node_routes: Vec::new(),
    })
}

/// The port's MAC: the Pod's with another first octet, so that a bridge whose MAC is not pinned never takes it (it
/// takes the lowest), and set at creation, so that udev leaves it alone.
fn port_mac(inside: MacAddr) -> MacAddr {
    let mut octets = inside.octets();
    octets[0] = if octets[0] == 0xfe { 0xfa } else { 0xfe };
    MacAddr::from_octets(octets)
}

fn alias(wiring: &Wiring, interface: &Interface) -> String {
    PortAlias {
        attachment: wiring.attachment.clone(),
        ifname: interface.ifname.clone(),
        network: interface.network.clone(),
        mac: interface.mac,
        addresses: interface.addresses.iter().map(|(a, _)| *a).collect(),
        identity: Some(wiring.identity.clone()),
    }
    .to_string()
}

fn has_family(interface: &Interface, address: IpAddr) -> bool {
    interface
        .addresses
        .iter()
        .any(|(own, _)| own.addr().is_ipv4() == address.is_ipv4())
}

fn gateway(interface: &Interface, dst: IpNet) -> Option<IpAddr> {
    interface
        .addresses
        .iter()
        .filter_map(|(_, gateway)| *gateway)
        .find(|gateway| gateway.is_ipv4() == dst.addr().is_ipv4())
}

fn routes(interface: &Interface, claimed: &[IpAddr], taken: &mut HashSet<IpNet>) -> Vec<Route> {
    let through = |dst: IpNet, via: Option<IpAddr>| Route {
        dst,
        via,
        onlink: via.is_some_and(|via| {
            !via_link_local(via)
                && !interface
                    .addresses
                    .iter()
                    .any(|(own, _)| own.contains(&via))
        }),
        metric: None,
        mtu: None,
        source: None,
        protocol: POD_PROTOCOL,
    };
    let mut routes: Vec<_> = claimed
        .iter()
        .map(|node| Route::to_neighbour(*node, POD_PROTOCOL))
        .collect();
    for dst in &interface.service_cidrs {
        let same_family = |node: &&IpAddr| node.is_ipv4() == dst.addr().is_ipv4();
        // Only where the node is reached by this very interface.
        if let Some(node) = claimed.iter().find(same_family)
            && taken.insert(dst.trunc())
        {
            routes.push(through(dst.trunc(), Some(*node)));
        }
    }
    for route in &interface.routes {
        let dst = route.dst.trunc();
        routes.push(Route {
            metric: route.metric,
            mtu: route.mtu,
            ..through(dst, route.via.or_else(|| gateway(interface, dst)))
        });
    }
    if interface.default_route {
        let everywhere = [
            IpNet::from(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
            IpNet::from(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
        ];
        for dst in everywhere {
            if let Some(via) = gateway(interface, dst) {
                routes.push(through(dst, Some(via)));
            }
        }
    }
    routes
}

fn via_link_local(via: IpAddr) -> bool {
    matches!(via, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// `fe80::/64` and the modified EUI-64 of a MAC (RFC 4291, appendix A).
fn link_local(mac: MacAddr) -> Ipv6Net {
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    let mac = mac.octets();
    octets[8..11].copy_from_slice(&mac[..3]);
    octets[11..13].copy_from_slice(&[0xff, 0xfe]);
    octets[13..].copy_from_slice(&mac[3..]);
    octets[8] ^= 2;
    let address = Ipv6Addr::from(octets);
    Ipv6Net::new_assert(address, 64)
}

fn node_routes(interface: &Interface, nics: &[Nic]) -> Vec<NodeRoute> {
    let reached_by = |node: &IpAddr| {
        nics.iter()
            .find(|nic| {
                nic.node_neighbours
                    .iter()
                    .any(|(claimed, _)| claimed == node)
            })
            .map(|nic| (*node, nic))
    };
    let itself = |nic: &Nic| nic.pair.inside == interface.ifname;
    let mut routes = Vec::new();
    for (own, _) in &interface.addresses {
        let pod = own.addr();
        let same_family = |address: &&IpAddr| address.is_ipv4() == pod.is_ipv4();
        let mut ways = interface
            .node_addresses
            .iter()
            .filter(same_family)
            .filter_map(reached_by);
        let first = ways.clone().next();
        let Some((node, nic)) = ways.find(|(_, nic)| itself(nic)).or(first) else {
            continue;
        };
        let near = nic.addresses.iter().map(IpNet::addr);
        routes.push(NodeRoute {
            pod,
            node,
            via: near.filter(|_| !itself(nic)).find(|a| same_family(&a)),
            link: nic.node_link,
        });
    }
    routes
}

#[cfg(test)]
mod tests;
