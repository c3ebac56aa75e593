//! What the controller sees of nodes, kept up to date from the watches and from what agents report.

use std::collections::BTreeMap;
use std::time::Duration;

use node_agent_lifecycle::Observations;
use node_agent_lifecycle::freeze::{Freeze, Freezes, Scope};
use node_agent_lifecycle::observation::{
    AppName, Class, ControllerHealth, FenceKind, FenceProof, Finding, NodeObservation, Report,
    RuleName, Sight, SightState, Standing, Version, ZoneName,
};
use proto_ids::{NodeName, ParseNameError, RackName};

use crate::Seconds;
use crate::berth::moment;
use crate::berth::pods::PodView;
use crate::probes;
use crate::world::World;

/// For how long a report holds (`NodeHealth`'s `expiryTime`).
const REPORT_TTL: Duration = Duration::from_secs(12 * 60);
/// A lease so old makes a node's Pods worth looking at.
const WORRY: Seconds = 15;

/// What the controller sees.
#[derive(Debug)]
pub(super) struct View {
    pub(super) seen: Observations,
    names: Vec<NodeName>,
    numbers: BTreeMap<NodeName, usize>,
    /// By node: what of it was copied last.
    copied: Vec<Copied>,
    pub(super) pods: PodView,
}

/// What of a node was copied last.
#[derive(Clone, Copy, Debug, Default)]
struct Copied {
    lease: u64,
    lease_at: Seconds,
    agent_lease: u64,
    report: u64,
}

impl View {
    /// A new leader's: everything is listed anew.
    pub(super) fn new(world: &World, term: u64) -> Result<Self, ParseNameError> {
        let count = world.nodes.len();
        let names: Vec<NodeName> = (0..count)
            // As many digits as make them sort as their numbers do.
            .map(|node| format!("node-{node:06}").parse())
            .collect::<Result<_, _>>()?;
        let mut nodes = BTreeMap::new();
        for (node, name) in names.iter().enumerate() {
            let place = world.network.place(node);
            let rack: RackName = format!("rack-{:04}", place.rack).parse()?;
            let zone = ZoneName::new(&format!("zone-{}", place.zone));
            nodes.insert(name.clone(), unknown(rack, zone));
        }
        let numbers = names.iter().cloned().zip(0..).collect();
        Ok(Self {
            seen: Observations {
                controller: ControllerHealth {
                    term: Some(term),
                    watch_lag: Duration::ZERO,
                    lease_write_p99: Duration::from_millis(50),
                },
                freezes: Freezes::none(),
                week: None,
                nodes,
                pods: BTreeMap::new(),
                apps: BTreeMap::<AppName, _>::new(),
                replacements: Vec::new(),
            },
            pods: PodView::new(count),
            copied: vec![Copied::default(); count],
            names,
            numbers,
        })
    }

    /// A node's number.
    pub(super) fn number(&self, name: &NodeName) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// Takes over what has changed.
    pub(super) fn refresh(&mut self, world: &World) -> Result<(), ParseNameError> {
        let lag = u64::from(world.now - world.watched);
        self.seen.controller.watch_lag = Duration::from_secs(lag);
        let freeze = || Freeze {
            name: "by-people".to_owned(),
            scope: Scope::Cluster,
        };
        let freezes = world.is_frozen.then(freeze);
        self.seen.freezes = Freezes::Known(freezes.into_iter().collect());
        for (index, node) in self.seen.nodes.values_mut().enumerate() {
            copy(&mut self.copied[index], node, index, world, &self.names);
            let age = world.now - self.copied[index].lease_at;
            if age > WORRY || world.nodes[index].finding.is_some() {
                self.pods.watch(index);
            }
        }
        self.pods.refresh(&mut self.seen, world, &self.names)
    }

    /// Reads the leases of these nodes from the API server itself.
    pub(super) fn reread(&mut self, world: &World, names: &[NodeName]) {
        for name in names {
            let Some(index) = self.number(name) else {
                continue;
            };
            if let Some(node) = self.seen.nodes.get_mut(name) {
                let lease = world.nodes[index].lease;
                take_lease(&mut self.copied[index], node, lease, world.now);
                node.kubelet_lease_read = Some(moment(world.now));
            }
        }
    }
}

fn unknown(rack: RackName, zone: ZoneName) -> NodeObservation {
    NodeObservation {
        rack,
        zone,
        kubelet_lease: None,
        kubelet_lease_read: None,
        agent_lease: None,
        report: None,
        fence: None,
        cordoned: false,
        endpoints_withdrawn: false,
        fence_marked: false,
        maintenance: false,
    }
}

fn version(number: u64) -> Version {
    Version::new(&number.to_string())
}

/// A version that was read once is never replaced by an older one of the watch's.
fn take_lease(copied: &mut Copied, node: &mut NodeObservation, lease: u64, now: Seconds) {
    if lease > copied.lease {
        copied.lease = lease;
        copied.lease_at = now;
        node.kubelet_lease = Some(version(lease));
    }
}

fn copy(
    copied: &mut Copied,
    node: &mut NodeObservation,
    index: usize,
    world: &World,
    names: &[NodeName],
) {
    let (seen, object) = (world.seen[index], &world.nodes[index]);
    take_lease(copied, node, seen.lease, world.now);
    if seen.agent_lease > copied.agent_lease {
        copied.agent_lease = seen.agent_lease;
        node.agent_lease = Some(version(seen.agent_lease));
    }
    let report = world.probes.report(index);
    if report.version > copied.report && !world.is_watch_stale {
        copied.report = report.version;
        node.report = Some(translate(report, names));
    }
    node.cordoned = object.is_cordoned;
    node.endpoints_withdrawn = object.is_withdrawn;
    node.fence_marked = object.is_fenced;
    // One that knows says so as soon as it is asked, and one that errs too.
    node.fence = object.is_said_off.then(|| FenceProof {
        kind: FenceKind::PowerOff,
        by: "bmc".to_owned(),
        version: version(1),
    });
}

fn translate(report: &probes::Report, names: &[NodeName]) -> Report {
    let sight = |sight: &probes::Sight| Sight {
        target: names[sight.target].clone(),
        state: if sight.is_alive {
            SightState::Alive
        } else {
            SightState::Dead
        },
    };
    let finding = |rule: u16| Finding {
        rule: RuleName::new(&format!("rule-{rule}")),
        class: Class::Drain,
    };
    Report {
        version: version(report.version),
        ttl: REPORT_TTL,
        vote: if report.is_given {
            Standing::Given
        } else {
            Standing::Withdrawn
        },
        sights: report.sights.iter().map(sight).collect(),
        findings: report.finding.map(finding).into_iter().collect(),
        kubelet_failing: report.is_kubelet_bad,
        under_pressure: false,
    }
}
