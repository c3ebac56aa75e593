//! The kernel's links of the node's network namespace, as much of them as health needs. By netlink: a container's /sys may show another
//! namespace's links.
//!
//! Reads links, never changes one. All of them are dumped now and then; a few by name are cheap enough for every look.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{
    BridgePortState, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoVlan, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::Handle;
use tokio_stream::StreamExt;

/// How the alias of a host-side port begins: then come the CNI network and the sandbox.
const PORT_MARK: &str = "berth1 ";

/// The kernel knows no link of that name.
const ENODEV: i32 = 19;

/// What a link is, where it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::health) enum Kind {
    Bridge,
    /// A VLAN device of this id.
    Vlan(u16),
    Bond,
    Veth,
    #[default]
    Other,
}

/// What a NIC has counted since it came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::health) struct Counters {
    /// Frames in and out.
    pub(in crate::health) packets: u64,
    /// Those that were damaged or lost by the NIC or its driver.
    pub(in crate::health) errors: u64,
}

/// One link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::health) struct Link {
    pub(in crate::health) index: u32,
    pub(in crate::health) name: String,
    pub(in crate::health) kind: Kind,
    pub(in crate::health) alias: Option<String>,
    /// The sandbox whose port it is, as its alias says.
    pub(in crate::health) port_of: Option<String>,
    /// The bridge or bond it is in.
    pub(in crate::health) master: Option<u32>,
    /// What a VLAN device stands on.
    pub(in crate::health) lower: Option<u32>,
    /// Somebody wants it up.
    pub(in crate::health) is_up: bool,
    /// It has carrier.
    pub(in crate::health) has_carrier: bool,
    /// Where it is a bridge's port: what the bridge does with its frames.
    pub(in crate::health) bridge_state: Option<BridgePortState>,
    /// How often its carrier came or went.
    pub(in crate::health) carrier_changes: u32,
    pub(in crate::health) counters: Counters,
}

/// Some links, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::health) struct Links(pub(in crate::health) Vec<Link>);

impl Links {
    pub(in crate::health) fn all(&self) -> impl Iterator<Item = &Link> {
        self.0.iter()
    }

    pub(in crate::health) fn named(&self, name: &str) -> Option<&Link> {
        self.0.iter().find(|link| link.name == name)
    }

    pub(in crate::health) fn at(&self, index: u32) -> Option<&Link> {
        self.0.iter().find(|link| link.index == index)
    }

    /// The device of a VLAN on a link.
    pub(in crate::health) fn vlan_on(&self, lower: u32, id: u16) -> Option<&Link> {
        let is_it = |link: &&Link| link.kind == Kind::Vlan(id) && link.lower == Some(lower);
        self.0.iter().find(is_it)
    }
}

/// Why the links are not known.
#[derive(Debug, thiserror::Error)]
pub(in crate::health) enum ReadLinksError {
    /// No netlink socket.
    #[error("no netlink socket can be opened")]
    Open(#[source] io::Error),
    /// The kernel did not answer in full.
    #[error("the kernel does not tell its links")]
    Ask(#[source] rtnetlink::Error),
    /// The socket was closed before all was read.
    #[error("the netlink socket was closed")]
    Closed,
}

/// All links.
///
/// # Errors
/// When netlink does not answer in full.
pub(in crate::health) async fn read_all() -> Result<Links, ReadLinksError> {
    over_netlink(async |handle| {
        let mut stream = std::pin::pin!(handle.link().get().execute());
        let mut links = Vec::new();
        while let Some(message) = stream.next().await {
            links.extend(parse(&message.map_err(ReadLinksError::Ask)?));
        }
        Ok(Links(links))
    })
    .await
}

/// The links of these names that there are.
///
/// # Errors
/// When netlink does not answer.
pub(in crate::health) async fn read_named(names: &[&str]) -> Result<Links, ReadLinksError> {
    over_netlink(async |handle| {
        let mut links = Vec::new();
        for name in names {
            let request = handle.link().get().match_name(*name);
            let mut stream = std::pin::pin!(request.execute());
            match stream.next().await {
                Some(Ok(message)) => links.extend(parse(&message)),
                Some(Err(rtnetlink::Error::NetlinkError(error))) if error.raw_code() == -ENODEV => {
                }
                Some(Err(error)) => return Err(ReadLinksError::Ask(error)),
                None => {}
            }
        }
        Ok(Links(links))
    })
    .await
}

/// The node's addresses on a link.
///
/// # Errors
/// When netlink does not answer in full.
pub(in crate::health) async fn read_addresses(index: u32) -> Result<Vec<IpAddr>, ReadLinksError> {
    over_netlink(async |handle| {
        let request = handle.address().get().set_link_index_filter(index);
        let mut stream = std::pin::pin!(request.execute());
        let mut addresses = Vec::new();
        while let Some(message) = stream.next().await {
            let message = message.map_err(ReadLinksError::Ask)?;
            // A point-to-point address names the other end as "address".
            let own = message.attributes.iter().find_map(|it| match it {
                AddressAttribute::Local(address) => Some(*address),
                _ => None,
            });
            let any = message.attributes.iter().find_map(|it| match it {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            });
            addresses.extend(own.or(any));
        }
        Ok(addresses)
    })
    .await
}

/// A socket for each look: one that is kept would need a task of its own.
async fn over_netlink<T>(
    ask: impl AsyncFnOnce(Handle) -> Result<T, ReadLinksError>,
) -> Result<T, ReadLinksError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(ReadLinksError::Open)?;
    tokio::select! {
        biased;
        answer = ask(handle) => answer,
        () = connection => Err(ReadLinksError::Closed),
    }
}

/// `None` for a link without a name.
fn parse(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        is_up: flags.contains(LinkFlags::Up),
        has_carrier: flags.contains(LinkFlags::LowerUp),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Controller(index) => link.master = Some(*index).filter(|it| *it != 0),
            LinkAttribute::Link(index) => link.lower = Some(*index),
            LinkAttribute::CarrierChanges(count) => link.carrier_changes = *count,
            LinkAttribute::Stats64(stats) => {
                link.counters = Counters {
                    packets: stats.rx_packets.saturating_add(stats.tx_packets),
                    errors: stats.rx_errors.saturating_add(stats.tx_errors),
                }
            }
            LinkAttribute::LinkInfo(about) => take_info(&mut link, about),
            _ => {}
        }
    }
    // A veth names its peer here, by an index of the peer's namespace.
    link.lower = link.lower.filter(|_| matches!(link.kind, Kind::Vlan(_)));
    link.port_of = link.alias.as_deref().and_then(sandbox).map(str::to_owned);
    Some(link).filter(|link| !link.name.is_empty())
}

fn take_info(link: &mut Link, about: &[LinkInfo]) {
    for info in about {
        match info {
            LinkInfo::Kind(InfoKind::Bridge) => link.kind = Kind::Bridge,
            LinkInfo::Kind(InfoKind::Bond) => link.kind = Kind::Bond,
            LinkInfo::Kind(InfoKind::Veth) => link.kind = Kind::Veth,
            LinkInfo::Data(InfoData::Vlan(facts)) => {
                let id = facts.iter().find_map(|fact| match fact {
                    InfoVlan::Id(id) => Some(*id),
                    _ => None,
                });
                link.kind = id.map_or(Kind::Other, Kind::Vlan);
            }
            LinkInfo::PortData(InfoPortData::BridgePort(facts)) => {
                link.bridge_state = facts.iter().find_map(|fact| match fact {
                    InfoBridgePort::State(state) => Some(*state),
                    _ => None,
                });
            }
            _ => {}
        }
    }
}

fn sandbox(alias: &str) -> Option<&str> {
    let mut fields = alias.strip_prefix(PORT_MARK)?.split(' ');
    fields.nth(1).filter(|sandbox| !sandbox.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alias_of_a_port_names_its_sandbox() {
        let ours = "berth1 bank abc eth0 net1 internal b6:e7:0a:14:01:64 10.20.1.100/24 prod/db-0";
        assert_eq!(sandbox(ours), Some("abc"));
        for foreign in [
            "",
            "berth1",
            "berth1 bank",
            "berth-segment1 plain eth0 whole",
            "uplink",
        ] {
            assert_eq!(sandbox(foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn message_is_read_as_far_as_it_goes() {
        let mut message = LinkMessage::default();
        assert_eq!(parse(&message), None);
        message.header.index = 7;
        message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
        message.attributes = vec![
            LinkAttribute::IfName("eth0".into()),
            LinkAttribute::Controller(4),
            LinkAttribute::Link(9),
            LinkAttribute::CarrierChanges(3),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::State(
                    BridgePortState::Blocking,
                )])),
            ]),
        ];
        let link = parse(&message).unwrap();
        assert_eq!((link.index, link.master, link.lower), (7, Some(4), None));
        assert_eq!(link.bridge_state, Some(BridgePortState::Blocking));
        assert!(link.is_up && link.has_carrier && link.carrier_changes == 3);
    }
}
