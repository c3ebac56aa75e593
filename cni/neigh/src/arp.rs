//! ARP for IPv4 over Ethernet (RFC 826): the 28 bytes after the Ethernet header.

use std::net::{IpAddr, Ipv4Addr};

use proto_ids::MacAddr;

use crate::frame::{BROADCAST, Frame, Kind, Said, mac_at, octets_at, u16_at};

pub(crate) const ETHERTYPE: u16 = 0x0806;
/// Hardware type Ethernet, protocol IPv4, address lengths 6 and 4.
const PREAMBLE: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const UNKNOWN: MacAddr = MacAddr::from_octets([0; 6]);

/// One end of a message: link-layer and IP address.
type End = (MacAddr, Ipv4Addr);

pub(crate) fn announcements(mac: MacAddr, address: Ipv4Addr) -> Vec<Frame> {
    vec![
        broadcast(REQUEST, (mac, address), (UNKNOWN, address)),
        // The target of a gratuitous reply is its sender (RFC 5944, 4.6).
        broadcast(REPLY, (mac, address), (mac, address)),
    ]
}

pub(crate) fn probe(mac: MacAddr, address: Ipv4Addr) -> Frame {
    broadcast(REQUEST, (mac, Ipv4Addr::UNSPECIFIED), (UNKNOWN, address))
}

pub(crate) fn request(mac: MacAddr, own: Ipv4Addr, target: Ipv4Addr) -> Frame {
    broadcast(REQUEST, (mac, own), (UNKNOWN, target))
}

fn broadcast(operation: u16, sender: End, target: End) -> Frame {
    Frame::new(
        BROADCAST,
        sender.0,
        ETHERTYPE,
        &body(operation, sender, target),
    )
}

pub(crate) fn body(operation: u16, sender: End, target: End) -> Vec<u8> {
    let mut body = PREAMBLE.to_vec();
    body.extend_from_slice(&operation.to_be_bytes());
    for (mac, address) in [sender, target] {
        body.extend_from_slice(&mac.octets());
        body.extend_from_slice(&address.octets());
    }
    body
}

pub(crate) fn parse(body: &[u8]) -> Option<Said> {
    if octets_at(body, 0)? != PREAMBLE {
        return None;
    }
    let operation = u16_at(body, 6)?;
    let mac = mac_at(body, 8)?;
    let sender = Ipv4Addr::from(octets_at::<4>(body, 14)?);
    let target = Ipv4Addr::from(octets_at::<4>(body, 24)?);
    let (kind, address, asked) = match operation {
        REQUEST if sender.is_unspecified() => (Kind::Probe, target, None),
        REQUEST | REPLY if sender == target => (Kind::Announcement, sender, None),
        REQUEST => (Kind::Request, sender, Some(target.into())),
        REPLY => (Kind::Reply, sender, None),
        _ => return None,
    };
    let host = !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast();
    host.then_some(Said {
        kind,
        address: IpAddr::V4(address),
        mac,
        asked,
    })
}
