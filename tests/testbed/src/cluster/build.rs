//! How a cluster comes to be: world, control plane and runtimes side by side, then kubelets.

use std::{collections::BTreeMap, path::Path, thread};

use anyhow::{Context, Result, anyhow};

use super::{
    Cluster,
    member::Member,
    pools::{NODES_PER_RACK, Sharing},
};
use crate::{
    address::Net,
    control_plane::ControlPlane,
    node::{Node, NodeSpec},
    product::Product,
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
    kube_proxy: bool,
    upstream_lifecycle: bool,
    idle_processors: bool,
    leaders: usize,
    berth: Berth,
    agent_settings: Vec<(String, String)>,
    sharing: Sharing,
}

/// Whether a cluster gets Berth, and which.
#[derive(Debug)]
enum Berth {
    /// The environment's.
    Named,
    This(Product),
    None,
}

impl ClusterBuilder {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            world: World::builder(name).with_router(),
            nodes: Vec::new(),
            runtime: None,
            kubernetes: None,
            kube_proxy: true,
            upstream_lifecycle: true,
            idle_processors: false,
            leaders: 1,
            berth: Berth::Named,
            agent_settings: Vec::new(),
            sharing: Sharing::Claims,
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

    /// Which Berth; that of `BERTH_IMAGE` and `BERTH_MANIFESTS` where nothing is said.
    #[must_use]
    pub fn product(mut self, product: Product) -> Self {
        self.berth = Berth::This(product);
        self
    }

    /// An environment variable of the node agents: what they are told otherwise than as shipped, from their first start.
    #[must_use]
    pub fn agent_setting(mut self, name: &str, value: &str) -> Self {
        self.agent_settings
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// Addresses come from `Pool` objects, one for each rack, network and family, and nodes claim them: also where nothing is said.
    #[must_use]
    pub fn claiming(mut self) -> Self {
        self.sharing = Sharing::Claims;
        self
    }

    /// Each node has a part of its rack's addresses of its own, in `ipamd.toml`, and claims nothing.
    #[must_use]
    pub fn static_pools(mut self) -> Self {
        self.sharing = Sharing::Parts;
        self
    }

    /// No plugin, no configuration: nodes are known but not Ready.
    #[must_use]
    pub fn without_berth(mut self) -> Self {
        self.berth = Berth::None;
        self
    }

    /// No kube-proxy: no Service answers, and Berth is told the API server's own address.
    #[must_use]
    pub fn without_kube_proxy(mut self) -> Self {
        self.kube_proxy = false;
        self
    }

    /// Kubernetes' own node lifecycle and taint eviction do not run: nobody says that a node is Unknown, taints it or deletes its Pods,
    /// and no new node loses the taint that keeps Pods away, unless Berth is told to.
    #[must_use]
    pub fn without_upstream_lifecycle(mut self) -> Self {
        self.upstream_lifecycle = false;
        self
    }

    /// On its nodes nothing ever waits for a processor, as far as Berth can see: they share the machine's, which others keep busy.
    #[must_use]
    pub fn idle_processors(mut self) -> Self {
        self.idle_processors = true;
        self
    }

    /// On how many of the nodes, from the first on, the cluster's controllers run; on one where nothing is said.
    #[must_use]
    pub fn leaders(mut self, count: usize) -> Self {
        self.leaders = count;
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
        let product = match self.berth {
            Berth::Named => Some(Product::from_environment()?),
            Berth::This(product) => Some(product),
            Berth::None => None,
        };
        tell("racks, TORs and a router")?;
        let mut world = self.world.build()?;
        tell("starting etcd and kube-apiserver")?;
        let mut control_plane = ControlPlane::start(&mut world, &kubernetes)?;
        if !self.upstream_lifecycle {
            control_plane.leave_out_lifecycle();
        }
        let mut cluster = Cluster {
            members: BTreeMap::new(),
            control_plane,
            world,
            product,
            agent_settings: self.agent_settings,
            sharing: self.sharing,
            kube_proxy: self.kube_proxy,
        };
        let has_controllers = cluster.has_controllers();
        for (number, (name, rack)) in self.nodes.iter().enumerate() {
            let spec = base_spec(name, rack);
            let spec = if self.idle_processors {
                spec.with_idle_processors()
            } else {
                spec
            };
            let controllers = has_controllers && number < self.leaders;
            let spec = if controllers {
                spec.for_controllers()
            } else {
                spec
            };
            cluster.make_node(&spec, runtime.clone())?;
            cluster.member(name)?.controllers = controllers;
        }
        cluster.start_all(tell)?;
        Ok(cluster)
    }
}

/// A node with its own address on the external uplink, as every one of a cluster.
pub(super) fn base_spec(name: &str, rack: &str) -> NodeSpec {
    NodeSpec::new(name, rack)
        .with_address(Net::External)
        .for_kubernetes()
}

impl Cluster {
    /// Makes a node's machine and gives it a share of its rack's addresses; nothing runs on it yet.
    pub(super) fn make_node(&mut self, spec: &NodeSpec, runtime: Runtime) -> Result<()> {
        let share = self.free_share(&spec.rack)?;
        self.world.add_node(spec.clone())?;
        let member = Member::new(runtime, share);
        self.members.insert(spec.name.clone(), member);
        Ok(())
    }

    fn has_controllers(&self) -> bool {
        self.product.as_ref().is_some_and(Product::has_controllers)
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
        let share = (0..NODES_PER_RACK).find(|share| !taken.contains(share));
        share.with_context(|| {
            format!(
                "rack {rack} has {NODES_PER_RACK} nodes already: no addresses are left for another's Pods"
            )
        })
    }

    /// Starts the nodes' runtimes while the API server gets ready, then what needs it.
    fn start_all(&mut self, tell: &dyn Fn(&str) -> Result<()>) -> Result<()> {
        let (world, image) = (&self.world, self.product.as_ref().map(Product::image));
        let (members, control_plane) = (&mut self.members, &mut self.control_plane);
        thread::scope(|scope| {
            let mut runtimes = Vec::new();
            for (name, member) in members.iter_mut() {
                let node = find(world, name)?;
                let start = move || start_runtime(member, node, image);
                runtimes.push((name, scope.spawn(start)));
            }
            tell("waiting for the API server, and for the nodes' containerd with its images")?;
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
            member.start_kubernetes(node, &self.control_plane, self.kube_proxy)?;
        }
        self.write_doors()?;
        if let Some(product) = &self.product {
            tell("installing Berth: kubectl apply -k")?;
            self.install(product)?;
        }
        tell("waiting for the nodes")?;
        self.wait_nodes()
    }
}

/// What a node does before it knows the API server. Images outlive a boot as the disk does, so Berth's is given once.
pub(super) fn start_runtime(member: &mut Member, node: &Node, image: Option<&Path>) -> Result<()> {
    member.start_runtime(node)?;
    image.map_or(Ok(()), |image| node.load_images(&member.runtime, image))
}

/// A node by its name, for callers that may be wrong.
pub(super) fn find<'a>(world: &'a World, name: &str) -> Result<&'a Node> {
    let node = world.nodes().iter().find(|node| node.spec_name() == name);
    node.with_context(|| format!("there is no node {name}"))
}
