//! STATUS: whether an ADD could succeed, and what keeps it from it.

use serde_json::json;
use tests::plugin::{Answer, Call};
use tests::site::{Ask, Setup, Site};
use tests::wait::{holds, wait_until};
use tests_testbed::Net;

fn status(site: &Site) -> Answer {
    let mut config = site.config("1.1.0", &site.networks());
    config["timeouts"] = json!({"allocateSeconds": 1});
    site.run("berth", &Call::bare("STATUS").config(&config))
}

#[test]
fn working_node_is_silent_before_and_after_the_first_pod() {
    let site = Site::serving("st-ok");
    status(&site).silence();
    let pod = site.pod("p");
    site.add(&Ask::new("web-0", &pod)).result();
    status(&site).silence();
}

#[test]
fn daemon_that_is_away_is_50_until_it_is_back() {
    let site = Site::serving("st-away");
    site.kill_ipamd();
    let fault = status(&site).fault();
    assert_eq!(fault.code, 50, "{fault:?}");
    assert!(fault.text().contains("ipamd"), "{fault:?}");
    site.start_ipamd();
    status(&site).silence();
}

#[test]
fn missing_uplink_is_50() {
    let site = Site::serving("st-missing");
    site.does(&["link", "set", "eth1", "name", "gone1"]);
    let fault = status(&site).fault();
    assert_eq!(fault.code, 50, "{fault:?}");
    assert!(fault.text().contains("eth1"), "{fault:?}");
}

#[test]
fn uplink_without_carrier_is_50_and_51_where_pods_run() {
    let site = Site::serving("st-carrier");
    site.node().set_uplink(Net::External, false).unwrap();
    wait_until("the cable is out", || {
        let state = site.link("eth0")["operstate"].clone();
        holds(state != "UP", || state.to_string())
    });
    let fault = status(&site).fault();
    assert_eq!(fault.code, 50, "{fault:?}");
    assert!(fault.text().contains("eth0"), "{fault:?}");

    site.node().set_uplink(Net::External, true).unwrap();
    wait_until("the cable is in", || {
        let state = site.link("eth0")["operstate"].clone();
        holds(state == "UP", || state.to_string())
    });
    let pod = site.pod("p");
    site.add(&Ask::new("web-0", &pod)).result();
    site.node().set_uplink(Net::External, false).unwrap();
    wait_until("the cable is out", || {
        let state = site.link("eth0")["operstate"].clone();
        holds(state != "UP", || state.to_string())
    });
    let fault = status(&site).fault();
    assert_eq!(fault.code, 51, "{fault:?}");
}

#[test]
fn network_without_pool_is_50() {
    let mut setup = Setup::default();
    setup.pools.pop();
    let site = Site::build("st-nopool", setup);
    let fault = status(&site).fault();
    assert_eq!(fault.code, 50, "{fault:?}");
    assert!(fault.text().contains("internal"), "{fault:?}");
}

#[test]
fn exhaustion_is_50_only_where_configured() {
    for (refuse, name) in [(false, "st-full"), (true, "st-full-50")] {
        let mut setup = Setup::default().external_range("10.20.1.100-10.20.1.100");
        if refuse {
            setup = setup.top_line("refuse_when_exhausted = true");
        }
        let site = Site::build(name, setup);
        status(&site).silence();
        let pod = site.pod("p");
        site.add(&Ask::new("web-0", &pod)).result();
        if refuse {
            let fault = status(&site).fault();
            assert_eq!(fault.code, 50, "{fault:?}");
            assert!(fault.text().contains("external"), "{fault:?}");
        } else {
            status(&site).silence();
        }
    }
}
