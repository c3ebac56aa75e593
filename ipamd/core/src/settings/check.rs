//! What can be wrong with one pool, and with two together.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::pool::Pool;
use crate::range::{AddressRange, AddressSet, Family, bits};

/// Reports a field and what is wrong with it.
type Report<'a> = &'a mut dyn FnMut(&'static str, String);

/// Smallest MTU that IPv4 works with (RFC 791: every host forwards 68 octets).
const MIN_MTU_V4_BYTES: u32 = 68;
/// Smallest MTU that IPv6 works with (RFC 8200, 5).
const MIN_MTU_V6_BYTES: u32 = 1280;

pub(super) fn pool(pool: &Pool, usable: &AddressSet, report: Report<'_>) {
    let subnet = pool.subnet;
    if subnet.addr() != subnet.network() {
        report(
            "subnet",
            format!("{subnet} has host bits set; write {}", subnet.trunc()),
        );
    }
    for (field, ranges) in [("ranges", &pool.ranges), ("exclude", &pool.exclude)] {
        for range in ranges.iter().filter(|range| !inside(range, subnet)) {
            report(field, format!("{range} is not inside subnet {subnet}"));
        }
    }
    if let Some(gateway) = pool.gateway {
        router("gateway", gateway, pool, report);
    }
    routes(pool, report);
    if usable.is_empty() {
        let field = if pool.ranges.is_empty() {
            "subnet"
        } else {
            "ranges"
        };
        report(
            field,
            "no address is left to hand out: network, broadcast, router and excluded addresses never are"
                .to_owned(),
        );
    }
}

fn routes(pool: &Pool, report: Report<'_>) {
    for route in &pool.routes {
        let dst = route.dst;
        if family(dst) != pool.family() {
            report(
                "routes",
                format!("{dst} is not {}, as the pool is", pool.family()),
            );
            continue;
        }
        if dst.prefix_len() == 0 {
            report(
                "routes",
                format!(
                    "{dst} is a default route; the gateway and the network's place in the Pod make those"
                ),
            );
        } else if dst.addr() != dst.network() {
            report(
                "routes",
                format!("{dst} has host bits set; write {}", dst.trunc()),
            );
        }
        match route.via {
            Some(via) => router("routes", via, pool, report),
            None if pool.gateway.is_none() => report(
                "routes",
                format!("{dst} has no next hop (via), and the pool has no gateway"),
            ),
            None => {}
        }
        let minimum = match pool.family() {
            Family::V4 => MIN_MTU_V4_BYTES,
            Family::V6 => MIN_MTU_V6_BYTES,
        };
        if let Some(mtu) = route.mtu.filter(|&mtu| mtu < minimum) {
            report(
                "routes",
                format!(
                    "{dst} has MTU {mtu}, {} needs at least {minimum}",
                    pool.family()
                ),
            );
        }
    }
}

fn router(field: &'static str, router: IpAddr, pool: &Pool, report: Report<'_>) {
    let subnet = pool.subnet;
    if !subnet.contains(&router) {
        report(field, format!("{router} is not inside subnet {subnet}"));
    } else if pool.unassignable().contains(&router) {
        report(
            field,
            format!("{router} is an address of subnet {subnet} that no host may have"),
        );
    }
}

/// Two pools; what is wrong is reported of the first.
pub(super) fn pair(
    (pool, usable): (&Pool, &AddressSet),
    (other, other_usable): (&Pool, &AddressSet),
    report: Report<'_>,
) {
    if pool.name == other.name {
        report("name", format!("{} is the name of two pools", pool.name));
    }
    // Two networks are two segments: the same addresses may exist on both.
    if pool.network != other.network || pool.family() != other.family() {
        return;
    }
    let (subnet, theirs) = (pool.subnet.trunc(), other.subnet.trunc());
    if subnet == theirs {
        if pool.rack != other.rack {
            report(
                "subnet",
                format!(
                    "{subnet} is also the subnet of {} in rack {}; a subnet belongs to one rack",
                    named(other),
                    other.rack
                ),
            );
        } else if let Some(both) = usable.first_in_both(other_usable) {
            report(
                "ranges",
                format!(
                    "{} is also in {} of the same network{}",
                    pool.family().address(both),
                    named(other),
                    whose(pool, other)
                ),
            );
        }
        if let Some(router) =
            handed_out_router(pool, other_usable).or_else(|| handed_out_router(other, usable))
        {
            report(
                "ranges",
                format!(
                    "{router} is a router for one of the pools {} and {} and handed out by the other; exclude it",
                    pool.name, other.name
                ),
            );
        }
    } else if subnet.contains(&theirs) || theirs.contains(&subnet) {
        report(
            "subnet",
            format!("{subnet} overlaps subnet {theirs} of {}", named(other)),
        );
    }
}

fn named(pool: &Pool) -> String {
    match &pool.node {
        None => format!("pool {}", pool.name),
        Some(node) => format!("pool {} of node {node}", pool.name),
    }
}

/// What follows from an address in pools of two nodes.
fn whose(pool: &Pool, other: &Pool) -> String {
    match (&pool.node, &other.node) {
        (Some(node), Some(theirs)) if node != theirs => {
            format!("; node {node} and node {theirs} would give it to two Pods")
        }
        _ => String::new(),
    }
}

fn handed_out_router(pool: &Pool, usable: &AddressSet) -> Option<IpAddr> {
    let inside = |router: &IpAddr| pool.subnet.contains(router) && usable.contains(bits(*router));
    pool.routers().find(inside)
}

fn inside(range: &AddressRange, subnet: IpNet) -> bool {
    subnet.contains(&range.first()) && subnet.contains(&range.last())
}

const fn family(net: IpNet) -> Family {
    match net {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}
