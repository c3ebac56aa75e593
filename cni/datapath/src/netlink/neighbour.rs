//! Neighbour entries: which MAC has which address on a link.

use std::net::IpAddr;

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteType;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use proto_ids::MacAddr;

use super::{NetlinkError, Request, Socket, address};

/// An entry of the neighbour table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) permanent: bool,
}

/// Writes an entry. One that is not permanent ages as if it had just been heard, and so never needs removing.
pub(crate) fn set(index: u32, address: IpAddr, mac: MacAddr, permanent: bool) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = address::family(address);
    message.header.ifindex = index;
    message.header.kind = RouteType::Unicast;
    message.header.state = if permanent {
        NeighbourState::Permanent
    } else {
        NeighbourState::Reachable
    };
    message.attributes = vec![
        NeighbourAttribute::Destination(destination(address)),
        NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec()),
    ];
    Request::replace(RouteNetlinkMessage::NewNeighbour(message))
}

fn destination(address: IpAddr) -> NeighbourAddress {
    match address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    }
}

/// All entries of the socket's namespace.
pub(crate) fn all(socket: &mut Socket) -> Result<Vec<Neighbour>, NetlinkError> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = NeighbourMessage::default();
        request.header.family = family;
        for message in socket.dump(&RouteNetlinkMessage::GetNeighbour(request))? {
            if let RouteNetlinkMessage::NewNeighbour(message) = message {
                found.extend(neighbour(&message));
            }
        }
    }
    Ok(found)
}

fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some((*v4).into());
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some((*v6).into());
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice())
                    .ok()
                    .map(MacAddr::from_octets);
            }
            _ => {}
        }
    }
    Some(Neighbour {
        index: message.header.ifindex,
        address: address?,
        mac,
        permanent: message.header.state == NeighbourState::Permanent,
    })
}
