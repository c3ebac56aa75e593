//! Routes of the main table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric,
    RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{NetlinkError, Request, Socket, address};

/// Who made a route: Berth's mark in `ip route` on the node. Not in use in iproute2's list (`rt_protos`).
pub(crate) const NODE_PROTOCOL: u8 = 98;
/// In the Pod the routes are as an administrator would have made them.
pub(crate) const POD_PROTOCOL: u8 = 4;
/// The kernel gives IPv6 routes without metric this one.
const IPV6_METRIC: u32 = 1024;

/// A route through one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) dst: IpNet,
    pub(crate) via: Option<IpAddr>,
    /// The gateway lies outside the prefixes of the interface.
    pub(crate) onlink: bool,
    pub(crate) metric: Option<u32>,
    pub(crate) mtu: Option<u32>,
    /// The source address preferred.
    pub(crate) source: Option<IpAddr>,
    pub(crate) protocol: u8,
}

/// A route as the kernel has it, with the index of its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) index: u32,
    pub(crate) route: Route,
}

impl Route {
    /// A route to a host that is a neighbour.
    pub(crate) fn to_neighbour(host: IpAddr, protocol: u8) -> Self {
        Self {
            dst: host.into(),
            via: None,
            onlink: false,
            metric: None,
            mtu: None,
            source: None,
            protocol,
        }
    }

    /// The metric in force.
    pub(crate) fn effective_metric(&self) -> u32 {
        self.metric.unwrap_or(match self.dst {
            IpNet::V4(_) => 0,
            IpNet::V6(_) => IPV6_METRIC,
        })
    }

    fn message(&self, index: u32) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: address::family(self.dst.addr()),
            destination_prefix_length: self.dst.prefix_len(),
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: self.protocol.into(),
            kind: RouteType::Unicast,
            scope: match (self.dst, self.via) {
                (IpNet::V4(_), None) => RouteScope::Link,
                _ => RouteScope::Universe,
            },
            flags: if self.onlink {
                RouteFlags::Onlink
            } else {
                RouteFlags::empty()
            },
            ..RouteHeader::default()
        };
        let attributes = &mut message.attributes;
        if index != 0 {
            attributes.push(RouteAttribute::Oif(index));
        }
        if self.dst.prefix_len() > 0 {
            attributes.push(RouteAttribute::Destination(self.dst.network().into()));
        }
        if let Some(via) = self.via {
            attributes.push(RouteAttribute::Gateway(via.into()));
        }
        if let Some(metric) = self.metric {
            attributes.push(RouteAttribute::Priority(metric));
        }
        if let Some(source) = self.source {
            attributes.push(RouteAttribute::PrefSource(source.into()));
        }
        if let Some(mtu) = self.mtu {
            attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
        }
        message
    }
}

/// Adds a route through a link; refused with EEXIST where there is one to the same destination with the same metric.
pub(crate) fn add(index: u32, route: &Route) -> Request {
    Request::create(RouteNetlinkMessage::NewRoute(route.message(index)))
}

/// Adds a route through a link, in the place of one to the same destination with the same metric.
pub(crate) fn replace(index: u32, route: &Route) -> Request {
    Request::replace(RouteNetlinkMessage::NewRoute(route.message(index)))
}

/// Removes a route; link 0: through whichever link it leads.
pub(crate) fn delete(index: u32, route: &Route) -> Request {
    let mut message = route.message(index);
    // Of any scope: that of a route through a gateway differs, and is not always known.
    message.header.scope = RouteScope::NoWhere;
    Request::plain(RouteNetlinkMessage::DelRoute(message))
}

/// All route messages of the socket's namespace, of one maker only where one is named.
pub(crate) fn messages(
    socket: &mut Socket,
    protocol: Option<u8>,
) -> Result<Vec<RouteMessage>, NetlinkError> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        request.header.protocol = protocol.map_or(RouteProtocol::Unspec, RouteProtocol::from);
        for message in socket.dump(&RouteNetlinkMessage::GetRoute(request))? {
            if let RouteNetlinkMessage::NewRoute(message) = message {
                found.push(message);
            }
        }
    }
    Ok(found)
}

/// The routes of the main table, of one maker only where one is named.
pub(crate) fn all(
    socket: &mut Socket,
    protocol: Option<u8>,
) -> Result<Vec<Installed>, NetlinkError> {
    Ok(messages(socket, protocol)?
        .iter()
        .filter_map(installed)
        .filter(|found| protocol.is_none_or(|protocol| found.route.protocol == protocol))
        .collect())
}

/// Unicast routes of every table: a chained plugin (`sbr`) may have moved a Pod's routes to a table of their own.
pub(crate) fn in_any_table(socket: &mut Socket) -> Result<Vec<Installed>, NetlinkError> {
    Ok(messages(socket, None)?.iter().filter_map(unicast).collect())
}

fn installed(message: &RouteMessage) -> Option<Installed> {
    unicast(message).filter(|_| message.header.table == RouteHeader::RT_TABLE_MAIN)
}

fn unicast(message: &RouteMessage) -> Option<Installed> {
    let header = &message.header;
    if header.kind != RouteType::Unicast {
        return None;
    }
    let (mut dst, any): (IpAddr, IpAddr) = match header.address_family {
        AddressFamily::Inet => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()),
        _ => return None,
    };
    let mut index = None;
    let mut route = Route::to_neighbour(any, header.protocol.into());
    route.onlink = header.flags.contains(RouteFlags::Onlink);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(found) => index = Some(*found),
            RouteAttribute::Destination(address) => dst = ip(address)?,
            RouteAttribute::Gateway(address) => route.via = ip(address),
            RouteAttribute::PrefSource(address) => route.source = ip(address),
            RouteAttribute::Priority(metric) => route.metric = Some(*metric),
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    route.dst = IpNet::new(dst, header.destination_prefix_length).ok()?;
    Some(Installed {
        index: index?,
        route,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

/// A route message in the words of `ip route`.
pub(crate) fn describe(message: &RouteMessage) -> String {
    let mut text = match destination(message) {
        Some(dst) => format!("{dst}/{}", message.header.destination_prefix_length),
        None => "default".to_owned(),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Gateway(address) => {
                text.extend(ip(address).map(|via| format!(" via {via}")));
            }
            RouteAttribute::PrefSource(address) => {
                text.extend(ip(address).map(|source| format!(" src {source}")));
            }
            RouteAttribute::Priority(metric) => {
                text.extend([" metric ".to_owned(), metric.to_string()]);
            }
            RouteAttribute::Table(table) => text.extend([" table ".to_owned(), table.to_string()]),
            _ => {}
        }
    }
    text
}

fn destination(message: &RouteMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    })
}

/// Whether a route leads through a link, was made by somebody, and can be made anew elsewhere.
pub(crate) fn leads_through(message: &RouteMessage, index: u32) -> bool {
    /// The kernel's own table of local addresses.
    const RT_TABLE_LOCAL: u8 = 255;
    let header = &message.header;
    // The kernel makes its routes (prefixes of addresses) itself when the address comes.
    header.protocol != RouteProtocol::Kernel
        && header.table != RT_TABLE_LOCAL
        && header.kind == RouteType::Unicast
        && !header.flags.contains(RouteFlags::Cloned)
        && message.attributes.iter().any(|attribute| match attribute {
            RouteAttribute::Oif(oif) => *oif == index,
            RouteAttribute::MultiPath(hops) => hops.iter().any(|hop| hop.interface_index == index),
            _ => false,
        })
}

/// Whether a route names its next hop by a next-hop object, which belongs to a link.
pub(crate) fn uses_nexthop_object(message: &RouteMessage) -> bool {
    message
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, RouteAttribute::NhId(_)))
}

/// Makes a route of a message lead through another link. Metric, source, protocol, MTU, table and on-link stay.
pub(crate) fn moved(message: &RouteMessage, from: u32, to: u32) -> Request {
    let mut message = message.clone();
    message.header.flags &= RouteFlags::Onlink;
    message.attributes.retain(|attribute| {
        !matches!(
            attribute,
            RouteAttribute::CacheInfo(_) | RouteAttribute::Expires(_)
        )
    });
    for attribute in &mut message.attributes {
        match attribute {
            RouteAttribute::Oif(oif) if *oif == from => *oif = to,
            RouteAttribute::MultiPath(hops) => {
                for hop in hops.iter_mut().filter(|hop| hop.interface_index == from) {
                    hop.interface_index = to;
                }
            }
            _ => {}
        }
    }
    Request::replace(RouteNetlinkMessage::NewRoute(message))
}

/// The order in which the kernel accepts routes: what is reached without a gateway first.
pub(crate) fn order(message: &RouteMessage) -> (bool, u8) {
    let through_gateway = message.attributes.iter().any(|attribute| {
        matches!(
            attribute,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) | RouteAttribute::MultiPath(_)
        )
    });
    (
        through_gateway,
        u8::MAX - message.header.destination_prefix_length,
    )
}

/// The gateways of a default route.
pub(crate) fn default_gateways(message: &RouteMessage) -> Vec<IpAddr> {
    if message.header.destination_prefix_length != 0 {
        return Vec::new();
    }
    let gateway = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        _ => None,
    };
    let mut gateways: Vec<_> = message.attributes.iter().filter_map(gateway).collect();
    for attribute in &message.attributes {
        if let RouteAttribute::MultiPath(hops) = attribute {
            gateways.extend(
                hops.iter()
                    .flat_map(|h| h.attributes.iter().filter_map(gateway)),
            );
        }
    }
    gateways
}
