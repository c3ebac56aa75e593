use super::*;

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn network(text: &str) -> NetworkName {
    text.parse().unwrap()
}

fn alias(network: &str, address: &str) -> String {
    format!("berth1 bank c0ffee eth0 eth0 {network} b6:e7:0a:00:00:05 {address} prod/db-0")
}

struct Row {
    index: u32,
    name: &'static str,
    master: Option<u32>,
    lower: Option<u32>,
    alias: Option<String>,
    running: bool,
    kind: Kind,
}

const DOWN: bool = false;
const UP: bool = true;

fn bridge(index: u32, name: &'static str) -> Row {
    Row {
        index,
        name,
        master: None,
        lower: None,
        alias: None,
        running: UP,
        kind: Kind::Bridge,
    }
}

fn port(index: u32, master: u32, alias: String) -> Row {
    Row {
        index,
        name: "bth",
        master: Some(master),
        lower: None,
        alias: Some(alias),
        running: UP,
        kind: Kind::Other,
    }
}

fn uplink(index: u32, master: u32, running: bool) -> Row {
    Row {
        index,
        name: "eth",
        master: Some(master),
        lower: None,
        alias: None,
        running,
        kind: Kind::Other,
    }
}

fn links(rows: Vec<Row>) -> Links {
    let link = |row: Row| {
        let link = Link {
            name: name(row.name),
            master: row.master,
            lower: row.lower,
            alias: row.alias.map(|text| text.parse().unwrap()),
            running: row.running,
            kind: row.kind,
        };
        (row.index, link)
    };
    rows.into_iter().map(link).collect()
}

/// The segments as `network link index way-out`.
fn shown(rows: Vec<Row>, named: &[(&str, &str)]) -> Vec<String> {
    let named = named.iter().map(|(net, link)| (network(net), name(link)));
    let world = plan(&links(rows), &named.collect());
    let show = |(segment, out): (&Segment, &bool)| {
        format!(
            "{} {} {} {out}",
            segment.network, segment.link, segment.index
        )
    };
    world.segments.iter().map(show).collect()
}

fn ours() -> String {
    alias("internal", "10.0.0.5/24")
}

fn filtering(index: u32, name: &'static str) -> Row {
    Row {
        kind: Kind::FilteringBridge,
        ..bridge(index, name)
    }
}

fn plain(index: u32, name: &'static str) -> Row {
    Row {
        kind: Kind::Other,
        ..bridge(index, name)
    }
}

#[test]
fn every_bridge_with_a_port_of_a_network_is_a_segment_of_it() {
    let down = Row {
        running: DOWN,
        ..bridge(5, "br0")
    };
    let rows: Vec<(&str, Vec<Row>, &[&str])> = vec![
        (
            "no port of ours",
            vec![bridge(5, "br0"), uplink(6, 5, UP)],
            &[],
        ),
        (
            "uplink with carrier",
            vec![bridge(5, "br0"), uplink(6, 5, UP), port(7, 5, ours())],
            &["internal br0 5 true"],
        ),
        (
            "uplink without carrier",
            vec![bridge(5, "br0"), uplink(6, 5, DOWN), port(7, 5, ours())],
            &["internal br0 5 false"],
        ),
        (
            "no uplink: our own port is no way out",
            vec![bridge(5, "br0"), port(7, 5, ours())],
            &["internal br0 5 false"],
        ),
        (
            "bridge is down",
            vec![down, uplink(6, 5, UP), port(7, 5, ours())],
            &["internal br0 5 false"],
        ),
        (
            "a port whose bridge is gone, and one in a bond",
            vec![port(7, 4, ours()), port(9, 8, ours()), plain(8, "bond0")],
            &[],
        ),
        (
            "a bridge that tells VLANs apart",
            vec![filtering(5, "br0"), uplink(6, 5, UP), port(7, 5, ours())],
            &[],
        ),
    ];
    for (case, links, expected) in rows {
        assert_eq!(shown(links, &[]), expected, "{case}");
    }
}

#[test]
fn link_that_berth_names_is_the_segment_if_it_is_there() {
    let old = || vec![bridge(5, "br0"), uplink(6, 5, UP), port(7, 5, ours())];
    let with = |more: Vec<Row>| old().into_iter().chain(more).collect::<Vec<_>>();
    // The VLAN device itself has carrier as long as any port of the bridge has.
    let vlan = |uplink_runs| {
        let device = Row {
            lower: Some(5),
            ..plain(8, "br0.120")
        };
        let ports = [uplink(6, 5, uplink_runs), port(7, 5, ours())];
        let links = [filtering(5, "br0"), device].into_iter().chain(ports);
        links.collect::<Vec<_>>()
    };
    let rows: [(&str, Vec<Row>, _, &[&str]); 7] = [
        (
            "a network that has no port yet",
            with(vec![bridge(8, "br1"), uplink(9, 8, UP)]),
            ("external", "br1"),
            &["external br1 8 true", "internal br0 5 true"],
        ),
        (
            "another bridge than that of old ports",
            with(vec![bridge(8, "br1")]),
            ("internal", "br1"),
            &["internal br1 8 false"],
        ),
        (
            "a link that is not there",
            old(),
            ("internal", "br1"),
            &["internal br0 5 true"],
        ),
        (
            "a bridge that tells VLANs apart",
            vec![filtering(5, "br0"), uplink(6, 5, UP)],
            ("internal", "br0"),
            &[],
        ),
        (
            "a VLAN device on such a bridge",
            vlan(UP),
            ("internal", "br0.120"),
            &["internal br0.120 8 true"],
        ),
        (
            "a VLAN device on such a bridge, uplink without carrier",
            vlan(DOWN),
            ("internal", "br0.120"),
            &["internal br0.120 8 false"],
        ),
        (
            "a NIC that is in no bridge (macvlan)",
            vec![plain(3, "eth1")],
            ("internal", "eth1"),
            &["internal eth1 3 true"],
        ),
    ];
    for (case, links, named, expected) in rows {
        assert_eq!(shown(links, &[named]), expected, "{case}");
    }
}

#[test]
fn macs_of_our_ports_are_known_by_network_and_address() {
    let both = alias("internal", "10.0.0.5/24,fd00::5/64");
    let world = plan(
        &links(vec![bridge(5, "br0"), port(7, 5, both)]),
        &Named::new(),
    );
    let mac = "b6:e7:0a:00:00:05".parse().unwrap();
    let expected =
        ["10.0.0.5", "fd00::5"].map(|ip| ((network("internal"), ip.parse().unwrap()), mac));
    assert_eq!(world.ports, expected.into());
}

fn message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp;
    message.attributes = attributes;
    message
}

fn new_link(message: LinkMessage) -> NetlinkPayload<RouteNetlinkMessage> {
    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message))
}

fn del_link(message: LinkMessage) -> NetlinkPayload<RouteNetlinkMessage> {
    NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message))
}

#[test]
fn kernel_messages_are_read_as_links() {
    let about = |filtering| {
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(filtering)])),
        ])
    };
    let named = || LinkAttribute::IfName("br0".to_owned());
    let kind = |attributes| parse(&message(5, attributes)).map(|link| link.kind);
    assert_eq!(kind(vec![named(), about(false)]), Some(Kind::Bridge));
    assert_eq!(
        kind(vec![about(true), named()]),
        Some(Kind::FilteringBridge)
    );
    assert_eq!(kind(vec![named()]), Some(Kind::Other));
    assert_eq!(kind(vec![about(true)]), None, "no name");

    let attributes = vec![
        named(),
        LinkAttribute::Controller(9),
        LinkAttribute::IfAlias(alias("internal", "10.0.0.5/24")),
    ];
    let link = parse(&message(5, attributes)).unwrap();
    assert_eq!((link.master, link.running), (Some(9), true));
    assert_eq!(link.alias.unwrap().network, network("internal"));
    let foreign = vec![
        named(),
        LinkAttribute::IfAlias("uplink to rack 7".to_owned()),
    ];
    assert_eq!(parse(&message(5, foreign)).unwrap().alias, None);
}

#[test]
fn notifications_change_links_once_and_ports_leaving_a_bridge_stay_links() {
    let named = |text: &str| vec![LinkAttribute::IfName(text.to_owned())];
    let mut links = Links::new();
    assert!(take(&mut links, new_link(message(5, named("br0")))));
    assert!(
        !take(&mut links, new_link(message(5, named("br0")))),
        "told again"
    );
    assert!(
        take(&mut links, new_link(message(5, named("br1")))),
        "renamed"
    );

    let mut bridge_family = message(5, named("br1"));
    bridge_family.header.interface_family = AddressFamily::Bridge;
    assert!(!take(&mut links, del_link(bridge_family.clone())));
    assert!(!take(&mut links, new_link(bridge_family)));
    assert_eq!(links.len(), 1);

    assert!(take(&mut links, del_link(message(5, named("br1")))));
    assert!(!take(&mut links, del_link(message(5, named("br1")))));
    assert!(links.is_empty());
}
