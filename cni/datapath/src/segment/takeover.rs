//! Taking over a NIC that carries the node's own addresses, without a gap, or not at all.
//!
//! The addresses are on the bridge before they leave the NIC, and each route is replaced, never removed and added. The
//! snapshot is on disk first; from then on a crash at any moment is continued or put back from it. If a gateway does
//! not answer over the bridge in time, everything is put back.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use cni_neigh::{Announcement, Announcer};
use ipnet::IpNet;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::InetDevConf;
use netlink_packet_route::route::RouteMessage;
use proto_ids::IfName;

use super::EnsureSegmentError;
use super::apply::Maker;
use super::observe::is_link_local;
use super::plan::Step;
use super::snapshot::{Snapshot, SnapshotError, Subject};
use crate::netlink::link::{self, Link};
use crate::netlink::{NetlinkError, Reply, Request, Socket, address, bridge, route};

/// One question to a gateway; it is asked again until the deadline.
const QUESTION: Duration = Duration::from_secs(1);

/// Moves the addresses and routes of the port to the bridge and makes the port a port.
pub(super) fn take_over(maker: &mut Maker<'_>) -> Result<(), EnsureSegmentError> {
    let step = Step::TakeOver;
    let port = maker.find(step, &maker.plan.port)?;
    let bridge = maker.find(step, &maker.plan.bridge)?;
    let snapshot = snapshot(maker, &port, &bridge)?;
    let folder = &maker.node.snapshots;
    let addresses = snapshot.addresses(folder)?;
    let routes = snapshot.routes(folder)?;
    let gateways = snapshot.gateways(folder)?;
    let nets = snapshot.nets(folder)?;
    let moved = forward(maker, &port, &bridge, &addresses, &routes).and_then(|()| {
        announce(&maker.plan.bridge, &bridge, &nets);
        verify(maker, &gateways)
    });
    let Err(failed) = moved else {
        return Ok(());
    };
    let uplink = maker.segment.uplink.clone();
    if let Err(source) = put_back(maker.socket, &port, Some(&bridge), &addresses, &routes) {
        return Err(EnsureSegmentError::PutBack {
            uplink,
            failed: failed.to_string(),
            source,
        });
    }
    announce(&maker.plan.port, &port, &nets);
    Snapshot::remove(folder, &maker.plan.port)?;
    Err(EnsureSegmentError::RolledBack {
        uplink,
        failed: Box::new(failed),
    })
}

/// The snapshot of an interrupted take-over where the NIC lacks some of its addresses; else a new one.
fn snapshot(
    maker: &mut Maker<'_>,
    port: &Link,
    bridge: &Link,
) -> Result<Snapshot, EnsureSegmentError> {
    let folder = &maker.node.snapshots;
    let subject = subject(&maker.plan.port, port);
    let read = |source| EnsureSegmentError::Observe {
        uplink: maker.segment.uplink.clone(),
        source,
    };
    let mut addresses = address::of(maker.socket, port.index).map_err(read)?;
    addresses.retain(|message| address::net(message).is_some_and(|net| !is_link_local(net)));
    let mut routes = route::messages(maker.socket, None).map_err(read)?;
    routes.retain(|message| route::leads_through(message, port.index));
    routes.sort_by_key(route::order);
    if let Some(kept) = Snapshot::load(folder, subject)? {
        let now: Vec<_> = addresses.iter().filter_map(address::net).collect();
        let lacks = kept.nets(folder)?.iter().any(|net| !now.contains(net));
        if lacks || port.master == Some(bridge.index) {
            return Ok(kept);
        }
    }
    if routes.iter().any(route::uses_nexthop_object) {
        return Err(EnsureSegmentError::Conflict {
            uplink: maker.segment.uplink.clone(),
            why: format!(
                "routes through {} use next-hop objects, which cannot be moved: make them plain routes, or make a bridge by hand and use mode existing",
                maker.plan.port
            ),
        });
    }
    let snapshot =
        Snapshot::take(subject, &addresses, &routes).map_err(|source| SnapshotError::Write {
            path: folder.clone(),
            source,
        })?;
    snapshot.store(folder)?;
    Ok(snapshot)
}

/// The snapshot's subject: a NIC has a MAC, or the bridge would not have got one.
pub(super) fn subject<'a>(name: &'a IfName, link: &Link) -> Subject<'a> {
    Subject {
        uplink: name,
        index: link.index,
        mac: link.mac.unwrap_or(proto_ids::MacAddr::from_octets([0; 6])),
    }
}

fn forward(
    maker: &mut Maker<'_>,
    port: &Link,
    bridge: &Link,
    addresses: &[AddressMessage],
    routes: &[RouteMessage],
) -> Result<(), EnsureSegmentError> {
    let step = Step::TakeOver;
    let mut requests = vec![link::raise(bridge.index)];
    requests.extend(port.ipv4.as_ref().map(|conf| inherit(bridge.index, conf)));
    requests.extend(
        address::in_giving_order(addresses).map(|a| address::moved(a, bridge.index, false)),
    );
    requests.push(bridge::enslave(port.index, bridge.index));
    requests.extend(
        routes
            .iter()
            .map(|r| route::moved(r, port.index, bridge.index)),
    );
    maker.all(step, &requests)?;
    let removals: Vec<_> = addresses
        .iter()
        .map(|a| address::removed(a, port.index))
        .collect();
    let replies = maker.socket.batch(&removals);
    let refused = |source| maker.refused(step, source);
    for reply in replies.map_err(refused)? {
        match reply {
            Err(error) if !error.is(&[libc::EADDRNOTAVAIL]) => return Err(refused(error)),
            _ => {}
        }
    }
    // The kernel may have dropped routes with the address that they prefer.
    let again: Vec<_> = routes
        .iter()
        .map(|r| route::moved(r, port.index, bridge.index))
        .collect();
    maker.all(step, &again)
}

/// The bridge treats the node's packets as the NIC did.
fn inherit(bridge: u32, nic: &InetDevConf) -> Request {
    let mut settings = InetDevConf::default();
    settings.forwarding = nic.forwarding;
    settings.rp_filter = nic.rp_filter;
    settings.arp_ignore = nic.arp_ignore;
    settings.arp_announce = nic.arp_announce;
    settings.proxy_arp = nic.proxy_arp;
    link::tune_ipv4(bridge, settings)
}

/// The switch learns the way anew; a failure costs a moment, not the take-over.
fn announce(name: &IfName, link: &Link, addresses: &[IpNet]) {
    let Some(mac) = link.mac else { return };
    if let Ok(announcer) = Announcer::open() {
        let _ = announcer.announce(&[Announcement {
            ifname: name.clone(),
            mac,
            addresses: addresses.iter().map(IpNet::addr).collect(),
        }]);
    }
}

fn verify(
    maker: &Maker<'_>,
    gateways: &[(IpAddr, Option<IpAddr>)],
) -> Result<(), EnsureSegmentError> {
    let deadline = maker.node.gateway_deadline;
    let started = Instant::now();
    for (gateway, own) in gateways {
        loop {
            let left = deadline.saturating_sub(started.elapsed());
            let answer = cni_neigh::resolve(&maker.plan.bridge, *gateway, *own, left.min(QUESTION));
            match answer {
                Ok(Some(_)) => break,
                Ok(None) if started.elapsed() < deadline => {}
                Ok(None) => {
                    return Err(EnsureSegmentError::GatewaySilent {
                        bridge: maker.plan.bridge.clone(),
                        gateway: *gateway,
                        waited: deadline,
                    });
                }
                Err(source) => {
                    return Err(EnsureSegmentError::AskGateway {
                        gateway: *gateway,
                        source,
                    });
                }
            }
        }
    }
    Ok(())
}

/// Gives the NIC back what it carried, and removes the bridge.
pub(super) fn put_back(
    socket: &mut Socket,
    port: &Link,
    bridge: Option<&Link>,
    addresses: &[AddressMessage],
    routes: &[RouteMessage],
) -> Result<(), NetlinkError> {
    // A snapshot's lead through the NIC already.
    let from = bridge.map_or(port.index, |bridge| bridge.index);
    let to_port = |r: &RouteMessage| route::moved(r, from, port.index);
    let routes: Vec<_> = routes.iter().map(to_port).collect();
    let mut requests: Vec<_> = address::in_giving_order(addresses)
        .map(|a| address::moved(a, port.index, true))
        .collect();
    requests.push(bridge::enslave(port.index, 0));
    accepted(socket.batch(&requests)?, &[])?;
    // Replaced while the bridge's still work, so that there is no gap; what is refused now is tried again below.
    socket.batch(&routes)?;
    if let Some(bridge) = bridge {
        accepted(
            socket.batch(&[link::delete(bridge.index)])?,
            &[libc::ENODEV],
        )?;
    }
    // What preferred an address may have gone with the bridge's.
    accepted(socket.batch(&routes)?, &[])
}

fn accepted(replies: Vec<Reply>, but: &[i32]) -> Result<(), NetlinkError> {
    let refusals = replies.into_iter().filter_map(Result::err);
    let mut serious = refusals.filter(|error| !error.is(but));
    serious.next().map_or(Ok(()), Err)
}
