//! One node in one rack, as most tests want it: uplinks `eth0` (external) and `eth1` (internal) into the TOR, Pods'
//! namespaces, a `berth-ipamd` with a small configuration, and what a runtime remembers of its calls.
//!
//! Asserts with `ip -j` only. Named after the test; the testbed removes everything and saves evidence on failure.

mod pod;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::Signal;
use proto_ipam::v1;
use proto_ipam::v1::BindingRecord;
use serde_json::{Value, json};
use tests_testbed::{Host, Ipamd, Namespace, Net, Node, NodeSpec, World};

pub use self::pod::{Pod, assert_unchanged, bare_address};
pub use crate::ask::Ask;
use crate::daemons::Client;
use crate::plugin::{Answer, Call, PLUGIN_DIR};
pub use crate::setup::{Pool, Setup};
use crate::wait::{PATIENCE, holds, wait_until};

/// A node with its rack and, mostly, a serving daemon.
#[derive(Debug)]
pub struct Site {
    ipamd: Mutex<Option<Ipamd>>,
    // What libcni caches: the result of each ADD, by container id.
    cache: Mutex<HashMap<String, Value>>,
    setup: Setup,
    world: World,
}

impl Site {
    /// A site without daemon.
    #[track_caller]
    pub fn bare(test: &str) -> Self {
        Self::make(test, Setup::default())
    }

    /// A site whose daemon serves the default configuration.
    #[track_caller]
    pub fn serving(test: &str) -> Self {
        Self::build(test, Setup::default())
    }

    /// A site whose daemon serves this configuration.
    #[track_caller]
    pub fn build(test: &str, setup: Setup) -> Self {
        let site = Self::make(test, setup);
        site.start_ipamd();
        site
    }

    /// A site with this configuration written and no daemon started.
    #[track_caller]
    pub fn make(test: &str, setup: Setup) -> Self {
        let mut spec = NodeSpec::new("n1", "a");
        for net in &setup.addressed {
            spec = spec.with_address(*net);
        }
        let mut builder = World::builder(test).racks(1).node_with(spec);
        for host in &setup.hosts {
            builder = builder.host(host, "a", Net::External);
        }
        let world = builder
            .build()
            .unwrap_or_else(|error| panic!("make the world {test}: {error:#}"));
        let site = Self {
            ipamd: Mutex::new(None),
            cache: Mutex::new(HashMap::new()),
            setup,
            world,
        };
        site.write_config(&site.setup.to_toml());
        site
    }

    /// The node.
    #[track_caller]
    pub fn node(&self) -> &Node {
        self.world.node("n1")
    }

    /// The world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The TOR; its bridges are called `external` and `internal`.
    pub fn tor(&self) -> &Namespace {
        self.world.rack("a").tor()
    }

    /// An outside host.
    pub fn host(&self, name: &str) -> &Host {
        self.world.host(name)
    }

    /// What the site was made with.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Kills everything on the node, as a power cut would, and starts it again: no daemon, no Pods, no bridges.
    #[track_caller]
    pub fn reboot(&mut self) {
        *self.daemon() = None;
        self.world.node_mut("n1").reboot().unwrap();
    }

    // ---- the daemon ----

    fn daemon(&self) -> MutexGuard<'_, Option<Ipamd>> {
        self.ipamd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the daemon's configuration file.
    #[track_caller]
    pub fn write_config(&self, toml: &str) {
        self.node().write_ipamd_config(toml).unwrap();
    }

    /// Starts the daemon and waits until it serves.
    #[track_caller]
    pub fn start_ipamd(&self) {
        self.spawn_ipamd();
        self.wait_phase(v1::Phase::Serving);
    }

    /// Starts the daemon and does not wait.
    #[track_caller]
    pub fn spawn_ipamd(&self) {
        let mut daemon = self.daemon();
        assert!(
            daemon.as_mut().is_none_or(|ipamd| !ipamd.is_running()),
            "ipamd runs already"
        );
        *daemon = Some(self.node().spawn_ipamd().unwrap());
    }

    /// Waits until the daemon says that it is in this phase; fails with its log when it ends instead.
    #[track_caller]
    pub fn wait_phase(&self, phase: v1::Phase) {
        let what = format!("ipamd says {}", phase.as_str_name());
        let outcome = wait_until(&what, || {
            let mut daemon = self.daemon();
            let ipamd = daemon.as_mut().ok_or("no ipamd was started")?;
            if !ipamd.is_running() {
                return Ok(Err(ipamd.log_tail()));
            }
            match Client::new(ipamd.socket()).status() {
                Ok(status) if status.phase() == phase => Ok(Ok(())),
                Ok(status) => Err(format!("{status:?}\n{}", ipamd.log_tail())),
                Err(error) => Err(format!("{error:?}\n{}", ipamd.log_tail())),
            }
        });
        if let Err(log) = outcome {
            panic!("ipamd has ended:\n{log}");
        }
    }

    /// SIGKILL to the daemon, and its end.
    #[track_caller]
    pub fn kill_ipamd(&self) {
        self.daemon().as_mut().unwrap().kill().unwrap();
    }

    /// SIGTERM to the daemon, and its end.
    #[track_caller]
    pub fn stop_ipamd(&self) -> ExitStatus {
        self.daemon().as_mut().unwrap().terminate(PATIENCE).unwrap()
    }

    /// Waits for the end of a daemon that ends by itself.
    #[track_caller]
    pub fn ipamd_end(&self) -> ExitStatus {
        self.daemon().as_mut().unwrap().wait(PATIENCE).unwrap()
    }

    /// A signal to the daemon.
    #[track_caller]
    pub fn signal_ipamd(&self, signal: Signal) {
        self.daemon().as_mut().unwrap().signal(signal).unwrap();
    }

    /// Process id of the daemon.
    #[track_caller]
    pub fn ipamd_pid(&self) -> i32 {
        self.daemon().as_mut().unwrap().pid().unwrap()
    }

    /// All that the daemon has said.
    pub fn ipamd_log(&self) -> String {
        self.daemon()
            .as_ref()
            .map(|ipamd| ipamd.log())
            .unwrap_or_default()
    }

    /// A client of the daemon's socket.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::new(&self.node().path("/run/berth/ipamd.sock"))
    }

    /// Every binding of the book.
    #[track_caller]
    pub fn list(&self) -> Vec<BindingRecord> {
        self.client().list().unwrap()
    }

    /// Addresses in this state, in order of their text, without prefix length.
    #[track_caller]
    pub fn in_state(&self, state: &str) -> Vec<String> {
        let mut addresses: Vec<String> = self
            .list()
            .iter()
            .filter(|binding| binding.state == state)
            .map(|binding| bare_address(&binding.address))
            .collect();
        addresses.sort();
        addresses
    }

    /// Attached addresses.
    #[track_caller]
    pub fn attached(&self) -> Vec<String> {
        self.in_state("attached")
    }

    /// Fails when any address is attached.
    #[track_caller]
    pub fn assert_no_attachment(&self) {
        assert_eq!(self.attached(), Vec::<String>::new());
    }

    /// How many finished tombstones are in the spool.
    pub fn tombstones(&self) -> usize {
        std::fs::read_dir(self.node().path("/run/berth/spool"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(".tombstone"))
            .count()
    }

    /// An operator's command that must succeed; its output.
    #[track_caller]
    pub fn operator(&self, args: &[&str]) -> String {
        self.node().ipamd_command(args).unwrap().ok().unwrap()
    }

    /// An operator's command with `--output json` that must succeed.
    #[track_caller]
    pub fn operator_json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--output", "json"]).collect();
        let text = self.operator(&args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    // ---- the plugin ----

    /// The networks that [`Self::config`] has when an [`Ask`] names no others.
    pub fn networks(&self) -> Value {
        json!([
            {"name": "external", "uplink": "eth0", "default": true},
            {"name": "internal", "uplink": "eth1", "routes": [{"dst": "10.0.0.0/8"}]},
        ])
    }

    /// A configuration of `berth`.
    pub fn config(&self, version: &str, networks: &Value) -> Value {
        json!({
            "cniVersion": version, "name": "bank", "type": "berth",
            "capabilities": {"ips": true, "mac": true, "bandwidth": true},
            "ipamd": "/run/berth/ipamd.sock",
            "networks": networks,
        })
    }

    /// The configuration of an attachment, with the cached result as libcni has it for all verbs but ADD.
    pub fn ask_config(&self, ask: &Ask) -> Value {
        let networks = ask.networks.clone().unwrap_or_else(|| self.networks());
        let mut config = self.config(&ask.version, &networks);
        if ask.runtime != json!({}) {
            config["runtimeConfig"] = ask.runtime.clone();
        }
        if let Some(result) = self.cached(&ask.container) {
            config["prevResult"] = result;
        }
        for (key, value) in &ask.keys {
            config[key] = value.clone();
        }
        config
    }

    /// The cached result of an ADD.
    pub fn cached(&self, container: &str) -> Option<Value> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(container).cloned()
    }

    /// Puts a result into the cache, or takes it out.
    pub fn cache(&self, container: &str, result: Option<Value>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Some(result) => cache.insert(container.to_owned(), result),
            None => cache.remove(container),
        };
    }

    /// A plugin of the node as a command, ready for [`Call::run`].
    #[track_caller]
    pub fn command(&self, plugin: &Path) -> Command {
        self.node().command(Path::new(PLUGIN_DIR).join(plugin))
    }

    /// Runs a plugin of the node by its name.
    #[track_caller]
    pub fn run(&self, plugin: &str, call: &Call) -> Answer {
        call.run(self.command(Path::new(plugin)))
    }

    /// ADD; a result goes into the cache.
    #[track_caller]
    pub fn add(&self, ask: &Ask) -> Answer {
        self.cache(&ask.container, None);
        let answer = self.run("berth", &ask.call("ADD").config(&self.ask_config(ask)));
        if answer.succeeded() {
            self.cache(&ask.container, Some(answer.result()));
        }
        answer
    }

    /// DEL with the cached result, which is forgotten when it succeeds.
    #[track_caller]
    pub fn del(&self, ask: &Ask) -> Answer {
        let answer = self.run("berth", &ask.call("DEL").config(&self.ask_config(ask)));
        if answer.succeeded() {
            self.cache(&ask.container, None);
        }
        answer
    }

    /// CHECK with the cached result.
    #[track_caller]
    pub fn check(&self, ask: &Ask) -> Answer {
        self.run("berth", &ask.call("CHECK").config(&self.ask_config(ask)))
    }

    /// ADD of the default configuration in any namespace.
    #[track_caller]
    pub fn add_at(&self, container: &str, netns: &Path) -> Answer {
        let call = Call::new("ADD", container, netns, "eth0");
        self.run(
            "berth",
            &call.config(&self.config("1.1.0", &self.networks())),
        )
    }

    // ---- the world ----

    /// Makes a Pod's namespace.
    #[track_caller]
    pub fn pod(&self, name: &str) -> Pod<'_> {
        let path = self.node().make_pod_netns(name).unwrap();
        Pod {
            node: self.node(),
            name: name.to_owned(),
            path: PathBuf::from(path),
        }
    }

    /// Removes a Pod's namespace without a DEL.
    #[track_caller]
    pub fn remove_pod(&self, pod: &Pod<'_>) {
        self.node().remove_pod_netns(&pod.name).unwrap();
        // The kernel removes the veth of a dead namespace in its own time.
        wait_until("the kernel has removed the Pod's links", || {
            let left = self.links();
            let orphans: Vec<&Value> = left
                .iter()
                .filter(|link| {
                    link["linkinfo"]["info_kind"] == "veth" && link["operstate"] == "LOWERLAYERDOWN"
                })
                .collect();
            if orphans.is_empty() {
                Ok(())
            } else {
                Err(format!("{orphans:?}"))
            }
        });
    }

    /// What `ip -json -details …` says on the node.
    #[track_caller]
    pub fn ip(&self, args: &[&str]) -> Value {
        self.node().ip_json(args).unwrap()
    }

    /// An `ip` command on the node that must succeed.
    #[track_caller]
    pub fn does(&self, args: &[&str]) {
        let words: Vec<&str> = ["ip"].iter().chain(args).copied().collect();
        self.node().run(&words).unwrap();
    }

    /// All links of the node.
    #[track_caller]
    pub fn links(&self) -> Vec<Value> {
        self.ip(&["link", "show"]).as_array().unwrap().clone()
    }

    /// A link of the node; null where there is none.
    #[track_caller]
    pub fn link(&self, name: &str) -> Value {
        let links = self.links();
        links
            .into_iter()
            .find(|link| link["ifname"] == name)
            .unwrap_or_default()
    }

    /// The bridge that an uplink is a port of.
    #[track_caller]
    pub fn bridge_of(&self, uplink: &str) -> Value {
        self.link(uplink)["master"].clone()
    }

    /// Gives the node a management NIC with addresses of both families: `172.31.7.1` and `fd99::1`.
    #[track_caller]
    pub fn add_management_nic(&self) {
        self.does(&[
            "link", "add", "mgmt0", "type", "veth", "peer", "name", "mgmt1",
        ]);
        for link in ["mgmt0", "mgmt1"] {
            self.does(&["link", "set", link, "up"]);
        }
        self.does(&["addr", "add", "172.31.7.1/24", "dev", "mgmt0"]);
        self.does(&["addr", "add", "fd99::1/64", "dev", "mgmt0", "nodad"]);
    }

    /// Host-side ports of Pods: every veth but the node's NICs.
    #[track_caller]
    pub fn port_links(&self) -> Vec<Value> {
        self.links()
            .into_iter()
            .filter(|link| {
                let nics = ["eth0", "eth1", "mgmt0", "mgmt1"];
                link["linkinfo"]["info_kind"] == "veth"
                    && !nics.iter().any(|nic| link["ifname"] == *nic)
            })
            .collect()
    }

    /// Names of [`Self::port_links`].
    #[track_caller]
    pub fn ports(&self) -> Vec<String> {
        self.port_links()
            .iter()
            .map(|link| link["ifname"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Links, addresses and routes of the node, once the kernel has done with what it does by itself: duplicate address
    /// detection of link-local addresses.
    #[track_caller]
    pub fn snapshot(&self) -> Value {
        wait_until("no address is tentative", || {
            let addresses = self.ip(&["addr", "show"]).to_string();
            holds(!addresses.contains("tentative"), || addresses.clone())
        });
        pod::snapshot(|args| self.ip(args))
    }
}
