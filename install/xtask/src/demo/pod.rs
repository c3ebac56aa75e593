//! A Pod of the demo as a runtime has it: a sandbox with a network namespace, and a container that lives in it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests_testbed::{CniCall, Node, Process};

/// Interfaces of a Pod in the order of the networks.
const INTERFACES: [&str; 2] = ["eth0", "net1"];

/// A running Pod.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) node: String,
    pub(crate) name: String,
    /// Sandboxes so far: each has its own id and namespace.
    sandboxes: u32,
    container: Option<Process>,
}

/// What a Pod has, as the kernel says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) interfaces: Vec<SeenInterface>,
}

/// One interface as the kernel says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenInterface {
    pub(crate) mac: String,
    pub(crate) addresses: Vec<String>,
}

impl Pod {
    pub(crate) fn new(node: &str, name: &str) -> Self {
        Self {
            node: node.to_owned(),
            name: name.to_owned(),
            sandboxes: 0,
            container: None,
        }
    }

    /// Makes a sandbox with a new id and namespace, has it wired, and starts the first container in it.
    pub(crate) fn start(&mut self, node: &Node) -> Result<()> {
        self.sandboxes += 1;
        node.make_pod_netns(&self.netns())?;
        node.cni(&self.call("ADD"))
            .and_then(|reply| reply.ok())
            .with_context(|| format!("ADD of {}", self.name))?;
        self.start_container(node, "v1")
    }

    /// Puts another container in the place of the running one; the sandbox stays.
    pub(crate) fn upgrade(&mut self, node: &Node) -> Result<()> {
        self.container = None;
        self.start_container(node, "v2")
    }

    /// Ends the sandbox as a runtime does.
    pub(crate) fn stop(&mut self, node: &Node) -> Result<()> {
        self.container = None;
        node.cni(&self.call("DEL"))
            .and_then(|reply| reply.ok())
            .with_context(|| format!("DEL of {}", self.name))?;
        node.remove_pod_netns(&self.netns())
    }

    /// The node lost its power: nothing of the sandbox is left, and nobody called DEL.
    pub(crate) fn lost(&mut self) {
        self.container = None;
    }

    /// What the kernel says of its interfaces.
    pub(crate) fn observe(&self, node: &Node) -> Result<Seen> {
        let interfaces = INTERFACES.map(|name| {
            let link = node.pod_ip_json(&self.netns(), &["address", "show", "dev", name])?;
            parse(&link[0]).with_context(|| format!("{name} of {}", self.name))
        });
        Ok(Seen {
            interfaces: interfaces.into_iter().collect::<Result<_>>()?,
        })
    }

    /// How many of the addresses answer a ping from this Pod.
    pub(crate) fn ping_all(&self, node: &Node, targets: &[String]) -> Result<usize> {
        let mut answers = 0;
        for target in targets {
            answers += usize::from(node.pod_ping_once(&self.netns(), target)?);
        }
        Ok(answers)
    }

    fn start_container(&mut self, node: &Node, version: &str) -> Result<()> {
        let mut command = node.pod_command(&self.netns(), "sleep");
        command.arg("infinity");
        let process = node.spawn_command(&format!("{}-{version}", self.name), command)?;
        self.container = Some(process);
        Ok(())
    }

    /// The id of its present sandbox.
    pub(crate) fn sandbox(&self) -> String {
        format!("sandbox-{}", self.netns())
    }

    fn netns(&self) -> String {
        format!("{}-{}", self.name, self.sandboxes)
    }

    fn call(&self, verb: &str) -> CniCall {
        let conf = json!({
            "cniVersion": "1.0.0", "name": "bank", "type": "berth", "ipamd": "/run/berth/ipamd.sock",
            "networks": [
                {"name": "external", "uplink": "eth0", "default": true},
                {"name": "internal", "uplink": "eth1"},
            ],
        });
        CniCall::new(verb, &conf)
            .attachment(
                &self.sandbox(),
                "eth0",
                &format!("/run/netns/{}", self.netns()),
            )
            .pod("bank", &self.name, &format!("uid-of-{}", self.name))
    }
}

fn parse(link: &Value) -> Result<SeenInterface> {
    let mac = link["address"].as_str().context("it has no MAC")?;
    let list = link["addr_info"]
        .as_array()
        .context("it has no addresses")?;
    let global = list.iter().filter(|address| address["scope"] == "global");
    let addresses: Vec<String> = global
        .filter_map(|address| address["local"].as_str().map(str::to_owned))
        .collect();
    ensure!(!addresses.is_empty(), "it has no address");
    Ok(SeenInterface {
        mac: mac.to_owned(),
        addresses,
    })
}
