//! Ethernet addresses, and the one that Berth derives for an IP address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A 48-bit Ethernet address, written `b6:e7:0a:14:01:64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr([u8; 6]);

/// Why a text or an address cannot be the MAC of an interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseMacError {
    /// Not six hexadecimal octets with colons between.
    #[error("MAC {0:?} is not six hexadecimal octets separated by ':'")]
    Form(String),
    /// The group bit is set, or all octets are zero: no interface may have it.
    #[error("MAC {0} is a group or zero address, which no interface may have")]
    NotUnicast(MacAddr),
}

/// First two octets of a derived MAC: locally administered (bit 1 of the first octet), unicast (bit 0 clear).
const DERIVED_PREFIX: [u8; 2] = [0xb6, 0xe7];

impl MacAddr {
    /// The address made of these octets, in wire order.
    pub const fn from_octets(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// The octets in wire order.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Neither a group address nor all zero.
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }

    /// The MAC that belongs to an IP address where nobody asked for another: `b6:e7` and the four octets of an
    /// IPv4 address, or four octets of the SHA-256 of an IPv6 address.
    ///
    /// Derived from the address, not from the Pod: when an address changes hands, neighbours' ARP entries stay right.
    pub fn derived(address: IpAddr) -> Self {
        let tail = match address {
            IpAddr::V4(v4) => v4.octets(),
            IpAddr::V6(v6) => {
                let digest = Sha256::digest(v6.octets());
                [digest[0], digest[1], digest[2], digest[3]]
            }
        };
        let [a, b] = DERIVED_PREFIX;
        Self([a, b, tail[0], tail[1], tail[2], tail[3]])
    }
}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let form = || ParseMacError::Form(text.chars().take(32).collect());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or_else(form)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(form());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| form())?;
        }
        if parts.next().is_some() {
            return Err(form());
        }
        let mac = Self(octets);
        if mac.is_unicast() {
            Ok(mac)
        } else {
            Err(ParseMacError::NotUnicast(mac))
        }
    }
}

impl TryFrom<String> for MacAddr {
    type Error = ParseMacError;

    fn try_from(text: String) -> Result<Self, ParseMacError> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|octet| write!(f, ":{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_nonsense_is_refused() {
        let mac: MacAddr = "B6:e7:0a:14:01:64".parse().unwrap();
        assert_eq!(mac.to_string(), "b6:e7:0a:14:01:64");
        for text in [
            "",
            "b6:e7:0a:14:01",
            "b6:e7:0a:14:01:64:00",
            "b6:e7:0a:14:01:+4",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
        ] {
            assert!(text.parse::<MacAddr>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn derived_mac_shows_the_address_and_is_local_unicast() {
        let mac = MacAddr::derived("10.20.1.100".parse().unwrap());
        assert_eq!(mac.to_string(), "b6:e7:0a:14:01:64");
        let six = MacAddr::derived("fd00::1".parse().unwrap());
        assert!(six.is_unicast() && six.octets()[0] & 2 == 2);
        assert_ne!(six, MacAddr::derived("fd00::2".parse().unwrap()));
    }
}
