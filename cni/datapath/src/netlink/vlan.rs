//! VLANs: sub-interfaces, and which VLANs the ports of a filtering bridge carry.

use netlink_packet_route::link::{
    AfSpecBridge, BridgeFlag, BridgeVlanInfo, BridgeVlanInfoFlags, InfoData, InfoKind, InfoVlan,
    LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use proto_ids::IfName;

use super::link::{message, name, of_index};
use super::{NetlinkError, Request, Socket};

/// Makes a VLAN sub-interface of a NIC.
pub(crate) fn create_device(sub_interface: &IfName, nic: u32, id: u16) -> Request {
    Request::create(RouteNetlinkMessage::NewLink(message(vec![
        name(sub_interface),
        LinkAttribute::Link(nic),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vlan),
            LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(id)])),
        ]),
    ])))
}

/// How a VLAN is carried by a port of a VLAN-filtering bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tagging {
    /// Frames without tag belong to this VLAN.
    Access,
    /// Frames of this VLAN carry its tag.
    Tagged,
}

/// Lets a port of a VLAN-filtering bridge carry a VLAN.
pub(crate) fn add(index: u32, id: u16, tagging: Tagging) -> Request {
    let mut message = about(index, id, tagging);
    message.header.interface_family = AddressFamily::Bridge;
    Request::plain(RouteNetlinkMessage::SetLink(message))
}

/// Lets the bridge device itself, and so the node, be in a VLAN.
pub(crate) fn join(bridge: u32, id: u16) -> Request {
    let mut message = about(bridge, id, Tagging::Tagged);
    message.header.interface_family = AddressFamily::Bridge;
    for attribute in &mut message.attributes {
        if let LinkAttribute::AfSpecBridge(specs) = attribute {
            specs.insert(0, AfSpecBridge::Flags(BridgeFlag::LowerDev));
        }
    }
    Request::plain(RouteNetlinkMessage::SetLink(message))
}

/// Keeps a VLAN from a port of a VLAN-filtering bridge.
pub(crate) fn remove(index: u32, id: u16) -> Request {
    let mut message = about(index, id, Tagging::Tagged);
    message.header.interface_family = AddressFamily::Bridge;
    Request::plain(RouteNetlinkMessage::DelLink(message))
}

fn about(index: u32, id: u16, tagging: Tagging) -> LinkMessage {
    let flags = match tagging {
        Tagging::Access => BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged,
        Tagging::Tagged => BridgeVlanInfoFlags::empty(),
    };
    of_index(
        index,
        vec![LinkAttribute::AfSpecBridge(vec![AfSpecBridge::VlanInfo(
            BridgeVlanInfo { flags, vid: id },
        )])],
    )
}

/// Which VLANs each port of a VLAN-filtering bridge carries: interface index, VLAN, whether untagged.
pub(crate) fn all(socket: &mut Socket) -> Result<Vec<(u32, u16, Tagging)>, NetlinkError> {
    let mut request = message(vec![LinkAttribute::ExtMask(vec![LinkExtentMask::Brvlan])]);
    request.header.interface_family = AddressFamily::Bridge;
    let mut found = Vec::new();
    for message in socket.dump(&RouteNetlinkMessage::GetLink(request))? {
        let RouteNetlinkMessage::NewLink(message) = message else {
            continue;
        };
        let index = message.header.index;
        for attribute in message.attributes {
            let LinkAttribute::AfSpecBridge(specs) = attribute else {
                continue;
            };
            found.extend(specs.into_iter().filter_map(|spec| match spec {
                AfSpecBridge::VlanInfo(info) => Some((index, info.vid, tagging(info.flags))),
                _ => None,
            }));
        }
    }
    Ok(found)
}

fn tagging(flags: BridgeVlanInfoFlags) -> Tagging {
    if flags.contains(BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged) {
        Tagging::Access
    } else {
        Tagging::Tagged
    }
}
