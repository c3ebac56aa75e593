//! DEL: always ends what is there, whatever is missing, and touches nothing of others.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::plugin::{Call, PLUGIN_DIR};
use tests::site::{Ask, Site, assert_unchanged};
use tests::wait::{holds, wait_until};

#[test]
fn del_removes_links_and_releases_both_addresses() {
    let site = Site::serving("del-all");
    let pod = site.pod("p");
    let ask = Ask::new("web-x", &pod);
    site.add(&ask).result();
    site.del(&ask).silence();
    assert_eq!(pod.interfaces(), ["lo"]);
    assert_eq!(site.ports(), Vec::<String>::new());
    site.assert_no_attachment();
}

#[test]
fn del_after_the_namespace_is_gone_releases_the_address() {
    let site = Site::serving("del-gone");
    let pod = site.pod("p");
    let ask = Ask::new("web-x", &pod);
    site.add(&ask).result();
    site.remove_pod(&pod);
    let call = ask.call("DEL");
    for netns in [call.netns.clone(), None] {
        let call = Call {
            netns,
            ..call.clone()
        };
        site.run("berth", &call.config(&site.ask_config(&ask)))
            .silence();
        site.assert_no_attachment();
    }
    assert_eq!(site.ports(), Vec::<String>::new());
}

#[test]
fn del_does_not_touch_a_namespace_that_now_belongs_to_another() {
    let site = Site::serving("del-foreign");
    let (first, second) = (site.pod("p0"), site.pod("p1"));
    let gone = Ask::new("web-x", &first);
    let stays = Ask::new("web-y", &second);
    site.add(&gone).result();
    site.add(&stays).result();
    let before = second.snapshot();

    // After a reboot /proc/PID/ns/net of the old sandbox may be that of any process.
    let call = Call {
        netns: Some(second.path().display().to_string()),
        ..gone.call("DEL")
    };
    site.run("berth", &call.config(&site.ask_config(&gone)))
        .silence();
    assert_unchanged(&second.snapshot(), &before);
    second.pings("10.20.1.1");
    assert_eq!(site.attached(), ["10.20.1.101", "10.30.1.101"]);

    // An interface of that name which nobody of ours made stays too.
    let third = site.pod("p2");
    third.does(&[
        "link", "add", "eth0", "type", "veth", "peer", "name", "other",
    ]);
    let before = third.snapshot();
    let call = Call {
        netns: Some(third.path().display().to_string()),
        ..gone.call("DEL")
    };
    site.run("berth", &call.config(&site.ask_config(&gone)))
        .silence();
    assert_unchanged(&third.snapshot(), &before);
}

#[test]
fn del_in_the_nodes_own_namespace_touches_nothing() {
    let site = Site::serving("del-own");
    let pod = site.pod("p");
    let ask = Ask::new("web-x", &pod);
    site.add(&ask).result();
    let call = Call {
        netns: Some("/proc/1/ns/net".into()),
        ..ask.call("DEL")
    };
    site.run("berth", &call.config(&site.ask_config(&ask)));
    assert!(!site.link("eth0").is_null(), "the node's NIC");
    assert!(!site.link("eth1").is_null(), "the node's NIC");
}

#[test]
fn del_with_a_broken_configuration_still_ends_the_attachment() {
    let site = Site::serving("del-broken");
    let breaks = [
        (
            "networks",
            json!([{"name": "external", "uplink": "eth7", "no-such-key": 1}]),
        ),
        ("networks", json!("nonsense")),
        (
            "prevResult",
            json!({"cniVersion": "1.1.0", "interfaces": [{"na": 1}]}),
        ),
        ("prevResult", json!("{\"cniVersion\": \"1.1.0\", \"interf")),
        ("args", json!({"cni": {"ips": ["nonsense"]}})),
    ];
    for (number, (key, value)) in breaks.into_iter().enumerate() {
        let pod = site.pod(&format!("p{number}"));
        let ask = Ask::new(&format!("web-{number}x"), &pod);
        site.add(&ask).result();
        site.del(&ask.clone().key(key, value)).silence();
        assert_eq!(pod.interfaces(), ["lo"], "{key} case {number}");
        site.assert_no_attachment();
    }
}

#[test]
fn del_while_ipamd_is_away_is_finished_when_it_is_back() {
    let site = Site::serving("del-away");
    let pod = site.pod("p");
    let ask = Ask::new("web-x", &pod);
    site.add(&ask).result();
    site.kill_ipamd();
    for _ in 0..2 {
        site.del(&ask).silence();
    }
    assert_eq!(pod.interfaces(), ["lo"]);
    assert_eq!(site.ports(), Vec::<String>::new());
    assert_eq!(site.tombstones(), 1, "one note, however often DEL is asked");
    site.start_ipamd();
    site.assert_no_attachment();
    wait_until("the note is gone", || {
        holds(site.tombstones() == 0, || {
            format!("{} notes", site.tombstones())
        })
    });
}

#[test]
fn del_while_ipamd_hangs_does_not_wait_for_ever() {
    let site = Site::serving("del-hangs");
    let pod = site.pod("p");
    let ask = Ask::new("web-x", &pod);
    site.add(&ask).result();
    site.signal_ipamd(Signal::SIGSTOP);
    let answer = site.del(&ask);
    site.signal_ipamd(Signal::SIGCONT);
    answer.silence();
    // 3 seconds are the default of `timeouts.releaseSeconds`.
    assert!(answer.took < Duration::from_secs(10), "{:?}", answer.took);
    wait_until("the address is released", || {
        holds(site.attached().is_empty(), || {
            format!("{:?}", site.attached())
        })
    });
}

#[test]
fn del_that_may_not_remove_links_releases_the_addresses_and_then_reports() {
    let site = Site::serving("del-caps");
    let pod = site.pod("p");
    let ask = Ask::new("web-x", &pod);
    site.add(&ask).result();
    let ports = site.ports();
    assert_eq!(ports.len(), 2);
    // The kernel refuses every change of links to who lacks this capability.
    let mut command = site.node().command("setpriv");
    command.args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]);
    command.arg(format!("{PLUGIN_DIR}/berth"));
    let call = ask.call("DEL").config(&site.ask_config(&ask));
    let fault = call.run(command).fault();
    assert_eq!(fault.code, 109, "{fault:?}");
    for port in &ports {
        assert!(
            fault.text().contains(port),
            "{fault:?} does not name {port}"
        );
    }
    assert_eq!(site.ports(), ports);
    site.assert_no_attachment();

    site.del(&ask).silence();
    assert_eq!(site.ports(), Vec::<String>::new());
    assert_eq!(pod.interfaces(), ["lo"]);
    site.assert_no_attachment();
}

#[test]
fn late_del_of_an_old_sandbox_does_nothing_to_the_new_one() {
    let site = Site::serving("del-late");
    let (old, new) = (site.pod("old"), site.pod("new"));
    let before = Ask::new("db-0", &old);
    let after = Ask::new("db-0", &new).container_id("second-sandbox");
    site.add(&before).result();
    let address = old.addresses("eth0");
    site.add(&after).result();
    assert_eq!(new.addresses("eth0"), address);
    site.del(&before).silence();
    assert_eq!(site.attached(), ["10.20.1.100", "10.30.1.100"]);
    new.pings("10.20.1.1");
    site.del(&after).silence();
    site.assert_no_attachment();
}
