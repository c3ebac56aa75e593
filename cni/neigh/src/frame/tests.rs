use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

const MAC: MacAddr = MacAddr::from_octets([0xb6, 0xe7, 10, 20, 1, 100]);
const OTHER: MacAddr = MacAddr::from_octets([2, 0, 0, 0, 0, 9]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn said(kind: Kind, address: &str, asked: Option<&str>) -> Observation {
    Observation {
        kind,
        address: ip(address),
        mac: MAC,
        source: MAC,
        asked: asked.map(ip),
        vlan: None,
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn arp_frame(body: &[u8]) -> Vec<u8> {
    Frame::new(BROADCAST, MAC, arp::ETHERTYPE, body).0
}

fn nd_frame(source: &str, destination: &str, body: Vec<u8>) -> Vec<u8> {
    let packet = nd::packet(v6(source), v6(destination), body);
    Frame::new(OTHER, MAC, nd::ETHERTYPE, &packet).0
}

#[test]
fn frames_have_the_bytes_of_the_standards() {
    let [request, reply] =
        <[Frame; 2]>::try_from(Frame::announcements(MAC, ip("10.20.1.100"))).unwrap();
    let rows = [
        (
            request,
            "ffffffffffff b6e70a140164 0806 0001 0800 06 04 0001 b6e70a140164 0a140164 000000000000 0a140164",
        ),
        (
            reply,
            "ffffffffffff b6e70a140164 0806 0001 0800 06 04 0002 b6e70a140164 0a140164 b6e70a140164 0a140164",
        ),
        (
            Frame::probe(MAC, ip("10.20.1.100")),
            "ffffffffffff b6e70a140164 0806 0001 0800 06 04 0001 b6e70a140164 00000000 000000000000 0a140164",
        ),
        (
            Frame::request(MAC, ip("10.20.1.100"), ip("10.20.1.1")),
            "ffffffffffff b6e70a140164 0806 0001 0800 06 04 0001 b6e70a140164 0a140164 000000000000 0a140101",
        ),
        // The checksums below come from another program than this crate.
        (
            Frame::probe(MAC, ip("fd00::64")),
            "3333ff000064 b6e70a140164 86dd 60000000 0018 3a ff 00000000000000000000000000000000
             ff0200000000000000000001ff000064 87 00 7cdf 00000000 fd000000000000000000000000000064",
        ),
        (
            Frame::announcements(MAC, ip("fd00::64")).remove(0),
            "333300000001 b6e70a140164 86dd 60000000 0020 3a ff fd000000000000000000000000000064
             ff020000000000000000000000000001 88 00 9976 20000000 fd000000000000000000000000000064
             02 01 b6e70a140164",
        ),
    ];
    for (frame, bytes) in rows {
        assert_eq!(
            frame.as_bytes(),
            hex(bytes),
            "{:?}",
            Frame::parse(frame.as_bytes())
        );
    }
}

#[test]
fn every_arp_message_tells_who_speaks_of_which_address() {
    let zero = MacAddr::from_octets([0; 6]);
    let rows = [
        // operation, sender, target, expected
        (
            1,
            "0.0.0.0",
            "10.0.0.9",
            Some(said(Kind::Probe, "10.0.0.9", None)),
        ),
        (
            1,
            "10.0.0.9",
            "10.0.0.9",
            Some(said(Kind::Announcement, "10.0.0.9", None)),
        ),
        (
            2,
            "10.0.0.9",
            "10.0.0.9",
            Some(said(Kind::Announcement, "10.0.0.9", None)),
        ),
        (
            1,
            "10.0.0.9",
            "10.0.0.1",
            Some(said(Kind::Request, "10.0.0.9", Some("10.0.0.1"))),
        ),
        (
            2,
            "10.0.0.9",
            "10.0.0.1",
            Some(said(Kind::Reply, "10.0.0.9", None)),
        ),
        (
            2,
            "10.0.0.9",
            "0.0.0.0",
            Some(said(Kind::Reply, "10.0.0.9", None)),
        ),
        (2, "0.0.0.0", "10.0.0.1", None),
        (1, "0.0.0.0", "0.0.0.0", None),
        (1, "224.0.0.1", "10.0.0.1", None),
        (1, "255.255.255.255", "10.0.0.1", None),
        (3, "10.0.0.9", "10.0.0.1", None),
    ];
    for (operation, sender, target, expected) in rows {
        let body = arp::body(operation, (MAC, v4(sender)), (zero, v4(target)));
        assert_eq!(
            Frame::parse(&arp_frame(&body)),
            expected,
            "{operation} {sender} {target}"
        );
    }
}

#[test]
fn arp_of_another_hardware_or_with_an_impossible_sender_is_not_heard() {
    let good = arp::body(1, (MAC, v4("10.0.0.9")), (OTHER, v4("10.0.0.1")));
    assert!(Frame::parse(&arp_frame(&good)).is_some());
    for (at, value) in [(1, 6), (2, 0x86), (4, 8), (5, 16), (8, 0xff)] {
        let mut body = good.clone();
        body[at] = value;
        assert_eq!(Frame::parse(&arp_frame(&body)), None, "byte {at}");
    }
    let mut nobody = good;
    nobody[8..14].fill(0);
    assert_eq!(Frame::parse(&arp_frame(&nobody)), None);
}

#[test]
fn every_nd_message_tells_who_speaks_of_which_address() {
    let target = v6("fd00::9");
    let inside = Observation {
        mac: OTHER,
        ..said(Kind::Reply, "fd00::9", None)
    };
    let rows = [
        // source, type, flags, option, expected
        ("::", 135, 0, None, Some(said(Kind::Probe, "fd00::9", None))),
        (
            "fd00::1",
            135,
            0,
            None,
            Some(said(Kind::Request, "fd00::1", Some("fd00::9"))),
        ),
        (
            "fd00::1",
            135,
            0,
            Some((1, MAC)),
            Some(said(Kind::Request, "fd00::1", Some("fd00::9"))),
        ),
        (
            "fd00::9",
            136,
            0x20,
            Some((2, MAC)),
            Some(said(Kind::Announcement, "fd00::9", None)),
        ),
        ("fd00::9", 136, 0x60, Some((2, OTHER)), Some(inside)),
        (
            "fd00::9",
            136,
            0x60,
            None,
            Some(said(Kind::Reply, "fd00::9", None)),
        ),
        // A probe with a link-layer option, an option that is no host's MAC, another ICMPv6 type.
        ("::", 135, 0, Some((1, MAC)), None),
        ("fd00::9", 136, 0, Some((2, BROADCAST)), None),
        ("fd00::9", 128, 0, None, None),
    ];
    for (source, kind, flags, option, expected) in rows {
        let bytes = nd_frame(source, "ff02::1", nd::message(kind, flags, target, option));
        assert_eq!(
            Frame::parse(&bytes),
            expected,
            "{source} {kind} {flags} {option:?}"
        );
    }
}

#[test]
fn nd_that_a_receiver_must_drop_is_not_heard() {
    let body = || nd::message(136, 0x20, v6("fd00::9"), Some((2, MAC)));
    let good = nd_frame("fd00::9", "ff02::1", body());
    assert!(Frame::parse(&good).is_some());
    let rows = [
        ("version", HEADER_BYTES, 0x40),
        ("next header", HEADER_BYTES + 6, 17),
        ("hop limit", HEADER_BYTES + 7, 254),
        ("payload length", HEADER_BYTES + 5, 33),
        ("checksum", HEADER_BYTES + 42, 0),
    ];
    for (what, at, value) in rows {
        let mut bytes = good.clone();
        bytes[at] = value;
        assert_eq!(Frame::parse(&bytes), None, "{what}");
    }
    let mut code = body();
    code[1] = 1;
    let mut endless = body();
    endless[25] = 0;
    let mut long = body();
    long[25] = 2;
    for (what, body) in [
        ("code", code),
        ("option of no length", endless),
        ("option too long", long),
    ] {
        assert_eq!(
            Frame::parse(&nd_frame("fd00::9", "ff02::1", body)),
            None,
            "{what}"
        );
    }
    let group = nd::message(136, 0, v6("ff02::1"), None);
    assert_eq!(Frame::parse(&nd_frame("fd00::9", "ff02::1", group)), None);
}

#[test]
fn padding_after_a_short_message_is_ignored() {
    for address in [ip("10.0.0.9"), ip("fd00::9")] {
        let mut bytes = Frame::probe(MAC, address).0;
        bytes.resize(bytes.len() + 18, 0xee);
        assert_eq!(Frame::parse(&bytes).map(|seen| seen.address), Some(address));
    }
}

#[test]
fn tag_inside_a_frame_is_told_and_a_second_one_is_not_looked_behind() {
    let tagged = |tags: &[[u8; 4]]| {
        let mut bytes = Frame::probe(MAC, ip("10.0.0.9")).0;
        for tag in tags.iter().rev() {
            bytes.splice(12..12, *tag);
        }
        Frame::parse(&bytes).map(|seen| seen.vlan)
    };
    let customer = [0x81, 0, 0x20, 120];
    assert_eq!(tagged(&[]), Some(None));
    assert_eq!(tagged(&[customer]), Some(Some(120)));
    assert_eq!(tagged(&[[0x88, 0xa8, 0, 7]]), Some(Some(7)));
    assert_eq!(tagged(&[[0x81, 0, 0xe0, 0]]), Some(None), "priority tag");
    assert_eq!(tagged(&[[0x88, 0xa8, 0, 7], customer]), None);
}

#[test]
fn question_to_one_host_differs_in_its_destination_only() {
    let asked = Frame::request(MAC, ip("10.0.0.2"), ip("10.0.0.1"));
    let one = asked.clone().addressed(OTHER);
    assert_eq!(one.as_bytes()[..6], OTHER.octets());
    assert_eq!(one.as_bytes()[6..], asked.as_bytes()[6..]);
}

#[test]
fn addresses_of_two_families_are_asked_for_by_a_probe() {
    let asked = Frame::request(MAC, ip("fd00::1"), ip("10.0.0.1"));
    assert_eq!(asked, Frame::probe(MAC, ip("10.0.0.1")));
}

fn any_mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>()
        .prop_map(MacAddr::from_octets)
        .prop_filter("a host's", |mac| mac.is_unicast())
}

fn any_host() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::V4),
        any::<Ipv6Addr>().prop_map(IpAddr::V6)
    ]
    .prop_filter("a host's", |address| {
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        !address.is_unspecified() && !address.is_multicast() && !broadcast
    })
}

proptest! {
    #[test]
    fn what_is_built_is_what_is_parsed(mac in any_mac(), own in any_host(), target in any_host()) {
        let mut told = Observation {
            kind: Kind::Announcement, address: own, mac, source: mac, asked: None, vlan: None,
        };
        for frame in Frame::announcements(mac, own) {
            prop_assert_eq!(Frame::parse(frame.as_bytes()), Some(told));
        }
        told.kind = Kind::Probe;
        prop_assert_eq!(Frame::parse(Frame::probe(mac, own).as_bytes()), Some(told));
        if own.is_ipv4() == target.is_ipv4() && own != target {
            told.kind = Kind::Request;
            told.asked = Some(target);
            prop_assert_eq!(Frame::parse(Frame::request(mac, own, target).as_bytes()), Some(told));
        }
    }

    #[test]
    fn any_bytes_are_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Frame::parse(&bytes);
    }

    /// Random bytes seldom get beyond the first check; a frame of ours with some bytes changed and cut does.
    #[test]
    fn damaged_frames_are_parsed_without_a_panic(
        mac in any_mac(),
        own in any_host(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in any::<prop::sample::Index>(),
    ) {
        for frame in Frame::announcements(mac, own) {
            let mut bytes = frame.0;
            for (at, value) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            let _ = Frame::parse(&bytes);
            bytes.truncate(keep.index(bytes.len() + 1));
            let _ = Frame::parse(&bytes);
        }
    }
}
