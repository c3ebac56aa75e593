use super::*;
use crate::netlink::bridge::BridgePort;
use crate::netlink::link::Pair;

const BRIDGE: u32 = 4;
const PORT: u32 = 6;
const INSIDE: u32 = 2;

fn nic() -> Nic {
    Nic {
        pair: Pair {
            port: "bth0123456789ab".parse().unwrap(),
            port_mac: "fe:e7:0a:14:01:64".parse().unwrap(),
            inside: "eth0".parse().unwrap(),
            inside_mac: "b6:e7:0a:14:01:64".parse().unwrap(),
            mtu: 1500,
            bridge: BRIDGE,
        },
        port_mtu: 1500,
        alias: "alias".to_owned(),
        hairpin: false,
        isolated: false,
        access_vlan: None,
        ipv6: false,
        addresses: vec!["10.20.1.100/24".parse().unwrap()],
        routes: vec![route("0.0.0.0/0", Some("10.20.1.1"))],
        node_neighbours: vec![(
            "192.0.2.10".parse().unwrap(),
            "02:00:00:00:00:01".parse().unwrap(),
        )],
        node_link: BRIDGE,
        node_link_local: "fe80::1/64".parse().unwrap(),
        node_routes: vec![to_pod("10.20.1.100")],
    }
}

fn to_pod(pod: &str) -> NodeRoute {
    NodeRoute {
        pod: pod.parse().unwrap(),
        node: "192.0.2.10".parse().unwrap(),
        via: None,
        link: BRIDGE,
    }
}

fn route(dst: &str, via: Option<&str>) -> Route {
    let dst: IpNet = dst.parse().unwrap();
    Route {
        dst,
        via: via.map(|via| via.parse().unwrap()),
        ..Route::to_neighbour(dst.addr(), 4)
    }
}

fn veth(index: u32, lower: u32) -> Link {
    Link {
        index,
        lower: Some(lower),
        kind: Some("veth".to_owned()),
        up: true,
        mtu: 1500,
        ..Link::default()
    }
}

/// The state after [`nic`] was wired.
fn wired() -> Observed {
    let nic = nic();
    let inside = Link {
        mac: Some(nic.pair.inside_mac),
        ..veth(INSIDE, PORT)
    };
    let port = Link {
        alias: Some(nic.alias.clone()),
        master: Some(BRIDGE),
        port: Some(BridgePort {
            forwarding: true,
            ..BridgePort::default()
        }),
        ..veth(PORT, INSIDE)
    };
    Observed {
        nics: vec![ObservedNic {
            inside: Some(inside),
            port: Some(port),
            addresses: nic.addresses.clone(),
            vlans: Vec::new(),
        }],
        loopback_up: true,
        pod_routes: vec![Installed {
            index: INSIDE,
            route: nic.routes[0].clone(),
        }],
        pod_neighbours: vec![Neighbour {
            index: INSIDE,
            address: nic.node_neighbours[0].0,
            mac: Some(nic.node_neighbours[0].1),
            permanent: true,
        }],
        node_routes: vec![Installed {
            index: BRIDGE,
            route: node_route(&nic.node_routes[0], PORT),
        }],
    }
}

fn deeds(desired: &[Nic], observed: &Observed) -> Vec<String> {
    plan(desired, observed)
        .iter()
        .map(|step| format!("{}: {}", step.nic, step.deed))
        .collect()
}

#[test]
fn empty_pod_is_wired_phase_by_phase() {
    let second = Nic {
        routes: Vec::new(),
        node_neighbours: Vec::new(),
        node_routes: Vec::new(),
        ..nic()
    };
    let observed = Observed {
        nics: vec![ObservedNic::default(), ObservedNic::default()],
        ..Observed::default()
    };
    assert_eq!(
        deeds(&[nic(), second], &observed),
        [
            "0: create the interface and its port",
            "1: create the interface and its port",
            "0: keep the port from making IPv6 addresses",
            "1: keep the port from making IPv6 addresses",
            "0: set the interface's ARP and IPv6 settings",
            "1: set the interface's ARP and IPv6 settings",
            "0: bring the interface up",
            "1: bring the interface up",
            "0: bring the port up",
            "1: bring the port up",
            "0: wait until the bridge forwards for the port",
            "1: wait until the bridge forwards for the port",
            "0: add the address 10.20.1.100/24",
            "1: add the address 10.20.1.100/24",
            "0: add the route to 0.0.0.0/0 via 10.20.1.1",
            "0: add the neighbour 192.0.2.10 at 02:00:00:00:00:01",
            "0: add the node's route to 10.20.1.100 from 192.0.2.10",
            "0: announce the addresses",
            "1: announce the addresses",
            "0: bring lo up",
        ]
    );
}

#[test]
fn wired_pod_needs_nothing() {
    assert_eq!(plan(&[nic()], &wired()), []);
}

#[test]
fn what_others_added_is_no_drift() {
    let mut observed = wired();
    observed.nics[0]
        .addresses
        .push("192.0.2.1/32".parse().unwrap());
    observed.pod_routes.push(Installed {
        index: 9,
        route: route("198.51.100.0/24", None),
    });
    observed.node_routes.push(Installed {
        index: BRIDGE,
        route: node_route(&to_pod("10.20.1.7"), 77),
    });
    assert_eq!(plan(&[nic()], &observed), []);
}

type Damage = fn(&mut Observed);

#[test]
fn every_damage_is_found_and_mended_by_one_step() {
    let cases: [(Damage, &str); 14] = [
        (|o| port(o).master = None, "0: put the port into its bridge"),
        (|o| port(o).alias = None, "0: write the alias of the port"),
        (|o| port(o).up = false, "0: bring the port up"),
        (|o| inside(o).up = false, "0: bring the interface up"),
        (|o| inside(o).mtu = 1400, "0: set the MTU to 1500"),
        (
            |o| inside(o).mac = None,
            "0: set the MAC to b6:e7:0a:14:01:64",
        ),
        (|o| o.loopback_up = false, "0: bring lo up"),
        (
            |o| o.nics[0].addresses.clear(),
            "0: add the address 10.20.1.100/24",
        ),
        (
            |o| o.pod_routes[0].route.via = None,
            "0: add the route to 0.0.0.0/0 via 10.20.1.1",
        ),
        (
            |o| o.pod_routes[0].index = 9,
            "0: add the route to 0.0.0.0/0 via 10.20.1.1",
        ),
        (
            |o| o.pod_neighbours[0].permanent = false,
            "0: add the neighbour 192.0.2.10 at 02:00:00:00:00:01",
        ),
        (
            |o| o.node_routes.clear(),
            "0: add the node's route to 10.20.1.100 from 192.0.2.10",
        ),
        // Another Pod's route to the same address: its port's index is the metric.
        (
            |o| o.node_routes[0].route.metric = Some(PORT + 1),
            "0: add the node's route to 10.20.1.100 from 192.0.2.10",
        ),
        (
            |o| port(o).port = Some(BridgePort::default()),
            "0: wait until the bridge forwards for the port",
        ),
    ];
    for (damage, step) in cases {
        let mut observed = wired();
        damage(&mut observed);
        assert_eq!(deeds(&[nic()], &observed), [step]);
    }
}

fn port(observed: &mut Observed) -> &mut Link {
    observed.nics[0].port.as_mut().unwrap()
}

fn inside(observed: &mut Observed) -> &mut Link {
    observed.nics[0].inside.as_mut().unwrap()
}

#[test]
fn port_without_its_pod_is_removed_and_made_anew() {
    let mut observed = wired();
    observed.nics[0].inside = None;
    let steps = plan(&[nic()], &observed);
    assert_eq!(steps[0].deed, Deed::RemoveLeftover { index: PORT });
    assert_eq!(steps[1].deed, Deed::CreatePair);
    assert_eq!(steps.last().unwrap().deed, Deed::Announce);
}

#[test]
fn interface_that_is_not_the_ports_other_end_is_not_taken_for_ours() {
    let mut observed = wired();
    inside(&mut observed).lower = Some(PORT + 1);
    let steps = plan(&[nic()], &observed);
    assert_eq!(steps[0].deed, Deed::RemoveLeftover { index: PORT });
}

#[test]
fn access_vlan_and_port_flags_are_compared() {
    let wanted = Nic {
        access_vlan: Some(120),
        hairpin: true,
        isolated: true,
        ..nic()
    };
    let mut observed = wired();
    assert_eq!(
        deeds(std::slice::from_ref(&wanted), &observed),
        [
            "0: make the port an access port of VLAN 120",
            "0: set the port's hairpin=true isolated=true"
        ]
    );
    observed.nics[0].vlans = vec![(120, Tagging::Access)];
    port(&mut observed).port = Some(BridgePort {
        forwarding: true,
        hairpin: true,
        isolated: true,
    });
    assert_eq!(plan(&[wanted], &observed), []);
}

#[test]
fn metric_and_mtu_of_a_route_are_compared_where_they_are_wanted() {
    let wanted = Nic {
        routes: vec![Route {
            metric: Some(7),
            mtu: Some(1400),
            ..nic().routes[0].clone()
        }],
        ..nic()
    };
    let mut observed = wired();
    assert_eq!(plan(std::slice::from_ref(&wanted), &observed).len(), 1);
    observed.pod_routes[0].route = wanted.routes[0].clone();
    assert_eq!(plan(std::slice::from_ref(&wanted), &observed), []);
    observed.pod_routes[0].route.mtu = None;
    assert_eq!(plan(&[wanted], &observed).len(), 1);
    // An older result tells neither.
    assert_eq!(plan(&[nic()], &observed), []);
}

#[test]
fn ipv6_route_without_metric_is_found_by_the_kernels_default() {
    let wanted = Nic {
        routes: vec![route("fd77::/16", Some("fd00:1::1"))],
        ..nic()
    };
    let mut observed = wired();
    observed.pod_routes[0].route = Route {
        metric: Some(1024),
        ..route("fd77::/16", Some("fd00:1::1"))
    };
    assert_eq!(plan(&[wanted], &observed), []);
}

#[test]
fn metric_and_mtu_of_a_route_are_compared_only_where_the_wiring_names_them() {
    let route = |metric, mtu| Route {
        metric,
        mtu,
        ..Route::to_neighbour("10.20.1.5".parse().unwrap(), 4)
    };
    let installed = [Installed {
        index: 7,
        route: route(Some(50), Some(1400)),
    }];
    for (metric, mtu, there) in [
        (None, None, true),
        (Some(50), Some(1400), true),
        (Some(51), None, false),
        (None, Some(1500), false),
    ] {
        assert_eq!(
            has_route(&installed, Some(7), &route(metric, mtu)),
            there,
            "{metric:?} {mtu:?}"
        );
    }
}
