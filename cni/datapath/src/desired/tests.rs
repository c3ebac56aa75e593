use super::*;
use crate::segment::NodeLink;
use crate::wiring::{Segment, UplinkMode, Vlan};

fn segment(uplink: &str) -> Segment {
    Segment {
        uplink: uplink.parse().unwrap(),
        bridge: None,
        mode: None,
        vlan: None,
        mtu: None,
    }
}

fn ensured(segment: Segment, bridge_index: u32) -> EnsuredSegment {
    let bridge: IfName = format!("br-{}", segment.uplink).parse().unwrap();
    EnsuredSegment {
        port: segment.uplink.clone(),
        segment,
        mode: UplinkMode::Plain,
        node_link: Some(NodeLink {
            name: bridge.clone(),
            index: bridge_index,
        }),
        bridge,
        bridge_index,
        bridge_mac: "02:00:00:00:00:01".parse().unwrap(),
        mtu: 1500,
        changed: false,
    }
}

fn interface(ifname: &str, uplink: &str, addresses: &[(&str, Option<&str>)]) -> Interface {
    Interface {
        ifname: ifname.parse().unwrap(),
        network: "external".parse().unwrap(),
        segment: segment(uplink),
        mac: "b6:e7:0a:14:01:64".parse().unwrap(),
        mtu: None,
        addresses: addresses
            .iter()
            .map(|(net, gateway)| (net.parse().unwrap(), gateway.map(|g| g.parse().unwrap())))
            .collect(),
        routes: Vec::new(),
        default_route: false,
        hairpin: false,
        isolated: false,
        node_addresses: Vec::new(),
        service_cidrs: Vec::new(),
    }
}

fn wiring(interfaces: Vec<Interface>) -> Wiring {
    Wiring {
        attachment: Attachment {
            cni_network: "bank".parse().unwrap(),
            sandbox: "c1".parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
        },
        identity: "prod/db-0".parse().unwrap(),
        interfaces,
    }
}

fn routes_of(interface: Interface) -> Vec<String> {
    let segments = [ensured(interface.segment.clone(), 4)];
    let nics = desire(&wiring(vec![interface]), &segments).unwrap();
    nics[0].routes.iter().map(shown).collect()
}

fn shown(route: &Route) -> String {
    let via = route.via.map_or(String::new(), |via| format!(" via {via}"));
    let onlink = if route.onlink { " onlink" } else { "" };
    let metric = route
        .metric
        .map_or(String::new(), |m| format!(" metric {m}"));
    let mtu = route.mtu.map_or(String::new(), |mtu| format!(" mtu {mtu}"));
    format!("{}{via}{onlink}{metric}{mtu}", route.dst)
}

const V4: (&str, Option<&str>) = ("10.20.1.100/24", Some("10.20.1.1"));
const V6: (&str, Option<&str>) = ("fd00:1::64/64", Some("fd00:1::1"));

#[test]
fn default_route_is_set_for_each_family_with_a_gateway() {
    let dual = Interface {
        default_route: true,
        ..interface("eth0", "up0", &[V4, V6])
    };
    assert_eq!(
        routes_of(dual),
        ["0.0.0.0/0 via 10.20.1.1", "::/0 via fd00:1::1"]
    );
    let without = Interface {
        default_route: true,
        ..interface("eth0", "up0", &[("10.20.1.100/24", None)])
    };
    assert_eq!(routes_of(without), [""; 0]);
    assert_eq!(routes_of(interface("eth0", "up0", &[V4])), [""; 0]);
}

#[test]
fn static_routes_go_by_their_own_gateway_or_the_pools() {
    let route = |dst: &str, via: Option<&str>| proto_ids::Route {
        dst: dst.parse().unwrap(),
        via: via.map(|via| via.parse().unwrap()),
        metric: Some(7),
        mtu: Some(1400),
    };
    let routes = vec![
        route("10.0.0.0/8", Some("10.20.1.254")),
        route("172.16.0.0/12", None),
        route("fd77::/16", None),
    ];
    let inner = Interface {
        routes,
        ..interface("eth0", "up0", &[V4])
    };
    assert_eq!(
        routes_of(inner),
        [
            "10.0.0.0/8 via 10.20.1.254 metric 7 mtu 1400",
            "172.16.0.0/12 via 10.20.1.1 metric 7 mtu 1400",
            // No gateway of the family: the destination is on the segment itself.
            "fd77::/16 metric 7 mtu 1400",
        ]
    );
}

#[test]
fn gateway_outside_the_prefix_is_on_link() {
    let outside = Interface {
        default_route: true,
        ..interface("eth0", "up0", &[("10.20.1.100/32", Some("10.20.1.1"))])
    };
    assert_eq!(routes_of(outside), ["0.0.0.0/0 via 10.20.1.1 onlink"]);
    let link_local = Interface {
        default_route: true,
        ..interface("eth0", "up0", &[("fd00:1::64/64", Some("fe80::1"))])
    };
    assert_eq!(routes_of(link_local), ["::/0 via fe80::1"]);
}

#[test]
fn node_and_services_are_reached_without_the_switch() {
    let near = Interface {
        node_addresses: vec![
            "192.0.2.10".parse().unwrap(),
            "2001:db8::10".parse().unwrap(),
        ],
        service_cidrs: vec![
            "10.96.0.0/16".parse().unwrap(),
            "fd96::/108".parse().unwrap(),
        ],
        ..interface("eth0", "up0", &[V4])
    };
    let nics = desire(&wiring(vec![near.clone()]), &[ensured(near.segment, 4)]).unwrap();
    let shown: Vec<_> = nics[0].routes.iter().map(shown).collect();
    // The Pod has no IPv6 address, so nothing of IPv6 is routed.
    assert_eq!(
        shown,
        ["192.0.2.10/32", "10.96.0.0/16 via 192.0.2.10 onlink"]
    );
    let bridge_mac = "02:00:00:00:00:01".parse().unwrap();
    assert_eq!(
        nics[0].node_neighbours,
        [("192.0.2.10".parse().unwrap(), bridge_mac)]
    );
    let direct = NodeRoute {
        pod: "10.20.1.100".parse().unwrap(),
        node: "192.0.2.10".parse().unwrap(),
        via: None,
        link: 4,
    };
    assert_eq!(nics[0].node_routes, [direct]);
}

#[test]
fn what_two_interfaces_would_claim_goes_to_the_first() {
    let near = |ifname, uplink, address| Interface {
        node_addresses: vec!["192.0.2.10".parse().unwrap()],
        service_cidrs: vec!["10.96.0.0/16".parse().unwrap()],
        ..interface(ifname, uplink, &[(address, None)])
    };
    let both = vec![
        near("eth0", "up0", "10.20.1.100/24"),
        near("net1", "up1", "10.20.2.100/24"),
    ];
    let segments = [ensured(segment("up1"), 5), ensured(segment("up0"), 4)];
    let nics = desire(&wiring(both), &segments).unwrap();
    assert_eq!(nics[0].routes.len(), 2);
    assert_eq!(
        (nics[1].routes.len(), nics[1].node_neighbours.len()),
        (0, 0)
    );
    // The node comes by the way by which the Pod answers.
    let around = NodeRoute {
        pod: "10.20.2.100".parse().unwrap(),
        node: "192.0.2.10".parse().unwrap(),
        via: Some("10.20.1.100".parse().unwrap()),
        link: 4,
    };
    assert_eq!(nics[1].node_routes, [around]);
}

#[test]
fn node_address_of_its_own_network_is_reached_by_that_network() {
    let near = |ifname, uplink, address, node: &[&str]| Interface {
        node_addresses: node.iter().map(|n| n.parse().unwrap()).collect(),
        ..interface(ifname, uplink, &[(address, None)])
    };
    let both = vec![
        near("eth0", "up0", "10.20.1.100/24", &["10.20.1.10"]),
        near(
            "net1",
            "up1",
            "10.20.2.100/24",
            &["10.20.1.10", "10.20.2.10"],
        ),
    ];
    let segments = [ensured(segment("up1"), 5), ensured(segment("up0"), 4)];
    let nics = desire(&wiring(both), &segments).unwrap();
    let direct = NodeRoute {
        pod: "10.20.2.100".parse().unwrap(),
        node: "10.20.2.10".parse().unwrap(),
        via: None,
        link: 5,
    };
    assert_eq!(nics[1].node_routes, [direct]);
}

#[test]
fn node_without_a_link_in_the_vlan_gets_no_host_routes() {
    let near = Interface {
        node_addresses: vec!["192.0.2.10".parse().unwrap()],
        service_cidrs: vec!["10.96.0.0/16".parse().unwrap()],
        ..interface("eth0", "up0", &[V4])
    };
    let far = EnsuredSegment {
        node_link: None,
        ..ensured(near.segment.clone(), 4)
    };
    let nics = desire(&wiring(vec![near]), &[far]).unwrap();
    assert_eq!((nics[0].routes.len(), nics[0].node_routes.len()), (0, 0));
}

#[test]
fn port_bears_the_derived_name_another_mac_and_the_alias() {
    let eth0 = interface("eth0", "up0", &[V4]);
    let nics = desire(&wiring(vec![eth0.clone()]), &[ensured(eth0.segment, 4)]).unwrap();
    let nic = &nics[0];
    assert!(nic.pair.port.as_str().starts_with("bth"));
    assert_eq!(nic.pair.port_mac.to_string(), "fe:e7:0a:14:01:64");
    assert!(nic.pair.port_mac.is_unicast());
    let alias: PortAlias = nic.alias.parse().unwrap();
    assert_eq!(alias.attachment.sandbox.as_str(), "c1");
    assert_ne!(port_mac(nic.pair.port_mac), nic.pair.port_mac);
}

#[test]
fn small_mtu_lowers_the_pod_and_not_the_port() {
    let small = Interface {
        mtu: Some(1300),
        ..interface("eth0", "up0", &[V4])
    };
    let nics = desire(&wiring(vec![small.clone()]), &[ensured(small.segment, 4)]).unwrap();
    assert_eq!((nics[0].pair.mtu, nics[0].port_mtu), (1300, 1500));
}

#[test]
fn nonsense_is_named() {
    let eth0 = interface("eth0", "up0", &[V4]);
    assert_eq!(
        desire(&wiring(vec![eth0.clone()]), &[ensured(segment("up1"), 4)]),
        Err(Nonsense::NoSegment("eth0".parse().unwrap()))
    );
    let large = Interface {
        mtu: Some(9000),
        ..eth0
    };
    assert!(matches!(
        desire(&wiring(vec![large.clone()]), &[ensured(large.segment, 4)]),
        Err(Nonsense::LargeMtu {
            mtu: 9000,
            limit: 1500,
            ..
        })
    ));
}

#[test]
fn only_a_filtering_bridge_needs_an_access_vlan() {
    for (mode, expected) in [
        (VlanMode::SubInterface, None),
        (VlanMode::Filtering, Some(120)),
    ] {
        let mut eth0 = interface("eth0", "up0", &[V4]);
        eth0.segment.vlan = Some(Vlan { id: 120, mode });
        let nics = desire(&wiring(vec![eth0.clone()]), &[ensured(eth0.segment, 4)]).unwrap();
        assert_eq!(nics[0].access_vlan, expected);
    }
}

#[test]
fn link_local_address_follows_the_mac() {
    let mac = "e6:a0:3b:4b:b9:a2".parse().unwrap();
    assert_eq!(link_local(mac).to_string(), "fe80::e4a0:3bff:fe4b:b9a2/64");
}
