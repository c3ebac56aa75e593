//! A small world for the tests: racks of nodes with kubelets, agents and Pods, second by second, whose caller carries out what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto_ids::NodeName;

use crate::core::Step;
use crate::decision::{Decision, Hash, Outcome};
use crate::freeze::Freezes;
use crate::observation::{
    AddressPolicy, AppName, AppObservation, ControllerHealth, NodeObservation, Observations, Owner,
    PodObservation, Replacement, ReplacementState, Report, Sight, SightState, Standing, Version,
    ZoneName,
};
use crate::{Action, Config, Core, Moment, Order, PodTarget};

mod drains;
mod properties;
mod records;
mod stories;

/// How a node is in truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    /// All works.
    Up,
    /// Off: nothing runs.
    Off,
    /// Everything runs, and nobody can be reached.
    NoNetwork,
    /// Everything runs, peers can be reached, the API server cannot.
    NoApi,
    /// All works but kubelet; its agent says so.
    KubeletHung,
}

/// The world, and what is made of it.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) truth: BTreeMap<NodeName, Truth>,
    pub(crate) seen: Observations,
    pub(crate) core: Core,
    pub(crate) decisions: Vec<Decision>,
    /// What was carried out, when, with what was true of the node then.
    pub(crate) done: Vec<(u64, Truth, Order)>,
    /// What was ordered, when.
    pub(crate) ordered: Vec<(u64, Order)>,
    /// What each step gave, when.
    pub(crate) steps: Vec<(u64, Step)>,
    /// These call every peer alive.
    pub(crate) liars: BTreeSet<NodeName>,
    /// The API server ends none of these Pods, as where a disruption budget allows no eviction.
    pub(crate) kept: BTreeSet<String>,
    /// What became of such an order is not heard.
    pub(crate) is_unheard: bool,
    /// These replacements never become ready.
    pub(crate) replacements_fail: bool,
    peers: BTreeMap<NodeName, Vec<NodeName>>,
    ending: BTreeMap<String, u64>,
    replaced: BTreeMap<String, u64>,
    reported: BTreeMap<NodeName, u64>,
}

pub(crate) fn at(second: u64) -> Moment {
    Moment::after_start(Duration::from_secs(second))
}

pub(crate) fn name(rack: usize, node: usize) -> NodeName {
    format!("r{rack:02}-n{node:03}").parse().unwrap()
}

fn version(text: &str) -> Version {
    Version::new(text)
}

fn pod(node: &NodeName, index: usize) -> PodObservation {
    // Of five Pods one is a StatefulSet's, one keeps its address.
    let (owner, address) = match index % 5 {
        3 => (Owner::StatefulSet, AddressPolicy::Keep),
        4 => (Owner::InPlaceSet, AddressPolicy::Keep),
        0 => (Owner::InPlaceSet, AddressPolicy::New),
        _ => (Owner::ReplicaSet, AddressPolicy::New),
    };
    PodObservation {
        pod: format!("bank/{node}-p{index}").parse().unwrap(),
        uid: format!("uid-{node}-{index}").parse().unwrap(),
        version: version("1"),
        app: Some(AppName::new(&format!("bank/app{}", index % 5))),
        owner,
        address,
        created_seconds: i64::try_from(index).unwrap(),
        ready: true,
        terminating: false,
        soft_evicted: false,
        replacement: None,
    }
}

fn node(rack: usize, zone: usize) -> NodeObservation {
    NodeObservation {
        rack: format!("r{rack:02}").parse().unwrap(),
        zone: ZoneName::new(&format!("z{zone}")),
        kubelet_lease: None,
        kubelet_lease_read: None,
        agent_lease: None,
        report: Some(Report {
            version: version("0"),
            ttl: Duration::from_secs(900),
            vote: Standing::Given,
            sights: Vec::new(),
            findings: Vec::new(),
            kubelet_failing: false,
            under_pressure: false,
        }),
        fence: None,
        cordoned: false,
        endpoints_withdrawn: false,
        fence_marked: false,
        maintenance: false,
    }
}

/// Five applications of equal shares, half of which must be ready.
fn apps(pods: usize) -> BTreeMap<AppName, AppObservation> {
    let replicas = u32::try_from(pods / 5).unwrap_or(1).max(1);
    let observed = AppObservation {
        replicas,
        ready: replicas,
        min_ready: replicas / 2,
    };
    (0..5)
        .map(|app| (AppName::new(&format!("bank/app{app}")), observed.clone()))
        .collect()
}

impl World {
    /// So many racks in so many zones, of so many nodes with so many Pods each.
    pub(crate) fn new(
        config: Config,
        (racks, zones): (usize, usize),
        per_rack: usize,
        pods: usize,
    ) -> Self {
        let mut world = Self {
            now: 0,
            truth: BTreeMap::new(),
            seen: Observations {
                controller: ControllerHealth {
                    term: Some(7),
                    watch_lag: Duration::ZERO,
                    lease_write_p99: Duration::ZERO,
                },
                freezes: Freezes::none(),
                week: None,
                nodes: BTreeMap::new(),
                pods: BTreeMap::new(),
                apps: BTreeMap::new(),
                replacements: Vec::new(),
            },
            core: Core::new(config, 7, at(0), Hash::default()),
            decisions: Vec::new(),
            done: Vec::new(),
            ordered: Vec::new(),
            steps: Vec::new(),
            liars: BTreeSet::new(),
            kept: BTreeSet::new(),
            is_unheard: false,
            replacements_fail: false,
            peers: BTreeMap::new(),
            ending: BTreeMap::new(),
            replaced: BTreeMap::new(),
            reported: BTreeMap::new(),
        };
        for rack in 0..racks {
            for index in 0..per_rack {
                let name = name(rack, index);
                world.truth.insert(name.clone(), Truth::Up);
                world
                    .seen
                    .nodes
                    .insert(name.clone(), node(rack, rack % zones));
                let own = (0..pods).map(|index| pod(&name, index)).collect();
                world.seen.pods.insert(name.clone(), own);
                let near = (1..4).map(|step| self::name(rack, (index + step) % per_rack));
                let far = (1..4).map(|step| self::name((rack + step) % racks, index));
                let peers = near
                    .chain(far)
                    .filter(|peer| *peer != name)
                    .collect::<BTreeSet<_>>();
                world.peers.insert(name, peers.into_iter().collect());
            }
        }
        world.seen.apps = apps(racks * per_rack * pods);
        world
    }

    pub(crate) fn set(&mut self, name: &NodeName, truth: Truth) {
        self.truth.insert(name.clone(), truth);
    }

    pub(crate) fn rack(&mut self, rack: usize, truth: Truth) {
        let prefix = format!("r{rack:02}-");
        for (name, of) in &mut self.truth {
            if name.as_str().starts_with(&prefix) {
                *of = truth;
            }
        }
    }

    /// Lets so many seconds pass.
    pub(crate) fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second();
        }
    }

    fn second(&mut self) {
        self.now += 1;
        self.heartbeats();
        self.sights();
        self.pods_live();
        let step = self.core.step(at(self.now), &self.seen);
        for name in &step.reread {
            if let Some(node) = self.seen.nodes.get_mut(name) {
                node.kubelet_lease_read = Some(at(self.now));
            }
        }
        self.decisions.extend(step.decisions.clone());
        for order in &step.orders {
            self.ordered.push((self.now, order.clone()));
            if self.is_refused(&order.action) {
                if self.is_unheard {
                    continue;
                }
                let outcome = Outcome::Failed("refused".to_owned());
                let record = self.core.outcome(at(self.now), order, outcome);
                self.decisions.extend(record);
                continue;
            }
            if self.core.confirm(at(self.now), &self.seen, order).is_ok() {
                let truth = self.truth[order.action.node()];
                self.done.push((self.now, truth, order.clone()));
                self.carry_out(&order.action);
            }
        }
        self.steps.push((self.now, step));
    }

    fn is_refused(&self, action: &Action) -> bool {
        let target = action.target().filter(|_| action.ends_pod());
        target.is_some_and(|target| self.kept.contains(target.uid.as_str()))
    }

    fn heartbeats(&mut self) {
        for (index, (name, truth)) in self.truth.iter().enumerate() {
            let node = self.seen.nodes.get_mut(name).unwrap();
            let phase = self.now + index as u64;
            let writes = matches!(truth, Truth::Up | Truth::KubeletHung);
            if *truth == Truth::Up && phase.is_multiple_of(10) {
                node.kubelet_lease = Some(version(&format!("k{}", self.now)));
            }
            if writes && phase.is_multiple_of(30) {
                node.agent_lease = Some(version(&format!("a{}", self.now)));
            }
        }
    }

    fn sights(&mut self) {
        for (observer, peers) in &self.peers {
            let truth = self.truth[observer];
            let node = self.seen.nodes.get_mut(observer).unwrap();
            let report = node.report.as_mut().unwrap();
            if !matches!(truth, Truth::Up | Truth::KubeletHung) {
                continue;
            }
            let sights: Vec<Sight> = peers
                .iter()
                .map(|peer| Sight {
                    target: peer.clone(),
                    state: match self.truth[peer] {
                        _ if self.liars.contains(observer) => SightState::Alive,
                        Truth::Off | Truth::NoNetwork => SightState::Dead,
                        Truth::Up | Truth::NoApi | Truth::KubeletHung => SightState::Alive,
                    },
                })
                .collect();
            let kubelet_failing = truth == Truth::KubeletHung;
            if report.sights != sights || report.kubelet_failing != kubelet_failing {
                report.sights = sights;
                report.kubelet_failing = kubelet_failing;
                report.version = version(&format!("h{}", self.now));
            }
            // Again every ten minutes, and at once when it could not for longer.
            let last = self.reported.entry(observer.clone()).or_default();
            if self.now - *last >= 600 {
                report.version = version(&format!("h{}", self.now));
                *last = self.now;
            }
        }
    }

    fn pods_live(&mut self) {
        let (now, fails) = (self.now, self.replacements_fail);
        for replacement in &mut self.seen.replacements {
            let since = self.replaced[replacement.original.as_str()];
            if now - since >= 10 {
                replacement.state = if fails {
                    ReplacementState::Failed
                } else {
                    ReplacementState::Ready
                };
            }
        }
        for (name, pods) in &mut self.seen.pods {
            for pod in pods
                .iter_mut()
                .filter(|pod| pod.soft_evicted || pod.replacement.is_some())
            {
                let replacement = self
                    .seen
                    .replacements
                    .iter()
                    .find(|one| one.original == pod.uid);
                pod.replacement = replacement
                    .filter(|_| pod.soft_evicted)
                    .map(|one| one.state);
            }
            if self.truth[name] != Truth::Off {
                pods.retain(|pod| {
                    let since = self.ending.get(pod.uid.as_str());
                    since.is_none_or(|since| now - since < 2)
                });
            }
        }
    }

    fn carry_out(&mut self, action: &Action) {
        let node = self.seen.nodes.get_mut(action.node()).unwrap();
        match action {
            Action::Cordon { .. } => node.cordoned = true,
            Action::Uncordon { .. } => node.cordoned = false,
            Action::WithdrawEndpoints { .. } => node.endpoints_withdrawn = true,
            Action::RestoreEndpoints { .. } => node.endpoints_withdrawn = false,
            Action::Fence { .. } => node.fence_marked = true,
            Action::LiftFence { .. } => node.fence_marked = false,
            Action::RestartKubelet { .. } => {}
            Action::SoftEvict { target, .. } => {
                let (now, rack) = (self.now, name(0, 0));
                let rack = self.seen.nodes[&rack].rack.clone();
                let pod = self.pod(action.node(), target);
                pod.soft_evicted = true;
                let app = pod.app.clone();
                self.replaced.insert(target.uid.to_string(), now);
                self.seen.replacements.push(Replacement {
                    original: target.uid.clone(),
                    app,
                    rack: Some(rack),
                    state: ReplacementState::Starting,
                });
            }
            Action::Readopt { target, .. } => self.pod(action.node(), target).soft_evicted = false,
            Action::Evict { target, .. }
            | Action::EndSuperseded { target, .. }
            | Action::HardDelete { target, .. } => {
                let now = self.now;
                self.pod(action.node(), target).terminating = true;
                self.ending.insert(target.uid.to_string(), now);
            }
        }
    }

    fn pod(&mut self, node: &NodeName, target: &PodTarget) -> &mut PodObservation {
        let pods = self.seen.pods.get_mut(node).unwrap();
        pods.iter_mut().find(|pod| pod.uid == target.uid).unwrap()
    }

    /// Each node looks at all others, as in a small cluster.
    pub(crate) fn look_at_all(&mut self) {
        let all: Vec<NodeName> = self.truth.keys().cloned().collect();
        let of = |name: &NodeName| all.iter().filter(|peer| *peer != name).cloned().collect();
        self.peers = all.iter().map(|name| (name.clone(), of(name))).collect();
    }

    /// How often something like this was carried out on a node.
    pub(crate) fn count(&self, node: &NodeName, is: impl Fn(&Action) -> bool) -> usize {
        let of = self
            .done
            .iter()
            .filter(|(_, _, order)| order.action.node() == node);
        of.filter(|(_, _, order)| is(&order.action)).count()
    }
}
