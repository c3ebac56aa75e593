//! IP addresses of links.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{NetlinkError, Request, Socket};

/// The family of an address.
pub(crate) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// Adds an address. IPv6 without duplicate address detection: it was done before, and a Pod must not wait for it.
pub(crate) fn add(index: u32, address: IpNet) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    message.header.scope = match address.addr() {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => AddressScope::Link,
        _ => AddressScope::Universe,
    };
    message.attributes = vec![
        AddressAttribute::Local(address.addr()),
        AddressAttribute::Address(address.addr()),
    ];
    match address {
        IpNet::V4(v4) if v4.prefix_len() < 31 => {
            message
                .attributes
                .push(AddressAttribute::Broadcast(v4.broadcast()));
        }
        IpNet::V4(_) => {}
        IpNet::V6(_) => {
            message.header.flags = AddressHeaderFlags::Nodad;
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    Request::create(RouteNetlinkMessage::NewAddress(message))
}

/// All address messages of the socket's namespace.
pub(crate) fn all(socket: &mut Socket) -> Result<Vec<AddressMessage>, NetlinkError> {
    list(socket, AddressMessage::default())
}

fn list(socket: &mut Socket, request: AddressMessage) -> Result<Vec<AddressMessage>, NetlinkError> {
    Ok(socket
        .dump(&RouteNetlinkMessage::GetAddress(request))?
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(message) => Some(message),
            _ => None,
        })
        .collect())
}

/// The address messages of one link.
pub(crate) fn of(socket: &mut Socket, index: u32) -> Result<Vec<AddressMessage>, NetlinkError> {
    let mut request = AddressMessage::default();
    // Kernels since 4.20 filter by it; older ones send everything.
    request.header.index = index;
    let mut messages = list(socket, request)?;
    messages.retain(|message| message.header.index == index);
    Ok(messages)
}

/// The address a message is about, with its prefix length.
pub(crate) fn net(message: &AddressMessage) -> Option<IpNet> {
    // On a point-to-point link IFA_ADDRESS is the peer; IFA_LOCAL, where it is, is always the link's own.
    let pick = |local: bool| {
        message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Local(address) if local => Some(*address),
            AddressAttribute::Address(address) if !local => Some(*address),
            _ => None,
        })
    };
    let address = pick(true).or_else(|| pick(false))?;
    IpNet::new(address, message.header.prefix_len).ok()
}

/// Gives a link the address of a message, for ever; `label`: with the label it had.
pub(crate) fn moved(message: &AddressMessage, to: u32, label: bool) -> Request {
    let mut message = message.clone();
    message.header.index = to;
    message.header.flags = AddressHeaderFlags::empty();
    let v6 = message.header.family == AddressFamily::Inet6;
    let mut flags = AddressFlags::empty();
    for attribute in &message.attributes {
        if let AddressAttribute::Flags(had) = attribute {
            flags = *had & AddressFlags::Noprefixroute;
        }
    }
    if v6 {
        // It is in use on this very host: detection would find ourselves.
        flags |= AddressFlags::Nodad;
    }
    message.attributes.retain(|attribute| match attribute {
        AddressAttribute::Local(_)
        | AddressAttribute::Address(_)
        | AddressAttribute::Broadcast(_)
        | AddressAttribute::RoutePriority(_) => true,
        AddressAttribute::Label(_) => label,
        _ => false,
    });
    message.attributes.push(AddressAttribute::Flags(flags));
    Request::replace(RouteNetlinkMessage::NewAddress(message))
}

/// The messages of a link in the order in which another must be given them to have them in the same order, which decides
/// what address the node speaks from: the kernel puts a new IPv6 address before the others of its scope, an IPv4 one
/// behind them.
pub(crate) fn in_giving_order(
    messages: &[AddressMessage],
) -> impl Iterator<Item = &AddressMessage> {
    let is_v6 = |message: &&AddressMessage| message.header.family == AddressFamily::Inet6;
    let others = messages.iter().filter(move |message| !is_v6(message));
    others.chain(messages.iter().rev().filter(is_v6))
}

/// Takes the address of a message from a link.
pub(crate) fn removed(message: &AddressMessage, from: u32) -> Request {
    let mut message = message.clone();
    message.header.index = from;
    message.attributes.retain(|attribute| {
        matches!(
            attribute,
            AddressAttribute::Local(_) | AddressAttribute::Address(_)
        )
    });
    Request::plain(RouteNetlinkMessage::DelAddress(message))
}
