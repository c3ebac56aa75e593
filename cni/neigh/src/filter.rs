//! Classic BPF programs, so that user space is woken for ARP and ND only, however busy the interface is.
//!
//! Offsets count from the Ethernet header: a raw packet socket shows it to its filter. The socket's protocol has
//! chosen the ethertype already.

use std::net::{Ipv4Addr, Ipv6Addr};

use libc::{
    BPF_ABS, BPF_B, BPF_JA, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, PACKET_OTHERHOST,
    SKF_AD_OFF, SKF_AD_PKTTYPE,
};
use socket2::SockFilter;

use crate::{frame, nd};

/// Bytes that reach user space of a longer frame; the longest message of ours to parse has some 90.
pub(crate) const SNAP_BYTES: u32 = 512;

/// Lets pass what is addressed to this host. A frame of a VLAN that has no device on this link reaches the link's
/// sockets too, its tag taken off, marked "for another host" (`__netif_receive_skb_core`): it would look like a frame
/// of this segment.
pub(crate) fn arp() -> Vec<SockFilter> {
    vec![
        load(BPF_W, ancillary(SKF_AD_PKTTYPE)),
        unless_equal(PACKET_OTHERHOST.into(), 1),
        refuse(),
        accept(),
    ]
}

/// As [`arp`], and of IPv6 only neighbour solicitations and advertisements.
pub(crate) fn nd() -> Vec<SockFilter> {
    const NEXT_HEADER: u32 = 6;
    const HOP_LIMIT: u32 = 7;
    const ICMP_TYPE: u32 = 40;
    let start = u32::try_from(frame::HEADER_BYTES).unwrap_or(14);
    vec![
        load(BPF_W, ancillary(SKF_AD_PKTTYPE)),
        if_equal(PACKET_OTHERHOST.into(), 7),
        load(BPF_B, start + NEXT_HEADER),
        unless_equal(nd::ICMPV6.into(), 5),
        load(BPF_B, start + HOP_LIMIT),
        unless_equal(nd::HOP_LIMIT.into(), 3),
        load(BPF_B, start + ICMP_TYPE),
        if_equal(nd::SOLICITATION.into(), 2),
        if_equal(nd::ADVERTISEMENT.into(), 1),
        refuse(),
        accept(),
    ]
}

/// Of what [`arp`] lets pass, what a sender says who has `address`.
pub(crate) fn arp_of(address: Ipv4Addr) -> Vec<SockFilter> {
    const SENDER: u32 = 14;
    let start = u32::try_from(frame::HEADER_BYTES).unwrap_or(14);
    vec![
        load(BPF_W, ancillary(SKF_AD_PKTTYPE)),
        if_equal(PACKET_OTHERHOST.into(), 2),
        load(BPF_W, start + SENDER),
        if_equal(address.to_bits(), 1),
        refuse(),
        accept(),
    ]
}

/// Of what [`nd`] lets pass, the advertisements of `address` (to tell by its last four octets; who parses compares the rest) and the
/// solicitations from it.
pub(crate) fn nd_of(address: Ipv6Addr) -> Vec<SockFilter> {
    const SOURCE_END: u32 = 20;
    const ICMP_TYPE: u32 = 40;
    const TARGET_END: u32 = 60;
    let start = u32::try_from(frame::HEADER_BYTES).unwrap_or(14);
    let [.., a, b, c, d] = address.octets();
    let end = u32::from_be_bytes([a, b, c, d]);
    let mut program = nd();
    // The last instruction but one refuses, the last accepts: here the second check begins.
    program.pop();
    program.extend([
        load(BPF_B, start + ICMP_TYPE),
        if_equal(nd::ADVERTISEMENT.into(), 2),
        load(BPF_W, start + SOURCE_END),
        jump(1),
        load(BPF_W, start + TARGET_END),
        if_equal(end, 1),
        refuse(),
        accept(),
    ]);
    program
}

fn jump(skip: u32) -> SockFilter {
    instruction(BPF_JMP | BPF_JA, 0, 0, skip)
}

fn ancillary(field: i32) -> u32 {
    // The kernel takes loads from this "negative" offset for ancillary data (linux/filter.h).
    (SKF_AD_OFF + field).cast_unsigned()
}

fn load(size: u32, at: u32) -> SockFilter {
    instruction(BPF_LD | size | BPF_ABS, 0, 0, at)
}

fn if_equal(value: u32, skip: u8) -> SockFilter {
    instruction(BPF_JMP | BPF_JEQ | BPF_K, skip, 0, value)
}

fn unless_equal(value: u32, skip: u8) -> SockFilter {
    instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, skip, value)
}

fn refuse() -> SockFilter {
    instruction(BPF_RET | BPF_K, 0, 0, 0)
}

fn accept() -> SockFilter {
    instruction(BPF_RET | BPF_K, 0, 0, SNAP_BYTES)
}

fn instruction(code: u32, if_true: u8, if_false: u8, value: u32) -> SockFilter {
    // Every opcode is below 2^8.
    SockFilter::new(u16::try_from(code).unwrap_or(0), if_true, if_false, value)
}
