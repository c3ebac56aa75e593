//! CHECK: passes on what ADD made and on what others added to it; names whatever is missing.

use serde_json::json;
use tests::site::{Ask, Pod, Setup, Site};

#[test]
fn check_passes_after_add_with_two_networks_and_two_families() {
    let site = Site::build("chk-ok", Setup::dual_stack());
    let pod = site.pod("p");
    let ask = Ask::new("web-0", &pod);
    site.add(&ask).result();
    site.check(&ask).silence();
}

#[test]
fn check_tolerates_what_later_plugins_add() {
    let site = Site::serving("chk-more");
    let pod = site.pod("p");
    let ask = Ask::new("web-0", &pod);
    site.add(&ask).result();
    pod.does(&["addr", "add", "192.0.2.7/32", "dev", "eth0"]);
    pod.does(&["route", "add", "192.0.2.128/25", "dev", "eth0"]);
    pod.does(&["rule", "add", "from", "10.30.1.100", "table", "100"]);
    pod.does(&["link", "set", "eth0", "txqueuelen", "77"]);
    site.check(&ask).silence();
}

/// What is broken and which word the error must have.
type Damage = (&'static str, fn(&Site, &Pod<'_>), &'static str);

const DAMAGES: [Damage; 12] = [
    (
        "address",
        |_, pod| pod.does(&["addr", "del", "10.20.1.100/24", "dev", "eth0"]),
        "10.20.1.100",
    ),
    (
        "default route",
        |_, pod| pod.does(&["route", "del", "default"]),
        "route",
    ),
    (
        "static route",
        |_, pod| pod.does(&["route", "del", "10.0.0.0/8"]),
        "10.0.0.0/8",
    ),
    (
        "interface down",
        |_, pod| pod.does(&["link", "set", "net1", "down"]),
        "net1",
    ),
    (
        "MAC",
        |_, pod| pod.does(&["link", "set", "net1", "address", "02:00:00:00:00:77"]),
        "net1",
    ),
    (
        "MTU",
        |_, pod| pod.does(&["link", "set", "eth0", "mtu", "1300"]),
        "eth0",
    ),
    (
        "interface gone",
        |_, pod| pod.does(&["link", "del", "net1"]),
        "net1",
    ),
    (
        "port unplugged",
        |site, _| site.does(&["link", "set", &port_of(site, "external"), "nomaster"]),
        "bridge",
    ),
    (
        "uplink unplugged",
        |site, _| site.does(&["link", "set", "eth0", "nomaster"]),
        "eth0",
    ),
    (
        "the node's route to the Pod",
        |site, _| site.does(&["route", "del", "10.30.1.100"]),
        "route to 10.30.1.100",
    ),
    (
        "answers ARP for the other interface",
        |_, pod| {
            pod.run(&["sysctl", "-w", "net.ipv4.conf.net1.arp_ignore=0"]);
        },
        "ARP",
    ),
    (
        "the node's entry among the Pod's neighbours",
        |_, pod| pod.does(&["neigh", "del", "172.31.7.1", "dev", "eth0"]),
        "neighbour 172.31.7.1",
    ),
];

fn port_of(site: &Site, network: &str) -> String {
    let ports = site.port_links();
    let port = ports.iter().find(|port| {
        port["ifalias"]
            .as_str()
            .is_some_and(|alias| alias.contains(&format!(" {network} ")))
    });
    port.unwrap()["ifname"].as_str().unwrap().to_owned()
}

#[test]
fn check_names_every_kind_of_damage() {
    let mut missed = Vec::new();
    for (number, (what, damage, word)) in DAMAGES.into_iter().enumerate() {
        let site = Site::serving(&format!("chk-d{number}"));
        site.add_management_nic();
        let pod = site.pod("p");
        let ask = Ask::new("web-0", &pod);
        site.add(&ask).result();
        site.check(&ask).silence();
        damage(&site, &pod);
        let answer = site.check(&ask);
        if answer.succeeded() {
            missed.push(format!("{what}: not noticed"));
            continue;
        }
        let fault = answer.fault();
        if fault.code < 100 || !fault.text().contains(word) {
            missed.push(format!("{what}: {fault:?} does not say {word:?}"));
        }
    }
    assert_eq!(missed, Vec::<String>::new());
}

#[test]
fn check_finds_a_book_that_knows_nothing_of_it() {
    let site = Site::serving("chk-book");
    let pod = site.pod("p");
    let ask = Ask::new("web-x", &pod);
    site.add(&ask).result();
    site.client()
        .release(proto_ipam::v1::Attachment {
            cni_network: "bank".into(),
            sandbox: ask.container().into(),
            ifname: "eth0".into(),
        })
        .unwrap();
    let fault = site.check(&ask).fault();
    assert!(fault.code >= 100, "{fault:?}");
}

#[test]
fn check_finds_a_result_that_is_not_what_was_added() {
    let site = Site::serving("chk-result");
    let pod = site.pod("p");
    let ask = Ask::new("web-0", &pod);
    let mut result = site.add(&ask).result();
    result["ips"][0]["address"] = json!("10.20.1.177/24");
    let fault = site.check(&ask.key("prevResult", result)).fault();
    assert!(fault.text().contains("10.20.1.177"), "{fault:?}");
}

#[test]
fn check_says_that_ipamd_is_away() {
    let site = Site::serving("chk-away");
    let pod = site.pod("p");
    let ask = Ask::new("web-0", &pod).key("timeouts", json!({"allocateSeconds": 1}));
    site.add(&ask).result();
    site.kill_ipamd();
    let fault = site.check(&ask).fault();
    assert!(fault.code == 11 || fault.code >= 100, "{fault:?}");
    assert!(fault.text().contains("ipamd"), "{fault:?}");
}
