//! The node's own addresses, as a Pod on a bridge would want to reach them. Reads only.
//!
//! Per family: the global addresses on the given links; where those have none, the node's primary address, which is the
//! one it speaks from on its default route, else its first global one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use proto_ids::IfName;

/// The node's addresses could not be listed.
#[derive(Debug, thiserror::Error)]
#[error("list the node's addresses")]
pub struct FindNodeAddressesError {
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// An address of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    link: String,
    address: IpAddr,
}

/// The addresses of the node for Pods on the segment that these links (bridge, uplink) make up.
///
/// # Errors
/// When the kernel does not list addresses. A node without any is no error.
pub fn find(links: &[&IfName]) -> Result<Vec<IpAddr>, FindNodeAddressesError> {
    let held = held()?;
    Ok(choose(&held, links, [primary_v4(), primary_v6()]))
}

fn held() -> Result<Vec<Held>, FindNodeAddressesError> {
    let all = getifaddrs().map_err(|errno| FindNodeAddressesError {
        source: errno.into(),
    })?;
    Ok(all
        .filter(|one| !one.flags.contains(InterfaceFlags::IFF_LOOPBACK))
        .filter_map(|one| {
            let storage = one.address?;
            let address = storage
                .as_sockaddr_in()
                .map(|v4| IpAddr::V4(v4.ip()))
                .or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
            Some(Held {
                link: one.interface_name,
                address,
            })
        })
        .collect())
}

/// Of a connected datagram socket the kernel tells the source address; nothing is sent. The destinations are those of
/// documentation (RFC 5737, RFC 3849): nobody has a special route to them.
fn primary_v4() -> Option<IpAddr> {
    primary(
        Ipv4Addr::UNSPECIFIED.into(),
        Ipv4Addr::new(192, 0, 2, 1).into(),
    )
}

fn primary_v6() -> Option<IpAddr> {
    primary(
        Ipv6Addr::UNSPECIFIED.into(),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    )
}

fn primary(from: IpAddr, to: IpAddr) -> Option<IpAddr> {
    // Port 9: "discard". Which one does not matter.
    let socket = UdpSocket::bind((from, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn choose(held: &[Held], links: &[&IfName], primary: [Option<IpAddr>; 2]) -> Vec<IpAddr> {
    let mut chosen = Vec::new();
    for (is_v4, primary) in [true, false].into_iter().zip(primary) {
        let of_family: Vec<_> = held
            .iter()
            .filter(|one| one.address.is_ipv4() == is_v4 && is_global(one.address))
            .collect();
        let on_links: Vec<_> = of_family
            .iter()
            .filter(|one| links.iter().any(|link| link.as_str() == one.link))
            .map(|one| one.address)
            .collect();
        if on_links.is_empty() {
            let first = of_family.first().map(|one| one.address);
            chosen.extend(primary.filter(|address| is_global(*address)).or(first));
        } else {
            chosen.extend(on_links);
        }
    }
    let mut seen = Vec::new();
    chosen.retain(|address| {
        !seen.contains(address) && {
            seen.push(*address);
            true
        }
    });
    chosen
}

/// Neither loopback nor link-local nor unspecified.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(list: &[(&str, &str)]) -> Vec<Held> {
        list.iter()
            .map(|(link, address)| Held {
                link: (*link).to_owned(),
                address: address.parse().unwrap(),
            })
            .collect()
    }

    /// Links, primary addresses, and what is chosen.
    type Case<'a> = (&'a [&'a IfName], [Option<IpAddr>; 2], &'a [&'a str]);

    #[test]
    fn addresses_on_the_segment_win_over_the_primary_per_family() {
        let all = held(&[
            ("mgmt0", "192.168.0.9"),
            ("mgmt0", "fd01::9"),
            ("br-eth0", "10.20.1.5"),
            ("br-eth0", "10.20.1.6"),
            ("br-eth0", "fe80::1"),
            ("br-eth0", "169.254.3.4"),
            ("eth0", "10.20.1.5"),
        ]);
        let bridge = "br-eth0".parse().unwrap();
        let uplink = "eth0".parse().unwrap();
        let other: IfName = "br-eth1".parse().unwrap();
        let v4 = "192.168.0.9".parse().ok();
        let cases: &[Case<'_>] = &[
            (
                &[&bridge, &uplink],
                [v4, None],
                &["10.20.1.5", "10.20.1.6", "fd01::9"],
            ),
            (&[&other], [v4, None], &["192.168.0.9", "fd01::9"]),
            (
                &[&other],
                ["10.20.1.6".parse().ok(), "fd01::9".parse().ok()],
                &["10.20.1.6", "fd01::9"],
            ),
        ];
        for (links, primary, wanted) in cases {
            let chosen: Vec<_> = choose(&all, links, *primary)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(chosen, *wanted);
        }
    }

    #[test]
    fn node_without_addresses_has_none() {
        let bridge = "br-eth0".parse().unwrap();
        assert!(choose(&[], &[&bridge], [None, None]).is_empty());
    }
}
