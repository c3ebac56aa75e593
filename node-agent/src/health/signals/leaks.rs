//! Signals `leaked-namespaces` and `leaked-ports`: the node keeps no network namespaces and no ports of Pods that its runtime does not know
//! any more. Told, never removed: who removes them is the plugin, when the runtime or an operator asks it to.
//!
//! Ports say in their alias whose they are, so that one is enough. Namespaces say nothing: there are more of them than sandboxes that
//! have one, by a margin.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use node_agent_cri::{Network, Runtime, Sandbox, SandboxFilter};
use proto_crd::node_health::Decision;
use tokio::sync::watch;

use super::Look;
use crate::health::assess::Rule;
use crate::health::rooted;
use crate::health::signal::{Signal, Trouble, Verdict};
use crate::health::underlay::Underlay;

/// Its name.
pub(in crate::health) const NAMESPACES: Signal = Signal::new("leaked-namespaces");

/// Of the other.
pub(in crate::health) const PORTS: Signal = Signal::new("leaked-ports");

const PERIOD: Duration = Duration::from_secs(20);

/// How it is judged.
pub(in crate::health) const NAMESPACES_RULE: Rule = Rule {
    signal: NAMESPACES,
    threshold: "fewer than 10 network namespaces more than sandboxes, older than a minute",
    ..PORTS_RULE
};

/// How it is judged.
pub(in crate::health) const PORTS_RULE: Rule = Rule {
    signal: PORTS,
    period: PERIOD,
    ttl: Duration::from_secs(120),
    set: 2,
    clear: 1,
    decision: Decision::Observe,
    escalation: None,
    threshold: "no port of a sandbox that the runtime does not know for a minute; fewer than 2 veths a sandbox and 20",
};

/// A Pod that starts has a namespace and ports seconds before the runtime tells of its sandbox.
const AGE: Duration = Duration::from_secs(60);
/// Fewer are left behind by an upgrade or two of the runtime; a leak grows (Cloudflare: 1,088 on a node with 110 Pods).
const NAMESPACES_LIMIT: usize = 10;
/// As many veths as Pods with two networks have, and what else a node has of its own.
const VETHS_EACH: usize = 2;
const VETHS_MORE: usize = 20;
/// Names that are remembered: several times what a node may have.
const MEMORY_LIMIT: usize = 8192;
/// Names that are told.
const NAMES_TOLD: usize = 3;

const DEADLINE: Duration = Duration::from_secs(2);
/// Sandboxes that are asked for more in one look.
const QUESTIONS: usize = 32;
/// What `uplink` has found is dumped every 30 s.
const STALE: Duration = Duration::from_secs(90);

/// Where runtimes keep namespaces.
const FOLDER: &str = "/run/netns";

/// Namespaces and ports of the node, and its runtime's sandboxes.
pub(in crate::health) struct Source {
    root: PathBuf,
    runtime: Runtime,
    underlay: watch::Receiver<Arc<Underlay>>,
    namespaces: Ages,
    ports: Ages,
    networks: BTreeMap<String, Network>,
}

impl Source {
    /// Compares the node whose file tree is at `root` with what the runtime says.
    pub(in crate::health) fn new(
        root: PathBuf,
        runtime: Runtime,
        underlay: watch::Receiver<Arc<Underlay>>,
    ) -> Self {
        Self {
            root,
            runtime,
            underlay,
            namespaces: Ages::default(),
            ports: Ages::default(),
            networks: BTreeMap::new(),
        }
    }

    async fn observe(&mut self) -> Result<[Verdict; 2], String> {
        let filter = SandboxFilter::default();
        let sandboxes = self.runtime.sandboxes(filter, DEADLINE).await;
        let sandboxes = sandboxes.map_err(|error| chain(&error))?;
        self.learn(&sandboxes).await;
        let now = Instant::now();
        let own = self.own_networks(&sandboxes);
        let namespaces = match list(&self.root) {
            Ok(names) => {
                let old = self.namespaces.old(names, now);
                assess_namespaces(&old, own)
            }
            Err(error) => Verdict::unclear(NAMESPACES, format!("{FOLDER}: {error}")),
        };
        let underlay = Arc::clone(&self.underlay.borrow_and_update());
        let is_current = underlay.laid.is_some_and(|at| at.elapsed() < STALE);
        let ports = if is_current {
            let stray = stray(&underlay, &sandboxes);
            let old = self.ports.old(stray, now);
            assess_ports(&old, underlay.veths, sandboxes.len())
        } else {
            Verdict::unclear(PORTS, "the node's links could not be read of late")
        };
        Ok([namespaces, ports])
    }

    /// Asks which sandboxes have a network of their own; a list does not say.
    async fn learn(&mut self, sandboxes: &[Sandbox]) {
        let known: BTreeSet<_> = sandboxes.iter().map(|it| it.id.as_str()).collect();
        self.networks.retain(|id, _| known.contains(id.as_str()));
        let unknown = sandboxes
            .iter()
            .filter(|it| it.ready && !self.networks.contains_key(&it.id));
        let unknown: Vec<_> = unknown.take(QUESTIONS).map(|it| it.id.clone()).collect();
        for id in unknown {
            match self.runtime.sandbox(&id, DEADLINE / 4).await {
                Ok(status) => drop(self.networks.insert(id, status.network)),
                // It has just ended, or the runtime is slow: the next look asks again.
                Err(_) => return,
            }
        }
    }

    /// How many may have a namespace: of whom it is not known, has one.
    fn own_networks(&self, sandboxes: &[Sandbox]) -> usize {
        let on_nodes = |it: &&Sandbox| self.networks.get(&it.id) == Some(&Network::Node);
        let ready = sandboxes.iter().filter(|it| it.ready);
        ready.filter(|it| !on_nodes(it)).count()
    }
}

impl Look for Source {
    const NAME: &'static str = "leaks";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        // The runtime's answers have deadlines of their own; all of them together have this one.
        let observed = tokio::time::timeout(2 * DEADLINE, self.observe()).await;
        match observed.unwrap_or_else(|_| Err("the runtime answers slowly".to_owned())) {
            Ok(verdicts) => verdicts.into(),
            Err(why) => [NAMESPACES, PORTS]
                .map(|signal| Verdict::unclear(signal, why.clone()))
                .into(),
        }
    }
}

/// Since when something has been seen. Pure.
#[derive(Debug, Default)]
struct Ages(BTreeMap<String, Instant>);

impl Ages {
    /// Those of `names` that have been there for [`AGE`]; the others are forgotten.
    fn old(&mut self, names: BTreeSet<String>, now: Instant) -> Vec<String> {
        self.0.retain(|name, _| names.contains(name));
        for name in names.into_iter().take(MEMORY_LIMIT) {
            self.0.entry(name).or_insert(now);
        }
        let is_old = |since: &Instant| now.saturating_duration_since(*since) >= AGE;
        let old = self.0.iter().filter(|(_, since)| is_old(since));
        old.map(|(name, _)| name.clone()).collect()
    }
}

/// The namespaces that runtimes have made: a folder in memory.
fn list(root: &Path) -> io::Result<BTreeSet<String>> {
    let folder = rooted::resolve(root, Path::new(FOLDER))?;
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if is_runtimes(&name) {
            names.insert(name);
        }
    }
    Ok(names)
}

/// `cni-UUID` is containerd's, a UUID CRI-O's; all else is people's.
fn is_runtimes(name: &str) -> bool {
    let uuid = name.strip_prefix("cni-").unwrap_or(name);
    uuid.len() == 36
        && uuid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Ports of sandboxes that the runtime does not know, running or not.
fn stray(underlay: &Underlay, sandboxes: &[Sandbox]) -> BTreeSet<String> {
    let known: BTreeSet<_> = sandboxes.iter().map(|it| it.id.as_str()).collect();
    let ports = underlay.ports.iter();
    ports
        .filter(|(sandbox, _)| !known.contains(sandbox.as_str()))
        .map(|(_, port)| port.clone())
        .collect()
}

fn assess_namespaces(old: &[String], own: usize) -> Verdict {
    let surplus = old.len().saturating_sub(own);
    let value = format!("{} namespaces, {own} sandboxes", old.len());
    if surplus < NAMESPACES_LIMIT {
        return Verdict::good(NAMESPACES, value);
    }
    let trouble = Trouble {
        kind: "namespaces",
        message: format!("{surplus} network namespaces have no sandbox: {value}"),
        impact: "each keeps kernel memory and slows every change of the node's links; thousands of them stop Pods from starting"
            .to_owned(),
        advice: "crictl pods lists the sandboxes; for N in /run/netns: ip netns pids N (nothing: nobody is in it), then ip netns delete N. A \
                 runtime that leaves them behind at each Pod: its log, and its upgrade"
            .to_owned(),
    };
    Verdict::bad(NAMESPACES, value, trouble)
}

fn assess_ports(old: &[String], veths: usize, sandboxes: usize) -> Verdict {
    let value = format!(
        "{veths} veths, {sandboxes} sandboxes, {} stray ports",
        old.len()
    );
    let trouble = |kind, message| {
        Trouble {
        kind,
        message,
        impact: "a port that is left behind keeps its Pod's address from answering elsewhere on this node, and each slows every change of the \
                 node's links"
            .to_owned(),
        advice: "ip -d link shows each with whose it was (alias); berth GC, or ip link delete PORT for one whose sandbox crictl pods does not \
                 list, removes it; then berth-ipamd fsck"
            .to_owned(),
    }
    };
    if !old.is_empty() {
        let told = old[..old.len().min(NAMES_TOLD)].join(", ");
        let message = format!(
            "{} ports are of sandboxes that the runtime does not know: {told}",
            old.len()
        );
        return Verdict::bad(PORTS, value, trouble("ports", message));
    }
    if veths > VETHS_EACH * sandboxes + VETHS_MORE {
        let message = format!("{veths} veths are on the node, for {sandboxes} sandboxes");
        return Verdict::bad(PORTS, value, trouble("veths", message));
    }
    Verdict::good(PORTS, value)
}

#[cfg(test)]
mod tests;
