//! How an uplink becomes a port of a bridge: existing, plain, take over; and how it is put back.

use serde_json::{Value, json};
use tests::site::{Ask, Setup, Site, assert_unchanged};
use tests::wait::{holds, wait_until};
use tests_testbed::Net;

fn external(mode: Option<&str>) -> Value {
    let mut network = json!({"name": "external", "uplink": "eth0", "default": true});
    if let Some(mode) = mode {
        network["mode"] = json!(mode);
    }
    json!([network])
}

fn added(site: &Site, mode: Option<&str>) -> tests::plugin::Answer {
    let pod = site.pod("p");
    site.add(
        &Ask::new("web-x", &pod)
            .networks(external(mode))
            .key("timeouts", json!({"gatewaySeconds": 2})),
    )
}

/// A link without what counts packets or depends on the moment.
fn steady(mut link: Value) -> Value {
    if let Some(link) = link.as_object_mut() {
        link.retain(|key, _| {
            !["stats64", "stats", "ifindex", "link_index"].contains(&key.as_str())
        });
    }
    let timers = [
        "hello_timer",
        "tcn_timer",
        "topology_change_timer",
        "gc_timer",
    ];
    if let Some(data) = link["linkinfo"]["info_data"].as_object_mut() {
        data.retain(|key, _| !timers.contains(&key.as_str()));
    }
    link
}

#[test]
fn plain_uplink_gets_a_bridge_with_its_mac_and_mtu() {
    let site = Site::serving("upl-plain");
    site.does(&["link", "set", "eth0", "mtu", "1400"]);
    let mac = site.node().uplink_mac(Net::External);
    added(&site, None).result();
    let uplink = site.link("eth0");
    let bridge = site.link(uplink["master"].as_str().unwrap());
    assert_eq!(bridge["ifname"], "br-eth0");
    assert_eq!(bridge["address"], json!(mac));
    assert_eq!(bridge["mtu"], 1400);
    assert_eq!(bridge["linkinfo"]["info_kind"], "bridge");
    let data = &bridge["linkinfo"]["info_data"];
    assert_eq!(data["stp_state"], 0, "{bridge}");
    assert_eq!(data["forward_delay"], 0, "{bridge}");
    for key in ["nf_call_iptables", "nf_call_ip6tables", "nf_call_arptables"] {
        assert_eq!(data[key], 0, "{key}: {bridge}");
    }
    // A port with a lower MAC must not change the bridge's.
    let pod = site.pod("low");
    let low = Ask::new("low-x", &pod)
        .networks(external(None))
        .runtime(json!({"mac": "02:00:00:00:00:01"}));
    site.add(&low).result();
    assert_eq!(site.link("br-eth0")["address"], json!(mac));
}

#[test]
fn bridge_of_the_operator_is_used_and_never_changed() {
    let site = Site::serving("upl-exist");
    site.does(&[
        "link",
        "add",
        "ops0",
        "address",
        "02:00:00:00:0b:0b",
        "type",
        "bridge",
        "stp_state",
        "0",
        "forward_delay",
        "0",
    ]);
    site.does(&["link", "set", "ops0", "up"]);
    site.does(&["link", "set", "eth0", "master", "ops0"]);
    site.does(&["addr", "add", "10.20.1.10/24", "dev", "ops0"]);
    let before = (
        steady(site.link("ops0")),
        site.ip(&["addr", "show", "dev", "ops0"])[0]["addr_info"].clone(),
    );
    for (number, mode) in [None, Some("existing")].into_iter().enumerate() {
        let pod = site.pod(&format!("p{number}"));
        site.add(&Ask::new(&format!("web-{number}"), &pod).networks(external(mode)))
            .result();
        pod.pings("10.20.1.1");
    }
    let after = (
        steady(site.link("ops0")),
        site.ip(&["addr", "show", "dev", "ops0"])[0]["addr_info"].clone(),
    );
    assert_eq!(after, before);
    assert_eq!(site.bridge_of("eth0"), "ops0");
    assert!(site.link("br-eth0").is_null());
}

#[test]
fn existing_is_refused_where_there_is_no_bridge() {
    let site = Site::serving("upl-none");
    let fault = added(&site, Some("existing")).fault();
    assert!(fault.code >= 100, "{fault:?}");
    assert!(fault.text().contains("eth0"), "{fault:?}");
    assert!(site.bridge_of("eth0").is_null());
    site.assert_no_attachment();
}

#[test]
fn uplink_with_addresses_is_refused_with_advice_unless_take_over_is_asked_for() {
    let site = Site::build(
        "upl-advice",
        Setup::default().with_node_address(Net::External),
    );
    let before = site.snapshot();
    for mode in [None, Some("plain")] {
        let pod = site.pod(mode.unwrap_or("default"));
        let ask = Ask::new("web-x", &pod).networks(external(mode));
        let fault = site.add(&ask).fault();
        assert!(fault.code >= 100, "{fault:?}");
        assert!(fault.text().contains("take-over"), "{fault:?}");
        assert!(fault.text().contains("eth0"), "{fault:?}");
    }
    assert_unchanged(&site.snapshot(), &before);
    site.assert_no_attachment();
}

/// A node whose NIC carries addresses and routes of every kind that must be kept.
fn with_routes(test: &str) -> Site {
    let site = Site::build(test, Setup::default().with_node_address(Net::External));
    let node = site.node().address4(Net::External).to_string();
    for route in [
        vec![
            "192.0.2.0/24",
            "via",
            "10.20.1.1",
            "metric",
            "77",
            "mtu",
            "1300",
            "proto",
            "static",
            "src",
            node.as_str(),
        ],
        vec![
            "198.51.100.0/24",
            "dev",
            "eth0",
            "scope",
            "link",
            "metric",
            "5",
        ],
        vec!["203.0.113.0/24", "via", "10.20.1.1", "table", "100"],
        vec![
            "2001:db8:7::/48",
            "via",
            "fd00:20:1::1",
            "metric",
            "99",
            "proto",
            "static",
        ],
    ] {
        let args: Vec<&str> = ["route", "add"].into_iter().chain(route).collect();
        site.does(&args);
    }
    site.does(&["addr", "add", "10.20.1.77/24", "dev", "eth0"]);
    site
}

/// Routes with the device's name made equal, so that before and after can be compared.
fn routes_of(site: &Site, device: &str) -> Vec<String> {
    let mut routes = Vec::new();
    for family in ["-4", "-6"] {
        let table = site.ip(&[family, "route", "show", "table", "all"]);
        for route in table.as_array().unwrap() {
            let local = route["type"] == "local"
                || route["type"] == "broadcast"
                || route["type"] == "anycast"
                || route["type"] == "multicast";
            let own = route["dst"]
                .as_str()
                .is_some_and(|dst| dst.starts_with("fe80"));
            if route["dev"] == device && !local && !own {
                let mut route = route.clone();
                if let Some(route) = route.as_object_mut() {
                    route.retain(|key, _| !["dev", "flags", "cache"].contains(&key.as_str()));
                }
                routes.push(route.to_string());
            }
        }
    }
    routes.sort();
    routes
}

fn addresses_of(site: &Site, device: &str) -> Vec<String> {
    let link = site.ip(&["addr", "show", "dev", device]);
    let mut addresses: Vec<String> = link[0]["addr_info"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|address| address["scope"] == "global")
        .map(|address| {
            format!(
                "{}/{}",
                address["local"].as_str().unwrap(),
                address["prefixlen"]
            )
        })
        .collect();
    addresses.sort();
    addresses
}

#[test]
fn take_over_moves_addresses_and_routes_of_both_families() {
    let site = with_routes("upl-take");
    let (addresses, routes) = (addresses_of(&site, "eth0"), routes_of(&site, "eth0"));
    assert_eq!(addresses.len(), 3);
    added(&site, Some("take-over")).result();
    let bridge = site.bridge_of("eth0");
    let bridge = bridge.as_str().unwrap();
    assert_eq!(addresses_of(&site, "eth0"), Vec::<String>::new());
    assert_eq!(addresses_of(&site, bridge), addresses);
    let host_route = |route: &String| route.contains("\"10.20.1.100\"");
    let moved: Vec<String> = routes_of(&site, bridge)
        .into_iter()
        .filter(|r| !host_route(r))
        .collect();
    assert_eq!(moved, routes);
    assert_eq!(routes_of(&site, "eth0"), Vec::<String>::new());
    assert_eq!(
        site.link(bridge)["address"],
        json!(site.node().uplink_mac(Net::External))
    );
    assert!(site.node().ping_once("10.20.1.1").unwrap());
    assert!(site.node().ping_once("fd00:20:1::1").unwrap());
    // A second Pod finds it done.
    let pod = site.pod("second");
    site.add(&Ask::new("second-x", &pod).networks(external(Some("take-over"))))
        .result();
    assert_eq!(addresses_of(&site, bridge), addresses);
}

#[test]
fn take_over_loses_no_packet_of_the_node() {
    let site = Site::build("upl-gap", Setup::default().with_node_address(Net::External));
    let node = site.node().address4(Net::External).to_string();
    let mut ping = site
        .tor()
        .spawn(
            "ping",
            &["ping", "-n", "-i", "0.01", "-c", "300", "-W", "1", &node],
        )
        .unwrap();
    wait_until("the ping runs", || {
        holds(ping.log().contains("icmp_seq=20"), || ping.log_tail())
    });
    added(&site, Some("take-over")).result();
    ping.wait(std::time::Duration::from_secs(20)).unwrap();
    let log = ping.log();
    assert!(log.contains("300 received"), "{}", ping.log_tail());
}

#[test]
fn take_over_whose_gateway_does_not_answer_puts_everything_back() {
    let site = with_routes("upl-silent");
    site.world().rack("a").silence(Net::External).unwrap();
    let before = site.snapshot();
    let fault = added(&site, Some("take-over")).fault();
    assert!(fault.code >= 100, "{fault:?}");
    assert!(fault.text().contains("10.20.1.1"), "{fault:?}");
    assert_unchanged(&site.snapshot(), &before);
    site.assert_no_attachment();

    site.world().rack("a").restore_voice(Net::External).unwrap();
    let pod = site.pod("again");
    site.add(&Ask::new("again-x", &pod).networks(external(Some("take-over"))))
        .result();
    pod.pings("10.20.1.1");
}

#[test]
fn concurrent_adds_make_one_bridge() {
    let site = Site::serving("upl-many");
    let pods: Vec<_> = (0..8).map(|n| site.pod(&format!("p{n}"))).collect();
    std::thread::scope(|scope| {
        for (number, pod) in pods.iter().enumerate() {
            let site = &site;
            scope.spawn(move || site.add(&Ask::new(&format!("web-{number}"), pod)).result());
        }
    });
    let bridges = site
        .links()
        .into_iter()
        .filter(|link| link["linkinfo"]["info_kind"] == "bridge")
        .count();
    assert_eq!(bridges, 2);
    assert_eq!(site.ports().len(), 16);
    for pod in &pods {
        pod.pings("10.20.1.1");
        pod.pings("10.30.1.1");
    }
}

/// Puts the configuration where an operator has it and runs `berth uplink VERB` with it.
fn by_hand(site: &Site, verb: &str, networks: &Value) -> tests_testbed::Output {
    let mut config = site.config("1.1.0", networks);
    config["timeouts"] = json!({"gatewaySeconds": 2});
    let list = json!({"cniVersion": "1.1.0", "name": "bank", "plugins": [config]});
    std::fs::write(
        site.node().disk("/etc/cni/net.d/10-bank.conflist"),
        list.to_string(),
    )
    .unwrap();
    site.node()
        .exec(&[
            "/opt/cni/bin/berth",
            "uplink",
            verb,
            "--config",
            "/etc/cni/net.d/10-bank.conflist",
        ])
        .unwrap()
}

#[test]
fn restore_after_take_over_leaves_everything_as_before() {
    let site = with_routes("upl-restore");
    let networks = external(Some("take-over"));
    let before = site.snapshot();
    for _ in 0..2 {
        let output = by_hand(&site, "ensure", &networks);
        assert!(output.success(), "{output:?}");
    }
    assert!(!site.bridge_of("eth0").is_null());
    assert!(by_hand(&site, "status", &networks).success());
    let output = by_hand(&site, "restore", &networks);
    assert!(output.success(), "{output:?}");
    assert_unchanged(&site.snapshot(), &before);
    assert!(site.node().ping_once("10.20.1.1").unwrap());
    // Asked again there is nothing to put back.
    assert!(by_hand(&site, "restore", &networks).success());
    assert_unchanged(&site.snapshot(), &before);
}

#[test]
fn restore_of_a_plain_uplink_leaves_everything_as_before() {
    let site = Site::serving("upl-plainback");
    let networks = external(None);
    let before = site.snapshot();
    assert!(!by_hand(&site, "status", &networks).success());
    assert!(by_hand(&site, "ensure", &networks).success());
    assert_eq!(site.bridge_of("eth0"), "br-eth0");
    assert!(by_hand(&site, "restore", &networks).success());
    assert_unchanged(&site.snapshot(), &before);
}

#[test]
fn restore_is_refused_while_pods_are_plugged_in() {
    let site = Site::serving("upl-busy");
    added(&site, None).result();
    let output = by_hand(&site, "restore", &external(None));
    assert!(!output.success(), "{output:?}");
    assert_eq!(site.bridge_of("eth0"), "br-eth0");
    assert_eq!(site.ports().len(), 1);
}

#[test]
fn ensure_by_hand_with_a_silent_gateway_puts_everything_back_and_says_so() {
    let site = with_routes("upl-handsilent");
    site.world().rack("a").silence(Net::External).unwrap();
    let before = site.snapshot();
    let output = by_hand(&site, "ensure", &external(Some("take-over")));
    assert!(!output.success(), "{output:?}");
    assert!(
        output.stdout.contains("10.20.1.1") || output.stderr.contains("10.20.1.1"),
        "{output:?}"
    );
    assert_unchanged(&site.snapshot(), &before);
}

#[test]
fn bridge_is_made_again_after_a_reboot() {
    let mut site = Site::build(
        "upl-boot",
        Setup::default().with_node_address(Net::External),
    );
    let networks = external(Some("take-over"));
    assert!(by_hand(&site, "ensure", &networks).success());
    let addresses = addresses_of(&site, "br-eth0");
    site.reboot();
    assert!(by_hand(&site, "ensure", &networks).success());
    assert_eq!(addresses_of(&site, "br-eth0"), addresses);
    assert!(site.node().ping_once("10.20.1.1").unwrap());
}
