//! The tier itself: an API server is there within seconds, several side by side, and with the permissions of a real one.

use std::time::{Duration, Instant};

use tests_testbed::{ApiServer, Component};

/// The promise on an idle machine; tests run two at a time and beside compilers.
const PROMISED: Duration = Duration::from_secs(10);
const BUSY: u32 = 6;

#[test]
fn api_server_is_ready_within_seconds() {
    let started = Instant::now();
    let api = ApiServer::start("api_ready").unwrap();
    let took = started.elapsed();
    assert!(took < PROMISED * BUSY, "{took:?}");
    assert_eq!(
        api.kubectl(&["get", "--raw", "/readyz"])
            .unwrap()
            .ok()
            .unwrap(),
        "ok"
    );
}

#[test]
fn two_api_servers_know_nothing_of_each_other() {
    let (one, two) = (
        ApiServer::start("api_one").unwrap(),
        ApiServer::start("api_two").unwrap(),
    );
    let create = ["create", "configmap", "only-here"];
    one.kubectl(&create).unwrap().ok().unwrap();
    let get = ["get", "configmap", "only-here"];
    assert!(one.kubectl(&get).unwrap().success());
    let missing = two.kubectl(&get).unwrap();
    assert!(missing.stderr.contains("not found"), "{}", missing.stderr);
}

#[test]
fn objects_outlive_a_killed_api_server() {
    let mut api = ApiServer::start("api_killed").unwrap();
    api.kubectl(&["create", "configmap", "kept"])
        .unwrap()
        .ok()
        .unwrap();
    api.kill(Component::ApiServer).unwrap();
    assert!(!api.kubectl(&["get", "configmaps"]).unwrap().success());
    api.start_component(Component::ApiServer).unwrap();
    api.wait_ready().unwrap();
    api.kubectl(&["get", "configmap", "kept"])
        .unwrap()
        .ok()
        .unwrap();
}

#[test]
fn account_without_a_role_may_read_nothing() {
    let api = ApiServer::start("api_rbac").unwrap();
    let asked = api
        .kubectl(&[
            "auth",
            "can-i",
            "list",
            "pods",
            "--as=system:serviceaccount:default:nobody",
        ])
        .unwrap();
    assert_eq!(asked.stdout.trim(), "no");
}
