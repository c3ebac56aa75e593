//! Which addresses the world uses: pure arithmetic from a rack's number.
//!
//! Networks `10.20.R.0/24`, `fd00:20:R::/64` (external) and `10.30.R.0/24`, `fd00:30:R::/64` (internal); `.1` is the TOR,
//! from `.10` nodes, from `.240` outside hosts. `.100` to `.199` are free for Pods.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// One of the two underlay networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Net {
    /// Default route, uplink `eth0`.
    External,
    /// Static routes, uplink `eth1`.
    Internal,
}

impl Net {
    /// Both, in the order of the uplinks.
    pub const ALL: [Self; 2] = [Self::External, Self::Internal];

    /// Name of the network, and of the TOR's bridge.
    pub fn name(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Internal => "internal",
        }
    }

    /// Name of the node's uplink.
    pub fn uplink(self) -> &'static str {
        match self {
            Self::External => "eth0",
            Self::Internal => "eth1",
        }
    }

    pub(crate) fn octet(self) -> u8 {
        match self {
            Self::External => 20,
            Self::Internal => 30,
        }
    }
}

/// The addresses of one rack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RackAddresses {
    /// 1 for the first rack.
    pub number: u8,
}

impl RackAddresses {
    /// The IPv4 subnet, as text with prefix length.
    pub fn subnet4(self, net: Net) -> String {
        format!("{}/24", self.v4(net, 0))
    }

    /// The IPv6 subnet, as text with prefix length.
    pub fn subnet6(self, net: Net) -> String {
        format!("{}/64", self.v6(net, 0))
    }

    /// The TOR's IPv4 address.
    pub fn gateway4(self, net: Net) -> Ipv4Addr {
        self.v4(net, 1)
    }

    /// The TOR's IPv6 address.
    pub fn gateway6(self, net: Net) -> Ipv6Addr {
        self.v6(net, 1)
    }

    /// Both addresses of the TOR.
    pub fn gateways(self, net: Net) -> [IpAddr; 2] {
        [self.gateway4(net).into(), self.gateway6(net).into()]
    }

    /// The IPv4 address with this last byte.
    pub fn v4(self, net: Net, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, net.octet(), self.number, last)
    }

    /// The IPv6 address with this last group.
    pub fn v6(self, net: Net, last: u16) -> Ipv6Addr {
        // The groups read like the IPv4 octets: fd00:20:1:: belongs to 10.20.1.0/24.
        Ipv6Addr::new(
            0xfd00,
            decimal_as_hex(net.octet()),
            decimal_as_hex(self.number),
            0,
            0,
            0,
            0,
            last,
        )
    }

    pub(crate) fn to_router(self) -> Link {
        Link {
            tor4: Ipv4Addr::new(10, 40, self.number, 2),
            router4: Ipv4Addr::new(10, 40, self.number, 1),
            tor6: Ipv6Addr::new(0xfd00, 0x40, decimal_as_hex(self.number), 0, 0, 0, 0, 2),
            router6: Ipv6Addr::new(0xfd00, 0x40, decimal_as_hex(self.number), 0, 0, 0, 0, 1),
        }
    }
}

/// Both ends of the link between a TOR and the router.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) tor4: Ipv4Addr,
    pub(crate) router4: Ipv4Addr,
    pub(crate) tor6: Ipv6Addr,
    pub(crate) router6: Ipv6Addr,
}

fn decimal_as_hex(byte: u8) -> u16 {
    let byte = u16::from(byte);
    ((byte / 100) << 8) | ((byte / 10 % 10) << 4) | (byte % 10)
}

/// The fixed MAC of an uplink or of an outside host's NIC, so that it is the same after a reboot.
pub(crate) fn mac(rack: u8, station: u8, net: Net) -> String {
    format!("02:be:{rack:02x}:{station:02x}:00:{:02x}", net.octet())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_groups_read_like_ipv4_octets() {
        let rack = RackAddresses { number: 12 };
        assert_eq!(rack.subnet6(Net::External), "fd00:20:12::/64");
        assert_eq!(rack.subnet4(Net::Internal), "10.30.12.0/24");
        assert_eq!(rack.gateway6(Net::Internal).to_string(), "fd00:30:12::1");
    }
}
