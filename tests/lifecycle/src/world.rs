//! The cluster as it is: nodes, their kubelets and agents, the API server's objects of them, Pods. One step is one second.
//!
//! Rules act on it by [`World::delete`], [`World::release`] and the like, each of which counts itself. Both rules get the same
//! world of the same seed; what one draws at random never changes what the other finds.

use crate::Seconds;
use crate::measure::Measure;
use crate::network::{Network, Place};
use crate::probes::{Agent, Lie, Probes};
use crate::random::Random;
use crate::workload::{Owner, PodId, State, Workload};

/// Kubelet renews its lease, and looks at its status and its Pods' so often.
const KUBELET_PERIOD: Seconds = 10;
/// Kubelet posts its status without a change so often.
const STATUS_PERIOD: Seconds = 300;
/// The agent renews its own lease after so long at most, and a quarter less at least.
const AGENT_PERIOD: (Seconds, Seconds) = (23, 30);
/// From bound to ready, with the image there.
const START: (Seconds, Seconds) = (2, 5);
/// From power to ready Pods.
const BOOT: (Seconds, Seconds) = (40, 60);
/// So many Pods of a node have a place of their own: one in fifteen.
const PLACED_OF: usize = 15;

/// How large a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Racks.
    pub racks: usize,
    /// Nodes of each.
    pub nodes: usize,
    /// Pods of each node.
    pub pods: usize,
    /// Zones (data centres); the racks are dealt out in a row.
    pub zones: usize,
}

impl Size {
    /// All nodes.
    pub const fn all_nodes(self) -> usize {
        self.racks * self.nodes
    }
}

/// A node's Ready condition at the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Kubelet says so.
    True,
    /// A controller says that nobody knows.
    Unknown,
}

/// A node, as it is and as the API server has it.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that are independent of each other"
)]
pub struct Node {
    /// It has power.
    pub has_power: bool,
    /// Its kubelet works.
    pub has_kubelet: bool,
    /// By how much its clock is ahead.
    pub clock_ahead: i64,
    /// What its agent finds.
    pub finding: Option<u16>,
    /// What its agent says instead of what it sees.
    pub lie: Option<Lie>,
    /// Its management controller says that it is off; whether it is right, it does not know.
    pub is_said_off: bool,
    /// Its lease: counts up with each renewal.
    pub lease: u64,
    /// Its lease's time of renewal, by its own clock.
    pub renewed: i64,
    /// Its agent's lease: counts up with each renewal.
    pub agent_lease: u64,
    /// Its Ready condition's heartbeat: counts up with each post.
    pub heartbeat: u64,
    /// Its Ready condition.
    pub ready: Ready,
    /// It may not get new Pods: the rule's own taint.
    pub is_cordoned: bool,
    /// Its Pods are called unready; kubelet says otherwise as soon as it can.
    pub is_unready: bool,
    /// Its Pods are out of their services, until the rule puts them back.
    pub is_withdrawn: bool,
    /// Its claims carry the fenced mark.
    pub is_fenced: bool,
    /// Counts up with every change of its Pods.
    pub changes: u64,
    /// Its Pods that are not gone.
    pub pods: Vec<PodId>,
    starting: Vec<PodId>,
    deleting: Vec<PodId>,
    phase: Seconds,
    posts: Seconds,
    agent_renews: Seconds,
    boots: Option<Seconds>,
}

/// What a watch has of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The lease.
    pub lease: u64,
    /// Its time of renewal.
    pub renewed: i64,
    /// The agent's lease.
    pub agent_lease: u64,
    /// The heartbeat.
    pub heartbeat: u64,
}

/// The cluster.
#[derive(Clone, Debug)]
pub struct World {
    /// How large.
    pub size: Size,
    /// The second.
    pub now: Seconds,
    /// Who can reach whom.
    pub network: Network,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// What watches have of them.
    pub seen: Vec<Seen>,
    /// When the watches were last up to date.
    pub watched: Seconds,
    /// The watches stand still.
    pub is_watch_stale: bool,
    /// People have frozen everything.
    pub is_frozen: bool,
    /// The Pods.
    pub workload: Workload,
    /// What agents see and say.
    pub probes: Probes,
    /// The counters.
    pub measure: Measure,
    /// Agents are asked by somebody: without, their work is not simulated.
    has_agents: bool,
    agents: Vec<Agent>,
    /// What happens anyway, whatever a rule does.
    nature: Random,
    /// Where Pods are put, and how long they start.
    fate: Random,
}

impl World {
    /// A healthy cluster.
    pub fn new(size: Size, seed: u64, has_agents: bool) -> Self {
        let mut nature = Random::new(seed);
        let places = (0..size.all_nodes()).map(|node| {
            let rack = node / size.nodes;
            Place {
                rack,
                zone: rack * size.zones / size.racks,
            }
        });
        let network = Network::new(places.collect());
        let nodes: Vec<Node> = (0..size.all_nodes()).map(|_| node(&mut nature)).collect();
        let mut world = Self {
            size,
            now: 0,
            seen: nodes.iter().map(Node::seen).collect(),
            watched: 0,
            is_watch_stale: false,
            is_frozen: false,
            workload: Workload::default(),
            probes: Probes::new(&network, size.racks, size.nodes, &mut nature),
            measure: Measure::default(),
            has_agents,
            agents: vec![Agent::default(); nodes.len()],
            fate: Random::new(nature.bits()),
            nature,
            network,
            nodes,
        };
        world.fill();
        world
    }

    /// An application's Pods stand on as many nodes, spread over the racks.
    fn fill(&mut self) {
        let nodes = self.size.all_nodes();
        for slot in 0..self.size.pods {
            for place in 0..nodes {
                // Rack by rack, so that a run of the same application spans racks.
                let node = place % self.size.racks * self.size.nodes + place / self.size.racks;
                let app = (slot * nodes + place) / crate::REPLICAS;
                let owner = match slot % PLACED_OF {
                    0 => Owner::Placed,
                    odd if odd % 2 == 1 => Owner::ReplicaSet,
                    _ => Owner::InPlaceSet,
                };
                let id = self.workload.found(owner, app, node);
                self.nodes[node].pods.push(id);
            }
        }
    }

    /// One second passes.
    pub fn step(&mut self) {
        self.now += 1;
        for node in 0..self.nodes.len() {
            self.boot(node);
            self.kubelet(node);
        }
        if self.has_agents {
            self.agents();
        }
        if !self.is_watch_stale {
            for (seen, node) in self.seen.iter_mut().zip(&self.nodes) {
                *seen = node.seen();
            }
            self.watched = self.now;
        }
        self.schedule();
    }

    fn boot(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        if node.has_power && node.boots.is_some_and(|at| at <= now) {
            node.boots = None;
            node.has_kubelet = true;
            let dead = node.pods.clone();
            for id in dead {
                self.workload.revive(id, now);
                self.nodes[index].starting.push(id);
            }
            self.nodes[index].changes += 1;
        }
    }

    fn kubelet(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        if !node.has_power || !node.has_kubelet {
            return;
        }
        let has_api = self.network.has_api(index);
        if has_api {
            if now % KUBELET_PERIOD == node.phase {
                node.lease += 1;
                node.renewed = i64::from(now) + node.clock_ahead;
                if node.ready != Ready::True || now >= node.posts {
                    node.ready = Ready::True;
                    node.heartbeat += 1;
                    node.posts = now + STATUS_PERIOD;
                }
                node.is_unready = false;
            }
            if !node.deleting.is_empty() {
                self.end_deleted(index);
            }
        }
        if has_api && !self.nodes[index].starting.is_empty() {
            let starting = std::mem::take(&mut self.nodes[index].starting);
            let (workload, measure) = (&mut self.workload, &mut self.measure);
            let left = starting
                .into_iter()
                .filter(|&id| workload.advance(id, now, measure));
            self.nodes[index].starting = left.collect();
            self.nodes[index].changes += 1;
        }
    }

    /// Kubelet ends everything that has a deletion timestamp, all at once, as it does.
    fn end_deleted(&mut self, index: usize) {
        for id in std::mem::take(&mut self.nodes[index].deleting) {
            if self.workload.end(id, self.now) {
                self.measure.kill(index, self.now);
            }
        }
        let workload = &self.workload;
        let node = &mut self.nodes[index];
        node.pods
            .retain(|&id| workload.pod(id).state != State::Gone);
        node.changes += 1;
    }

    fn agents(&mut self) {
        let now = self.now;
        for (index, node) in self.nodes.iter_mut().enumerate() {
            self.agents[index] = Agent {
                runs: node.has_power && node.boots.is_none(),
                finding: node.finding,
                is_kubelet_bad: !node.has_kubelet,
                lie: node.lie,
            };
            if self.agents[index].runs && now >= node.agent_renews && self.network.has_api(index) {
                node.agent_lease += 1;
                node.agent_renews = now + self.nature.seconds(AGENT_PERIOD.0, AGENT_PERIOD.1);
            }
        }
        self.probes
            .step(now, &self.network, &self.agents, &mut self.nature);
    }

    /// The scheduler binds to nodes that are Ready and without a taint.
    fn schedule(&mut self) {
        let (now, count) = (self.now, self.nodes.len());
        let (nodes, fate) = (&self.nodes, &mut self.fate);
        let bound = self.workload.bind(|| {
            let node = (0..64)
                .map(|_| fate.below(count))
                .find(|&node| nodes[node].ready == Ready::True && !nodes[node].is_cordoned)?;
            Some((node, now + fate.seconds(START.0, START.1)))
        });
        for id in bound {
            let node = self.workload.pod(id).node;
            self.nodes[node].pods.push(id);
            self.nodes[node].starting.push(id);
            self.nodes[node].changes += 1;
        }
    }

    /// Evicts a Pod by the Eviction API, on a node whose kubelet is there; false where it was deleted.
    pub fn evict(&mut self, id: PodId) -> bool {
        let is_done = self.mark_deleted(id);
        self.measure.counts().evicted += u64::from(is_done);
        is_done
    }

    /// A released Pod counts again; its owner ends the one too many. False where it is not released, or deleted.
    pub fn readopt(&mut self, id: PodId) -> bool {
        let was_released = self.workload.pod(id).is_released;
        let too_many = self.workload.readopt(id);
        self.nodes[self.workload.pod(id).node].changes += 1;
        if let Some(too_many) = too_many {
            self.delete(too_many);
        }
        was_released && !self.workload.pod(id).is_released
    }

    /// Deletes a Pod's object, as anybody may; false where it was deleted.
    pub fn delete(&mut self, id: PodId) -> bool {
        let pod = *self.workload.pod(id);
        let is_live = pod.state == State::Running;
        let has_twin = self.workload.has_twin(id);
        if !self.mark_deleted(id) {
            return false;
        }
        if is_live && has_twin {
            self.measure.counts().superseded_deleted += 1;
        } else if is_live {
            let is_back = self.network.has_api(pod.node) && self.nodes[pod.node].has_kubelet;
            let counts = self.measure.counts();
            counts.live_deleted += 1;
            counts.deleted_after_return += u64::from(is_back);
        }
        true
    }

    fn mark_deleted(&mut self, id: PodId) -> bool {
        let is_done = self.workload.delete(id, self.now);
        let pod = self.workload.pod(id);
        if is_done && pod.state != State::Waiting {
            self.nodes[pod.node].deleting.push(id);
            self.nodes[pod.node].changes += 1;
        }
        is_done
    }

    /// Lets a Pod's owner make another, without deleting it; false where that was done, or it is deleted.
    pub fn release(&mut self, id: PodId) -> bool {
        let pod = *self.workload.pod(id);
        if !self.workload.release(id, self.now) {
            return false;
        }
        self.nodes[pod.node].changes += 1;
        if pod.state == State::Running {
            let counts = self.measure.counts();
            counts.live_soft_evicted += 1;
            counts.placed_soft_evicted += u64::from(pod.owner == Owner::Placed);
        }
        true
    }

    /// Calls all Pods of a node unready; how many objects are written.
    pub fn unready(&mut self, index: usize) -> usize {
        if std::mem::replace(&mut self.nodes[index].is_unready, true) {
            return 0;
        }
        let running = self.running(index);
        self.measure.counts().live_unready += running as u64;
        self.nodes[index].pods.len()
    }

    /// Takes all Pods of a node out of their services, or puts them back.
    pub fn set_withdrawn(&mut self, index: usize, withdrawn: bool) {
        let was = std::mem::replace(&mut self.nodes[index].is_withdrawn, withdrawn);
        self.nodes[index].changes += 1;
        if withdrawn && !was {
            let running = self.running(index);
            self.measure.counts().live_unready += running as u64;
        }
    }

    /// How many processes run there.
    pub fn running(&self, index: usize) -> usize {
        let pods = self.nodes[index].pods.iter();
        pods.filter(|&&id| self.workload.pod(id).state == State::Running)
            .count()
    }

    /// Takes the power, or gives it back; then it boots.
    pub fn set_power(&mut self, index: usize, on: bool) {
        let node = &mut self.nodes[index];
        if node.has_power == on {
            return;
        }
        node.has_power = on;
        node.changes += 1;
        if on {
            node.boots = Some(self.now + self.nature.seconds(BOOT.0, BOOT.1));
            return;
        }
        node.has_kubelet = false;
        node.starting.clear();
        for id in node.pods.clone() {
            self.workload.lose(id, self.now, &mut self.measure);
        }
    }
}

impl Node {
    const fn seen(&self) -> Seen {
        Seen {
            lease: self.lease,
            renewed: self.renewed,
            agent_lease: self.agent_lease,
            heartbeat: self.heartbeat,
        }
    }
}

fn node(nature: &mut Random) -> Node {
    Node {
        has_power: true,
        has_kubelet: true,
        clock_ahead: 0,
        finding: None,
        lie: None,
        is_said_off: false,
        lease: 1,
        renewed: 0,
        agent_lease: 1,
        heartbeat: 1,
        ready: Ready::True,
        is_cordoned: false,
        is_unready: false,
        is_withdrawn: false,
        is_fenced: false,
        changes: 1,
        pods: Vec::new(),
        starting: Vec::new(),
        deleting: Vec::new(),
        phase: nature.seconds(0, KUBELET_PERIOD - 1),
        posts: nature.seconds(1, STATUS_PERIOD),
        agent_renews: nature.seconds(0, AGENT_PERIOD.1),
        boots: None,
    }
}

#[cfg(test)]
mod tests;
