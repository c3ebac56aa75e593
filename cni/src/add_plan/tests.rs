use cni_datapath::wire::WiredInterface;
use cni_spec::{CniArgs, CniVersion, Document};
use proto_ids::{AssignedAddress, InterfaceGrant};
use serde_json::{Value, json};

use super::*;

fn conf_of(extra: &Value) -> NetConf {
    let mut conf = json!({
        "networks": [
            {"name": "external", "uplink": "eth0", "default": true, "hairpin": true},
            {"name": "internal", "uplink": "eth1", "mtu": 9000,
             "routes": [{"dst": "10.0.0.0/8"}, {"dst": "fd00::/8"}]},
            {"name": "storage", "uplink": "eth2", "vlan": 7, "vlanMode": "filtering", "mode": "existing", "bridge": "br-s"}
        ]
    });
    for (key, value) in extra.as_object().unwrap() {
        conf[key] = value.clone();
    }
    NetConf::parse(&Document::decode(conf.to_string().as_bytes()).unwrap()).unwrap()
}

fn conf() -> NetConf {
    conf_of(&json!({}))
}

fn names(list: &[&str]) -> Vec<NetworkName> {
    list.iter().map(|name| name.parse().unwrap()).collect()
}

fn attachment() -> Attachment {
    Attachment {
        cni_network: "bank".parse().unwrap(),
        sandbox: "c1".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

fn site(conf: &NetConf, network: usize, bridge: &str, node: &[&str]) -> Site {
    Site {
        segment: EnsuredSegment {
            segment: segment(&conf.networks[network]),
            mode: wiring::UplinkMode::Plain,
            bridge: bridge.parse().unwrap(),
            bridge_index: 1,
            bridge_mac: "02:00:00:00:00:01".parse().unwrap(),
            mtu: 1500,
            port: "eth0".parse().unwrap(),
            node_link: None,
            changed: false,
        },
        node_addresses: node.iter().map(|one| one.parse().unwrap()).collect(),
    }
}

fn granted(ifname: &str, network: &str, addresses: &[(&str, &str)]) -> InterfaceGrant {
    InterfaceGrant {
        ifname: ifname.parse().unwrap(),
        network: network.parse().unwrap(),
        rack: "a".parse().unwrap(),
        mac: "b6:e7:0a:14:01:64".parse().unwrap(),
        addresses: addresses
            .iter()
            .map(|(address, gateway)| AssignedAddress {
                address: address.parse().unwrap(),
                gateway: gateway.parse().ok(),
                pool: "p".parse().unwrap(),
            })
            .collect(),
        routes: Vec::new(),
    }
}

fn grant(interfaces: Vec<InterfaceGrant>) -> Grant {
    Grant {
        identity: "prod/db-0".parse().unwrap(),
        interfaces,
        moved_from: None,
    }
}

#[test]
fn networks_become_interfaces_in_order_with_one_default() {
    type Wanted = &'static [(&'static str, &'static str, bool)];
    let cases: [(Option<Vec<NetworkName>>, &str, Wanted); 4] = [
        (
            None,
            "eth0",
            &[
                ("eth0", "external", true),
                ("net1", "internal", false),
                ("net2", "storage", false),
            ],
        ),
        (
            Some(names(&["internal", "external"])),
            "eth0",
            &[("eth0", "internal", false), ("net1", "external", true)],
        ),
        // The network that is the default is not chosen: the first one takes its place.
        (
            Some(names(&["storage", "internal"])),
            "eth0",
            &[("eth0", "storage", true), ("net1", "internal", false)],
        ),
        // A meta plugin calls with a name that would be ours.
        (
            None,
            "net2",
            &[
                ("net2", "external", true),
                ("net1", "internal", false),
                ("net3", "storage", false),
            ],
        ),
    ];
    for (networks, ifname, wanted) in cases {
        let conf = conf();
        let asked = Asked {
            networks,
            ..Asked::default()
        };
        let planned = interfaces(&conf, &asked, &ifname.parse().unwrap()).unwrap();
        let got: Vec<_> = planned
            .iter()
            .map(|one| (one.ifname.as_str(), one.network.name.as_str(), one.default))
            .collect();
        assert_eq!(got, wanted);
    }
}

#[test]
fn unknown_network_is_refused_with_those_there_are() {
    let asked = Asked {
        networks: Some(names(&["dmz"])),
        ..Asked::default()
    };
    let error = interfaces(&conf(), &asked, &"eth0".parse().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "berth.dev/networks: network dmz is not configured on this node, only external, internal, storage"
    );
}

#[test]
fn asked_addresses_fill_the_interfaces_family_by_family() {
    let asked = |list: &[&str]| Asked {
        addresses: list.iter().map(|one| one.parse().unwrap()).collect(),
        mac: "02:00:00:00:00:09".parse().ok(),
        networks: Some(names(&["external", "internal"])),
        ..Asked::default()
    };
    let conf = conf();
    let planned = interfaces(
        &conf,
        &asked(&["10.0.0.1", "fd00::1", "10.0.0.2"]),
        &"eth0".parse().unwrap(),
    )
    .unwrap();
    let texts: Vec<Vec<_>> = planned
        .iter()
        .map(|one| one.addresses.iter().map(ToString::to_string).collect())
        .collect();
    assert_eq!(texts, [vec!["10.0.0.1", "fd00::1"], vec!["10.0.0.2"]]);
    assert!(planned[0].mac.is_some() && planned[1].mac.is_none());

    let error = interfaces(
        &conf,
        &asked(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
        &"eth0".parse().unwrap(),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("10.0.0.3 is one too many"),
        "{error}"
    );
}

#[test]
fn rates_are_refused_unless_the_operator_says_who_limits_them() {
    let asked = Asked {
        bandwidth: true,
        ..Asked::default()
    };
    let ifname = "eth0".parse().unwrap();
    let error = interfaces(&conf(), &asked, &ifname).unwrap_err();
    assert_eq!(u32::from(error.code()), 2);
    let chained = conf_of(&json!({"bandwidth": "chained"}));
    assert!(interfaces(&chained, &asked, &ifname).is_ok());
}

#[test]
fn segment_says_what_the_configuration_says() {
    let conf = conf();
    assert_eq!(
        segment(&conf.networks[2]),
        Segment {
            uplink: "eth2".parse().unwrap(),
            bridge: Some("br-s".parse().unwrap()),
            mode: Some(wiring::UplinkMode::Existing),
            vlan: Some(Vlan {
                id: 7,
                mode: wiring::VlanMode::Filtering
            }),
            mtu: None,
        }
    );
}

#[test]
fn request_names_pod_segments_and_wishes() {
    let conf = conf();
    let target = Target {
        sandbox: "c1".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
        netns: "/run/netns/x".into(),
        args: CniArgs::parse("K8S_POD_NAMESPACE=prod;K8S_POD_NAME=db-0;K8S_POD_UID=u1").unwrap(),
    };
    let asked = Asked {
        networks: Some(names(&["external"])),
        addresses: vec!["10.0.0.1".parse().unwrap()],
        ..Asked::default()
    };
    let planned = interfaces(&conf, &asked, &target.ifname).unwrap();
    let request = request(
        &attachment(),
        &target,
        &asked,
        &planned,
        &["br-eth0".parse().ok()],
    );
    assert_eq!(request.effective_identity().as_str(), "prod/db-0");
    assert_eq!(request.pod_uid.unwrap().as_str(), "u1");
    let one = &request.interfaces[0];
    assert_eq!(one.segment.as_ref().unwrap().as_str(), "br-eth0");
    assert_eq!(one.addresses, asked.addresses);
}

#[test]
fn grant_and_configuration_make_the_wiring() {
    let conf = conf_of(&json!({"serviceCidrs": ["10.96.0.0/16", "fd96::/112"]}));
    let asked = Asked {
        networks: Some(names(&["external", "internal"])),
        ..Asked::default()
    };
    let planned = interfaces(&conf, &asked, &"eth0".parse().unwrap()).unwrap();
    let sites = [
        site(&conf, 0, "br-eth0", &["10.20.1.5", "fd20::5"]),
        site(&conf, 1, "br-eth1", &["10.30.1.5"]),
    ];
    let mut internal = granted("net1", "internal", &[("10.30.1.7/24", "10.30.1.1")]);
    internal.routes = vec![
        Route {
            dst: "10.0.0.0/8".parse().unwrap(),
            via: "10.30.1.254".parse().ok(),
            metric: Some(9),
            mtu: None,
        },
        Route {
            dst: "172.16.0.0/12".parse().unwrap(),
            via: None,
            metric: None,
            mtu: None,
        },
    ];
    let grant = grant(vec![
        granted("eth0", "external", &[("10.20.1.100/24", "10.20.1.1")]),
        internal,
    ]);
    let wiring = wiring(&conf, &attachment(), &planned, &sites, &grant).unwrap();
    let [external, internal] = wiring.interfaces.as_slice() else {
        panic!("two interfaces");
    };
    assert!(external.default_route && external.hairpin && !internal.default_route);
    // Only families the interface has: no IPv6 here.
    assert_eq!(external.node_addresses, sites[0].node_addresses[..1]);
    assert_eq!(external.service_cidrs, ["10.96.0.0/16".parse().unwrap()]);
    assert!(internal.service_cidrs.is_empty());
    assert_eq!(internal.mtu, Some(9000));
    // The configuration's route replaces the pool's to the same destination; the IPv6 one has no address to leave from.
    let routes: Vec<_> = internal
        .routes
        .iter()
        .map(|route| (route.dst.to_string(), route.via))
        .collect();
    assert_eq!(
        routes,
        [
            ("172.16.0.0/12".to_owned(), None),
            ("10.0.0.0/8".to_owned(), None)
        ]
    );
}

#[test]
fn grant_for_other_interfaces_is_not_wired() {
    let conf = conf();
    let asked = Asked {
        networks: Some(names(&["external"])),
        ..Asked::default()
    };
    let planned = interfaces(&conf, &asked, &"eth0".parse().unwrap()).unwrap();
    let sites = [site(&conf, 0, "br-eth0", &[])];
    for interfaces in [
        vec![],
        vec![granted("eth0", "internal", &[])],
        vec![granted("net1", "external", &[])],
        vec![
            granted("eth0", "external", &[]),
            granted("net1", "internal", &[]),
        ],
    ] {
        let error = wiring(&conf, &attachment(), &planned, &sites, &grant(interfaces)).unwrap_err();
        assert_eq!(error.field, "interfaces");
    }
}

/// A Pod with two networks, wired.
fn example() -> (NetConf, Wiring, Wired) {
    let conf = conf_of(&json!({"serviceCidrs": ["10.96.0.0/16"]}));
    let asked = Asked {
        networks: Some(names(&["external", "internal"])),
        ..Asked::default()
    };
    let planned = interfaces(&conf, &asked, &"eth0".parse().unwrap()).unwrap();
    let sites = [
        site(&conf, 0, "br-eth0", &["10.20.1.5"]),
        site(&conf, 1, "br-eth1", &["10.20.1.5"]),
    ];
    let grant = grant(vec![
        granted(
            "eth0",
            "external",
            &[("10.20.1.100/24", "10.20.1.1"), ("fd20::64/64", "fd20::1")],
        ),
        granted("net1", "internal", &[("10.30.1.7/24", "10.30.1.1")]),
    ]);
    let wiring = wiring(&conf, &attachment(), &planned, &sites, &grant).unwrap();
    let made = |ifname: &str, network: &str, port: &str, bridge: &str| WiredInterface {
        ifname: ifname.parse().unwrap(),
        network: network.parse().unwrap(),
        index: 2,
        mac: "b6:e7:0a:14:01:64".parse().unwrap(),
        mtu: 1500,
        addresses: Vec::new(),
        port: port.parse().unwrap(),
        port_index: 9,
        port_mac: "fe:e7:0a:14:01:64".parse().unwrap(),
        bridge: bridge.parse().unwrap(),
        bridge_mac: "02:00:00:00:00:01".parse().unwrap(),
    };
    let wired = Wired {
        interfaces: vec![
            made("eth0", "external", "bth0", "br-eth0"),
            made("net1", "internal", "bth1", "br-eth1"),
        ],
        announcer: None,
    };
    (conf, wiring, wired)
}

#[test]
fn result_lists_all_interfaces_addresses_and_routes() {
    let (_, wiring, wired) = example();
    let result = result(&wiring, &wired, Path::new("/run/netns/x"));
    let names: Vec<_> = result
        .interfaces
        .iter()
        .map(|one| (one.name.as_str(), one.sandbox.is_some()))
        .collect();
    assert_eq!(
        names,
        [
            ("br-eth0", false),
            ("bth0", false),
            ("eth0", true),
            ("br-eth1", false),
            ("bth1", false),
            ("net1", true)
        ]
    );
    let ips: Vec<_> = result
        .ips
        .iter()
        .map(|ip| (ip.interface, ip.address.to_string()))
        .collect();
    assert_eq!(
        ips,
        [
            (Some(2), "10.20.1.100/24".to_owned()),
            (Some(2), "fd20::64/64".to_owned()),
            (Some(5), "10.30.1.7/24".to_owned())
        ]
    );
    let routes: Vec<_> = result
        .routes
        .iter()
        .map(|route| {
            let gw = route.gw.map_or_else(|| "-".to_owned(), |gw| gw.to_string());
            format!("{} {gw}", route.dst)
        })
        .collect();
    assert_eq!(
        routes,
        [
            "0.0.0.0/0 10.20.1.1",
            "::/0 fd20::1",
            "10.20.1.5/32 -",
            "10.96.0.0/16 10.20.1.5",
            // The node's address is reached by the first interface alone.
            "10.0.0.0/8 10.30.1.1",
        ]
    );
}

#[test]
fn interfaces_on_one_bridge_list_it_once() {
    let (_, wiring, mut wired) = example();
    wired.interfaces[1].bridge = wired.interfaces[0].bridge.clone();
    let result = result(&wiring, &wired, Path::new("/x"));
    assert_eq!(result.interfaces.len(), 5);
}

#[test]
fn check_reads_the_wiring_back_from_the_answer_in_every_version() {
    let (conf, wiring, wired) = example();
    let asked = Asked {
        networks: Some(names(&["external", "internal"])),
        ..Asked::default()
    };
    let planned = interfaces(&conf, &asked, &"eth0".parse().unwrap()).unwrap();
    let answered = result(&wiring, &wired, Path::new("/run/netns/x"));
    for version in CniVersion::ALL {
        let value = serde_json::from_str(&answered.to_json(version)).unwrap();
        let previous = CniResult::parse(&value).unwrap();
        let node = vec!["10.20.1.5".parse().unwrap(), "10.20.1.99".parse().unwrap()];
        let read = crate::check_plan::wiring(
            &conf,
            &attachment(),
            wiring.identity.clone(),
            &planned,
            &[node.clone(), node],
            &previous,
        )
        .unwrap();
        for (read, made) in read.interfaces.iter().zip(&wiring.interfaces) {
            assert_eq!(read.mac, made.mac);
            assert_eq!(read.addresses, made.addresses);
            assert_eq!(read.default_route, made.default_route);
            assert_eq!(read.node_addresses, made.node_addresses, "{version}");
            assert_eq!(read.service_cidrs, made.service_cidrs);
            let routes = |interface: &Interface| -> Vec<IpNet> {
                interface.routes.iter().map(|route| route.dst).collect()
            };
            assert_eq!(routes(read), routes(made));
        }
    }
}
