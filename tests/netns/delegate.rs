//! `berth-ipam` as the IPAM plugin of Debian's `bridge` and `macvlan`: sticky addresses for others' wiring.

use serde_json::{Value, json};
use tests::plugin::{Answer, Call};
use tests::site::{Pod, Site};
use tests::wait::PATIENCE;

/// A main plugin of Debian's with our IPAM.
fn config(main: &str, version: &str) -> Value {
    let ipam =
        json!({"type": "berth-ipam", "network": "external", "ipamd": "/run/berth/ipamd.sock"});
    match main {
        "bridge" => json!({
            "cniVersion": version, "name": "others", "type": "bridge", "bridge": "br-ops", "ipam": ipam,
        }),
        _ => json!({
            "cniVersion": version, "name": "others", "type": "macvlan", "master": "eth0", "ipam": ipam,
        }),
    }
}

fn call(
    site: &Site,
    config: &Value,
    verb: &str,
    container: &str,
    pod: &Pod<'_>,
    name: &str,
) -> Answer {
    let call = Call::new(verb, container, pod.path(), "eth0")
        .args(&format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={container}"
        ))
        .config(config);
    site.run(config["type"].as_str().unwrap(), &call)
}

fn bridge_with_uplink(site: &Site) {
    site.does(&[
        "link",
        "add",
        "br-ops",
        "type",
        "bridge",
        "stp_state",
        "0",
        "forward_delay",
        "0",
    ]);
    site.does(&["link", "set", "br-ops", "up"]);
    site.does(&["link", "set", "eth0", "master", "br-ops"]);
}

fn is_sticky_under(main: &str) {
    let site = Site::serving(&format!("dlg-{main}"));
    if main == "bridge" {
        bridge_with_uplink(&site);
    }
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        is_sticky_in(&site, &config(main, version), version);
    }
}

/// db-0 comes, goes, is held while db-1 comes, and comes back.
fn is_sticky_in(site: &Site, config: &Value, version: &str) {
    let number = version.replace('.', "");
    let pods = ["a", "b", "c"].map(|name| site.pod(&format!("{name}{number}")));
    let [first, other, again] = &pods;
    let one = format!("one-{version}");
    let result = call(site, config, "ADD", &one, first, "db-0").result();
    assert_eq!(result["cniVersion"], version);
    assert_eq!(result["ips"][0]["address"], "10.20.1.100/24", "{result}");
    assert_eq!(first.addresses("eth0"), ["10.20.1.100/24"]);
    let default = first.ip(&["route", "show", "default"]);
    assert_eq!(default[0]["gateway"], "10.20.1.1", "{default}");
    // Debian's plugins give each sandbox another MAC and announce nothing: the TOR would believe the old one for long.
    site.tor().run(&["ip", "neigh", "flush", "all"]).unwrap();
    site.tor().ping("10.20.1.100", PATIENCE).unwrap();

    let mut with_result = config.clone();
    with_result["prevResult"] = result;
    if version != "0.3.1" {
        call(site, &with_result, "CHECK", &one, first, "db-0").silence();
    }
    call(site, &with_result, "DEL", &one, first, "db-0").silence();
    assert!(site.in_state("held").contains(&"10.20.1.100".to_owned()));

    let two = format!("two-{version}");
    let result = call(site, config, "ADD", &two, other, "db-1").result();
    assert_ne!(
        result["ips"][0]["address"], "10.20.1.100/24",
        "held for db-0"
    );
    let three = format!("three-{version}");
    let result = call(site, config, "ADD", &three, again, "db-0").result();
    assert_eq!(result["ips"][0]["address"], "10.20.1.100/24", "sticky");
    call(site, config, "DEL", &two, other, "db-1").silence();
    call(site, config, "DEL", &three, again, "db-0").silence();
    site.assert_no_attachment();
}

#[test]
fn debians_bridge_gets_sticky_addresses() {
    is_sticky_under("bridge");
}

#[test]
fn debians_macvlan_gets_sticky_addresses() {
    is_sticky_under("macvlan");
}

#[test]
fn ipam_result_has_no_interfaces() {
    let site = Site::serving("dlg-raw");
    let pod = site.pod("p");
    for version in ["0.3.1", "1.0.0", "1.1.0"] {
        let container = format!("cid-{version}");
        let config = config("bridge", version);
        let add = Call::new("ADD", &container, pod.path(), "eth0").config(&config);
        let result = site.run("berth-ipam", &add).result();
        assert_eq!(result.get("interfaces"), None, "{result}");
        assert_eq!(result["ips"][0].get("interface"), None, "{result}");
        assert_eq!(pod.interfaces(), ["lo"], "an IPAM plugin wires nothing");
        let del = Call::new("DEL", &container, pod.path(), "eth0").config(&config);
        site.run("berth-ipam", &del).silence();
        site.assert_no_attachment();
    }
}

#[test]
fn delegated_status_and_gc_are_answered() {
    let site = Site::serving("dlg-verbs");
    let pod = site.pod("p");
    let config = config("bridge", "1.1.0");
    site.run("berth-ipam", &Call::bare("STATUS").config(&config))
        .silence();
    let add = Call::new("ADD", "cid", pod.path(), "eth0").config(&config);
    site.run("berth-ipam", &add).result();
    let gc = tests::plugin::gc_keys(&config, &[]);
    site.run("berth-ipam", &Call::bare("GC").config(&gc))
        .silence();
    site.assert_no_attachment();
    site.kill_ipamd();
    let fault = site
        .run("berth-ipam", &Call::bare("STATUS").config(&config))
        .fault();
    assert_eq!(fault.code, 50, "{fault:?}");
}

#[test]
fn delegated_del_with_ipamd_away_is_finished_later() {
    let site = Site::serving("dlg-away");
    bridge_with_uplink(&site);
    let pod = site.pod("p");
    let config = config("bridge", "1.0.0");
    call(&site, &config, "ADD", "cid", &pod, "web-x").result();
    site.kill_ipamd();
    call(&site, &config, "DEL", "cid", &pod, "web-x").silence();
    site.start_ipamd();
    site.assert_no_attachment();
}
