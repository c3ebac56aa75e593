use super::*;

fn link(index: u32, name: &str, kind: Kind) -> Link {
    Link {
        index,
        name: name.into(),
        kind,
        ..Link::default()
    }
}

fn network(uplink: &str, vlan: Option<u16>) -> Network {
    Network {
        name: "external".into(),
        uplink: uplink.into(),
        bridge: None,
        vlan,
        is_filtering: false,
    }
}

fn laid(network: Network, links: Vec<Link>) -> Segment {
    lay(&Networks(vec![network]), &Links(links))
        .segments
        .remove(0)
}

fn names(segment: &Segment) -> [Option<&str>; 3] {
    [&segment.port, &segment.bridge, &segment.ear].map(|it| it.as_deref())
}

fn made(index: u32, name: &str, uplink: &str) -> Link {
    Link {
        alias: Some(format!("berth-segment1 plain {uplink} whole")),
        ..link(index, name, Kind::Bridge)
    }
}

#[test]
fn bridge_is_what_the_port_is_in() {
    let mut nic = link(1, "eth0", Kind::Other);
    assert_eq!(
        names(&laid(network("eth0", None), vec![nic.clone()])),
        [Some("eth0"), None, Some("eth0")],
        "before the first Pod the node hears the network on the NIC"
    );
    nic.master = Some(2);
    let operators = link(2, "br0", Kind::Bridge);
    assert_eq!(
        names(&laid(network("eth0", None), vec![nic.clone(), operators])),
        [Some("eth0"), Some("br0"), Some("br0")]
    );
    let bond = link(2, "bond0", Kind::Bond);
    assert_eq!(
        names(&laid(network("eth0", None), vec![nic, bond])),
        [Some("eth0"), None, Some("eth0")]
    );
    assert_eq!(names(&laid(network("eth9", None), vec![])), [None; 3]);
}

#[test]
fn bridge_without_its_port_is_found_by_its_mark_or_name() {
    let nic = || link(1, "eth0", Kind::Other);
    for bridge in [made(2, "br-eth0", "eth0"), made(2, "br-of-old", "eth0")] {
        let name = bridge.name.clone();
        let segment = laid(network("eth0", None), vec![nic(), bridge]);
        assert_eq!(segment.bridge, Some(name));
    }
    for foreign in [made(2, "br-eth0", "eth7"), link(2, "br-eth0", Kind::Bridge)] {
        let segment = laid(network("eth0", None), vec![nic(), foreign]);
        assert_eq!(segment.bridge, None);
    }
    let named = Network {
        bridge: Some("br0".into()),
        ..network("eth0", None)
    };
    let segment = laid(named, vec![nic(), link(2, "br0", Kind::Bridge)]);
    assert_eq!(segment.bridge.as_deref(), Some("br0"));
}

#[test]
fn vlan_has_a_device_below_its_bridge_or_above_it() {
    let nic = link(1, "eth1", Kind::Other);
    let below = Link {
        lower: Some(1),
        master: Some(4),
        ..link(3, "eth1.120", Kind::Vlan(120))
    };
    let another = Link {
        lower: Some(1),
        ..link(6, "eth1.130", Kind::Vlan(130))
    };
    let bridges = [
        made(5, "br-eth1.130", "eth1"),
        made(4, "br-eth1.120", "eth1"),
    ];
    let mut links = vec![nic.clone(), below, another.clone()];
    links.extend(bridges.clone());
    assert_eq!(
        names(&laid(network("eth1", Some(120)), links)),
        [Some("eth1.120"), Some("br-eth1.120"), Some("br-eth1.120")]
    );
    let mut detached = vec![nic.clone(), another];
    detached.extend(bridges);
    assert_eq!(
        names(&laid(network("eth1", Some(120)), detached)),
        [None, Some("br-eth1.120"), Some("br-eth1.120")]
    );
    let filtering = Network {
        is_filtering: true,
        ..network("eth1", Some(120))
    };
    let port = Link {
        master: Some(4),
        ..nic
    };
    let above = Link {
        lower: Some(4),
        ..link(7, "br-eth1.120", Kind::Vlan(120))
    };
    let bridge = made(4, "br-eth1", "eth1");
    assert_eq!(
        names(&laid(
            filtering.clone(),
            vec![port.clone(), bridge.clone(), above]
        )),
        [Some("eth1"), Some("br-eth1"), Some("br-eth1.120")]
    );
    assert_eq!(
        names(&laid(filtering, vec![port, bridge])),
        [Some("eth1"), Some("br-eth1"), None]
    );
}

#[test]
fn ports_and_veths_are_counted() {
    let port = Link {
        port_of: Some("abc".into()),
        ..link(3, "bth0", Kind::Veth)
    };
    let links = Links(vec![
        port,
        link(4, "cali0", Kind::Veth),
        link(5, "lo", Kind::Other),
    ]);
    let underlay = lay(&Networks::default(), &links);
    assert_eq!(underlay.ports, [("abc".to_owned(), "bth0".to_owned())]);
    assert_eq!(underlay.veths, 2);
}
