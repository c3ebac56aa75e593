//! The floor: a program that does for one Pod interface what no plugin can leave out, and nothing else.
//!
//! `add`: a veth pair with its final names, MAC and namespace in one message, the host end into the bridge and up; in
//! the namespace `lo` up, the interface up, its address, the default route. `del`: the host end, in one message. No
//! configuration, no address management, no sysctls, no announcements, no answer: the time of the kernel and of one exec.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, bail};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::net::if_::if_nametoindex;
use nix::sched::CloneFlags;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["add", netns, bridge, port, mac, address, gateway] => {
            add(netns, bridge, port, mac, address, gateway)
        }
        ["del", port] => Netlink::open()?.ask(RouteNetlinkMessage::DelLink(named(port)), 0),
        _ => {
            bail!("usage: bench-floor add NETNS BRIDGE PORT MAC ADDRESS/LEN GATEWAY | del PORT")
        }
    }
}

fn add(
    netns: &str,
    bridge: &str,
    port: &str,
    mac: &str,
    address: &str,
    gateway: &str,
) -> Result<()> {
    let netns = File::open(netns).with_context(|| format!("open {netns}"))?;
    let bridge = if_nametoindex(bridge).with_context(|| format!("find {bridge}"))?;
    let (address, prefix_length) = address.split_once('/').context("address without length")?;
    let address: Ipv4Addr = address.parse()?;
    let mac = mac
        .split(':')
        .map(|octet| u8::from_str_radix(octet, 16))
        .collect::<Result<Vec<_>, _>>()?;

    let host = Netlink::open()?;
    host.ask(
        RouteNetlinkMessage::NewLink(veth(port, mac, &netns)),
        NLM_F_CREATE | NLM_F_EXCL,
    )?;
    let mut plug = up(port);
    plug.attributes.push(LinkAttribute::Controller(bridge));
    host.ask(RouteNetlinkMessage::SetLink(plug), 0)?;

    enter(&netns)?;
    let pod = Netlink::open()?;
    pod.ask(RouteNetlinkMessage::SetLink(up("lo")), 0)?;
    pod.ask(RouteNetlinkMessage::SetLink(up("eth0")), 0)?;
    let index = if_nametoindex("eth0").context("find eth0")?;
    pod.ask(
        RouteNetlinkMessage::NewAddress(assigned(index, address, prefix_length.parse()?)),
        NLM_F_CREATE | NLM_F_EXCL,
    )?;
    pod.ask(
        RouteNetlinkMessage::NewRoute(default_route(gateway.parse()?)),
        NLM_F_CREATE | NLM_F_EXCL,
    )
}

fn named(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link
}

fn up(name: &str) -> LinkMessage {
    let mut link = named(name);
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link
}

fn veth(port: &str, mac: Vec<u8>, netns: &File) -> LinkMessage {
    use std::os::fd::AsRawFd;
    let mut peer = named("eth0");
    peer.attributes.push(LinkAttribute::Address(mac));
    peer.attributes
        .push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    let mut link = named(port);
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    link
}

fn assigned(index: u32, address: Ipv4Addr, prefix_length: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = prefix_length;
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(address)),
        AddressAttribute::Address(IpAddr::V4(address)),
    ];
    message
}

fn default_route(gateway: Ipv4Addr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![RouteAttribute::Gateway(IpAddr::V4(gateway).into())];
    message
}

#[allow(
    clippy::disallowed_methods,
    reason = "one thread, one namespace, and then the process ends"
)]
fn enter(netns: &File) -> Result<()> {
    nix::sched::setns(netns, CloneFlags::CLONE_NEWNET).context("enter the namespace")
}

/// A netlink socket of the namespace in which it was opened.
struct Netlink(Socket);

impl Netlink {
    fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).context("open netlink")?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Sends one request and waits for the kernel's acknowledgement.
    fn ask(&self, message: RouteNetlinkMessage, flags: u16) -> Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.0.send(&bytes, 0)?;
        let (answer, _) = self.0.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)?;
        match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => {
                Err(error.to_io()).context("the kernel refuses")
            }
            _ => Ok(()),
        }
    }
}
