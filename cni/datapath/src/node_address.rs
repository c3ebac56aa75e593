//! The node's own addresses, as a Pod on a segment would want to reach them. Reads only.
//!
//! Per family: the global addresses on the given links; where those have none, the node's primary address, which is the
//! one it speaks from on its default route, else its first global one. Addresses that come and go (deprecated,
//! temporary) are passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use netlink_packet_route::address::{AddressHeaderFlags, AddressMessage};
use nix::net::if_::if_nametoindex;
use proto_ids::IfName;

use crate::netlink::{NetlinkError, Socket, address};

/// The node's addresses could not be listed.
#[derive(Debug, thiserror::Error)]
#[error("list the node's addresses")]
pub struct ObserveNodeAddressesError(#[source] NetlinkError);

/// An address of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    index: u32,
    address: IpAddr,
}

/// The node's addresses as they were when it was looked; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAddresses {
    held: Vec<Held>,
    /// IPv4, IPv6.
    primary: [Option<IpAddr>; 2],
}

impl NodeAddresses {
    /// Lists the addresses of the calling thread's namespace. One dump of addresses, none of links: a node has hundreds
    /// of ports, and none of them has an address.
    ///
    /// # Errors
    /// When the kernel does not list them. A node without any is no error.
    pub fn observe() -> Result<Self, ObserveNodeAddressesError> {
        let all = Socket::open()
            .and_then(|mut socket| address::all(&mut socket))
            .map_err(ObserveNodeAddressesError)?;
        Ok(Self {
            held: all.iter().filter_map(held).collect(),
            primary: [primary_v4(), primary_v6()],
        })
    }

    /// The addresses of the node for Pods on the segment that these links (bridge, uplink) make up.
    pub fn reached_on(&self, links: &[&IfName]) -> Vec<IpAddr> {
        let indexes: Vec<_> = links
            .iter()
            .filter_map(|link| if_nametoindex(link.as_str()).ok())
            .collect();
        self.choose(&indexes)
    }

    fn choose(&self, links: &[u32]) -> Vec<IpAddr> {
        let mut chosen: Vec<IpAddr> = Vec::new();
        let mut choose = |address| {
            if !chosen.contains(&address) {
                chosen.push(address);
            }
        };
        for (is_v4, primary) in [true, false].into_iter().zip(self.primary) {
            let mut of_family = self
                .held
                .iter()
                .filter(|one| one.address.is_ipv4() == is_v4);
            let mut on_links = of_family
                .clone()
                .filter(|one| links.contains(&one.index))
                .peekable();
            if on_links.peek().is_some() {
                on_links.for_each(|one| choose(one.address));
            } else if let Some(address) = primary.or_else(|| Some(of_family.next()?.address)) {
                choose(address);
            }
        }
        chosen
    }
}

fn held(message: &AddressMessage) -> Option<Held> {
    let passing = AddressHeaderFlags::Deprecated | AddressHeaderFlags::Tentative;
    // The flag means "temporary" of an IPv6 address, and "second of its subnet" of an IPv4 one, which is as good as the first.
    let address = address::net(message)?.addr();
    let temporary =
        address.is_ipv6() && message.header.flags.contains(AddressHeaderFlags::Secondary);
    let lasting = !message.header.flags.intersects(passing) && !temporary;
    (lasting && is_global(address)).then_some(Held {
        index: message.header.index,
        address,
    })
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
    Some(socket.local_addr().ok()?.ip()).filter(|address| is_global(*address))
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

    fn node(held: &[(u32, &str)], primary: [&str; 2]) -> NodeAddresses {
        NodeAddresses {
            held: held
                .iter()
                .map(|(index, address)| Held {
                    index: *index,
                    address: address.parse().unwrap(),
                })
                .collect(),
            primary: primary.map(|address| address.parse().ok()),
        }
    }

    #[test]
    fn addresses_on_the_segment_win_over_the_primary_per_family() {
        const MGMT: u32 = 2;
        const UPLINK: u32 = 3;
        const BRIDGE: u32 = 4;
        const OTHER: u32 = 5;
        let held = [
            (MGMT, "192.168.0.9"),
            (MGMT, "fd01::9"),
            (BRIDGE, "10.20.1.5"),
            (BRIDGE, "10.20.1.6"),
            (UPLINK, "10.20.1.5"),
        ];
        let cases: [(&[u32], [&str; 2], &[&str]); 4] = [
            (
                &[BRIDGE, UPLINK],
                ["192.168.0.9", ""],
                &["10.20.1.5", "10.20.1.6", "fd01::9"],
            ),
            (
                &[OTHER],
                ["10.20.1.6", "fd01::9"],
                &["10.20.1.6", "fd01::9"],
            ),
            // No default route: the first one.
            (&[OTHER], ["", ""], &["192.168.0.9", "fd01::9"]),
            (&[], ["", ""], &["192.168.0.9", "fd01::9"]),
        ];
        for (links, primary, wanted) in cases {
            let chosen: Vec<_> = node(&held, primary)
                .choose(links)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(chosen, wanted);
        }
    }

    #[test]
    fn node_without_addresses_has_none() {
        assert!(node(&[], ["", ""]).choose(&[1]).is_empty());
    }

    #[test]
    fn only_global_addresses_count() {
        for (address, global) in [
            ("10.0.0.1", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("169.254.3.4", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("fe80::1", false),
            ("::", false),
        ] {
            assert_eq!(is_global(address.parse().unwrap()), global, "{address}");
        }
    }
}
