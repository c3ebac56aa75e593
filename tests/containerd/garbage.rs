//! The runtime loses sandboxes without a DEL that the daemon hears of: what is freed, by which evidence, and what is not.
//!
//! As in a cluster the daemon asks the relay, here every second; so an attachment of five seconds is old.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tests_testbed::{IpamdConfig, Node, Pending, Process, World, binary, wait_until};

use crate::machine::{self, Machine, PATIENCE, Running};

const RELAY: &str = "/run/berth-runtime/sandboxes.sock";

fn world(name: &str) -> World {
    World::builder(name)
        .racks(1)
        .node("n1", "a")
        .build()
        .unwrap()
}

fn config(node: &Node) -> IpamdConfig {
    IpamdConfig::of(node)
        .daemon_key(&format!("runtime = \"{RELAY}\""))
        .daemon_key("runtime_check = \"1s\"")
}

fn start_relay(node: &Node) -> Process {
    let mut command = node.command(binary("berth-ipamd").unwrap());
    command.args(["relay-sandboxes", "--listen", RELAY]);
    node.spawn_command("relay", command).unwrap()
}

fn start(node: &Node) -> (Machine, Process) {
    machine::write_bank(node);
    let relay = start_relay(node);
    (machine::start_as(node, &config(node)), relay)
}

/// A plugin that says yes to everything and does nothing, in the place of ours until it is dropped.
struct Yes {
    plugin: PathBuf,
    ours: PathBuf,
}

impl Yes {
    fn install(node: &Node) -> Self {
        let plugin = node.disk("/opt/cni/bin/berth");
        let ours = plugin.with_extension("ours");
        fs::rename(&plugin, &ours).unwrap();
        fs::write(&plugin, "#!/bin/sh\nexit 0\n").unwrap();
        fs::set_permissions(&plugin, fs::metadata(&ours).unwrap().permissions()).unwrap();
        Self { plugin, ours }
    }
}

impl Drop for Yes {
    fn drop(&mut self) {
        fs::rename(&self.ours, &self.plugin).unwrap();
    }
}

/// The runtime removes a Pod's sandbox, and nobody hears of it.
fn lose(node: &Node, machine: &Machine, running: &Running) {
    let _yes = Yes::install(node);
    machine.cri.remove_pod(&running.sandbox).unwrap();
}

fn operator(node: &Node, words: &[&str]) -> Value {
    let words = [words, &["--output", "json"]].concat();
    serde_json::from_str(&node.ipamd_command(&words).unwrap().stdout).unwrap()
}

/// The states of a Pod's addresses.
fn states(node: &Node, running: &Running) -> Vec<String> {
    let why = operator(node, &["why", &format!("prod/{}", running.pod.name)]);
    let bindings = why["bindings"].as_array().unwrap().iter();
    bindings
        .map(|binding| binding["state"].as_str().unwrap().to_owned())
        .collect()
}

fn is_attached(node: &Node, running: &Running) -> bool {
    states(node, running) == ["attached"; 4]
}

fn wait_states(node: &Node, running: &Running, state: &str) {
    let what = format!("{} being {state}", running.pod.name);
    wait_until(&what, PATIENCE, || {
        let states = states(node, running);
        if states == [state; 4] {
            return Ok(());
        }
        let findings = operator(node, &["fsck"])["findings"].to_string();
        Err(Pending::because(format!("{states:?} {findings}")))
    })
    .unwrap();
}

fn figure(node: &Node, name: &str) -> u64 {
    let url = "http://127.0.0.1:9421/metrics";
    let text = node.run(&["busybox", "wget", "-qO-", url]).unwrap();
    let name = format!("berth_ipamd_{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.unwrap().parse().unwrap()
}

/// Waits until so many more looks were taken, or failed.
fn wait_looks(node: &Node, name: &str, more: u64) {
    let first = figure(node, name);
    wait_until(&format!("{more} of {name}"), PATIENCE, || {
        let now = figure(node, name);
        if now >= first + more {
            return Ok(());
        }
        Err(Pending::because(now))
    })
    .unwrap();
}

fn wait_finding(node: &Node, words: &str) {
    wait_until(&format!("a finding {words:?}"), PATIENCE, || {
        let findings = operator(node, &["fsck"])["findings"].to_string();
        if findings.contains(words) {
            return Ok(());
        }
        Err(Pending::because(findings))
    })
    .unwrap();
}

#[test]
fn sandboxes_that_ended_without_a_del_are_freed_and_why_says_so() {
    let world = world("ctrd_garbage");
    let node = world.node("n1");
    let (machine, _relay) = start(node);
    let (held, plain) = (machine.run("held-0"), machine.run("plain"));
    let other = machine.run("other-0");
    let had = machine.nics(&held);
    lose(node, &machine, &held);
    lose(node, &machine, &plain);
    wait_states(node, &held, "held");
    wait_states(node, &plain, "quarantined");
    assert!(is_attached(node, &other));
    let ended = figure(node, "ended_attachments_without_sandbox_total");
    assert_eq!(ended, 2);
    let why = operator(node, &["why", "prod/held-0"]);
    let story = why["story"].to_string();
    assert!(story.contains("no DEL came"), "{story}");
    assert!(story.contains(&held.sandbox), "{story}");
    assert_eq!(why["log"][0]["ended"], "sandbox gone", "{why}");
    let log = machine.ipamd.log();
    assert!(log.contains("did not know sandbox"), "{log}");

    let again = machine.run_again(held.pod.next_attempt());
    assert_eq!(machine.nics(&again), had, "held for it");
    assert!(is_attached(node, &other));
}

#[test]
fn a_running_sandbox_keeps_its_addresses_though_its_port_is_gone() {
    let world = world("ctrd_portless");
    let node = world.node("n1");
    let (machine, _relay) = start(node);
    let (cut, other) = (machine.run("cut-0"), machine.run("other-0"));
    let lost = machine.run("lost-0");
    let links = node.run(&["ip", "-j", "-d", "link", "show"]).unwrap();
    let links: Value = serde_json::from_str(&links).unwrap();
    let links = links.as_array().unwrap().iter();
    let ports: Vec<_> = links
        .filter(|link| {
            link["ifalias"]
                .as_str()
                .is_some_and(|it| it.contains(&cut.sandbox))
        })
        .map(|link| link["ifname"].as_str().unwrap())
        .collect();
    assert_eq!(ports.len(), 2, "{ports:?}");
    for port in ports {
        node.run(&["ip", "link", "del", port]).unwrap();
    }
    wait_finding(node, "prod/cut-0 runs in sandbox");
    // Another one that really is gone is freed after it: what is looked at is enough to free by.
    lose(node, &machine, &lost);
    wait_states(node, &lost, "held");
    wait_looks(node, "sandbox_comparisons_total", 3);
    assert!(is_attached(node, &cut) && is_attached(node, &other));
    // Stopped and not removed: its DEL is still to come, here by a plugin that does nothing.
    let yes = Yes::install(node);
    machine.cri.stop_pod(&cut.sandbox).unwrap();
    wait_looks(node, "sandbox_comparisons_total", 8);
    assert!(is_attached(node, &cut), "{:?}", states(node, &cut));
    drop(yes);
    machine.cri.remove_pod(&cut.sandbox).unwrap();
}

#[test]
fn nothing_is_freed_while_the_runtime_is_away() {
    let world = world("ctrd_away");
    let node = world.node("n1");
    let (mut machine, mut relay) = start(node);
    let (lost, other) = (machine.run("lost-0"), machine.run("other-0"));
    // Not even the relay.
    relay.kill().unwrap();
    wait_finding(node, "so that nothing is freed");
    lose(node, &machine, &lost);
    wait_looks(node, "sandbox_comparison_failures_total", 4);
    assert!(is_attached(node, &lost) && is_attached(node, &other));
    // The relay, and no runtime behind it.
    machine.containerd.kill().unwrap();
    let _relay = start_relay(node);
    wait_finding(node, "containerd.sock");
    wait_looks(node, "sandbox_comparison_failures_total", 4);
    assert!(is_attached(node, &lost) && is_attached(node, &other));
    let log = machine.ipamd.log();
    // Of the runtime, that is; a finding has words of its own.
    let told = log.matches("sandboxes and book cannot be compared error=");
    assert_eq!(told.count(), 1, "{log}");

    let (containerd, cri) = machine::start_runtime(node);
    (machine.containerd, machine.cri) = (containerd, cri);
    wait_states(node, &lost, "held");
    assert!(is_attached(node, &other), "{}", machine.ipamd.log_tail());
}

#[test]
fn dead_sandboxes_of_the_boot_before_are_no_garbage() {
    let mut world = world("ctrd_garbage_boot");
    let node = world.node("n1");
    let (machine, relay) = start(node);
    let (web, other) = (machine.run("web-0"), machine.run("other-0"));
    let had = machine.nics(&web);
    drop((machine, relay));
    world.node_mut("n1").reboot().unwrap();
    let node = world.node("n1");
    let (machine, _relay) = start(node);
    let listed = machine.cri.sandboxes().unwrap();
    assert!(listed.contains(&web.sandbox) && listed.contains(&other.sandbox));
    let again = machine.run_again(web.pod.next_attempt());
    assert_eq!(machine.nics(&again), had);
    wait_looks(node, "sandbox_comparisons_total", 8);
    assert!(is_attached(node, &again), "{}", machine.ipamd.log_tail());
    assert_eq!(states(node, &other), ["held"; 4], "by the boot");
    let findings = operator(node, &["fsck"])["findings"].to_string();
    assert_eq!(findings, "[]");
    assert_eq!(figure(node, "ended_attachments_without_sandbox_total"), 0);
    // Their late DELs change nothing.
    for dead in [&web.sandbox, &other.sandbox] {
        machine.cri.remove_pod(dead).unwrap();
    }
    assert_eq!(machine.nics(&again), had);
    assert!(is_attached(node, &again));
}
