//! How an uplink becomes a port of a bridge: existing, plain, take over; and how it is put back.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::plugin::Call;
use tests::site::{Ask, Setup, Site, assert_unchanged};
use tests::wait::{holds, wait_until};
use tests_testbed::Net;

use crate::dice::{Dice, say, seed};

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
    for address in [
        "10.20.1.77/24",
        "10.20.9.1/24 noprefixroute metric 50",
        "10.20.8.1/24 metric 60",
        "10.20.7.1 peer 10.20.7.2/32 scope site label eth0:ops",
        "fd00:20:9::1/64 noprefixroute metric 50 nodad",
        "fd00:20:8::1/64 metric 60 nodad",
    ] {
        let args: Vec<&str> = ["addr", "add", "dev", "eth0"]
            .into_iter()
            .chain(address.split(' '))
            .collect();
        site.does(&args);
    }
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

/// The addresses of a link in the kernel's order, whole but for what follows its name: the label, and link-local ones.
fn addresses_of(site: &Site, device: &str) -> Vec<String> {
    let link = site.ip(&["addr", "show", "dev", device]);
    link[0]["addr_info"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|address| address["scope"] != "link")
        .map(|address| {
            let mut address = address.clone();
            address.as_object_mut().unwrap().remove("label");
            address.to_string()
        })
        .collect()
}

#[test]
fn take_over_moves_addresses_and_routes_of_both_families() {
    let site = with_routes("upl-take");
    let (addresses, routes) = (addresses_of(&site, "eth0"), routes_of(&site, "eth0"));
    assert_eq!(addresses.len(), 8);
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
    ping.wait(Duration::from_secs(20)).unwrap();
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
fn take_over_that_is_refused_before_anything_moved_leaves_no_bridge() {
    let site = with_routes("upl-nexthop");
    site.does(&[
        "nexthop",
        "add",
        "id",
        "7",
        "via",
        "10.20.1.1",
        "dev",
        "eth0",
    ]);
    site.does(&["route", "add", "192.0.3.0/24", "nhid", "7"]);
    let before = site.snapshot();
    let fault = added(&site, Some("take-over")).fault();
    assert_eq!(fault.code, 106, "{fault:?}");
    assert!(fault.text().contains("next-hop"), "{fault:?}");
    assert_unchanged(&site.snapshot(), &before);
    site.assert_no_attachment();
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

const CONFLIST: &str = "/etc/cni/net.d/10-bank.conflist";

/// Puts the configuration where an operator has it.
fn write_conflist(site: &Site, networks: &Value) {
    let mut config = site.config("1.1.0", networks);
    config["timeouts"] = json!({"gatewaySeconds": 2});
    let list = json!({"cniVersion": "1.1.0", "name": "bank", "plugins": [config]});
    std::fs::write(site.node().disk(CONFLIST), list.to_string()).unwrap();
}

/// Puts the configuration where an operator has it and runs `berth uplink VERB` with it.
fn by_hand(site: &Site, verb: &str, networks: &Value) -> tests_testbed::Output {
    write_conflist(site, networks);
    site.node()
        .exec(&["/opt/cni/bin/berth", "uplink", verb, "--config", CONFLIST])
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
fn restore_without_its_snapshot_gives_the_nic_what_the_bridge_carries() {
    let site = with_routes("upl-lost");
    // A label is all that only the snapshot knows.
    let labelled = ["10.20.7.1", "peer", "10.20.7.2/32", "dev", "eth0"];
    site.does(&[&["addr", "del"], &labelled[..]].concat());
    let networks = external(Some("take-over"));
    let before = site.snapshot();
    assert!(by_hand(&site, "ensure", &networks).success());
    assert_eq!(site.bridge_of("eth0"), "br-eth0");
    // Lost, or of another boot: the node must not be cut off for it.
    let snapshots = site.node().disk("/var/lib/berth/uplinks");
    for entry in std::fs::read_dir(snapshots).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let output = by_hand(&site, "restore", &networks);
    assert!(output.success(), "{output:?}");
    assert_unchanged(&site.snapshot(), &before);
    assert!(site.node().ping_once("10.20.1.1").unwrap());
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

/// Runs `uplink ensure`, or an ADD, and kills it at its fuse's end; whether it was still running.
fn killed(site: &Site, add: Option<&Ask>, fuse: Duration) -> bool {
    let mut running = if let Some(ask) = add {
        let call = ask.call("ADD").config(&site.ask_config(ask));
        call.start(site.command(Path::new("berth")))
    } else {
        let mut command = site.command(Path::new("berth"));
        command.args(["uplink", "ensure", "--config", CONFLIST]);
        Call::default().start(command)
    };
    let end = Instant::now() + fuse;
    while running.is_running() && Instant::now() < end {
        std::thread::park_timeout(Duration::from_micros(200));
    }
    let code = running.kill().code;
    code.is_none() || code == Some(137)
}

/// How far a take-over came.
fn stage(site: &Site) -> &'static str {
    let snapshot = site.node().disk("/var/lib/berth/uplinks/eth0.json");
    let bridge = site.link("br-eth0");
    let alias = bridge["ifalias"].as_str().unwrap_or_default();
    if bridge.is_null() {
        "not begun"
    } else if alias.ends_with(" whole") {
        "whole"
    } else if !site.bridge_of("eth0").is_null() {
        "moved, not verified"
    } else if snapshot.exists() {
        "with snapshot, not moved"
    } else {
        "bridge made"
    }
}

/// Addresses of NIC and bridge, and the routes through either without the Pods'.
fn carried(site: &Site) -> [Vec<String>; 4] {
    let routes = |device: &str| {
        let mut routes = routes_of(site, device);
        routes.retain(|route| !route.contains("\"10.20.1.100\""));
        routes
    };
    [
        addresses_of(site, "eth0"),
        routes("eth0"),
        if site.link("br-eth0").is_null() {
            Vec::new()
        } else {
            addresses_of(site, "br-eth0")
        },
        routes("br-eth0"),
    ]
}

#[test]
fn take_over_killed_at_any_moment_is_finished_by_the_next_or_put_back() {
    let site = with_routes("upl-kill");
    let networks = external(Some("take-over"));
    write_conflist(&site, &networks);
    let pod = site.pod("p");
    let ask = Ask::new("web-0", &pod).networks(networks.clone());
    let before = site.snapshot();
    let at_first = carried(&site);
    assert!(by_hand(&site, "ensure", &networks).success());
    let whole = carried(&site);
    assert_eq!(whole[2], at_first[0], "all addresses are on the bridge");
    assert!(by_hand(&site, "restore", &networks).success());
    assert_unchanged(&site.snapshot(), &before);

    let mut dice = Dice::new(seed("killed take-overs"));
    let mut stages = BTreeMap::new();
    for round in 0..40 {
        let fuse = Duration::from_micros(dice.below(40_000));
        let by_add = round % 4 >= 2;
        if killed(&site, by_add.then_some(&ask), fuse) {
            *stages.entry(stage(&site)).or_insert(0) += 1;
        }
        let what = format!("round {round}, killed after {fuse:?}: {}", stage(&site));
        if by_add {
            // What a runtime does after an ADD that gave no answer.
            site.del(&ask).silence();
        }
        if round % 2 == 0 {
            if by_add {
                site.add(&ask).result();
                pod.pings("10.20.1.1");
            } else {
                let output = by_hand(&site, "ensure", &networks);
                assert!(output.success(), "{what}: {output:?}");
            }
            assert_eq!(carried(&site), whole, "{what}");
            let status = by_hand(&site, "status", &networks);
            assert!(status.success(), "{what}: {status:?}");
            assert!(site.node().ping_once("10.20.1.1").unwrap(), "{what}");
            if by_add {
                site.del(&ask).silence();
            }
        }
        let output = by_hand(&site, "restore", &networks);
        assert!(output.success(), "{what}: {output:?}");
        let now = site.snapshot();
        if now != before {
            say(&what);
        }
        assert_unchanged(&now, &before);
    }
    say(&format!("40 take-overs were killed at: {stages:?}"));
    let interrupted: i32 = [
        "bridge made",
        "with snapshot, not moved",
        "moved, not verified",
    ]
    .iter()
    .filter_map(|stage| stages.get(stage))
    .sum();
    assert!(interrupted >= 5, "this shows nothing: {stages:?}");
}
