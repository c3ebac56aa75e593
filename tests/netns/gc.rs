//! GC: ends what is not listed, keeps what is held, and does nothing where no list was given.

use serde_json::{Value, json};
use tests::plugin::{Answer, Call, gc_keys};
use tests::site::{Ask, Site};

fn gc(site: &Site, config: &Value) -> Answer {
    site.run("berth", &Call::bare("GC").config(config))
}

fn config(site: &Site) -> Value {
    site.config("1.1.0", &site.networks())
}

#[test]
fn unlisted_attachments_end_and_listed_ones_stay() {
    for key in ["both", "cni.dev/valid-attachments", "cni.dev/attachments"] {
        let site = Site::serving("gc-list");
        let (keeps, ends) = (site.pod("p0"), site.pod("p1"));
        let kept = Ask::new("web-x", &keeps);
        let ended = Ask::new("web-y", &ends);
        site.add(&kept).result();
        site.add(&ended).result();
        let before = keeps.snapshot();

        let mut config = gc_keys(&config(&site), &[(kept.container(), "eth0")]);
        if key != "both" {
            let list = config[key].clone();
            config
                .as_object_mut()
                .unwrap()
                .retain(|name, _| !name.starts_with("cni.dev/"));
            config[key] = list;
        }
        gc(&site, &config).silence();
        assert_eq!(site.attached(), ["10.20.1.100", "10.30.1.100"], "{key}");
        assert_eq!(ends.interfaces(), ["lo"], "{key}");
        assert_eq!(site.ports().len(), 2, "{key}");
        assert_eq!(keeps.snapshot(), before, "{key}");
        // Asked again, there is nothing left to do.
        gc(&site, &config).silence();
        assert_eq!(site.attached().len(), 2, "{key}");
    }
}

#[test]
fn without_a_list_nothing_is_removed() {
    let site = Site::serving("gc-none");
    let pod = site.pod("p");
    site.add(&Ask::new("web-x", &pod)).result();
    // Whether that is a refusal or a success is the plugin's choice; that it destroys nothing is not.
    gc(&site, &config(&site));
    assert_eq!(site.attached().len(), 2);
    pod.pings("10.20.1.1");
}

#[test]
fn empty_and_null_lists_end_everything_of_this_configuration_only() {
    for empty in [json!([]), Value::Null] {
        let site = Site::serving("gc-empty");
        let (ends, other) = (site.pod("p0"), site.pod("p1"));
        site.add(&Ask::new("web-x", &ends)).result();
        let stays = Ask::new("web-y", &other).key("name", json!("other"));
        site.add(&stays).result();
        let mut config = config(&site);
        config["cni.dev/valid-attachments"] = empty;
        gc(&site, &config).silence();
        assert_eq!(site.attached(), ["10.20.1.101", "10.30.1.101"]);
        assert_eq!(ends.interfaces(), ["lo"]);
        other.pings("10.20.1.1");
    }
}

#[test]
fn malformed_list_is_refused_and_removes_nothing() {
    let site = Site::serving("gc-bad");
    let pod = site.pod("p");
    site.add(&Ask::new("web-x", &pod)).result();
    for list in [
        json!("all"),
        json!([{"containerID": "../x", "ifname": "eth0"}]),
        json!([{"containerID": "a"}]),
    ] {
        let mut config = config(&site);
        config["cni.dev/valid-attachments"] = list;
        gc(&site, &config).fault();
        assert_eq!(site.attached().len(), 2);
    }
}

#[test]
fn sticky_bindings_stay_held() {
    let site = Site::serving("gc-sticky");
    let pod = site.pod("p");
    let ask = Ask::new("db-0", &pod);
    site.add(&ask).result();
    gc(&site, &gc_keys(&config(&site), &[])).silence();
    assert_eq!(site.in_state("held"), ["10.20.1.100", "10.30.1.100"]);
    assert_eq!(site.ports(), Vec::<String>::new());
}

#[test]
fn port_that_the_book_does_not_know_is_removed_too() {
    let site = Site::serving("gc-port");
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
    gc(&site, &gc_keys(&config(&site), &[])).silence();
    assert_eq!(site.ports(), Vec::<String>::new());
}

#[test]
fn foreign_ports_of_the_bridge_are_left_alone() {
    let site = Site::serving("gc-foreign");
    let pod = site.pod("p");
    site.add(&Ask::new("web-x", &pod)).result();
    let bridge = site.bridge_of("eth0");
    site.does(&[
        "link", "add", "vm7", "type", "veth", "peer", "name", "vm7-in",
    ]);
    site.does(&["link", "set", "vm7", "alias", "a virtual machine"]);
    site.does(&["link", "set", "vm7", "master", bridge.as_str().unwrap()]);
    gc(&site, &gc_keys(&config(&site), &[])).silence();
    assert!(site.ports().contains(&"vm7".to_owned()));
    assert_eq!(site.bridge_of("vm7"), bridge);
    assert!(
        !site.bridge_of("eth0").is_null(),
        "the uplink stays plugged in"
    );
}
