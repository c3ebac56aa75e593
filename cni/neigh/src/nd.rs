//! Neighbour solicitation and advertisement (RFC 4861): IPv6 header, `ICMPv6` message, link-layer address option.
//!
//! Parsing checks what RFC 4861, 7.1 tells a receiver to check: hop limit 255 (so nobody beyond a router can have sent
//! it), checksum, code, lengths, option lengths, target.

use std::net::{IpAddr, Ipv6Addr};

use proto_ids::MacAddr;

use crate::frame::{Frame, Kind, Said, mac_at, octets_at, u16_at};

pub(crate) const ETHERTYPE: u16 = 0x86dd;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const SOLICITATION: u8 = 135;
pub(crate) const ADVERTISEMENT: u8 = 136;
/// No router lets a packet pass with it (RFC 4861, 3.1).
pub(crate) const HOP_LIMIT: u8 = 255;
const HEADER_BYTES: usize = 40;
/// Type, code, checksum, flags and target.
const FIXED_BYTES: usize = 24;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

pub(crate) fn announcement(mac: MacAddr, address: Ipv6Addr) -> Frame {
    let body = message(
        ADVERTISEMENT,
        OVERRIDE,
        address,
        Some((TARGET_LINK_LAYER, mac)),
    );
    multicast(mac, address, ALL_NODES, body)
}

pub(crate) fn probe(mac: MacAddr, address: Ipv6Addr) -> Frame {
    // A solicitation from the unspecified address carries no link-layer option (RFC 4861, 4.3).
    let body = message(SOLICITATION, 0, address, None);
    multicast(mac, Ipv6Addr::UNSPECIFIED, solicited_node(address), body)
}

pub(crate) fn request(mac: MacAddr, own: Ipv6Addr, target: Ipv6Addr) -> Frame {
    let body = message(SOLICITATION, 0, target, Some((SOURCE_LINK_LAYER, mac)));
    multicast(mac, own, solicited_node(target), body)
}

/// `ff02::1:ff` and the last three octets (RFC 4291, 2.7.1).
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

pub(crate) fn message(
    kind: u8,
    flags: u8,
    target: Ipv6Addr,
    option: Option<(u8, MacAddr)>,
) -> Vec<u8> {
    let mut body = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    body.extend_from_slice(&target.octets());
    if let Some((option, mac)) = option {
        // Length in units of eight octets.
        body.extend_from_slice(&[option, 1]);
        body.extend_from_slice(&mac.octets());
    }
    body
}

/// `destination` is a multicast address; its Ethernet address is `33:33` and the last four octets (RFC 2464, 7).
fn multicast(mac: MacAddr, source: Ipv6Addr, destination: Ipv6Addr, body: Vec<u8>) -> Frame {
    let [.., a, b, c, d] = destination.octets();
    let ethernet = MacAddr::from_octets([0x33, 0x33, a, b, c, d]);
    Frame::new(ethernet, mac, ETHERTYPE, &packet(source, destination, body))
}

pub(crate) fn packet(source: Ipv6Addr, destination: Ipv6Addr, mut body: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(source, destination, &body);
    body[2..4].copy_from_slice(&checksum.to_be_bytes());
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut packet = Vec::with_capacity(HEADER_BYTES + body.len());
    packet.extend_from_slice(&[0x60, 0, 0, 0]);
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[ICMPV6, HOP_LIMIT]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    packet.extend_from_slice(&body);
    packet
}

/// The Internet checksum over pseudo-header and message (RFC 4443, 2.3). Zero over a message that holds its own.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let trailer = [0, 0, 0, ICMPV6];
    let parts: [&[u8]; 5] = [
        &source.octets(),
        &destination.octets(),
        &length,
        &trailer,
        body,
    ];
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        let [high, low] = [pair[0], pair.get(1).copied().unwrap_or(0)];
        sum += u32::from(u16::from_be_bytes([high, low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // The fold above keeps the sum within 16 bits.
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

pub(crate) fn parse(packet: &[u8], frame_source: MacAddr) -> Option<Said> {
    let (header, rest) = packet.split_at_checked(HEADER_BYTES)?;
    if header[0] >> 4 != 6 || header[6] != ICMPV6 || header[7] != HOP_LIMIT {
        return None;
    }
    // A short frame is padded on the wire: the header says how long the message is.
    let body = rest.get(..usize::from(u16_at(header, 4)?))?;
    let source = Ipv6Addr::from(octets_at::<16>(header, 8)?);
    let destination = Ipv6Addr::from(octets_at::<16>(header, 24)?);
    let (fixed, options) = body.split_at_checked(FIXED_BYTES)?;
    let target = Ipv6Addr::from(octets_at::<16>(fixed, 8)?);
    if fixed[1] != 0 || target.is_multicast() || checksum(source, destination, body) != 0 {
        return None;
    }
    let asked = Some(IpAddr::V6(target));
    let (kind, address, wanted, asked) = match fixed[0] {
        SOLICITATION if source.is_unspecified() => (Kind::Probe, target, SOURCE_LINK_LAYER, None),
        SOLICITATION => (Kind::Request, source, SOURCE_LINK_LAYER, asked),
        ADVERTISEMENT if fixed[4] & SOLICITED != 0 => {
            (Kind::Reply, target, TARGET_LINK_LAYER, None)
        }
        ADVERTISEMENT => (Kind::Announcement, target, TARGET_LINK_LAYER, None),
        _ => return None,
    };
    let option = link_layer(options, wanted).ok()?;
    if (kind == Kind::Probe && option.is_some())
        || address.is_unspecified()
        || address.is_multicast()
    {
        return None;
    }
    Some(Said {
        kind,
        address: IpAddr::V6(address),
        mac: option.unwrap_or(frame_source),
        asked,
    })
}

/// An option without a length, longer than the message, or with a MAC that no host can have: the message is invalid.
struct Malformed;

/// The link-layer address in the first option of the wanted type.
fn link_layer(mut options: &[u8], wanted: u8) -> Result<Option<MacAddr>, Malformed> {
    let mut found = None;
    while let Some(&kind) = options.first() {
        let length = options.get(1).map_or(0, |units| usize::from(*units) * 8);
        let (option, rest) = options.split_at_checked(length).ok_or(Malformed)?;
        if option.is_empty() {
            return Err(Malformed);
        }
        if kind == wanted && found.is_none() {
            found = Some(mac_at(option, 2).ok_or(Malformed)?);
        }
        options = rest;
    }
    Ok(found)
}
