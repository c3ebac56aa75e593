//! How a cluster comes to be: world, control plane and runtimes side by side, then kubelets.

use std::{collections::BTreeMap, thread};

use anyhow::{Context, Result, anyhow};

use super::{Cluster, berth::SHARES, member::Member};
use crate::{
    address::Net,
    control_plane::ControlPlane,
    node::{Node, NodeSpec},
    programs::{Kubernetes, Runtime},
    world::{World, WorldBuilder},
};

/// What a cluster shall have.
#[derive(Debug)]
pub struct ClusterBuilder {
    world: WorldBuilder,
    nodes: Vec<(String, String)>,
    runtime: Option<Runtime>,
    kubernetes: Option<Kubernetes>,
    berth: bool,
}

impl ClusterBuilder {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            world: World::builder(name).with_router(),
            nodes: Vec::new(),
            runtime: None,
            kubernetes: None,
            berth: true,
        }
    }

    /// How many racks; two where nothing is said.
    #[must_use]
    pub fn racks(mut self, racks: u8) -> Self {
        self.world = self.world.racks(racks);
        self
    }

    /// Adds a node.
    #[must_use]
    pub fn node(mut self, name: &str, rack: &str) -> Self {
        self.nodes.push((name.to_owned(), rack.to_owned()));
        self
    }

    /// Adds an outside host on one network of a rack.
    #[must_use]
    pub fn host(mut self, name: &str, rack: &str, net: Net) -> Self {
        self.world = self.world.host(name, rack, net);
        self
    }

    /// Which containerd; the 2.x of `BERTH_CONTAINERD_BIN` where nothing is said.
    #[must_use]
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Which Kubernetes; that of `BERTH_KUBERNETES_BIN` where nothing is said.
    #[must_use]
    pub fn kubernetes(mut self, kubernetes: Kubernetes) -> Self {
        self.kubernetes = Some(kubernetes);
        self
    }

    /// No plugin, no configuration: nodes are known but not Ready.
    #[must_use]
    pub fn without_berth(mut self) -> Self {
        self.berth = false;
        self
    }

    /// Makes it, and waits until its nodes take Pods.
    ///
    /// # Errors
    /// What cannot be made, started, or does not get ready in time, by name.
    pub fn build(self) -> Result<Cluster> {
        self.build_telling(&|_| Ok(()))
    }

    /// Like [`Self::build`], and tells each step; where that fails, nothing further is done.
    ///
    /// # Errors
    /// As [`Self::build`], and what `tell` answers.
    pub fn build_telling(self, tell: &dyn Fn(&str) -> Result<()>) -> Result<Cluster> {
        let runtime = match self.runtime {
            Some(runtime) => runtime,
            None => Runtime::module_from_environment()?,
        };
        let kubernetes = match self.kubernetes {
            Some(kubernetes) => kubernetes,
            None => Kubernetes::from_environment()?,
        };
        tell("racks, TORs and a router")?;
        let mut world = self.world.build()?;
        tell("starting etcd and kube-apiserver")?;
        let control_plane = ControlPlane::start(&mut world, &kubernetes)?;
        let mut cluster = Cluster {
            members: BTreeMap::new(),
            control_plane,
            world,
            berth: self.berth,
        };
        for (name, rack) in &self.nodes {
            cluster.make_node(name, rack, runtime.clone())?;
        }
        cluster.start_all(tell)?;
        Ok(cluster)
    }
}

impl Cluster {
    /// Makes a node's machine and gives it a share of its rack's addresses; nothing runs on it yet.
    pub(super) fn make_node(&mut self, name: &str, rack: &str, runtime: Runtime) -> Result<()> {
        let share = self.free_share(rack)?;
        let spec = NodeSpec::new(name, rack)
            .with_address(Net::External)
            .with_own_disk()
            .confined();
        self.world.add_node(spec)?;
        self.members
            .insert(name.to_owned(), Member::new(runtime, share));
        Ok(())
    }

    fn free_share(&self, rack: &str) -> Result<u8> {
        let of_rack = self
            .world
            .nodes()
            .iter()
            .filter(|node| node.rack().name() == rack);
        let taken: Vec<u8> = of_rack
            .filter_map(|node| self.members.get(node.spec_name()))
            .map(|member| member.share)
            .collect();
        let share = (0..SHARES).find(|share| !taken.contains(share));
        share.with_context(|| {
            format!(
                "rack {rack} has {SHARES} nodes already: no addresses are left for another's Pods"
            )
        })
    }

    /// Starts the nodes' runtimes while the API server gets ready, then what needs it.
    fn start_all(&mut self, tell: &dyn Fn(&str) -> Result<()>) -> Result<()> {
        let berth = self.berth;
        let world = &self.world;
        let (members, control_plane) = (&mut self.members, &mut self.control_plane);
        thread::scope(|scope| {
            let mut runtimes = Vec::new();
            for (name, member) in members.iter_mut() {
                let node = find(world, name)?;
                runtimes.push((name, scope.spawn(move || member.start_runtime(node, berth))));
            }
            tell("waiting for the API server, and for the nodes' containerd and berth-ipamd")?;
            control_plane.wait_ready()?;
            tell("the API server is ready")?;
            control_plane.start_controllers()?;
            for (name, runtime) in runtimes {
                let ended = runtime.join().map_err(|_| anyhow!("its thread panicked"));
                ended
                    .flatten()
                    .with_context(|| format!("start node {name}"))?;
            }
            anyhow::Ok(())
        })?;
        tell("starting kubelet and kube-proxy on each node")?;
        for (name, member) in &mut self.members {
            let node = find(&self.world, name)?;
            member.start_kubernetes(node, &self.control_plane)?;
        }
        self.write_doors()?;
        tell("waiting for the nodes")?;
        self.wait_nodes()
    }
}

/// A node by its name, for callers that may be wrong.
pub(super) fn find<'a>(world: &'a World, name: &str) -> Result<&'a Node> {
    let node = world.nodes().iter().find(|node| node.spec_name() == name);
    node.with_context(|| format!("there is no node {name}"))
}
