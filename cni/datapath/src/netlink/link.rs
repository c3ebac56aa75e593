//! Links as they are, and veth pairs; bridges and VLANs have modules of their own.

use std::os::fd::RawFd;

use netlink_packet_core::DefaultNla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, Inet6DevConf, InetDevConf, InfoData,
    InfoKind, InfoPortData, InfoVeth, InfoVlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo,
    LinkMessage,
};
use proto_ids::{IfName, MacAddr};

use super::bridge::{self, Bridge, BridgePort};
use super::{NetlinkError, Reply, Request, Socket};

/// `IFLA_IFALIAS` of `linux/if_link.h`.
const IFLA_IFALIAS: u16 = 20;
/// Packets an interface may queue; the kernel's own default for Ethernet, which veth does not take by itself.
const TXQLEN: u32 = 1000;

/// What is looked at of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) kind: Option<String>,
    pub(crate) up: bool,
    /// Up, and the other end answers.
    pub(crate) carrier: bool,
    /// Operational: the kernel has opened its queue. With carrier but not running, what is sent is dropped silently.
    pub(crate) running: bool,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) mtu: u32,
    pub(crate) alias: Option<String>,
    pub(crate) group: u32,
    pub(crate) master: Option<u32>,
    /// The other end of a veth, or the NIC below a VLAN sub-interface.
    pub(crate) lower: Option<u32>,
    pub(crate) vlan: Option<u16>,
    pub(crate) bridge: Option<Bridge>,
    pub(crate) port: Option<BridgePort>,
    pub(crate) ipv4: Option<InetDevConf>,
    pub(crate) ipv6: Option<Ipv6Conf>,
}

/// The IPv6 settings of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ipv6Conf {
    pub(crate) settings: Inet6DevConf,
    pub(crate) addresses_by_itself: bool,
}

/// A veth pair to be: both ends with their final names, MACs and MTU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) port: IfName,
    pub(crate) port_mac: MacAddr,
    pub(crate) inside: IfName,
    pub(crate) inside_mac: MacAddr,
    pub(crate) mtu: u32,
    pub(crate) bridge: u32,
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            up: flags.contains(LinkFlags::Up),
            carrier: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
            running: flags.contains(LinkFlags::Running),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(bytes) => {
                    link.mac = <[u8; 6]>::try_from(bytes).ok().map(MacAddr::from_octets);
                }
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::Group(group) => link.group = group,
                LinkAttribute::Controller(master) => link.master = Some(master),
                LinkAttribute::Link(lower) => link.lower = Some(lower),
                LinkAttribute::LinkInfo(infos) => infos.into_iter().for_each(|i| link.learn(i)),
                LinkAttribute::AfSpecUnspec(specs) => specs.into_iter().for_each(|s| link.tell(s)),
                _ => {}
            }
        }
        link
    }
}

impl Link {
    fn learn(&mut self, info: LinkInfo) {
        match info {
            LinkInfo::Kind(kind) => self.kind = Some(kind.to_string()),
            LinkInfo::Data(InfoData::Bridge(settings)) => {
                self.bridge = Some(bridge::settings(&settings));
            }
            LinkInfo::Data(InfoData::Vlan(settings)) => {
                self.vlan = settings.iter().find_map(|setting| match setting {
                    InfoVlan::Id(id) => Some(*id),
                    _ => None,
                });
            }
            LinkInfo::PortData(InfoPortData::BridgePort(settings)) => {
                self.port = Some(bridge::port_settings(&settings));
            }
            _ => {}
        }
    }

    fn tell(&mut self, spec: AfSpecUnspec) {
        match spec {
            AfSpecUnspec::Inet(settings) => {
                self.ipv4 = settings.into_iter().find_map(|setting| match setting {
                    AfSpecInet::DevConf(conf) => Some(conf),
                    _ => None,
                });
            }
            AfSpecUnspec::Inet6(settings) => {
                let mut conf = None;
                let mut addresses_by_itself = true;
                for setting in settings {
                    match setting {
                        AfSpecInet6::DevConf(found) => conf = Some(found),
                        AfSpecInet6::AddrGenMode(mode) => {
                            addresses_by_itself = mode != In6AddrGenMode::None;
                        }
                        _ => {}
                    }
                }
                self.ipv6 = conf.map(|settings| Ipv6Conf {
                    settings,
                    addresses_by_itself,
                });
            }
            _ => {}
        }
    }

    pub(crate) fn is_kind(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}

pub(super) fn message(attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = attributes;
    message
}

pub(super) fn of_index(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = message(attributes);
    message.header.index = index;
    message
}

pub(super) fn set(index: u32, attributes: Vec<LinkAttribute>) -> Request {
    Request::plain(RouteNetlinkMessage::SetLink(of_index(index, attributes)))
}

pub(super) fn name(name: &IfName) -> LinkAttribute {
    LinkAttribute::IfName(name.as_str().to_owned())
}

pub(super) fn mac(mac: MacAddr) -> LinkAttribute {
    LinkAttribute::Address(mac.octets().to_vec())
}

/// Makes a veth pair: the port here, enslaved, the inside end in the namespace `inside`. One message: no end ever
/// bears another name or MAC, so there is nothing for udev to rename or re-address.
pub(crate) fn create_pair(pair: &Pair, port_mtu: u32, inside: RawFd) -> Request {
    let peer = message(vec![
        name(&pair.inside),
        mac(pair.inside_mac),
        LinkAttribute::Mtu(pair.mtu),
        LinkAttribute::TxQueueLen(TXQLEN),
        LinkAttribute::NetNsFd(inside),
    ]);
    Request::create(RouteNetlinkMessage::NewLink(message(vec![
        name(&pair.port),
        mac(pair.port_mac),
        LinkAttribute::Mtu(port_mtu),
        LinkAttribute::TxQueueLen(TXQLEN),
        LinkAttribute::Controller(pair.bridge),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ])))
}

/// Gives the port its alias, by name: it goes in one batch with the creation, so that a port without alias is never
/// left behind. The kernel takes no alias at creation, and counts a terminating zero against the 255 bytes.
pub(crate) fn describe(port: &IfName, alias: &str) -> Request {
    Request::plain(RouteNetlinkMessage::SetLink(message(vec![
        name(port),
        LinkAttribute::Other(DefaultNla::new(IFLA_IFALIAS, alias.as_bytes().to_vec())),
    ])))
}

/// Brings a link up.
pub(crate) fn raise(index: u32) -> Request {
    let mut message = of_index(index, Vec::new());
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    Request::plain(RouteNetlinkMessage::SetLink(message))
}

/// Brings a port up, in its link group.
pub(crate) fn raise_in_group(index: u32, group: u32) -> Request {
    let mut message = of_index(index, vec![LinkAttribute::Group(group)]);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    Request::plain(RouteNetlinkMessage::SetLink(message))
}

/// Sets the MTU of a link.
pub(crate) fn set_mtu(index: u32, mtu: u32) -> Request {
    set(index, vec![LinkAttribute::Mtu(mtu)])
}

/// Sets the MAC of a link.
pub(crate) fn set_mac(index: u32, address: MacAddr) -> Request {
    set(index, vec![mac(address)])
}

/// Keeps the kernel from giving a link IPv6 addresses of its own making: a port must not speak.
pub(crate) fn no_own_ipv6(index: u32) -> Request {
    set(
        index,
        vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(
            vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)],
        )])],
    )
}

/// Changes the IPv4 settings that are not zero in `settings`.
pub(crate) fn tune_ipv4(index: u32, settings: InetDevConf) -> Request {
    set(
        index,
        vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![
            AfSpecInet::DevConfRequest(settings),
        ])])],
    )
}

/// Removes a link.
pub(crate) fn delete(index: u32) -> Request {
    Request::plain(RouteNetlinkMessage::DelLink(of_index(index, Vec::new())))
}

/// Removes all links of a group at once: the kernel then waits for its readers once, not once for each link.
pub(crate) fn delete_group(group: u32) -> Request {
    Request::plain(RouteNetlinkMessage::DelLink(message(vec![
        LinkAttribute::Group(group),
    ])))
}

/// Reads one link by name.
pub(crate) fn get(link: &str) -> Request {
    Request::plain(RouteNetlinkMessage::GetLink(message(vec![
        LinkAttribute::IfName(link.to_owned()),
        LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
    ])))
}

/// Reads one link by index.
pub(crate) fn get_index(index: u32) -> Request {
    Request::plain(RouteNetlinkMessage::GetLink(of_index(
        index,
        vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])],
    )))
}

/// The link in a reply; `None`: there is none of that name.
pub(crate) fn found(reply: Reply) -> Result<Option<Link>, NetlinkError> {
    match reply {
        Ok(messages) => Ok(messages.into_iter().find_map(link)),
        Err(error) if error.is(&[libc::ENODEV]) => Ok(None),
        Err(error) => Err(error),
    }
}

fn link(message: RouteNetlinkMessage) -> Option<Link> {
    match message {
        RouteNetlinkMessage::NewLink(message) => Some(message.into()),
        _ => None,
    }
}

/// All links of the socket's namespace.
pub(crate) fn all(socket: &mut Socket) -> Result<Vec<Link>, NetlinkError> {
    let request = RouteNetlinkMessage::GetLink(message(vec![LinkAttribute::ExtMask(vec![
        LinkExtentMask::SkipStats,
    ])]));
    Ok(socket
        .dump(&request)?
        .into_iter()
        .filter_map(link)
        .collect())
}
