//! A world: two racks with a router between them, nodes and outside hosts, under one name.

mod grow;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};

use crate::{
    address::{Net, RackAddresses},
    evidence,
    host::{Host, HostSpec},
    namespace::{Namespace, Start},
    node::{Node, NodeSpec},
    rack::{self, Rack},
    state::Claim,
};

/// The last byte of the first outside host's address.
const FIRST_HOST: u8 = 240;

/// What a world shall have.
#[derive(Debug)]
pub struct WorldBuilder {
    name: String,
    racks: u8,
    router: bool,
    nodes: Vec<NodeSpec>,
    hosts: Vec<HostSpec>,
    keep: bool,
    evidence: PathBuf,
}

impl WorldBuilder {
    /// How many racks; they are called `a`, `b`, …; two where nothing is said.
    #[must_use]
    pub fn racks(mut self, racks: u8) -> Self {
        self.racks = racks;
        self
    }

    /// There is a router also where one rack needs none: a control plane hangs on it.
    #[must_use]
    pub(crate) fn with_router(mut self) -> Self {
        self.router = true;
        self
    }

    /// Adds a node with two uplinks without addresses.
    #[must_use]
    pub fn node(self, name: &str, rack: &str) -> Self {
        self.node_with(NodeSpec::new(name, rack))
    }

    /// Adds a node.
    #[must_use]
    pub fn node_with(mut self, spec: NodeSpec) -> Self {
        self.nodes.push(spec);
        self
    }

    /// Adds an outside host on one network of a rack.
    #[must_use]
    pub fn host(mut self, name: &str, rack: &str, net: Net) -> Self {
        self.hosts.push(HostSpec {
            name: name.to_owned(),
            rack: rack.to_owned(),
            net,
        });
        self
    }

    /// The world outlives its maker, for a person to look at; the next world of that name removes it.
    #[must_use]
    pub fn keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// Makes it.
    ///
    /// # Errors
    /// No right to make namespaces, a missing program, a name in use: said by name.
    pub fn build(self) -> Result<World> {
        let claim = Claim::take(&self.name)?;
        let dir = claim.dir().to_owned();
        let mut world = World {
            name: self.name,
            nodes: Vec::new(),
            hosts: Vec::new(),
            racks: Vec::new(),
            router: None,
            machines: Vec::new(),
            claim: Arc::new(Mutex::new(claim)),
            dir,
            keep: self.keep,
            evidence: self.evidence,
        };
        world.make_racks(self.racks, self.router)?;
        for host in self.hosts {
            world.make_host(&host)?;
        }
        for spec in self.nodes {
            world.add_node(spec)?;
        }
        Ok(world)
    }
}

/// A running world. Dropping it removes everything it made, unless it is kept; in a failing test it saves evidence first.
#[derive(Debug)]
pub struct World {
    name: String,
    // Nodes go first: their links hang on the racks.
    nodes: Vec<Node>,
    hosts: Vec<Host>,
    racks: Vec<Arc<Rack>>,
    router: Option<Namespace>,
    machines: Vec<Arc<Namespace>>,
    claim: Arc<Mutex<Claim>>,
    dir: PathBuf,
    keep: bool,
    evidence: PathBuf,
}

impl World {
    /// Begins a world of this name: 1 to 60 of `a-z`, `0-9`, `-`, `_`; a test gives its own name. `KEEP` in the environment keeps it;
    /// evidence of failures goes below `BERTH_EVIDENCE_DIR`, or below the folder for temporary files.
    pub fn builder(name: &str) -> WorldBuilder {
        // The test runner leaves a test no flags of its own.
        let evidence = std::env::var_os("BERTH_EVIDENCE_DIR").map_or_else(
            || std::env::temp_dir().join("berth-evidence"),
            PathBuf::from,
        );
        WorldBuilder {
            name: name.to_owned(),
            racks: 2,
            router: false,
            nodes: Vec::new(),
            hosts: Vec::new(),
            keep: std::env::var_os("KEEP").is_some_and(|value| !value.is_empty() && value != "0"),
            evidence,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder of its files: a folder per machine with `log/` and, for nodes, `disk/`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A node by its name.
    ///
    /// # Panics
    /// There is none of that name.
    #[track_caller]
    pub fn node(&self, name: &str) -> &Node {
        found(
            self.nodes.iter().find(|node| node.spec_name() == name),
            "node",
            name,
        )
    }

    /// A node by its name, to power it off and on.
    ///
    /// # Panics
    /// There is none of that name.
    #[track_caller]
    pub fn node_mut(&mut self, name: &str) -> &mut Node {
        found(
            self.nodes.iter_mut().find(|node| node.spec_name() == name),
            "node",
            name,
        )
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All racks.
    pub(crate) fn racks(&self) -> &[Arc<Rack>] {
        &self.racks
    }

    /// A rack by its name: `a`, `b`.
    ///
    /// # Panics
    /// There is none of that name.
    #[track_caller]
    pub fn rack(&self, name: &str) -> &Rack {
        found(
            self.racks
                .iter()
                .map(Arc::as_ref)
                .find(|rack| rack.name() == name),
            "rack",
            name,
        )
    }

    /// An outside host by its name.
    ///
    /// # Panics
    /// There is none of that name.
    #[track_caller]
    pub fn host(&self, name: &str) -> &Host {
        found(
            self.hosts
                .iter()
                .find(|host| host.namespace().name() == name),
            "host",
            name,
        )
    }

    /// Saves what an engineer wants to see of every machine: links, addresses, routes, neighbours, logs, and how to step in.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save_evidence(&self) -> Result<PathBuf> {
        let folder = self.evidence.join(&self.name);
        let machines = self
            .racks
            .iter()
            .map(|rack| rack.tor())
            .chain(&self.router)
            .chain(self.hosts.iter().map(Host::namespace))
            .chain(self.machines.iter().map(Arc::as_ref))
            .chain(self.nodes.iter().filter_map(Node::namespace));
        evidence::save(&folder, machines)?;
        Ok(folder)
    }

    fn make_racks(&mut self, racks: u8, router: bool) -> Result<()> {
        ensure!(racks <= 26, "a world has at most 26 racks, not {racks}");
        if racks > 1 || router {
            let router = self.start("router")?;
            rack::prepare_router(&router)?;
            self.router = Some(router);
        }
        for number in 1..=racks {
            let name = char::from(b'a' + number - 1).to_string();
            let tor = self.start(&format!("tor-{name}"))?;
            let rack = Rack::new(name, RackAddresses { number }, tor)?;
            if let Some(router) = &self.router {
                rack.join(router)?;
            }
            self.racks.push(Arc::new(rack));
        }
        Ok(())
    }

    fn make_host(&mut self, spec: &HostSpec) -> Result<()> {
        ensure!(
            spec.name.len() <= 15,
            "host name {} is longer than 15 bytes",
            spec.name
        );
        let rack = self.find_rack(&spec.rack)?;
        let number = u8::try_from(self.hosts.len()).context("too many hosts")?;
        let last = FIRST_HOST.checked_add(number).filter(|last| *last < 255);
        let last = last.context("too many hosts")?;
        let namespace = self.start(&spec.name)?;
        self.hosts
            .push(Host::new(namespace, &rack, spec.net, last)?);
        Ok(())
    }

    fn start(&self, name: &str) -> Result<Namespace> {
        let namespace = Namespace::start(&Start {
            name,
            dir: &self.dir.join(name),
            script: "",
            variables: &[],
            keep: self.keep,
        })?;
        let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        claim.add_holder(namespace.pid())?;
        Ok(namespace)
    }

    fn find_rack(&self, name: &str) -> Result<Arc<Rack>> {
        let rack = self.racks.iter().find(|rack| rack.name() == name);
        rack.cloned()
            .with_context(|| format!("there is no rack {name}"))
    }

    fn say(&self, text: &str) {
        // Standard error by hand: libtest shows what a failing test wrote there.
        let _ = writeln!(std::io::stderr(), "world {}: {text}", self.name);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            match self.save_evidence() {
                Ok(folder) => self.say(&format!("evidence is in {}", folder.display())),
                Err(error) => self.say(&format!("no evidence could be saved: {error:#}")),
            }
        }
        if self.keep {
            self.say(&format!("is kept; its files are in {}", self.dir.display()));
            for node in self.nodes.iter().filter_map(Node::namespace) {
                self.say(&format!("{}: {}", node.name(), node.enter_command()));
            }
            return;
        }
        self.nodes.clear();
        self.hosts.clear();
        self.racks.clear();
        self.machines.clear();
        self.router = None;
        let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        match claim.clean() {
            Ok(()) => claim.forget(),
            Err(error) => self.say(&format!("something is left behind: {error:#}")),
        }
    }
}

#[expect(
    clippy::panic,
    reason = "a mistake of the test itself, with the place where it was made"
)]
#[track_caller]
fn found<T>(item: Option<T>, kind: &str, name: &str) -> T {
    match item {
        Some(item) => item,
        None => panic!("the world has no {kind} {name}"),
    }
}
