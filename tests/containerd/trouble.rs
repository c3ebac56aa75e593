//! The daemon is away when the runtime needs it: what the runtime is told, and that nothing is lost.

use tests_testbed::{IpamdConfig, World};

use crate::machine;

fn one_node(name: &str) -> World {
    World::builder(name)
        .racks(1)
        .node("n1", "a")
        .build()
        .unwrap()
}

#[test]
fn pod_cannot_start_without_the_daemon_and_the_runtime_is_told_why() {
    let world = one_node("ctrd_no_daemon");
    let node = world.node("n1");
    let mut machine = machine::start(node);
    let web = machine.run("web-0");
    machine.ipamd.kill().unwrap();
    let next = web.pod.clone().next_attempt();
    let error = machine.cri.run_pod(&next).unwrap_err();
    assert!(
        error.status.message().contains("/run/berth/ipamd.sock"),
        "{error}"
    );
    machine.ipamd = node.start_ipamd(&IpamdConfig::of(node)).unwrap();
    machine.run_again(next.next_attempt());
}

#[test]
fn pod_ends_without_the_daemon_and_comes_back_to_its_addresses() {
    let world = one_node("ctrd_late_release");
    let node = world.node("n1");
    let mut machine = machine::start(node);
    let web = machine.run("web-0");
    let nics = machine.nics(&web);
    machine.ipamd.kill().unwrap();
    machine.cri.remove_pod(&web.sandbox).unwrap();
    machine.ipamd = node.start_ipamd(&IpamdConfig::of(node)).unwrap();
    let web = machine.run_again(web.pod.next_attempt());
    assert_eq!(machine.nics(&web), nics);
    machine.pings(&web, "10.20.1.1");
}
