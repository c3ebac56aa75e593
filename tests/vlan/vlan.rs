//! VLANs as a sub-interface with its own bridge, and on a VLAN-filtering bridge.

use serde_json::{Value, json};
use tests::site::{Ask, Pool, Setup, Site, assert_unchanged};
use tests::wait::{PATIENCE, wait_until};
use tests_testbed::Net;

/// Pools on two VLANs of the internal uplink, the first one with the name that the default configuration knows.
fn setup() -> Setup {
    let mut setup = Setup::default();
    setup.pools[1] = pool("internal", 120);
    setup.pools.push(pool("clearing", 130));
    setup
}

fn pool(network: &str, vlan: u16) -> Pool {
    Pool::new(
        &format!("{network}-a"),
        network,
        &format!("10.50.{vlan}.0/24"),
        &format!("10.50.{vlan}.100-10.50.{vlan}.199"),
        &format!("10.50.{vlan}.1"),
    )
}

/// A site whose TOR has its gateways in VLAN 120 and 130 of the internal segment only.
fn site(test: &str) -> Site {
    let site = Site::build(test, setup());
    for vlan in [120, 130] {
        site.tor()
            .script(&format!(
                "ip link add link internal name internal.{vlan} type vlan id {vlan}\n\
                 ip address add 10.50.{vlan}.1/24 dev internal.{vlan}\n\
                 ip link set internal.{vlan} up"
            ))
            .unwrap();
    }
    site
}

fn network(name: &str, uplink: &str, vlan: u16, mode: &str) -> Value {
    json!({"name": name, "uplink": uplink, "vlan": vlan, "vlanMode": mode})
}

fn external() -> Value {
    json!({"name": "external", "uplink": "eth0", "default": true})
}

/// The rows of `bridge vlan` for a port.
fn vlans(site: &Site, port: &str) -> Value {
    let text = site
        .node()
        .run(&["bridge", "-json", "vlan", "show", "dev", port])
        .unwrap();
    let rows: Value = serde_json::from_str(&text).unwrap();
    rows[0]["vlans"].clone()
}

/// The VLAN's frames carry its tag on the wire: seen by a capture on the TOR's side of the node's cable.
fn assert_tagged_on_the_wire(site: &Site, ping: impl Fn(), vlan: u16) {
    let port = site.node().tor_port(Net::Internal);
    let filter = format!("vlan {vlan} and icmp");
    let mut capture = site
        .tor()
        .spawn(
            "capture",
            &[
                "tcpdump",
                "--immediate-mode",
                "-lnei",
                &port,
                "-c",
                "1",
                &filter,
            ],
        )
        .unwrap();
    wait_until("tcpdump listens", || {
        let log = capture.log();
        if log.contains("listening on") {
            Ok(())
        } else {
            Err(log)
        }
    });
    ping();
    assert!(
        capture.wait(PATIENCE).unwrap().success(),
        "{}",
        capture.log()
    );
    assert!(
        capture.log().contains(&format!("vlan {vlan},")),
        "{}",
        capture.log()
    );
}

fn pod_in_a_vlan_talks_tagged_and_keeps_its_address(test: &str, mode: &str) -> Site {
    let site = site(test);
    let pod = site.pod("p");
    let networks = json!([external(), network("internal", "eth1", 120, mode)]);
    let ask = Ask::new("web-0", &pod).networks(networks);
    site.add(&ask).result();
    assert_eq!(pod.addresses("net1"), ["10.50.120.100/24"]);
    pod.pings("10.20.1.1");
    assert_tagged_on_the_wire(&site, || pod.pings("10.50.120.1"), 120);
    site.check(&ask).silence();
    site.del(&ask).silence();
    assert_eq!(site.ports(), Vec::<String>::new());
    let again = site.pod("q");
    let second = Ask::new("web-0", &again)
        .networks(ask_networks(mode))
        .container_id("second");
    site.add(&second).result();
    assert_eq!(again.addresses("net1"), ["10.50.120.100/24"]);
    again.pings("10.50.120.1");
    site
}

fn ask_networks(mode: &str) -> Value {
    json!([external(), network("internal", "eth1", 120, mode)])
}

#[test]
fn sub_interface_has_a_bridge_of_its_own() {
    let site = pod_in_a_vlan_talks_tagged_and_keeps_its_address("vlan-sub", "sub-interface");
    let links = site.links();
    let sub = links
        .iter()
        .find(|link| link["linkinfo"]["info_kind"] == "vlan")
        .unwrap_or_else(|| panic!("no VLAN interface among {links:?}"));
    assert_eq!(sub["linkinfo"]["info_data"]["id"], 120, "{sub}");
    assert_eq!(sub["link"], "eth1", "{sub}");
    // The uplink itself stays free for other use.
    assert_eq!(site.link("eth1")["master"], Value::Null);
    assert_ne!(sub["master"], Value::Null, "{sub}");
}

#[test]
fn filtering_bridge_has_access_ports_and_a_tagged_uplink() {
    let site = pod_in_a_vlan_talks_tagged_and_keeps_its_address("vlan-filter", "filtering");
    let bridge = site.bridge_of("eth1");
    let bridge = site.link(bridge.as_str().unwrap());
    assert_eq!(
        bridge["linkinfo"]["info_data"]["vlan_filtering"], 1,
        "{bridge}"
    );
    let port = site
        .port_links()
        .into_iter()
        .find(|port| port["master"] == bridge["ifname"])
        .unwrap();
    let access = vlans(&site, port["ifname"].as_str().unwrap());
    assert_eq!(
        access,
        json!([{"vlan": 120, "flags": ["PVID", "Egress Untagged"]}]),
        "the port is in its VLAN only"
    );
    let uplink = vlans(&site, "eth1");
    assert!(
        uplink
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["vlan"] == 120 && row.get("flags").is_none()),
        "{uplink}"
    );
}

/// Two VLANs and an untagged network over the same uplinks do not hear each other.
fn vlans_are_apart(test: &str, mode: &str) {
    let site = site(test);
    let pods = [site.pod("p0"), site.pod("p1"), site.pod("p2")];
    for (pod, (name, vlan)) in
        pods.iter()
            .zip([("internal", 120), ("clearing", 130), ("internal", 120)])
    {
        let mut only = network(name, "eth1", vlan, mode);
        only["default"] = json!(true);
        site.add(&Ask::new(&format!("{}-0", pod.name()), pod).networks(json!([only])))
            .result();
    }
    let addresses: Vec<Vec<String>> = pods.iter().map(|pod| pod.addresses("eth0")).collect();
    assert_eq!(addresses[0], ["10.50.120.100/24"]);
    assert_eq!(addresses[1], ["10.50.130.100/24"]);
    assert_eq!(addresses[2], ["10.50.120.101/24"]);
    pods[0].pings("10.50.120.1");
    pods[1].pings("10.50.130.1");
    pods[0].pings("10.50.120.101");
    // The same addresses on the other VLAN's port: layer 2 only, past every router.
    pods[1].does(&["address", "add", "10.50.120.200/24", "dev", "eth0"]);
    assert!(
        !pods[1].ping_once("10.50.120.101"),
        "VLAN 130 hears VLAN 120"
    );
}

#[test]
fn two_vlans_of_one_uplink_are_apart_with_sub_interfaces() {
    vlans_are_apart("vlan-apart-sub", "sub-interface");
}

#[test]
fn two_vlans_of_one_uplink_are_apart_on_a_filtering_bridge() {
    vlans_are_apart("vlan-apart-flt", "filtering");
}

#[test]
fn untagged_network_and_a_vlan_share_an_uplink() {
    let mut setup = setup();
    setup.pools[0] = Pool::new(
        "plain-a",
        "plain",
        "10.30.1.0/24",
        "10.30.1.100-10.30.1.199",
        "10.30.1.1",
    );
    let site = Site::build("vlan-shared", setup);
    site.tor()
        .script(
            "ip link add link internal name internal.120 type vlan id 120\n\
             ip address add 10.50.120.1/24 dev internal.120\n\
             ip link set internal.120 up",
        )
        .unwrap();
    let pod = site.pod("p");
    let networks = json!([
        {"name": "plain", "uplink": "eth1", "default": true},
        network("internal", "eth1", 120, "sub-interface"),
    ]);
    site.add(&Ask::new("web-0", &pod).networks(networks))
        .result();
    pod.pings("10.30.1.1");
    assert_tagged_on_the_wire(&site, || pod.pings("10.50.120.1"), 120);
}

/// The node and a Pod in a VLAN reach each other with the cable out, though the node has no address there.
fn node_and_pod_reach_each_other_without_the_switch(test: &str, mode: &str) {
    let site = site(test);
    site.does(&["addr", "add", "172.31.9.1/32", "dev", "lo"]);
    let mut networks = ask_networks(mode);
    networks[0]["nodeReach"] = json!(false);
    networks[1]["nodeAddresses"] = json!(["172.31.9.1"]);
    let pod = site.pod("p");
    let ask = Ask::new("web-0", &pod).networks(networks);
    site.add(&ask).result();
    let host_route = || site.ip(&["route", "show", "10.50.120.100"]);
    assert_eq!(host_route()[0]["prefsrc"], "172.31.9.1", "{}", host_route());
    site.node().set_uplink(Net::Internal, false).unwrap();
    assert!(!pod.ping_once("10.50.120.1"), "the cable is out");
    assert!(
        site.node().ping_once("10.50.120.100").unwrap(),
        "node to Pod"
    );
    let route = pod.ip(&["route", "get", "172.31.9.1"]);
    assert_eq!(route[0]["dev"], "net1", "{route}");
    pod.pings("172.31.9.1");
    site.node().set_uplink(Net::Internal, true).unwrap();
    site.check(&ask).silence();
    site.del(&ask).silence();
    assert_eq!(host_route(), json!([]));
}

#[test]
fn node_and_pod_reach_each_other_without_the_switch_with_sub_interfaces() {
    node_and_pod_reach_each_other_without_the_switch("vlan-reach-sub", "sub-interface");
}

#[test]
fn node_and_pod_reach_each_other_without_the_switch_on_a_filtering_bridge() {
    node_and_pod_reach_each_other_without_the_switch("vlan-reach-flt", "filtering");
}

/// `berth uplink restore` after a Pod's life leaves the node's links, addresses and routes as before.
fn restore_leaves_everything_as_before(test: &str, mode: &str) {
    const CONFLIST: &str = "/etc/cni/net.d/10-bank.conflist";
    let site = site(test);
    let networks = ask_networks(mode);
    let config = site.config("1.1.0", &networks);
    let list = json!({"cniVersion": "1.1.0", "name": "bank", "plugins": [config]});
    std::fs::write(site.node().disk(CONFLIST), list.to_string()).unwrap();
    let by_hand = |verb: &str| {
        site.node()
            .exec(&["/opt/cni/bin/berth", "uplink", verb, "--config", CONFLIST])
            .unwrap()
    };
    let before = site.snapshot();
    let output = by_hand("ensure");
    assert!(output.success(), "{output:?}");
    let output = by_hand("status");
    assert!(output.success(), "{output:?}");
    let pod = site.pod("p");
    let ask = Ask::new("web-0", &pod).networks(networks);
    site.add(&ask).result();
    pod.pings("10.50.120.1");
    assert!(!by_hand("restore").success(), "a Pod is plugged in");
    site.check(&ask).silence();
    site.del(&ask).silence();
    let output = by_hand("restore");
    assert!(output.success(), "{output:?}");
    assert_unchanged(&site.snapshot(), &before);
}

#[test]
fn restore_of_a_sub_interface_leaves_everything_as_before() {
    restore_leaves_everything_as_before("vlan-back-sub", "sub-interface");
}

#[test]
fn restore_of_a_filtering_bridge_leaves_everything_as_before() {
    restore_leaves_everything_as_before("vlan-back-flt", "filtering");
}
