//! Bridges and what their ports may do.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    BridgePortState, BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, LinkAttribute, LinkInfo,
};
use proto_ids::{IfName, MacAddr};

use super::Request;
use super::link::{mac, message, name, of_index, set};

/// The settings of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one per switch of the kernel"
)]
pub(crate) struct Bridge {
    pub(crate) stp: bool,
    pub(crate) forward_delay: u32,
    pub(crate) multicast_snooping: bool,
    pub(crate) vlan_filtering: bool,
    /// Some `nf_call_*` is on.
    pub(crate) netfilter: bool,
}

/// The settings of a port of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BridgePort {
    pub(crate) forwarding: bool,
    pub(crate) hairpin: bool,
    pub(crate) isolated: bool,
}

pub(super) fn settings(settings: &[InfoBridge]) -> Bridge {
    let mut bridge = Bridge::default();
    for setting in settings {
        match setting {
            InfoBridge::StpState(state) => bridge.stp = *state != BridgeStpState::Disabled,
            InfoBridge::ForwardDelay(delay) => bridge.forward_delay = *delay,
            InfoBridge::MulticastSnooping(on) => bridge.multicast_snooping = *on,
            InfoBridge::VlanFiltering(on) => bridge.vlan_filtering = *on,
            InfoBridge::NfCallIpTables(on)
            | InfoBridge::NfCallIp6Tables(on)
            | InfoBridge::NfCallArpTables(on) => bridge.netfilter |= on,
            _ => {}
        }
    }
    bridge
}

pub(super) fn port_settings(settings: &[InfoBridgePort]) -> BridgePort {
    let mut port = BridgePort::default();
    for setting in settings {
        match setting {
            InfoBridgePort::State(state) => port.forwarding = *state == BridgePortState::Forwarding,
            InfoBridgePort::HairpinMode(on) => port.hairpin = *on,
            InfoBridgePort::Isolated(on) => port.isolated = *on,
            _ => {}
        }
    }
    port
}

/// Makes a bridge that forwards at once.
pub(crate) fn create(bridge: &IfName, address: MacAddr) -> Request {
    Request::create(RouteNetlinkMessage::NewLink(message(vec![
        name(bridge),
        mac(address),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(right_settings())),
        ]),
    ])))
}

fn right_settings() -> Vec<InfoBridge> {
    vec![
        InfoBridge::StpState(BridgeStpState::Disabled),
        InfoBridge::ForwardDelay(0),
        // Without a querier on the segment, snooping loses IPv6 neighbour discovery after some minutes.
        InfoBridge::MulticastSnooping(false),
    ]
}

/// Puts a bridge's settings right. Spanning tree goes first: the kernel reads the forward delay before it, and takes
/// none below two seconds while spanning tree is on.
pub(crate) fn tune(index: u32) -> [Request; 2] {
    let off = vec![InfoBridge::StpState(BridgeStpState::Disabled)];
    [change(index, off), change(index, right_settings())]
}

/// Turns VLAN filtering of a bridge on.
pub(crate) fn filter_vlans(index: u32) -> Request {
    change(index, vec![InfoBridge::VlanFiltering(true)])
}

/// Keeps netfilter out of one bridge. Refused where the kernel has no `br_netfilter`: then it is out anyway.
pub(crate) fn bypass_netfilter(index: u32) -> Request {
    change(
        index,
        vec![
            InfoBridge::NfCallIpTables(false),
            InfoBridge::NfCallIp6Tables(false),
            InfoBridge::NfCallArpTables(false),
        ],
    )
}

fn change(index: u32, settings: Vec<InfoBridge>) -> Request {
    // RTM_SETLINK ignores IFLA_INFO_DATA.
    Request::plain(RouteNetlinkMessage::NewLink(of_index(
        index,
        vec![LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(settings)),
        ])],
    )))
}

/// Makes a link a port of a bridge; bridge 0: of none.
pub(crate) fn enslave(index: u32, bridge: u32) -> Request {
    set(index, vec![LinkAttribute::Controller(bridge)])
}

/// Lets a port send frames back where they came from, and keeps it from other isolated ports.
pub(crate) fn set_port(index: u32, hairpin: bool, isolated: bool) -> Request {
    // RTM_SETLINK ignores IFLA_INFO_SLAVE_DATA.
    Request::plain(RouteNetlinkMessage::NewLink(of_index(
        index,
        vec![LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![
                InfoBridgePort::HairpinMode(hairpin),
                InfoBridgePort::Isolated(isolated),
            ])),
        ])],
    )))
}
