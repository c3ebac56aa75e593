//! The question before each order: is everything that it rests on still so, by what is seen now?

use std::collections::BTreeSet;

use super::Core;
use super::memory::Memory;
use super::racks::Rack;
use super::view::View;
use super::votes;
use crate::action::{Action, Order, PodTarget};
use crate::decision::Hold;
use crate::mode::Mode;
use crate::moment::Moment;
use crate::observation::{Class, NodeObservation, Observations, PodObservation, ReplacementState};
use crate::verdict::Verdict;
use crate::window::is_business;

/// Why an order is not to be carried out any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something holds it.
    #[error("held: {0:?}")]
    Held(Hold),
    /// It is not what the rule's mode allows.
    #[error("the rule is not enforced here")]
    NotEnforced,
    /// It is too old.
    #[error("the order is too old; the next step gives it again if it is still due")]
    Old,
    /// The node is not what it was.
    #[error("the node is {0} by now")]
    Verdict(Verdict),
    /// The node is not there any more.
    #[error("the node is gone")]
    NoNode,
    /// The Pod is not what it was.
    #[error("the Pod is not what it was")]
    Pod,
}

impl Core {
    /// Whether an order is still to be carried out, by what is seen now. To be asked right before each.
    ///
    /// # Errors
    /// Why it is not.
    pub fn confirm(&self, now: Moment, seen: &Observations, order: &Order) -> Result<(), Refusal> {
        let name = order.action.node();
        let (Some(node), Some(known)) = (seen.nodes.get(name), self.nodes.get(name)) else {
            return Err(Refusal::NoNode);
        };
        if now.since(order.at) > self.desk.config.timers.order_life {
            return Err(Refusal::Old);
        }
        if order.decision.term != self.desk.chain.term {
            return Err(Refusal::Held(Hold::NotLeading));
        }
        if self.desk.config.modes.of(order.action.rule(), &node.rack) != Mode::Enforce {
            return Err(Refusal::NotEnforced);
        }
        let pod = match order.action.target() {
            Some(target) => Some(same_pod(seen, order, target).ok_or(Refusal::Pod)?),
            None => None,
        };
        let mut memory = known.clone();
        memory.look(node, now, &self.desk.config);
        let app = pod.and_then(|pod| pod.app.as_ref());
        let of = (node, &memory);
        if let Some(hold) = self.desk.hold(now, seen, name, of, (&order.action, app)) {
            return Err(Refusal::Held(hold));
        }
        let verdict = self.verdict_now(now, seen, order, (node, &memory));
        if !is_due(&order.action, verdict) {
            return Err(Refusal::Verdict(verdict));
        }
        self.still_harmless(now, seen, &order.action, (node, &memory))
    }

    fn verdict_now(
        &self,
        now: Moment,
        seen: &Observations,
        order: &Order,
        (node, memory): (&NodeObservation, &Memory),
    ) -> Verdict {
        let name = order.action.node();
        let config = &self.desk.config;
        let about = BTreeSet::from([name]);
        let tallies = votes::collect(&about, &self.nodes, seen, now, config);
        // Of the last step, unless somebody elsewhere sees the node by now.
        let is_seen = tallies
            .get(name)
            .is_some_and(|tally| tally.alive_elsewhere() > 0);
        let rack = Rack {
            nodes: usize::MAX,
            is_dark: self.dark.contains_key(&node.rack) && !is_seen,
            ..Rack::default()
        };
        let nodes = seen
            .nodes
            .values()
            .filter(|other| other.rack == node.rack)
            .count();
        let view = View {
            now,
            seen,
            tallies,
            racks: [(&node.rack, Rack { nodes, ..rack })].into(),
        };
        view.case(name, node, memory, config).verdict()
    }

    fn still_harmless(
        &self,
        now: Moment,
        seen: &Observations,
        action: &Action,
        (node, memory): (&NodeObservation, &Memory),
    ) -> Result<(), Refusal> {
        let disturbs_live = matches!(action, Action::Evict { .. } | Action::EndSuperseded { .. });
        if disturbs_live && is_business(&self.desk.config.business, seen.week) {
            return Err(Refusal::Held(Hold::Business));
        }
        let holds = memory.report_holds(node, now);
        let report = node.report.as_ref().filter(|_| holds);
        let is_pressed = report.is_none_or(|report| report.under_pressure);
        if matches!(action, Action::EndSuperseded { .. }) && is_pressed {
            return Err(Refusal::Held(Hold::Pressure));
        }
        Ok(())
    }
}

/// The Pod as it is now, if it is still the one that was decided about.
fn same_pod<'a>(
    seen: &'a Observations,
    order: &Order,
    target: &PodTarget,
) -> Option<&'a PodObservation> {
    let pods = seen.pods.get(order.action.node())?;
    let pod = pods.iter().find(|pod| pod.uid == target.uid)?;
    let is_same = pod.pod == target.pod && !pod.terminating;
    let as_it_was = match order.action {
        Action::HardDelete { .. } => pod.version == target.version,
        Action::EndSuperseded { .. } => {
            let is_replaced = pod.replacement == Some(ReplacementState::Ready);
            pod.version == target.version && pod.soft_evicted && is_replaced
        }
        _ => true,
    };
    (is_same && as_it_was).then_some(pod)
}

/// Whether such a node is one to do this to.
fn is_due(action: &Action, verdict: Verdict) -> bool {
    match action {
        Action::Fence { .. } | Action::HardDelete { .. } => verdict == Verdict::FencedDead,
        Action::SoftEvict { .. } | Action::WithdrawEndpoints { .. } => verdict.is_lost(),
        Action::Evict { .. } => verdict.asks_for(Class::Drain),
        Action::EndSuperseded { .. }
        | Action::Readopt { .. }
        | Action::LiftFence { .. }
        | Action::Uncordon { .. } => verdict.is_connected(),
        Action::RestoreEndpoints { .. } => verdict.is_alive(),
        Action::RestartKubelet { .. } => verdict == Verdict::KubeletDown,
        // It keeps new Pods away and nothing else: right for any node that is not plainly well, and a flapping one is.
        Action::Cordon { .. } => true,
    }
}
