//! What the parts of the node lifecycle share: what is seen, the core, what is to be written and what is to be done.
//!
//! **Always holds:** an order is taken only when its decision was written; one whose decision could not be is never done; a node that is
//! back has no order left from that very step on.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use node_agent_lifecycle::decision::{Change, Decision, DecisionId, Outcome, Subject};
use node_agent_lifecycle::freeze::Freezes;
use node_agent_lifecycle::{Action, Core, Observations, Order, Step};
use proto_crd::time::Timestamp;
use proto_ids::NodeName;
use tokio::sync::Notify;

use super::object::Place;
use super::rules::Rules;
use super::scene::{Clock, nothing};

/// A decision that is to be written.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) decision: Decision,
    pub(super) place: Place,
    pub(super) time: Timestamp,
}

/// Orders that wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Taints: one write each.
    Marks,
    /// Endpoints: a write for each Pod of the node.
    Endpoints,
    /// Pods, one at a time.
    Pods,
}

/// What is shared. Locked for moments only.
pub(super) struct Desk {
    state: Mutex<State>,
    /// Something is to be written or done.
    pub(super) news: Notify,
    pub(super) clock: Clock,
}

/// What is shared.
pub(super) struct State {
    pub(super) core: Core,
    pub(super) seen: Observations,
    pub(super) rules: Rules,
    /// Freezes as they were last read, for the next step.
    pub(super) freezes: Freezes,
    /// Leases that are to be read from the API server itself.
    pub(super) reread: BTreeSet<NodeName>,
    /// Nodes to whose Pods something was done since they were read.
    pub(super) touched: BTreeSet<NodeName>,
    journal: VecDeque<Entry>,
    orders: VecDeque<Order>,
    /// The sequence up to which all decisions were written, or could not be.
    settled: u64,
    /// Those that could not be.
    lost: BTreeSet<u64>,
}

impl Desk {
    /// At the beginning of a term.
    pub(super) fn new(core: Core, rules: Rules, clock: Clock) -> Self {
        Self {
            state: Mutex::new(State {
                core,
                seen: nothing(),
                rules,
                freezes: Freezes::Unreadable,
                reread: BTreeSet::new(),
                touched: BTreeSet::new(),
                journal: VecDeque::new(),
                orders: VecDeque::new(),
                settled: 0,
                lost: BTreeSet::new(),
            }),
            news: Notify::new(),
            clock,
        }
    }

    /// What is shared. Never held across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes what a step decided. Answers the orders that are not to be done any more.
    pub(super) fn take(&mut self, step: Step, time: Timestamp) -> Vec<Order> {
        self.reread.extend(step.reread);
        for decision in step.decisions {
            self.write(decision, time);
        }
        let (stay, cancelled) = std::mem::take(&mut self.orders)
            .into_iter()
            .partition(|order| !step.cancelled.contains(order.action.node()));
        self.orders = stay;
        self.orders.extend(step.orders);
        Vec::from(cancelled)
    }

    /// This is to be written, after what is.
    fn write(&mut self, decision: Decision, time: Timestamp) {
        let node = match (&decision.subject, &decision.change) {
            (Subject::Node(node), _) => self.seen.nodes.get(node),
            _ => None,
        };
        let rack = node.map(|node| node.rack.clone());
        let mode = match (&decision.change, &rack) {
            (Change::Action(action), Some(rack)) => {
                Some(self.rules.config.modes.of(action.rule(), rack))
            }
            _ => None,
        };
        let place = Place {
            rack: rack.map(|rack| rack.as_str().to_owned()),
            mode,
        };
        self.journal.push_back(Entry {
            decision,
            place,
            time,
        });
    }

    /// The next decision that is to be written.
    pub(super) fn next_entry(&mut self) -> Option<Entry> {
        self.journal.pop_front()
    }

    /// How many are to be written.
    pub(super) fn waiting(&self) -> usize {
        self.journal.len()
    }

    /// A decision was written, or could not be.
    pub(super) fn settle(&mut self, id: DecisionId, is_written: bool) {
        self.settled = self.settled.max(id.sequence);
        if !is_written {
            self.lost.insert(id.sequence);
        }
    }

    /// The next order of a lane whose decision was written. Those whose decision could not be are given back apart.
    pub(super) fn next_order(&mut self, lane: Lane) -> (Option<Order>, Vec<Order>) {
        let (settled, lost) = (self.settled, &self.lost);
        let mut unwritten = Vec::new();
        let mut next = None;
        self.orders.retain(|order| {
            let sequence = order.decision.sequence;
            if lane_of(&order.action) != lane || next.is_some() {
                return true;
            }
            if lost.contains(&sequence) {
                unwritten.push(order.clone());
                return false;
            }
            if sequence <= settled {
                next = Some(order.clone());
                return false;
            }
            true
        });
        // What nothing waits for any more.
        if self.orders.is_empty() {
            self.lost.clear();
        }
        (next, unwritten)
    }

    /// What became of an order; its record is to be written too.
    pub(super) fn outcome(
        &mut self,
        order: &Order,
        outcome: Outcome,
        clock: Clock,
        time: Timestamp,
    ) {
        if let Some(decision) = self.core.outcome(clock.now(), order, outcome) {
            self.write(decision, time);
        }
    }
}

const fn lane_of(action: &Action) -> Lane {
    match action {
        Action::Cordon { .. }
        | Action::Uncordon { .. }
        | Action::Fence { .. }
        | Action::LiftFence { .. }
        | Action::RestartKubelet { .. } => Lane::Marks,
        Action::WithdrawEndpoints { .. } | Action::RestoreEndpoints { .. } => Lane::Endpoints,
        Action::SoftEvict { .. }
        | Action::Readopt { .. }
        | Action::Evict { .. }
        | Action::HardDelete { .. }
        | Action::EndSuperseded { .. } => Lane::Pods,
    }
}

#[cfg(test)]
mod tests {
    use node_agent_lifecycle::decision::Hash;
    use node_agent_lifecycle::{Config, Moment};

    use super::*;

    fn state() -> Desk {
        let core = Core::new(Config::default(), 3, Moment::default(), Hash::default());
        Desk::new(core, Rules::default(), Clock::start())
    }

    fn order(sequence: u64, action: fn(NodeName) -> Action, node: &str) -> Order {
        Order {
            decision: DecisionId { term: 3, sequence },
            at: Moment::default(),
            action: action(node.parse().unwrap()),
        }
    }

    fn orders(all: Vec<Order>) -> Step {
        Step {
            orders: all,
            ..Step::default()
        }
    }

    const CORDON: fn(NodeName) -> Action = |node| Action::Cordon { node };
    const WITHDRAW: fn(NodeName) -> Action = |node| Action::WithdrawEndpoints { node };

    fn id(sequence: u64) -> DecisionId {
        DecisionId { term: 3, sequence }
    }

    #[test]
    fn an_order_waits_for_its_decision_and_is_never_done_without_it() {
        let desk = state();
        let mut state = desk.lock();
        let step = orders(vec![order(1, CORDON, "n1"), order(2, CORDON, "n2")]);
        state.take(step, Timestamp::default());
        assert_eq!(state.next_order(Lane::Marks), (None, vec![]));
        state.settle(id(1), false);
        let (next, unwritten) = state.next_order(Lane::Marks);
        assert_eq!((next, unwritten.len()), (None, 1));
        state.settle(id(2), true);
        let (next, _) = state.next_order(Lane::Marks);
        assert_eq!(next.map(|order| order.decision.sequence), Some(2));
        assert_eq!(state.next_order(Lane::Marks), (None, vec![]));
    }

    #[test]
    fn lanes_do_not_wait_for_each_other_and_a_node_that_is_back_has_no_order_left() {
        let desk = state();
        let mut state = desk.lock();
        let step = orders(vec![
            order(1, WITHDRAW, "n1"),
            order(2, CORDON, "n1"),
            order(3, CORDON, "n2"),
        ]);
        state.take(step, Timestamp::default());
        state.settle(id(3), true);
        let back = Step {
            cancelled: vec!["n1".parse().unwrap()],
            ..Step::default()
        };
        let cancelled = state.take(back, Timestamp::default());
        assert_eq!(cancelled.len(), 2);
        assert_eq!(state.next_order(Lane::Endpoints).0, None);
        let next = state.next_order(Lane::Marks).0;
        assert_eq!(next.map(|order| order.decision.sequence), Some(3));
    }
}
