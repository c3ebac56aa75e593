//! Who reaches whom, and how soon: node and Pod without the switch, a reused address from the TOR, announcements.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::plugin::{Answer, Call};
use tests::site::{Ask, Pod, Setup, Site};
use tests::wait::{PATIENCE, holds, wait_at_most, wait_until};
use tests_testbed::Net;

/// Routes of the node that lead to single addresses by a bridge.
fn host_routes(site: &Site) -> Vec<String> {
    let mut routes = Vec::new();
    for family in ["-4", "-6"] {
        let table = site.ip(&[family, "route", "show"]);
        for route in table.as_array().unwrap() {
            let dst = route["dst"].as_str().unwrap();
            if dst.contains("10.20.1.1") || dst.contains("10.30.1.1") || dst.starts_with("fd00:") {
                routes.push(dst.to_owned());
            }
        }
    }
    routes
}

fn reaches_without_the_switch(site: &Site, node_address: &str) {
    let pod = site.pod("p");
    let ask = Ask::new("web-x", &pod);
    site.add(&ask).result();
    for net in Net::ALL {
        site.node().set_uplink(net, false).unwrap();
    }
    assert!(site.node().ping_once("10.20.1.100").unwrap(), "node to Pod");
    assert!(pod.ping_once(node_address), "Pod to node");
    for net in Net::ALL {
        site.node().set_uplink(net, true).unwrap();
    }
    site.del(&ask).silence();
}

#[test]
fn node_without_address_on_the_network_and_pod_reach_each_other_without_the_switch() {
    let site = Site::serving("rch-plain");
    site.add_management_nic();
    reaches_without_the_switch(&site, "172.31.7.1");
    assert_eq!(
        host_routes(&site),
        Vec::<String>::new(),
        "routes go with the Pod"
    );
}

#[test]
fn node_whose_address_was_taken_over_and_pod_reach_each_other_without_the_switch() {
    let site = Site::build(
        "rch-take",
        Setup::default().with_node_address(Net::External),
    );
    let before = {
        let pod = site.pod("first");
        let mut networks = site.networks();
        networks[0]["mode"] = json!("take-over");
        let ask = Ask::new("web-first", &pod).networks(networks.clone());
        site.add(&ask).result();
        site.del(&ask).silence();
        host_routes(&site)
    };
    let pod = site.pod("p");
    let mut networks = site.networks();
    networks[0]["mode"] = json!("take-over");
    let ask = Ask::new("web-x", &pod).networks(networks);
    site.add(&ask).result();
    let node_address = site.node().address4(Net::External).to_string();
    site.node().set_uplink(Net::External, false).unwrap();
    let address = pod.addresses("eth0")[0].replace("/24", "");
    assert!(site.node().ping_once(&address).unwrap(), "node to Pod");
    assert!(pod.ping_once(&node_address), "Pod to node");
    site.node().set_uplink(Net::External, true).unwrap();
    site.del(&ask).silence();
    assert_eq!(host_routes(&site), before, "routes go with the Pod");
}

#[test]
fn node_and_pod_reach_each_other_over_an_existing_bridge() {
    let site = Site::make("rch-exist", Setup::default());
    site.add_management_nic();
    site.does(&[
        "link",
        "add",
        "ops0",
        "type",
        "bridge",
        "stp_state",
        "0",
        "forward_delay",
        "0",
    ]);
    site.does(&["link", "set", "ops0", "up"]);
    site.does(&["link", "set", "eth0", "master", "ops0"]);
    site.start_ipamd();
    reaches_without_the_switch(&site, "172.31.7.1");
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

#[test]
fn host_routes_of_both_families_exist_for_every_address() {
    let site = Site::build("rch-dual", Setup::dual_stack());
    site.add_management_nic();
    let pod = site.pod("p");
    let ask = Ask::new("web-x", &pod);
    site.add(&ask).result();
    site.node().set_uplink(Net::External, false).unwrap();
    assert!(
        site.node().ping_once("fd00:20:1::100").unwrap(),
        "node to Pod by IPv6"
    );
    assert!(pod.ping_once("fd99::1"), "Pod to node by IPv6");
    site.node().set_uplink(Net::External, true).unwrap();
    site.del(&ask).silence();
    assert_eq!(host_routes(&site), Vec::<String>::new());
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

#[test]
fn reused_address_answers_the_tor_at_once_where_the_reference_takes_seconds() {
    let site = Site::build("rch-reuse", Setup::default().without_quarantine());
    // The peer's bridge over the internal uplink, ours over the external one.
    site.does(&[
        "link",
        "add",
        "br-peer",
        "type",
        "bridge",
        "stp_state",
        "0",
        "forward_delay",
        "0",
    ]);
    site.does(&["link", "set", "br-peer", "up"]);
    site.does(&["link", "set", "eth1", "master", "br-peer"]);
    let peer = |verb: &str, container: &str, pod: &Pod<'_>| -> Answer {
        site.run("bridge", &reference_call(verb, container, pod))
    };

    let (ours_old, peer_old) = (site.pod("o0"), site.pod("r0"));
    // A fresh identity with the same requested address: the MAC is not sticky by identity here.
    let wish = json!({"ips": ["10.20.1.100"]});
    let old = Ask::new("one-x", &ours_old)
        .external_only()
        .runtime(wish.clone());
    site.add(&old).result();
    peer("ADD", "c-old", &peer_old).result();
    warm(&site, "10.20.1.100");
    warm(&site, "10.30.1.100");
    site.del(&old).silence();
    peer("DEL", "c-old", &peer_old).silence();

    let (ours_new, peer_new) = (site.pod("o1"), site.pod("r1"));
    let new = Ask::new("two-x", &ours_new).external_only().runtime(wish);
    site.add(&new).result();
    let (pings, ours) = pings_to_first_answer(&site, "10.20.1.100");
    peer("ADD", "c-new", &peer_new).result();
    let (_, theirs) = pings_to_first_answer(&site, "10.30.1.100");
    report(&format!(
        "reused address answers the TOR after {} ms (berth), {} ms (Debian's bridge)",
        ours.as_millis(),
        theirs.as_millis()
    ));
    // The figures hold an exec of ping for each try; that the first try is answered within 50 ms is what counts.
    assert_eq!(pings, 1, "{ours:?}");
    assert!(
        theirs > Duration::from_secs(2),
        "the side-by-side shows nothing: {theirs:?}"
    );
}

#[allow(
    clippy::print_stderr,
    reason = "a figure for the reader of the test's output"
)]
fn report(text: &str) {
    eprintln!("{text}");
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
    let mut captures = Vec::new();
    for net in Net::ALL {
        let name = format!("tcpdump-{}", net.name());
        let capture = site
            .tor()
            .spawn(
                &name,
                &[
                    "tcpdump",
                    "-Z",
                    "root",
                    "-l",
                    "-n",
                    "-e",
                    "-i",
                    &site.node().tor_port(net),
                    "arp or icmp6",
                ],
            )
            .unwrap();
        wait_until("tcpdump listens", || {
            holds(capture.log().contains("listening on"), || capture.log())
        });
        captures.push(capture);
    }
    let pod = site.pod("p1");
    site.add(&Ask::new("web-1", &pod)).result();
    for (net, capture) in Net::ALL.iter().zip(&captures) {
        let (v4, v6, ifname) = match net {
            Net::External => ("10.20.1.101", "fd00:20:1::101", "eth0"),
            Net::Internal => ("10.30.1.101", "fd00:30:1::101", "net1"),
        };
        let mac = pod.link(ifname)["address"].as_str().unwrap().to_owned();
        for wanted in [
            format!("who-has {v4} tell {v4}"),
            format!("Reply {v4} is-at {mac}"),
            format!("neighbor advertisement, tgt is {v6}"),
        ] {
            wait_until(&format!("{wanted} beyond the uplink"), || {
                let log = capture
                    .log()
                    .replace(" (ff:ff:ff:ff:ff:ff)", "")
                    .replace(" (00:00:00:00:00:00)", "");
                holds(
                    log.lines()
                        .any(|line| line.contains(&wanted) && line.contains(&mac)),
                    || log.clone(),
                )
            });
        }
    }
}
