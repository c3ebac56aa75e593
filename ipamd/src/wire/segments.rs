//! Which segments this node has, and which addresses are on our own ports: from the node's links, dumped once and then
//! followed (`RTNLGRP_LINK`), and from what `berth` names.
//!
//! Reads links, never changes one. Always ends up with what the kernel says: where notifications were lost the links
//! are dumped anew. A VLAN-filtering bridge is a segment only by a link that `berth` names: its own socket hears several
//! networks or none, and taking one for another would make false conflicts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipamd_daemon::chain;
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use proto_ids::{IfName, MacAddr, NetworkName, PortAlias};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::handle::NamedSegment;

/// Time until the kernel is asked again after it did not let itself be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A link on which a network is heard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// The network.
    pub(super) network: NetworkName,
    /// The link.
    pub(super) link: IfName,
    /// The link's index: another one under the same name is another link.
    pub(super) index: u32,
}

impl Segment {
    /// The segment as `berth` names it.
    pub(super) fn name(&self) -> NamedSegment {
        NamedSegment {
            network: self.network.clone(),
            link: self.link.clone(),
        }
    }
}

/// What the node's links say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct World {
    /// The segments; the value says whether there is a way out: silence means nothing while the uplink has no carrier.
    pub(super) segments: BTreeMap<Segment, bool>,
    /// The MACs behind our own ports.
    pub(super) ports: HashMap<(NetworkName, IpAddr), MacAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    name: IfName,
    master: Option<u32>,
    /// What a VLAN device stands on.
    lower: Option<u32>,
    alias: Option<PortAlias>,
    running: bool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bridge,
    FilteringBridge,
    Other,
}

type Links = BTreeMap<u32, Link>;
type Named = BTreeMap<NetworkName, IfName>;

#[derive(Debug, thiserror::Error)]
enum FollowLinksError {
    #[error("open a netlink connection")]
    Connect(#[source] io::Error),
    #[error("read the node's links")]
    Dump(#[source] rtnetlink::Error),
    #[error("notifications of links were lost")]
    Lost,
    #[error("the netlink connection ended")]
    Ended,
}

/// Keeps `world` as the kernel says, until cancelled.
pub(super) async fn run(
    token: CancellationToken,
    mut named: mpsc::Receiver<NamedSegment>,
    world: watch::Sender<Arc<World>>,
) {
    let mut told = Named::new();
    loop {
        let follow = follow(&mut told, &mut named, &world);
        let Some(error) = token.run_until_cancelled(follow).await else {
            return;
        };
        warn!(error = %chain(&error), "links are read anew");
        let pause = tokio::time::sleep(READ_AGAIN);
        if token.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

async fn follow(
    told: &mut Named,
    named: &mut mpsc::Receiver<NamedSegment>,
    world: &watch::Sender<Arc<World>>,
) -> FollowLinksError {
    let (connection, handle, notifications) =
        match new_multicast_connection(&[MulticastGroup::Link]) {
            Ok(connected) => connected,
            Err(source) => return FollowLinksError::Connect(source),
        };
    tokio::select! {
        () = connection => FollowLinksError::Ended,
        error = read(&handle, notifications, told, named, world) => error,
    }
}

async fn read<A>(
    handle: &Handle,
    mut notifications: impl Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, A)> + Unpin,
    told: &mut Named,
    named: &mut mpsc::Receiver<NamedSegment>,
    world: &watch::Sender<Arc<World>>,
) -> FollowLinksError {
    let mut links = match dump(handle).await {
        Ok(links) => links,
        Err(source) => return FollowLinksError::Dump(source),
    };
    let mut changed = true;
    loop {
        if changed {
            publish(world, plan(&links, told));
        }
        changed = tokio::select! {
            notification = notifications.next() => match notification {
                None => return FollowLinksError::Ended,
                Some((NetlinkMessage { payload: NetlinkPayload::Overrun(_), .. }, _)) => {
                    return FollowLinksError::Lost;
                }
                Some((message, _)) => take(&mut links, message.payload),
            },
            Some(NamedSegment { network, link }) = named.recv() => {
                told.insert(network, link.clone()) != Some(link)
            }
        };
    }
}

fn publish(world: &watch::Sender<Arc<World>>, new: World) {
    world.send_if_modified(|old| {
        let changed = **old != new;
        if changed {
            *old = Arc::new(new);
        }
        changed
    });
}

async fn dump(handle: &Handle) -> Result<Links, rtnetlink::Error> {
    let mut links = Links::new();
    let mut messages = std::pin::pin!(handle.link().get().execute());
    while let Some(message) = messages.next().await {
        let message = message?;
        links.extend(parse(&message).map(|link| (message.header.index, link)));
    }
    Ok(links)
}

/// Whether the notification changed anything of interest.
fn take(links: &mut Links, payload: NetlinkPayload<RouteNetlinkMessage>) -> bool {
    let NetlinkPayload::InnerMessage(message) = payload else {
        return false;
    };
    let (link, gone) = match &message {
        RouteNetlinkMessage::NewLink(link) => (link, false),
        RouteNetlinkMessage::DelLink(link) => (link, true),
        _ => return false,
    };
    // Bridges tell of their ports in the same group, in messages of their own family: a port that leaves its bridge is
    // "deleted" there.
    if link.header.interface_family != AddressFamily::Unspec {
        return false;
    }
    let index = link.header.index;
    match parse(link).filter(|_| !gone) {
        None => links.remove(&index).is_some(),
        Some(new) => links.insert(index, new.clone()) != Some(new),
    }
}

/// `None` for a link without a usable name.
fn parse(message: &LinkMessage) -> Option<Link> {
    let running = LinkFlags::Running | LinkFlags::LowerUp;
    let mut name = None;
    let mut is_vlan = false;
    let mut link = Link {
        name: "lo".parse().ok()?,
        master: None,
        lower: None,
        alias: None,
        running: message.header.flags.contains(running),
        kind: Kind::Other,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = text.parse().ok(),
            LinkAttribute::Controller(index) => link.master = Some(*index),
            LinkAttribute::Link(index) => link.lower = Some(*index),
            LinkAttribute::IfAlias(text) => link.alias = text.parse().ok(),
            LinkAttribute::LinkInfo(about) => {
                is_vlan = about.contains(&LinkInfo::Kind(InfoKind::Vlan));
                link.kind = about.iter().find_map(bridge).unwrap_or(Kind::Other);
            }
            _ => {}
        }
    }
    // A veth names its peer here, by an index of the peer's namespace.
    link.lower = link.lower.filter(|_| is_vlan);
    link.name = name?;
    Some(link)
}

fn bridge(about: &LinkInfo) -> Option<Kind> {
    let LinkInfo::Data(InfoData::Bridge(facts)) = about else {
        return None;
    };
    let filtering = facts.contains(&InfoBridge::VlanFiltering(true));
    Some(if filtering {
        Kind::FilteringBridge
    } else {
        Kind::Bridge
    })
}

/// The segments: for each network the link that `berth` named last, if it is there; else every bridge with a port of
/// that network.
fn plan(links: &Links, named: &Named) -> World {
    let mut found: BTreeSet<(&NetworkName, u32)> = BTreeSet::new();
    let mut ports = HashMap::new();
    for link in links.values() {
        let Some(alias) = &link.alias else { continue };
        let bridge = |index: &u32| {
            links
                .get(index)
                .is_some_and(|link| link.kind == Kind::Bridge)
        };
        found.extend(
            link.master
                .filter(bridge)
                .map(|index| (&alias.network, index)),
        );
        for address in &alias.addresses {
            ports.insert((alias.network.clone(), address.addr()), alias.mac);
        }
    }
    for (network, name) in named {
        let is_named = |(_, link): &(&u32, &Link)| link.name == *name;
        if let Some((&index, link)) = links.iter().find(is_named) {
            found.retain(|(other, _)| *other != network);
            // The bridge itself says nothing about one VLAN.
            if link.kind != Kind::FilteringBridge {
                found.insert((network, index));
            }
        }
    }
    let segment = |(network, index): (&NetworkName, u32)| {
        let link = links.get(&index)?;
        let segment = Segment {
            network: network.clone(),
            link: link.name.clone(),
            index,
        };
        Some((segment, has_way_out(links, index, link)))
    };
    World {
        segments: found.into_iter().filter_map(segment).collect(),
        ports,
    }
}

/// A bridge, and a VLAN device on one, leads out by a port of the bridge that is not ours and has carrier; any other
/// link by itself.
fn has_way_out(links: &Links, index: u32, link: &Link) -> bool {
    let is_bridge = |index: u32| {
        links
            .get(&index)
            .is_some_and(|link| link.kind != Kind::Other)
    };
    let mut below = [Some(index), link.lower].into_iter().flatten();
    let Some(bridge) = below.find(|index| is_bridge(*index)) else {
        return link.running;
    };
    let leads_out =
        |port: &Link| port.master == Some(bridge) && port.alias.is_none() && port.running;
    link.running && links.values().any(leads_out)
}

#[cfg(test)]
mod tests;
