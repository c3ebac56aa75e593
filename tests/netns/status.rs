//! STATUS: whether an ADD could succeed, and what keeps it from it.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::plugin::{Answer, Call};
use tests::site::{Ask, Setup, Site};
use tests::wait::{holds, wait_until};
use tests_testbed::Net;

fn status(site: &Site) -> Answer {
    site.run("berth", &patient(site, 1))
}

/// A STATUS that waits so long for a daemon that is away.
fn patient(site: &Site, seconds: u32) -> Call {
    let mut config = site.config("1.1.0", &site.networks());
    config["timeouts"] = json!({"statusSeconds": seconds});
    Call::bare("STATUS").config(&config)
}

/// A daemon's socket, with nobody behind it.
fn dead_socket(site: &Site) -> (UnixListener, PathBuf) {
    let path = site.node().path("/run/berth/ipamd.sock");
    // A daemon that was killed leaves its own.
    fs::remove_file(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    (listener, path)
}

/// The next connection to it.
fn accept(listener: &UnixListener) -> UnixStream {
    wait_until("STATUS asks", || {
        let accepted = listener.accept().map_err(|error| error.to_string());
        accepted.map(|(stream, _)| stream)
    })
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
fn daemon_that_is_away_is_waited_for_as_long_as_configured() {
    let site = Site::serving("st-long");
    site.kill_ipamd();
    let begun = Instant::now();
    let fault = site.run("berth", &patient(&site, 2)).fault();
    assert_eq!(fault.code, 50, "{fault:?}");
    // The last pause would lead beyond the deadline.
    assert!(begun.elapsed() >= Duration::from_millis(1400));
}

#[test]
fn daemon_that_is_restarted_during_status_is_waited_for() {
    let site = Site::serving("st-restart");
    site.kill_ipamd();
    let (listener, path) = dead_socket(&site);
    let mut running = patient(&site, 300).start(site.command(Path::new("berth")));
    // Asked while the old daemon was going: accepted and dropped.
    drop(accept(&listener));
    drop(listener);
    fs::remove_file(path).unwrap();
    assert!(running.is_running());
    site.start_ipamd();
    running.finish().silence();
}

#[test]
fn daemon_that_takes_the_place_of_a_hung_one_is_found_during_status() {
    let site = Site::serving("st-hung");
    site.kill_ipamd();
    let (listener, path) = dead_socket(&site);
    let running = patient(&site, 300).start(site.command(Path::new("berth")));
    // Never answered, and never closed: who insists comes again.
    let first = accept(&listener);
    let second = accept(&listener);
    fs::remove_file(path).unwrap();
    site.start_ipamd();
    running.finish().silence();
    drop((first, second));
}

#[test]
fn definite_refusal_is_answered_at_once() {
    let mut setup = Setup::default();
    setup.pools.pop();
    let site = Site::build("st-definite", setup);
    let begun = Instant::now();
    let fault = site.run("berth", &patient(&site, 600)).fault();
    assert_eq!(fault.code, 50, "{fault:?}");
    assert!(begun.elapsed() < Duration::from_secs(300));
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
