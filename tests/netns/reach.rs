//! Who reaches whom, and how soon: node and Pod without the switch, a reused address from the TOR, announcements.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::capture::{Capture, advertisement, gratuitous_arp};
use tests::plugin::{Answer, Call};
use tests::site::{Ask, Pod, Setup, Site};
use tests::wait::{PATIENCE, holds, wait_at_most};
use tests_testbed::Net;

use crate::dice::say;

/// The first addresses of all pools.
const POD: [&str; 4] = [
    "10.20.1.100",
    "10.30.1.100",
    "fd00:20:1::100",
    "fd00:30:1::100",
];

/// Routes of the node that lead to single addresses of the pools' networks.
fn host_routes(site: &Site) -> Vec<String> {
    let mut routes = Vec::new();
    for family in ["-4", "-6"] {
        let table = site.ip(&[family, "route", "show"]);
        for route in table.as_array().unwrap() {
            let dst = route["dst"].as_str().unwrap();
            if (dst.starts_with("10.") || dst.starts_with("fd00:")) && !dst.contains('/') {
                routes.push(dst.to_owned());
            }
        }
    }
    routes.sort();
    routes
}

/// A Pod on both networks with both families: the node has a route to each of its addresses, and with both cables out
/// the pings of both sides are answered on both networks; the routes go with the Pod.
fn reaches_without_the_switch(site: &Site, networks: &Value, node: &[(&str, &str)]) {
    let pod = site.pod("p");
    let ask = Ask::new("web-x", &pod).networks(networks.clone());
    assert_eq!(host_routes(site), Vec::<String>::new());
    site.add(&ask).result();
    assert_eq!(host_routes(site), POD);
    for net in Net::ALL {
        site.node().set_uplink(net, false).unwrap();
    }
    for address in POD {
        assert!(site.node().ping_once(address).unwrap(), "node to {address}");
    }
    for (address, ifname) in node {
        let route = pod.ip(&["route", "get", address]);
        assert_eq!(route[0]["dev"], *ifname, "{route}");
        assert!(pod.ping_once(address), "Pod to {address} by {ifname}");
    }
    for net in Net::ALL {
        site.node().set_uplink(net, true).unwrap();
    }
    site.check(&ask).silence();
    site.del(&ask).silence();
    assert_eq!(
        host_routes(site),
        Vec::<String>::new(),
        "routes go with the Pod"
    );
}

/// A node whose addresses are on no network of the Pods, one of each family for either network; and the networks.
fn reached_by_other_addresses(site: &Site) -> (Value, [(&'static str, &'static str); 4]) {
    site.add_management_nic();
    site.does(&["route", "add", "default", "via", "172.31.7.254"]);
    site.does(&["route", "add", "default", "via", "fd99::fe"]);
    site.does(&["addr", "add", "172.31.8.1/32", "dev", "lo"]);
    site.does(&["addr", "add", "fd98::1/128", "dev", "lo"]);
    let mut networks = site.networks();
    networks[1]["nodeAddresses"] = json!(["172.31.8.1", "fd98::1"]);
    let node = [
        ("172.31.7.1", "eth0"),
        ("fd99::1", "eth0"),
        ("172.31.8.1", "net1"),
        ("fd98::1", "net1"),
    ];
    (networks, node)
}

#[test]
fn node_without_address_on_the_network_and_pod_reach_each_other_without_the_switch() {
    let site = Site::build("rch-plain", Setup::dual_stack());
    let (networks, node) = reached_by_other_addresses(&site);
    reaches_without_the_switch(&site, &networks, &node);
}

#[test]
fn node_whose_address_was_taken_over_and_pod_reach_each_other_without_the_switch() {
    let setup = Setup::dual_stack()
        .with_node_address(Net::External)
        .with_node_address(Net::Internal);
    let site = Site::build("rch-take", setup);
    let mut networks = site.networks();
    for number in 0..2 {
        networks[number]["mode"] = json!("take-over");
    }
    let mut node = Vec::new();
    for (net, ifname) in Net::ALL.into_iter().zip(["eth0", "net1"]) {
        node.push((site.node().address4(net).to_string(), ifname));
        node.push((site.node().address6(net).to_string(), ifname));
    }
    let node: Vec<(&str, &str)> = node
        .iter()
        .map(|(address, ifname)| (address.as_str(), *ifname))
        .collect();
    reaches_without_the_switch(&site, &networks, &node);
}

#[test]
fn node_and_pod_reach_each_other_over_an_existing_bridge() {
    let site = Site::build("rch-exist", Setup::dual_stack());
    for (bridge, uplink) in [("ops0", "eth0"), ("ops1", "eth1")] {
        let make = format!("link add {bridge} type bridge stp_state 0 forward_delay 0");
        site.does(&make.split(' ').collect::<Vec<_>>());
        site.does(&["link", "set", bridge, "up"]);
        site.does(&["link", "set", uplink, "master", bridge]);
    }
    let (networks, node) = reached_by_other_addresses(&site);
    reaches_without_the_switch(&site, &networks, &node);
}

#[test]
fn node_reach_can_be_switched_off_per_network() {
    let site = Site::serving("rch-off");
    site.add_management_nic();
    let before = host_routes(&site);
    let mut networks = site.networks();
    networks[0]["nodeReach"] = json!(false);
    let pod = site.pod("p");
    site.add(&Ask::new("web-0", &pod).networks(networks))
        .result();
    let routes = host_routes(&site);
    assert!(
        !routes.iter().any(|route| route.starts_with("10.20.")),
        "{routes:?} {before:?}"
    );
    assert!(
        routes.iter().any(|route| route.starts_with("10.30.")),
        "{routes:?}"
    );
    let inside = pod.ip(&["route", "show", "dev", "eth0"]);
    assert!(!inside.to_string().contains("172.31.7.1"), "{inside}");
}

/// Pings of the TOR until one is answered within 50 ms, and the time it took in all.
fn pings_to_first_answer(site: &Site, address: &str) -> (u32, Duration) {
    let begin = Instant::now();
    let mut pings = 0;
    wait_at_most(Duration::from_secs(90), "the TOR is answered", || {
        pings += 1;
        let ping = ["ping", "-n", "-q", "-c", "1", "-W", "0.05", address];
        let output = site
            .tor()
            .exec(&ping)
            .map_err(|error| format!("{error:#}"))?;
        holds(output.success(), || output.stdout.clone())
    });
    (pings, begin.elapsed())
}

/// Makes the TOR's entry for the address REACHABLE, as it is for a Pod in use.
fn warm(site: &Site, address: &str) {
    site.tor().ping(address, PATIENCE).unwrap();
    let text = site.tor().run(&["ip", "neigh", "show", address]).unwrap();
    assert!(
        text.contains("REACHABLE") || text.contains("DELAY"),
        "{text}"
    );
}

fn reference_call(verb: &str, container: &str, pod: &Pod<'_>) -> Call {
    Call::new(verb, container, pod.path(), "eth0").config(&json!({
        "cniVersion": "1.0.0", "name": "peer", "type": "bridge", "bridge": "br-peer",
        "ipam": {
            "type": "static",
            "addresses": [{"address": "10.30.1.100/24", "gateway": "10.30.1.1"}],
        },
    }))
}

/// A sandbox with the address `10.20.1.100` for a Pod: its MAC and how to end it.
fn sandbox<'a>(site: &'a Site, name: &str, identity: &str, runtime: &Value) -> (Ask, Pod<'a>) {
    let pod = site.pod(name);
    let ask = Ask::new(identity, &pod)
        .external_only()
        .runtime(runtime.clone())
        .container_id(&format!("sandbox-{name}"));
    site.add(&ask).result();
    (ask, pod)
}

/// A Pod in use is replaced by a new sandbox with the same address, five times in fresh sandboxes: what the TOR's pings
/// see from the end of ADD, in order of the pings it took. `runtimes`: what is asked for the old sandbox and the new.
fn replaced(
    site: &Site,
    what: &str,
    names: [&str; 2],
    runtimes: &[Value; 2],
) -> Vec<(u32, Duration)> {
    let same_mac = runtimes[0] == runtimes[1];
    let mut seen = Vec::new();
    for round in 0..5 {
        let (old, pod) = sandbox(site, &format!("{what}{round}o"), names[0], &runtimes[0]);
        let mac = pod.link("eth0")["address"].clone();
        warm(site, "10.20.1.100");
        site.del(&old).silence();
        let (new, pod) = sandbox(site, &format!("{what}{round}n"), names[1], &runtimes[1]);
        seen.push(pings_to_first_answer(site, "10.20.1.100"));
        assert_eq!(pod.addresses("eth0"), ["10.20.1.100/24"]);
        assert_eq!(pod.link("eth0")["address"] == mac, same_mac, "{what}");
        site.del(&new).silence();
    }
    seen.sort();
    seen
}

/// The time from ADD's end to the first answer that Debian's bridge needs, with its own bridge over the internal uplink.
fn time_of_the_reference(site: &Site) -> Duration {
    let make = "link add br-peer type bridge stp_state 0 forward_delay 0";
    site.does(&make.split(' ').collect::<Vec<_>>());
    site.does(&["link", "set", "br-peer", "up"]);
    site.does(&["link", "set", "eth1", "master", "br-peer"]);
    let peer = |verb: &str, container: &str, pod: &Pod<'_>| -> Answer {
        site.run("bridge", &reference_call(verb, container, pod))
    };
    let (old, new) = (site.pod("r0"), site.pod("r1"));
    peer("ADD", "c-old", &old).result();
    warm(site, "10.30.1.100");
    peer("DEL", "c-old", &old).silence();
    peer("ADD", "c-new", &new).result();
    pings_to_first_answer(site, "10.30.1.100").1
}

#[test]
fn reused_address_answers_the_tor_at_once_where_the_reference_takes_seconds() {
    let site = Site::build("rch-reuse", Setup::default().without_quarantine());
    let wish = json!({"ips": ["10.20.1.100"]});
    let of_mac = |mac: &str| json!({"ips": ["10.20.1.100"], "mac": mac});
    let macs = [of_mac("02:00:5e:00:53:01"), of_mac("02:00:5e:00:53:02")];
    // The new MAC first: the sticky identity keeps the address.
    let new_mac = replaced(&site, "m", ["one-x", "two-x"], &macs);
    let same_mac = replaced(&site, "s", ["db-0", "db-0"], &[wish.clone(), wish]);
    let theirs = time_of_the_reference(&site);
    for (what, seen) in [("same MAC", &same_mac), ("new MAC", &new_mac)] {
        let text: Vec<String> = seen
            .iter()
            .map(|(pings, time)| format!("ping {pings} ({} ms)", time.as_millis()))
            .collect();
        say(&format!(
            "reused address, {what}: the TOR is answered at {}, {} ms with Debian's bridge",
            text.join(", "),
            theirs.as_millis()
        ));
        // Each ping is answered within 50 ms or not at all; the times hold an exec of ping for each.
        assert_eq!(seen[2].0, 1, "the median of {what}: {seen:?}");
    }
    assert!(
        theirs > Duration::from_secs(2),
        "the side-by-side shows nothing: {theirs:?}"
    );
}

#[test]
fn address_of_a_new_mac_is_announced_so_that_stale_neighbours_learn_it() {
    let site = Site::build("rch-stale", Setup::dual_stack().without_quarantine());
    let old = site.pod("p0");
    let first = Ask::new("one-x", &old).external_only().runtime(json!({
        "ips": ["10.20.1.100"], "mac": "02:00:5e:00:53:01",
    }));
    site.add(&first).result();
    for address in ["10.20.1.100", "fd00:20:1::100"] {
        site.tor().ping(address, PATIENCE).unwrap();
    }
    site.del(&first).silence();
    let new = site.pod("p1");
    let second = Ask::new("two-x", &new).external_only().runtime(json!({
        "ips": ["10.20.1.100", "fd00:20:1::100"], "mac": "02:00:5e:00:53:02",
    }));
    site.add(&second).result();
    for address in ["10.20.1.100", "fd00:20:1::100"] {
        assert!(
            site.tor().ping_once(address).unwrap(),
            "{address} at the first ping"
        );
    }
}

#[test]
fn every_interface_is_announced_by_arp_request_reply_and_advertisement() {
    let site = Site::build("rch-announce", Setup::dual_stack());
    // The first Pod makes the bridges, so that the capture sees announcements only.
    let first = site.pod("p0");
    site.add(&Ask::new("web-0", &first)).result();
    let captures = Net::ALL.map(|net| Capture::start(site.tor(), &site.node().tor_port(net)));
    let pod = site.pod("p1");
    site.add(&Ask::new("web-1", &pod)).result();
    for (net, capture) in Net::ALL.iter().zip(&captures) {
        let (v4, v6, ifname) = match net {
            Net::External => ("10.20.1.101", "fd00:20:1::101", "eth0"),
            Net::Internal => ("10.30.1.101", "fd00:30:1::101", "net1"),
        };
        let mac = pod.link(ifname)["address"].as_str().unwrap().to_owned();
        for operation in [1, 2] {
            capture.wait_frame(
                &format!("ARP operation {operation} of {v4} beyond the uplink"),
                &gratuitous_arp(operation, &mac, v4.parse().unwrap()),
            );
        }
        capture.wait_frame(
            &format!("advertisement of {v6} beyond the uplink"),
            &advertisement(&mac, v6.parse().unwrap()),
        );
    }
}
