//! A whole Ethernet frame that carries one ARP or ND message, and what such a frame tells.

use std::net::IpAddr;

use proto_ids::MacAddr;

use crate::{arp, nd};

pub(crate) const BROADCAST: MacAddr = MacAddr::from_octets([0xff; 6]);
/// Bytes of an Ethernet header without a VLAN tag.
pub(crate) const HEADER_BYTES: usize = 14;
const TAG_BYTES: usize = 4;
const ETHERTYPE_VLAN: u16 = 0x8100;
/// Outer tag of provider bridges (IEEE 802.1ad).
const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;

/// An Ethernet frame, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Vec<u8>);

/// What an ARP or ND message tells about one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Observation {
    /// How the address is spoken of.
    pub kind: Kind,
    /// The address that is claimed or probed.
    pub address: IpAddr,
    /// Who claims or probes it: the link-layer address inside the message, else the frame's source.
    pub mac: MacAddr,
    /// The source of the frame; differs from `mac` behind proxies and some bonds.
    pub source: MacAddr,
    /// With [`Kind::Request`]: the address that is asked for.
    pub asked: Option<IpAddr>,
    /// The VLAN tag inside the frame. The kernel takes the outer tag off before a packet socket sees the frame.
    pub vlan: Option<u16>,
}

/// How a message speaks of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// "I have it", unasked: gratuitous ARP request or reply, unsolicited neighbour advertisement.
    Announcement,
    /// "I have it", as an answer.
    Reply,
    /// "I have it and ask for another": ARP request or neighbour solicitation with a sender.
    Request,
    /// "Does anybody have it? I want to use it": ARP probe (RFC 5227) or solicitation from `::` (RFC 4862).
    Probe,
}

impl Kind {
    /// Whether the sender says that it has the address; a probe only wants it.
    pub const fn is_claim(self) -> bool {
        !matches!(self, Self::Probe)
    }
}

impl Frame {
    /// Everything that tells neighbours that `mac` has `address` now: gratuitous ARP request and reply (hosts differ in
    /// which of them they heed), or one unsolicited neighbour advertisement with the override flag.
    pub fn announcements(mac: MacAddr, address: IpAddr) -> Vec<Self> {
        match address {
            IpAddr::V4(v4) => arp::announcements(mac, v4),
            IpAddr::V6(v6) => vec![nd::announcement(mac, v6)],
        }
    }

    /// Asks whether anybody has `address`, without saying that the sender has one (RFC 5227, RFC 4862).
    pub fn probe(mac: MacAddr, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => arp::probe(mac, v4),
            IpAddr::V6(v6) => nd::probe(mac, v6),
        }
    }

    /// Asks for `target` in the name of `own`. Addresses of two families make a probe for `target`.
    pub fn request(mac: MacAddr, own: IpAddr, target: IpAddr) -> Self {
        match (own, target) {
            (IpAddr::V4(own), IpAddr::V4(target)) => arp::request(mac, own, target),
            (IpAddr::V6(own), IpAddr::V6(target)) => nd::request(mac, own, target),
            (_, target) => Self::probe(mac, target),
        }
    }

    /// The same for one host instead of for all: who knows the MAC wakes nobody else. Not for solicitations, which only their group hears.
    #[must_use]
    pub fn addressed(mut self, to: MacAddr) -> Self {
        if let Some(destination) = self.0.get_mut(..6) {
            destination.copy_from_slice(&to.octets());
        }
        self
    }

    /// What the frame tells; `None` for anything that is not one well-formed ARP or ND message about a unicast address.
    pub fn parse(bytes: &[u8]) -> Option<Observation> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let source = mac_at(header, 6)?;
        let (ethertype, vlan, payload) = match u16_at(header, 12)? {
            ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN => {
                let (tag, payload) = rest.split_at_checked(TAG_BYTES)?;
                // VLAN 0 is a priority tag: the frame is of no VLAN (IEEE 802.1Q, 9.6).
                let id = u16_at(tag, 0)? & 0x0fff;
                (u16_at(tag, 2)?, Some(id).filter(|id| *id != 0), payload)
            }
            ethertype => (ethertype, None, rest),
        };
        let said = match ethertype {
            arp::ETHERTYPE => arp::parse(payload)?,
            nd::ETHERTYPE => nd::parse(payload, source)?,
            _ => return None,
        };
        Some(Observation {
            kind: said.kind,
            address: said.address,
            mac: said.mac,
            source,
            asked: said.asked,
            vlan,
        })
    }

    /// The bytes from the destination MAC on.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn new(destination: MacAddr, source: MacAddr, ethertype: u16, body: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(&destination.octets());
        bytes.extend_from_slice(&source.octets());
        bytes.extend_from_slice(&ethertype.to_be_bytes());
        bytes.extend_from_slice(body);
        Self(bytes)
    }
}

/// What a message inside a frame tells.
pub(crate) struct Said {
    pub(crate) kind: Kind,
    pub(crate) address: IpAddr,
    pub(crate) mac: MacAddr,
    pub(crate) asked: Option<IpAddr>,
}

pub(crate) fn octets_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    octets_at(bytes, at).map(u16::from_be_bytes)
}

/// A unicast MAC; nobody can have another one.
pub(crate) fn mac_at(bytes: &[u8], at: usize) -> Option<MacAddr> {
    octets_at(bytes, at)
        .map(MacAddr::from_octets)
        .filter(|mac| mac.is_unicast())
}

#[cfg(test)]
mod tests;
