//! The daemon is away when the runtime needs it: what the runtime is told, and that nothing is lost.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use tests_testbed::{IpamdConfig, Node, World};

use crate::machine::{self, Machine, Nic, Running};

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

/// Addresses of these interfaces without their prefix lengths.
fn addresses(machine: &Machine, running: &Running, ifnames: &[&str]) -> BTreeSet<String> {
    let nics = ifnames.iter().map(|ifname| machine.nic(running, ifname));
    nics.flat_map(|nic| nic.addresses)
        .map(|address| bare(&address))
        .collect()
}

fn bare(address: &str) -> String {
    address.split('/').next().unwrap_or_default().to_owned()
}

/// What the daemon's book says is attached to this sandbox of `prod/NAME`.
fn attached(node: &Node, running: &Running) -> BTreeSet<String> {
    let output = node.ipamd_command(&["list", "--output", "json"]).unwrap();
    let listed: Value = serde_json::from_str(&output.ok().unwrap()).unwrap();
    let bindings = listed["bindings"].as_array().unwrap().iter();
    bindings
        .filter(|binding| {
            binding["state"] == "attached"
                && binding["identity"] == format!("prod/{}", running.pod.name)
                && binding["attachment"]["sandbox"] == running.sandbox
        })
        .map(|binding| bare(binding["address"].as_str().unwrap()))
        .collect()
}

/// The daemon is killed and its store removed while a Pod runs: the Pod is known again, with its name, nobody else gets
/// its addresses, and it has them when it is re-created. Its first NIC before and after all of that.
fn store_is_lost_and_found(node: &Node, machine: &mut Machine, ifnames: &[&str]) -> [Nic; 2] {
    let web = machine.run("web-0");
    let before = machine.nic(&web, "eth0");
    let had = addresses(machine, &web, ifnames);
    assert_eq!(had.len(), 2 * ifnames.len(), "both families: {had:?}");
    assert_eq!(attached(node, &web), had);

    machine.ipamd.kill().unwrap();
    fs::remove_dir_all(node.disk("/var/lib/berth/ipamd")).unwrap();
    // What nobody speaks for rests as long as a quarantine.
    let config = IpamdConfig::of(node).pool_key("quarantine = \"3s\"");
    machine.ipamd = node.start_ipamd(&config).unwrap();
    assert_eq!(attached(node, &web), had, "{}", machine.ipamd.log_tail());
    assert_eq!(addresses(machine, &web, ifnames), had, "the Pod ran on");

    let other = machine.run_at_last("other-0");
    let others = addresses(machine, &other, ifnames);
    assert_eq!(others.len(), had.len(), "{others:?}");
    assert!(had.is_disjoint(&others), "{had:?} {others:?}");

    machine.cri.remove_pod(&web.sandbox).unwrap();
    let web = machine.run_again(web.pod.next_attempt());
    assert_eq!(addresses(machine, &web, ifnames), had, "re-created");
    assert_eq!(attached(node, &web), had);
    [before, machine.nic(&web, "eth0")]
}

#[test]
fn running_pods_are_known_by_their_ports_when_the_store_is_lost() {
    let world = one_node("ctrd_lost_ports");
    let node = world.node("n1");
    let mut machine = machine::start(node);
    let [before, after] = store_is_lost_and_found(node, &mut machine, &["eth0", "net1"]);
    assert_eq!(before, after, "MAC and addresses");
}

#[test]
fn running_pods_of_another_plugin_are_known_by_cached_results_when_the_store_is_lost() {
    let world = one_node("ctrd_lost_cache");
    let node = world.node("n1");
    let ipam =
        json!({"type": "berth-ipam", "network": "external", "ipamd": "/run/berth/ipamd.sock"});
    let bridge = json!({"type": "bridge", "bridge": "br-ops", "ipam": ipam});
    let mut machine = machine::start_with(node, &bridge);
    store_is_lost_and_found(node, &mut machine, &["eth0"]);
}
