//! What a CHECK compares with kernel and book: the wiring, read back from the result that the ADD was answered with.
//! Pure.

use std::net::IpAddr;

use cni_datapath::wiring::{Interface, Wiring};
use cni_spec::{CniResult, NetConf, ResultRoute};
use ipnet::IpNet;
use proto_ids::{Attachment, Identity, MacAddr, Route};
use proto_ipam::v1::CheckInterface;

use crate::add_plan::{Planned, everywhere, route_services, segment};

/// The wiring that the previous result tells of. `reachable` holds, per interface, the node's addresses of now: of these
/// those count that the result has a route to, since the node may have got others since.
///
/// # Errors
/// What the result lacks, in words.
pub(crate) fn wiring(
    conf: &NetConf,
    attachment: &Attachment,
    identity: Identity,
    planned: &[Planned<'_>],
    reachable: &[Vec<IpAddr>],
    previous: &CniResult,
) -> Result<Wiring, Vec<String>> {
    let mut lacks = Vec::new();
    let mut interfaces = Vec::new();
    for (one, reachable) in planned.iter().zip(reachable) {
        match interface(one, reachable, previous) {
            Ok(interface) => interfaces.push(interface),
            Err(problem) => lacks.push(problem),
        }
    }
    if !lacks.is_empty() {
        return Err(lacks);
    }
    let routed: Vec<IpNet> = conf
        .service_cidrs
        .iter()
        .copied()
        .filter(|cidr| previous.routes.iter().any(|route| route.dst == *cidr))
        .collect();
    route_services(&routed, &mut interfaces);
    for interface in &mut interfaces {
        let services = interface.service_cidrs.clone();
        interface
            .routes
            .retain(|route| !services.contains(&route.dst));
    }
    Ok(Wiring {
        attachment: attachment.clone(),
        identity,
        interfaces,
    })
}

fn interface(
    one: &Planned<'_>,
    reachable: &[IpAddr],
    previous: &CniResult,
) -> Result<Interface, String> {
    let name = one.ifname.as_str();
    let (index, listed) = previous
        .interfaces
        .iter()
        .enumerate()
        .find(|(_, listed)| listed.name == name && listed.sandbox.is_some())
        .ok_or_else(|| format!("prevResult does not list interface {name} of the container"))?;
    let mac: MacAddr = listed
        .mac
        .parse()
        .map_err(|_| format!("prevResult has no valid MAC for interface {name}"))?;
    let addresses: Vec<(IpNet, Option<IpAddr>)> = previous
        .ips
        .iter()
        .filter(|ip| ip.interface == Some(index))
        .map(|ip| (ip.address, ip.gateway))
        .collect();
    if addresses.is_empty() {
        return Err(format!("prevResult has no address for interface {name}"));
    }
    Ok(Interface {
        ifname: one.ifname.clone(),
        network: one.network.name.clone(),
        segment: segment(one.network),
        mac,
        mtu: listed.mtu,
        default_route: one.default && has_default(previous, &addresses),
        routes: routes(previous, &addresses),
        addresses,
        hairpin: one.network.hairpin,
        isolated: one.network.isolated,
        node_addresses: reached(previous, reachable),
        service_cidrs: Vec::new(),
    })
}

fn has_default(previous: &CniResult, addresses: &[(IpNet, Option<IpAddr>)]) -> bool {
    previous.routes.iter().any(|route| {
        route
            .gw
            .is_some_and(|gw| route.dst == everywhere(gw) && has_gateway(addresses, gw))
    })
}

fn routes(previous: &CniResult, addresses: &[(IpNet, Option<IpAddr>)]) -> Vec<Route> {
    previous
        .routes
        .iter()
        .filter(|route| route.dst.prefix_len() > 0 && leaves_by(route, addresses))
        .map(|route| Route {
            dst: route.dst,
            via: route.gw,
            metric: route.priority,
            mtu: route.mtu,
        })
        .collect()
}

/// The node's addresses that the result has a route to.
fn reached(previous: &CniResult, reachable: &[IpAddr]) -> Vec<IpAddr> {
    let has_route = |node: IpAddr| {
        let host = IpNet::from(node);
        previous
            .routes
            .iter()
            .any(|route| route.dst == host && route.gw.is_none())
    };
    reachable
        .iter()
        .copied()
        .filter(|node| has_route(*node))
        .collect()
}

fn has_gateway(addresses: &[(IpNet, Option<IpAddr>)], gw: IpAddr) -> bool {
    addresses.iter().any(|(_, gateway)| *gateway == Some(gw))
}

/// A next hop belongs to the interface on whose subnet it is, or whose gateway it is.
fn leaves_by(route: &ResultRoute, addresses: &[(IpNet, Option<IpAddr>)]) -> bool {
    route.gw.is_some_and(|gw| {
        has_gateway(addresses, gw) || addresses.iter().any(|(address, _)| address.contains(&gw))
    })
}

/// What ipamd compares with its book: MACs and addresses of the result.
pub(crate) fn book(wiring: &Wiring) -> Vec<CheckInterface> {
    wiring
        .interfaces
        .iter()
        .map(|interface| CheckInterface {
            ifname: interface.ifname.to_string(),
            mac: interface.mac.to_string(),
            addresses: interface
                .addresses
                .iter()
                .map(|(address, _)| address.to_string())
                .collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
