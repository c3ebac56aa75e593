//! A Kubernetes cluster in a world: a control plane, and nodes with containerd, kubelet, kube-proxy and Berth.
//!
//! Nodes have their own addresses on the external uplink and reach the API server over it. What each daemon needs is kept here,
//! so that any of them can be killed and started again. Nothing is asked of Berth's code: it is installed by its image and its manifests.

mod actions;
mod addons;
mod berth;
mod build;
mod contained;
mod evidence;
mod footprint;
mod member;
mod overlay;
mod pools;

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use anyhow::{Result, bail};

pub use self::{
    addons::{DNS_ADDRESS, DNS_DOMAIN},
    build::ClusterBuilder,
    footprint::{Doors, Memory},
    member::Daemon,
    pools::NODES_PER_RACK,
};
use self::{build::find, member::Member, pools::Sharing};
use crate::{
    address::Net,
    control_plane::ControlPlane,
    node::Node,
    process::{Output, Process},
    product::Product,
    wait::{Pending, wait_patiently},
    world::World,
};

/// What kubelet says as it ends where the whole machine's limit of watchers is reached (`fs.inotify.max_user_instances`, 128: ten nodes take
/// a hundred). That is over by itself, and the limit is not ours; an init system starts kubelet again, so do we.
const OUT_OF_WATCHES: &str = "inotify_init: too many open files";

/// Two seconds for a node on an idle machine; a busy one with many nodes takes longer.
const NODES_DEADLINE: Duration = Duration::from_secs(180);

/// A running cluster. Dropping it removes everything it made.
#[derive(Debug)]
pub struct Cluster {
    // Daemons end before the world they live in.
    members: BTreeMap<String, Member>,
    control_plane: ControlPlane,
    world: World,
    product: Option<Product>,
    agent_settings: Vec<(String, String)>,
    sharing: Sharing,
    kube_proxy: bool,
}

impl Cluster {
    /// Begins a cluster; its world has this name.
    pub fn builder(name: &str) -> ClusterBuilder {
        ClusterBuilder::new(name)
    }

    /// Its world: racks, outside hosts, nodes as machines.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The names of its nodes, on or off.
    pub fn node_names(&self) -> impl Iterator<Item = &str> {
        self.world.nodes().iter().map(Node::spec_name)
    }

    /// Rack and address of a node, on or off.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn place(&self, name: &str) -> Result<(String, Ipv4Addr)> {
        let node = find(&self.world, name)?;
        Ok((node.rack().name().to_owned(), node.address4(Net::External)))
    }

    /// Its control plane: kubectl, and the processes.
    pub fn control_plane(&mut self) -> &mut ControlPlane {
        &mut self.control_plane
    }

    /// Whether Berth was installed.
    pub fn has_berth(&self) -> bool {
        self.product.is_some()
    }

    /// Runs kubectl as administrator; its standard output.
    ///
    /// # Errors
    /// It failed; with everything it said.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.control_plane.kubectl(args).and_then(Output::ok)
    }

    /// What `kubectl … --output json` says.
    ///
    /// # Errors
    /// It failed, or did not answer JSON.
    pub fn kubectl_json(&self, args: &[&str]) -> Result<serde_json::Value> {
        self.control_plane.kubectl_json(args)
    }

    /// Creates or changes objects, in YAML or JSON.
    ///
    /// # Errors
    /// The API server refused one; with its words.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        self.control_plane.apply(manifest)
    }

    /// Waits until every node that is powered on is Ready and its Berth serves, or in a cluster without Berth at least known.
    ///
    /// # Errors
    /// One is not within the deadline; with what each says.
    pub fn wait_nodes(&mut self) -> Result<()> {
        let on = self.world.nodes().iter().filter(|node| node.is_on());
        let expected: Vec<(String, String)> = on
            .map(|node| Ok((node.name().to_owned(), node.boot_id()?)))
            .collect::<Result<_>>()?;
        let berth = self.product.is_some();
        let what = if berth {
            "all nodes being Ready"
        } else {
            "all nodes being known"
        };
        let waited = wait_patiently(what, NODES_DEADLINE, || {
            for (name, member) in &mut self.members {
                let kubelet = member.process(Daemon::Kubelet);
                let ended = !kubelet.is_some_and(Process::is_running);
                if !ended || !expected.iter().any(|(it, _)| it == name) {
                    continue;
                }
                if !member.kubelet_tail().contains(OUT_OF_WATCHES) {
                    return Ok(Some(name.clone()));
                }
                let started = find(&self.world, name)
                    .and_then(|node| member.start(Daemon::Kubelet, node, &self.control_plane));
                return Err(Pending::because(match started {
                    Ok(()) => format!("the kubelet of {name} had ended: {OUT_OF_WATCHES}"),
                    Err(error) => format!("{error:#}"),
                }));
            }
            let states = states(&self.control_plane)
                .map_err(|error| Pending::because(format!("{error:#}")))?;
            for (name, boot_id) in &expected {
                let Some(state) = states.get(name) else {
                    return Err(Pending::because(format!("{name} is not known")));
                };
                if state.boot_id != *boot_id {
                    // What is said of it was true before it was powered off.
                    return Err(Pending::because(format!(
                        "{name} has not spoken since its boot"
                    )));
                }
                if let (true, Some(why)) = (berth, &state.not_ready) {
                    return Err(Pending::because(format!("{name} is not Ready: {why}")));
                }
                if let Some(why) = self.berth_trouble(name) {
                    return Err(Pending::because(format!("Berth of {name}: {why}")));
                }
            }
            Ok(None)
        });
        match waited {
            Ok(None) => Ok(()),
            Ok(Some(name)) => bail!("the kubelet of {name} has ended; {}", self.log_tails()),
            Err(error) => Err(error.context(self.log_tails())),
        }
    }

    /// What the API server says of each node.
    ///
    /// # Errors
    /// It did not answer.
    pub fn node_states(&self) -> Result<BTreeMap<String, NodeState>> {
        states(&self.control_plane)
    }

    fn log_tails(&self) -> String {
        let tails = self.members.iter().map(|(name, member)| {
            format!(
                "{name}: its kubelet's log ends with\n{}",
                member.kubelet_tail()
            )
        });
        tails.collect::<Vec<_>>().join("\n")
    }
}

/// What the API server says of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// Why it does not take Pods, in kubelet's words; nothing when it does.
    pub not_ready: Option<String>,
    /// The boot id that kubelet reported.
    pub boot_id: String,
}

fn states(control_plane: &ControlPlane) -> Result<BTreeMap<String, NodeState>> {
    let list = control_plane.kubectl_json(&["get", "nodes", "--request-timeout=10s"])?;
    let nodes = list["items"].as_array().cloned().unwrap_or_default();
    let state = |node: &serde_json::Value| {
        let name = node["metadata"]["name"].as_str()?.to_owned();
        let conditions = node["status"]["conditions"].as_array()?;
        let ready = conditions.iter().find(|it| it["type"] == "Ready")?;
        let message = ready["message"].as_str().unwrap_or_default();
        let state = NodeState {
            not_ready: (ready["status"] != "True").then(|| message.to_owned()),
            boot_id: node["status"]["nodeInfo"]["bootID"].as_str()?.to_owned(),
        };
        Some((name, state))
    };
    Ok(nodes.iter().filter_map(state).collect())
}
