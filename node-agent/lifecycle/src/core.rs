//! One leader's term of deciding: what it has seen so far, and the step.

mod admit;
mod advance;
mod assess;
mod budget;
mod causes;
mod chain;
mod confirm;
mod desk;
mod gates;
mod marks;
mod memory;
mod pace;
mod pods;
mod racks;
mod rounds;
mod view;
mod votes;

use std::collections::{BTreeMap, BTreeSet};

use proto_ids::{NodeName, RackName};

use self::chain::Draft;
use self::desk::Desk;
use self::memory::Memory;
use crate::action::Order;
use crate::beside::Beside;
use crate::breaker::Cause;
use crate::config::Config;
use crate::decision::{Budget, Change, Decision, Hash, Hold, Outcome, Subject};
use crate::moment::Moment;
use crate::observation::{Class, Observations};
use crate::phase::Phase;
use crate::verdict::Verdict;

pub use self::confirm::Refusal;
#[cfg(test)]
pub(crate) use self::pods::is_soft;

/// What comes of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// To be written down, before anything is done.
    pub decisions: Vec<Decision>,
    /// To be done, one after the other, each after [`Core::confirm`].
    pub orders: Vec<Order>,
    /// Orders about these nodes that are not carried out yet are to be dropped: the node is back.
    pub cancelled: Vec<NodeName>,
    /// The Leases of these nodes are to be read from the API server itself, and `kubelet_lease_read` set. Until then they are not stale.
    pub reread: Vec<NodeName>,
}

/// A rack that is dark.
#[derive(Clone, Debug)]
struct DarkRack {
    since: Moment,
    is_admitted: bool,
    /// What held it: each said once.
    held: BTreeSet<Hold>,
}

/// One leader's term of deciding.
#[derive(Clone, Debug)]
pub struct Core {
    nodes: BTreeMap<NodeName, Memory>,
    dark: BTreeMap<RackName, DarkRack>,
    desk: Desk,
}

impl Core {
    /// At the start of a term: nothing is known, every age starts now. `previous` is the hash of the last record there is.
    pub fn new(config: Config, term: u64, now: Moment, previous: Hash) -> Self {
        Self {
            nodes: BTreeMap::new(),
            dark: BTreeMap::new(),
            desk: Desk::new(config, term, now, previous),
        }
    }

    /// Looks at everything, and decides.
    pub fn step(&mut self, now: Moment, seen: &Observations) -> Step {
        let mut step = Step::default();
        self.look(now, seen, &mut step);
        self.begin(now, seen, &mut step);
        let view = self.view(now, seen);
        self.break_or_close(&view, &mut step);
        self.judge(&view, &mut step);
        let usage = self.admit(&view, &mut step);
        self.work(&view, usage, &mut step);
        step
    }

    /// Writes down what became of an order. None where there was no such decision in this term. For a Pod that could not be ended no
    /// other one waits.
    pub fn outcome(&mut self, now: Moment, order: &Order, outcome: Outcome) -> Option<Decision> {
        if let (Outcome::Failed(_), Some(target)) = (&outcome, order.action.target())
            && let Some(memory) = self.nodes.get_mut(order.action.node())
            && let Some(last) = &mut memory.last_end
            && last.pod == target.uid
        {
            last.is_void = true;
        }
        let of = order.decision;
        let is_ours = of.term == self.desk.chain.term
            && of.sequence >= 1
            && of.sequence <= self.desk.chain.last();
        let draft = Draft {
            subject: Subject::Node(order.action.node().clone()),
            change: Change::Outcome {
                of,
                action: order.action.clone(),
            },
            evidence: Vec::new(),
            budget: Budget::default(),
            breakers: Vec::new(),
            outcome,
        };
        is_ours.then(|| self.desk.chain.append(now, draft))
    }

    /// From the next step on this is the configuration. What is known of nodes stays, and so do the ages.
    pub fn configure(&mut self, config: Config) {
        if self.desk.config != config {
            self.desk.configure(config);
        }
    }

    /// The hash of the configuration, as decisions name it.
    pub const fn policy(&self) -> Hash {
        self.desk.chain.policy()
    }

    /// The nodes whose Pods are to be seen: lost ones, and those that are emptied or are about to be. Where they are not
    /// (no entry in [`Observations::pods`]), nothing is done about the node.
    pub fn wants_pods(&self) -> impl Iterator<Item = &NodeName> {
        let wanted = self.nodes.iter().filter(|(_, memory)| {
            let drains = memory.verdict.asks_for(Class::Drain);
            memory.phase.is_lost() || memory.phase == Phase::Draining || drains
        });
        wanted.map(|(name, _)| name)
    }

    /// All nodes: what each is, and where it is in its life.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeName, Verdict, Phase)> {
        let nodes = self.nodes.iter();
        nodes.map(|(name, memory)| (name, memory.verdict, memory.phase))
    }

    /// The breakers that are open.
    pub fn breakers(&self) -> Vec<Cause> {
        self.desk.gates.open()
    }

    /// What a node is, and where it is in its life.
    pub fn node(&self, name: &NodeName) -> Option<(Verdict, Phase)> {
        self.nodes
            .get(name)
            .map(|memory| (memory.verdict, memory.phase))
    }

    /// Writes down that the term began, once.
    fn begin(&mut self, now: Moment, seen: &Observations, step: &mut Step) {
        if self.desk.chain.last() > 0 {
            return;
        }
        let nodes = seen.nodes.len();
        let change = Change::TermBegan { nodes };
        let record = self
            .desk
            .record(now, Subject::Cluster, change, Vec::new(), Outcome::Recorded);
        step.decisions.push(record);
    }

    /// Takes in what is seen of each node; forgets those that are not there any more.
    fn look(&mut self, now: Moment, seen: &Observations, step: &mut Step) {
        let mut known = Beside::walk(&seen.nodes);
        self.nodes
            .retain(|name, _| known.at(name.as_str()).is_some());
        if self.nodes.len() < seen.nodes.len() {
            for (name, node) in &seen.nodes {
                if !self.nodes.contains_key(name) {
                    self.nodes.insert(name.clone(), Memory::new(node, now));
                }
            }
        }
        let mut memories = Beside::walk(&mut self.nodes);
        for (name, node) in &seen.nodes {
            if let Some(memory) = memories.at(name.as_str())
                && memory.look(node, now, &self.desk.config)
            {
                step.reread.push(name.clone());
            }
        }
    }
}
