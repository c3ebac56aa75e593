//! What an ADD shall make: which interfaces, asked of ipamd how, wired how, answered how. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use cni_datapath::segment::EnsuredSegment;
use cni_datapath::wire::Wired;
use cni_datapath::wiring::{self, Interface, Segment, Vlan, Wiring};
use cni_spec::{
    AnnotationKey, Asked, CniResult, NetConf, Network, ParseConfError, ResultInterface, ResultIp,
    ResultRoute, Target, UplinkMode, VlanMode,
};
use ipnet::IpNet;
use proto_ids::{
    AllocateRequest, Attachment, Grant, IfName, InterfaceRequest, MacAddr, NetworkName, Route,
};
use proto_ipam::convert::ConvertError;

/// One interface that an ADD shall make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned<'a> {
    /// Its name inside the Pod.
    pub(crate) ifname: IfName,
    /// The network it joins.
    pub(crate) network: &'a Network,
    /// Addresses asked for, at most one per family.
    pub(crate) addresses: Vec<IpAddr>,
    /// MAC asked for.
    pub(crate) mac: Option<MacAddr>,
    /// Whether the default routes leave here.
    pub(crate) default: bool,
}

/// Where an interface is plugged in on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// The bridge.
    pub(crate) segment: EnsuredSegment,
    /// The node's addresses that the Pod shall reach there.
    pub(crate) node_addresses: Vec<IpAddr>,
}

/// Scope "link" of a route (`RT_SCOPE_LINK`).
const SCOPE_LINK: u8 = 253;

/// The interfaces of the Pod: the networks it asked for, else all, in order. The first is `CNI_IFNAME`, the others are
/// `net1`, `net2`, … (passing over `CNI_IFNAME`, where that is one of them).
pub(crate) fn interfaces<'a>(
    conf: &'a NetConf,
    asked: &Asked,
    ifname: &IfName,
) -> Result<Vec<Planned<'a>>, ParseConfError> {
    if asked.bandwidth && !conf.bandwidth_is_chained {
        return Err(ParseConfError::Unsupported {
            place: "runtimeConfig.bandwidth".to_owned(),
            problem: "berth does not limit rates itself: chain the \"bandwidth\" plugin after it, and either take \
                      \"bandwidth\" out of berth's capabilities or say \"bandwidth\": \"chained\" in its configuration"
                .to_owned(),
        });
    }
    let networks: Vec<&Network> = match &asked.networks {
        None => conf.networks.iter().collect(),
        Some(names) => names
            .iter()
            .map(|name| conf.network(name).ok_or_else(|| unknown(conf, name)))
            .collect::<Result<_, _>>()?,
    };
    // Where the network marked so is not among those chosen, the Pod still needs one way out.
    let default = networks
        .iter()
        .position(|network| network.default)
        .unwrap_or_default();
    let further = (1..)
        .filter_map(|number: u32| format!("net{number}").parse::<IfName>().ok())
        .filter(|name| name != ifname);
    let mut planned: Vec<_> = std::iter::once(ifname.clone())
        .chain(further)
        .zip(networks)
        .enumerate()
        .map(|(index, (ifname, network))| Planned {
            ifname,
            network,
            addresses: Vec::new(),
            mac: asked.mac.filter(|_| index == 0),
            default: index == default,
        })
        .collect();
    for address in &asked.addresses {
        let free = planned.iter_mut().find(|one| {
            !one.addresses
                .iter()
                .any(|other| other.is_ipv4() == address.is_ipv4())
        });
        free.ok_or_else(|| {
            ParseConfError::value(
                "ips",
                format!("{address} is one too many: each interface has one address per family"),
            )
        })?
        .addresses
        .push(*address);
    }
    Ok(planned)
}

fn unknown(conf: &NetConf, name: &NetworkName) -> ParseConfError {
    let known: Vec<_> = conf.networks.iter().map(|n| n.name.as_str()).collect();
    ParseConfError::value(
        AnnotationKey::Networks.as_str(),
        format!(
            "network {name} is not configured on this node, only {}",
            known.join(", ")
        ),
    )
}

/// The segment of a network, in the datapath's words.
pub(crate) fn segment(network: &Network) -> Segment {
    Segment {
        uplink: network.uplink.clone(),
        bridge: network.bridge.clone(),
        mode: network.mode.map(|mode| match mode {
            UplinkMode::Existing => wiring::UplinkMode::Existing,
            UplinkMode::Plain => wiring::UplinkMode::Plain,
            UplinkMode::TakeOver => wiring::UplinkMode::TakeOver,
        }),
        vlan: network.vlan.map(|(id, mode)| Vlan {
            id,
            mode: match mode {
                VlanMode::SubInterface => wiring::VlanMode::SubInterface,
                VlanMode::Filtering => wiring::VlanMode::Filtering,
            },
        }),
        mtu: network.mtu,
    }
}

/// What is asked of ipamd. `heard_on` holds the node's link of each segment, in the order of the interfaces.
pub(crate) fn request(
    attachment: &Attachment,
    target: &Target,
    asked: &Asked,
    planned: &[Planned<'_>],
    heard_on: &[Option<IfName>],
) -> AllocateRequest {
    AllocateRequest {
        attachment: attachment.clone(),
        pod: target.args.pod.clone(),
        pod_uid: target.args.pod_uid.clone(),
        identity: asked.identity.clone(),
        interfaces: planned
            .iter()
            .zip(heard_on)
            .map(|(one, segment)| InterfaceRequest {
                ifname: one.ifname.clone(),
                network: one.network.name.clone(),
                segment: segment.clone(),
                addresses: one.addresses.clone(),
                mac: one.mac,
            })
            .collect(),
    }
}

/// The wiring for a grant.
///
/// # Errors
/// When the grant is not for the interfaces that were asked for.
pub(crate) fn wiring(
    conf: &NetConf,
    attachment: &Attachment,
    planned: &[Planned<'_>],
    sites: &[Site],
    grant: &Grant,
) -> Result<Wiring, ConvertError> {
    let same = planned.len() == grant.interfaces.len()
        && planned
            .iter()
            .zip(&grant.interfaces)
            .all(|(asked, granted)| {
                asked.ifname == granted.ifname && asked.network.name == granted.network
            });
    if !same || planned.len() != sites.len() {
        return Err(ConvertError {
            field: "interfaces",
            problem: "are not those that were asked for".to_owned(),
        });
    }
    let mut interfaces: Vec<Interface> = planned
        .iter()
        .zip(sites)
        .zip(&grant.interfaces)
        .map(|((one, site), granted)| {
            let addresses: Vec<_> = granted
                .addresses
                .iter()
                .map(|assigned| (assigned.address, assigned.gateway))
                .collect();
            Interface {
                ifname: one.ifname.clone(),
                network: one.network.name.clone(),
                segment: site.segment.segment.clone(),
                mac: granted.mac,
                mtu: one.network.mtu,
                routes: routes(&granted.routes, &one.network.routes, &addresses),
                node_addresses: of_families(&site.node_addresses, &addresses),
                addresses,
                default_route: one.default,
                hairpin: one.network.hairpin,
                isolated: one.network.isolated,
                service_cidrs: Vec::new(),
            }
        })
        .collect();
    route_services(&conf.service_cidrs, &mut interfaces);
    Ok(Wiring {
        attachment: attachment.clone(),
        identity: grant.identity.clone(),
        interfaces,
    })
}

/// The pool's routes and the configuration's; for one destination the configuration's. A route of a family in which the
/// interface has no address cannot exist and is left out: a rack may be dual stack and its neighbour not.
fn routes(
    pool: &[Route],
    configured: &[Route],
    addresses: &[(IpNet, Option<IpAddr>)],
) -> Vec<Route> {
    let own: BTreeSet<IpNet> = configured.iter().map(|route| route.dst).collect();
    pool.iter()
        .filter(|route| !own.contains(&route.dst))
        .chain(configured)
        .filter(|route| has_family(addresses, route.dst.addr()))
        .cloned()
        .collect()
}

fn has_family(addresses: &[(IpNet, Option<IpAddr>)], of: IpAddr) -> bool {
    addresses
        .iter()
        .any(|(address, _)| address.addr().is_ipv4() == of.is_ipv4())
}

fn of_families(node: &[IpAddr], addresses: &[(IpNet, Option<IpAddr>)]) -> Vec<IpAddr> {
    node.iter()
        .copied()
        .filter(|address| has_family(addresses, *address))
        .collect()
}

/// Routes each Service CIDR through the interface of the default route, where the node is reached there in the CIDR's
/// family, else through the first interface where it is.
pub(crate) fn route_services(cidrs: &[IpNet], interfaces: &mut [Interface]) {
    for cidr in cidrs {
        let reaches = |interface: &Interface| {
            interface
                .node_addresses
                .iter()
                .any(|node| node.is_ipv4() == cidr.addr().is_ipv4())
        };
        let chosen = interfaces
            .iter()
            .position(|one| one.default_route && reaches(one))
            .or_else(|| interfaces.iter().position(reaches));
        if let Some(index) = chosen {
            interfaces[index].service_cidrs.push(*cidr);
        }
    }
}

/// The answer to the runtime: of each interface the bridge (once), the host-side port and the interface itself.
pub(crate) fn result(wiring: &Wiring, wired: &Wired, netns: &Path) -> CniResult {
    let mut result = CniResult::default();
    // As the datapath has it: what two interfaces would both claim is reached by the first.
    let mut claimed = BTreeSet::new();
    for (interface, made) in wiring.interfaces.iter().zip(&wired.interfaces) {
        let bridge = ResultInterface {
            name: made.bridge.to_string(),
            mac: made.bridge_mac.to_string(),
            mtu: None,
            sandbox: None,
        };
        if !result.interfaces.contains(&bridge) {
            result.interfaces.push(bridge);
        }
        result.interfaces.push(ResultInterface {
            name: made.port.to_string(),
            mac: made.port_mac.to_string(),
            mtu: Some(made.mtu),
            sandbox: None,
        });
        let index = result.interfaces.len();
        result.interfaces.push(ResultInterface {
            name: made.ifname.to_string(),
            mac: made.mac.to_string(),
            mtu: Some(made.mtu),
            sandbox: Some(netns.to_string_lossy().into_owned()),
        });
        result.ips.extend(
            interface
                .addresses
                .iter()
                .map(|(address, gateway)| ResultIp {
                    interface: Some(index),
                    address: *address,
                    gateway: *gateway,
                }),
        );
        result.routes.extend(default_routes(interface));
        result.routes.extend(static_routes(interface));
        result
            .routes
            .extend(node_routes(interface).filter(|route| claimed.insert(route.dst)));
    }
    result
}

fn plain(dst: IpNet, gw: Option<IpAddr>) -> ResultRoute {
    ResultRoute {
        dst,
        gw,
        mtu: None,
        priority: None,
        scope: None,
    }
}

/// The default destination of a family.
pub(crate) fn everywhere(family_of: IpAddr) -> IpNet {
    match family_of {
        IpAddr::V4(_) => IpNet::V4(ipnet::Ipv4Net::default()),
        IpAddr::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
    }
}

fn default_routes(interface: &Interface) -> impl Iterator<Item = ResultRoute> {
    interface
        .addresses
        .iter()
        .filter(|_| interface.default_route)
        .filter_map(|(_, gateway)| *gateway)
        .map(|gateway| plain(everywhere(gateway), Some(gateway)))
}

fn static_routes(interface: &Interface) -> impl Iterator<Item = ResultRoute> {
    interface.routes.iter().map(|route| ResultRoute {
        mtu: route.mtu,
        priority: route.metric,
        ..plain(
            route.dst,
            route.via.or_else(|| gateway(interface, route.dst.addr())),
        )
    })
}

fn gateway(interface: &Interface, family_of: IpAddr) -> Option<IpAddr> {
    interface
        .addresses
        .iter()
        .filter_map(|(_, gateway)| *gateway)
        .find(|gateway| gateway.is_ipv4() == family_of.is_ipv4())
}

fn node_routes(interface: &Interface) -> impl Iterator<Item = ResultRoute> {
    let hosts = interface.node_addresses.iter().map(|node| ResultRoute {
        scope: Some(SCOPE_LINK),
        ..plain(IpNet::from(*node), None)
    });
    let services = interface.service_cidrs.iter().map(|cidr| {
        let node = interface
            .node_addresses
            .iter()
            .find(|node| node.is_ipv4() == cidr.addr().is_ipv4());
        plain(*cidr, node.copied())
    });
    hosts.chain(services)
}

#[cfg(test)]
mod tests;
