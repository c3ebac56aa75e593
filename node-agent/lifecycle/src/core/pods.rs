//! What becomes of the Pods of a node: replaced, evicted, deleted, counted again. One node at a time, by its phase.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use proto_ids::{NodeName, PodUid};

use super::budget::Usage;
use super::desk::{Granted, Subjected, Wish};
use super::memory::{Asked, LastEnd, Memory, Tries};
use super::view::View;
use super::{Desk, Step};
use crate::action::{Action, PodTarget};
use crate::decision::{Change, Hold, Outcome, Subject};
use crate::mode::{Mode, Rule};
use crate::observation::{
    AddressPolicy, AppName, AppObservation, Observations, Owner, PodObservation, ReplacementState,
};
use crate::phase::Phase;
use crate::verdict::Verdict;
use crate::window::is_business;

/// Replacements that are not ready yet, by application.
#[derive(Default)]
pub(super) struct Load<'a>(BTreeMap<&'a AppName, u32>);

impl<'a> Load<'a> {
    /// Counts those that are seen, and those that were asked for and are not seen yet.
    pub(super) fn count(seen: &'a Observations, memories: &BTreeMap<NodeName, Memory>) -> Self {
        let mut load = Self::default();
        let mut known: BTreeSet<&PodUid> = BTreeSet::new();
        for replacement in &seen.replacements {
            known.insert(&replacement.original);
            if replacement.state != ReplacementState::Ready {
                load.add(replacement.app.as_ref());
            }
        }
        for (name, memory) in memories.iter().filter(|(_, memory)| memory.phase.is_lost()) {
            for pod in seen.pods.get(name).map_or(&[][..], Vec::as_slice) {
                let is_asked = pod.soft_evicted
                    || memory
                        .asked
                        .contains_key(&Asked::SoftEvict(pod.uid.clone()));
                let is_done = pod.replacement == Some(ReplacementState::Ready);
                if is_asked && !is_done && !known.contains(&pod.uid) {
                    load.add(pod.app.as_ref());
                }
            }
        }
        load
    }

    fn add(&mut self, app: Option<&'a AppName>) {
        if let Some(app) = app {
            *self.0.entry(app).or_default() += 1;
        }
    }

    fn is_full(&self, app: &AppName, observed: Option<&AppObservation>, percent: u32) -> bool {
        let replicas = observed.map_or(0, |app| app.replicas);
        let share = u64::from(replicas) * u64::from(percent) / 100;
        u64::from(self.0.get(app).copied().unwrap_or(0)) >= share.max(1)
    }
}

/// What was granted so far in one step.
pub(super) struct Round<'a> {
    load: Load<'a>,
    /// Nodes in action.
    usage: Usage<'a>,
    /// Pods of these applications that were told to end in this step: the API server has not said so yet.
    ended: BTreeMap<&'a AppName, u32>,
}

impl<'a> Round<'a> {
    pub(super) const fn new(load: Load<'a>, usage: Usage<'a>) -> Self {
        Self {
            load,
            usage,
            ended: BTreeMap::new(),
        }
    }
}

/// Its owner makes another one beside it, and another one can be.
pub(crate) fn is_soft(pod: &PodObservation) -> bool {
    matches!(pod.owner, Owner::InPlaceSet | Owner::ReplicaSet) && pod.address == AddressPolicy::New
}

fn target(pod: &PodObservation) -> PodTarget {
    PodTarget {
        pod: pod.pod.clone(),
        uid: pod.uid.clone(),
        version: pod.version.clone(),
    }
}

impl Desk {
    /// Does for the Pods of a node what its phase asks for.
    pub(super) fn tend_pods<'a>(
        &mut self,
        view: &View<'a>,
        about: &mut Subjected<'_>,
        round: &mut Round<'a>,
        step: &mut Step,
    ) {
        // Not known is not none: a node whose Pods were not read yet is not done with.
        let Some(pods) = view.seen.pods.get(about.name).map(Vec::as_slice) else {
            return;
        };
        match (about.memory.phase, about.memory.verdict) {
            (Phase::SoftEvicting, verdict) if verdict.is_lost() => {
                let left = self.soft_evict(view, about, pods, round, step);
                about.memory.is_idle = !left;
            }
            (Phase::HardEvicting, Verdict::FencedDead) => {
                let is_soft_left = self.soft_evict(view, about, pods, round, step);
                let left = self.hard_evict(view, about, pods, round, step) || is_soft_left;
                about.memory.is_idle &= !is_soft_left;
                if !left {
                    self.finish(view, about, Phase::Gone, step);
                }
            }
            (Phase::Draining, verdict) if verdict.is_connected() => {
                let left = self.drain(view, about, pods, round, step);
                if !left {
                    self.finish(view, about, Phase::Empty, step);
                }
            }
            _ => {}
        }
        if about.memory.verdict.is_connected() && about.memory.has_superseded {
            self.guard(view, about, pods, step);
        }
    }

    fn finish(&mut self, view: &View<'_>, about: &mut Subjected<'_>, to: Phase, step: &mut Step) {
        let from = about.memory.phase;
        let case = view.case(about.name, about.node, about.memory, &self.config);
        let evidence = case.evidence();
        about.memory.enter(to, view.now);
        let subject = Subject::Node(about.name.clone());
        let change = Change::Phase { from, to };
        let record = self.record(view.now, subject, change, evidence, Outcome::Recorded);
        step.decisions.push(record);
    }

    /// Whether something of this kind is still to be done to the Pod: where nothing is enforced, to have said so is all.
    fn is_left(&self, about: &Subjected<'_>, action: &Action, asked: &Asked) -> bool {
        match self.config.modes.of(action.rule(), &about.node.rack) {
            Mode::Observe => false,
            Mode::DryRun => !about.memory.asked.contains_key(asked),
            Mode::Enforce => true,
        }
    }

    /// Where nothing is enforced, nothing is refused, and nothing is to be seen of it.
    fn is_enforced(&self, rule: Rule, about: &Subjected<'_>) -> bool {
        self.config.modes.of(rule, &about.node.rack) == Mode::Enforce
    }

    fn soft_evict<'a>(
        &mut self,
        view: &View<'a>,
        about: &mut Subjected<'_>,
        pods: &'a [PodObservation],
        round: &mut Round<'a>,
        step: &mut Step,
    ) -> bool {
        let mut left = false;
        for pod in pods
            .iter()
            .filter(|pod| is_soft(pod) && !pod.soft_evicted && !pod.terminating)
        {
            let action = Action::SoftEvict {
                node: about.name.clone(),
                target: target(pod),
            };
            let asked = Asked::SoftEvict(pod.uid.clone());
            if !self.is_left(about, &action, &asked) {
                continue;
            }
            left = true;
            let is_first = !about.memory.asked.contains_key(&asked);
            let observed = pod.app.as_ref().and_then(|app| view.seen.apps.get(app));
            let percent = self.config.budgets.app_surge_percent;
            let is_full = pod
                .app
                .as_ref()
                .is_some_and(|app| round.load.is_full(app, observed, percent));
            if is_first && is_full {
                continue;
            }
            let wish = Wish {
                action,
                asked,
                app: pod.app.as_ref(),
            };
            if self.grant(view, about, wish, step) == Granted::Yes && is_first {
                round.load.add(pod.app.as_ref());
            }
        }
        left
    }

    /// One at a time, those that nobody replaces first.
    fn hard_evict<'a>(
        &mut self,
        view: &View<'a>,
        about: &mut Subjected<'_>,
        pods: &[PodObservation],
        round: &mut Round<'a>,
        step: &mut Step,
    ) -> bool {
        if !about.node.fence_marked {
            let node = about.name.clone();
            let wish = Wish {
                action: Action::Fence { node },
                asked: Asked::Fence,
                app: None,
            };
            let is_left = self.is_left(about, &wish.action, &wish.asked);
            self.grant(view, about, wish, step);
            if is_left {
                return true;
            }
        }
        let mut left: Vec<&PodObservation> = pods
            .iter()
            .filter(|pod| pod.owner != Owner::DaemonSet && !pod.terminating)
            .filter(|pod| !is_soft(pod) || pod.soft_evicted)
            .collect();
        left.sort_by_key(|pod| (is_soft(pod), pod.created_seconds, &pod.uid));
        let is_enforced = self.is_enforced(Rule::HardEvict, about);
        let timers = &self.config.timers;
        let is_due = |pod: &&PodObservation| {
            let tries = about.memory.ends(&pod.uid).unwrap_or_default();
            !is_enforced || !tries.is_waiting(view.now, timers)
        };
        let due: Vec<_> = left.iter().copied().filter(is_due).collect();
        if !left.is_empty() && !self.goes_on(view, about, due.is_empty(), round, step) {
            return true;
        }
        let is_left = self.end_first(view, about, (&left, &due), step, |node, target| {
            Action::HardDelete { node, target }
        });
        is_left || due.len() < left.len()
    }

    fn drain<'a>(
        &mut self,
        view: &View<'a>,
        about: &mut Subjected<'_>,
        pods: &'a [PodObservation],
        round: &mut Round<'a>,
        step: &mut Step,
    ) -> bool {
        let mine = |pod: &&PodObservation| {
            let owners = [Owner::InPlaceSet, Owner::ReplicaSet, Owner::StatefulSet];
            owners.contains(&pod.owner)
        };
        let is_ending = pods.iter().filter(mine).any(|pod| pod.terminating);
        let left: Vec<&PodObservation> = pods
            .iter()
            .filter(mine)
            .filter(|pod| !pod.terminating)
            .collect();
        let may_go = self.may_be_evicted(view, about, &left, round, step);
        let is_waiting = may_go.is_empty() && !is_ending;
        if !left.is_empty() && !self.goes_on(view, about, is_waiting, round, step) {
            return true;
        }
        let before = step.decisions.len();
        let is_left = self.end_first(view, about, (&left, &may_go), step, |node, target| {
            Action::Evict { node, target }
        });
        let ended = step.decisions.get(before..).unwrap_or_default();
        for uid in ended.iter().filter_map(|decision| match &decision.change {
            Change::Action(action) => action.target().map(|target| &target.uid),
            _ => None,
        }) {
            let pod = pods.iter().find(|pod| pod.uid == *uid);
            if let Some(app) = pod.filter(|pod| pod.ready).and_then(|pod| pod.app.as_ref()) {
                *round.ended.entry(app).or_default() += 1;
            }
        }
        is_left || is_ending || may_go.len() < left.len()
    }

    /// A node where everything only waits is not in action: nobody else waits for it. When it is to go on, the budgets of nodes are asked
    /// again, as at first; false where they have no room.
    fn goes_on<'a>(
        &mut self,
        view: &View<'a>,
        about: &mut Subjected<'_>,
        is_waiting: bool,
        round: &mut Round<'a>,
        step: &mut Step,
    ) -> bool {
        let was_idle = about.memory.is_idle;
        let last = about.memory.last_end.as_ref();
        let is_awaited = last.is_some_and(|last| last.is_awaited(view.now, &self.config.timers));
        about.memory.is_idle = is_waiting && !is_awaited;
        if !was_idle || about.memory.is_idle {
            return true;
        }
        if let Some(hold) = round.usage.node_hold(about.node, &self.config.budgets) {
            about.memory.is_idle = true;
            self.note_hold(view, about, hold, step);
            return false;
        }
        if let Some(node) = view.seen.nodes.get(about.name) {
            round.usage.add_node(node);
        }
        true
    }

    /// Those that may be evicted now. What keeps all of them is said.
    fn may_be_evicted<'a>(
        &mut self,
        view: &View<'a>,
        about: &mut Subjected<'_>,
        left: &[&'a PodObservation],
        round: &Round<'a>,
        step: &mut Step,
    ) -> Vec<&'a PodObservation> {
        if left.is_empty() {
            return Vec::new();
        }
        if is_business(&self.config.business, view.seen.week) {
            self.note_hold(view, about, Hold::Business, step);
            return Vec::new();
        }
        let mut may_go: Vec<&PodObservation> = left
            .iter()
            .copied()
            .filter(|pod| has_room(view.seen, pod, &round.ended))
            .collect();
        if may_go.is_empty() {
            self.note_hold(view, about, Hold::AppBudget, step);
        }
        let is_enforced = self.is_enforced(Rule::Drain, about);
        let timers = &self.config.timers;
        may_go.retain(|pod| {
            !is_enforced || !tries_of_app(about.memory, pod, left).is_waiting(view.now, timers)
        });
        may_go
    }

    /// The superseded Pods of a node that is back.
    fn guard(
        &mut self,
        view: &View<'_>,
        about: &mut Subjected<'_>,
        pods: &[PodObservation],
        step: &mut Step,
    ) {
        let superseded: Vec<&PodObservation> = pods
            .iter()
            .filter(|pod| pod.soft_evicted && !pod.terminating)
            .collect();
        if superseded.is_empty() {
            // While it recovers a mark that was under way may still arrive.
            about.memory.has_superseded = about.memory.phase != Phase::Healthy;
            return;
        }
        let back_for = about
            .memory
            .connected_since
            .map(|since| view.now.since(since));
        let is_known = back_for.is_some_and(|age| age >= self.config.timers.readopt);
        for pod in superseded.iter().filter(|_| is_known) {
            let is_needed = pod.ready && pod.replacement != Some(ReplacementState::Ready);
            if is_needed && about.memory.phase != Phase::Flapping {
                let wish = Wish {
                    action: Action::Readopt {
                        node: about.name.clone(),
                        target: target(pod),
                    },
                    asked: Asked::Readopt(pod.uid.clone()),
                    app: pod.app.as_ref(),
                };
                self.grant(view, about, wish, step);
            }
        }
        let mut ending: Vec<&PodObservation> = superseded
            .into_iter()
            .filter(|pod| pod.replacement == Some(ReplacementState::Ready))
            .collect();
        if ending.is_empty() || pods.iter().any(|pod| pod.terminating) {
            return;
        }
        if let Some(hold) = self.guard_hold(view, about) {
            self.note_hold(view, about, hold, step);
            return;
        }
        // Younger and not ready first: what has served longest goes last.
        ending.sort_by_key(|pod| (pod.ready, Reverse(pod.created_seconds), &pod.uid));
        self.end_first(view, about, (&ending, &ending), step, |node, target| {
            Action::EndSuperseded { node, target }
        });
    }

    fn guard_hold(&self, view: &View<'_>, about: &Subjected<'_>) -> Option<Hold> {
        if is_business(&self.config.business, view.seen.week) {
            return Some(Hold::Business);
        }
        // A node whose pressure nobody knows is not loaded further.
        let is_known = about.memory.report_holds(about.node, view.now);
        let report = about.node.report.as_ref().filter(|_| is_known);
        report
            .is_none_or(|report| report.under_pressure)
            .then_some(Hold::Pressure)
    }

    /// Ends the first of these that may be, if nothing ended there lately; those that were told to end in vain come after all others.
    /// One that was told to end and is still `there` is awaited first. True while some are left.
    fn end_first(
        &mut self,
        view: &View<'_>,
        about: &mut Subjected<'_>,
        (there, due): (&[&PodObservation], &[&PodObservation]),
        step: &mut Step,
        action: impl Fn(NodeName, PodTarget) -> Action,
    ) -> bool {
        let now = view.now;
        let mut left = false;
        let mut in_turn = due.to_vec();
        in_turn.sort_by_key(|pod| about.memory.ends(&pod.uid).map(|tries| tries.last));
        for pod in in_turn {
            let wish = Wish {
                action: action(about.name.clone(), target(pod)),
                asked: Asked::End(pod.uid.clone()),
                app: pod.app.as_ref(),
            };
            if !self.is_left(about, &wish.action, &wish.asked) {
                continue;
            }
            left = true;
            let is_early = about.memory.last_end.as_ref().is_some_and(|last| {
                // The one before it is to be seen ending, unless that took too long.
                let is_there = there.iter().any(|pod| pod.uid == last.pod) && pod.uid != last.pod;
                let is_awaited = is_there && last.is_awaited(now, &self.config.timers);
                is_awaited || now.since(last.at) < self.config.budgets.node_gap
            });
            if is_early {
                return true;
            }
            let is_void = !self.is_enforced(wish.action.rule(), about);
            if self.grant(view, about, wish, step) == Granted::Yes {
                about.memory.last_end = Some(LastEnd {
                    at: now,
                    pod: pod.uid.clone(),
                    is_void,
                });
                return true;
            }
        }
        left
    }
}

/// What was tried to end Pods of its application that are still there: one disruption budget speaks for all of them.
fn tries_of_app(memory: &Memory, pod: &PodObservation, left: &[&PodObservation]) -> Tries {
    let of_app = left
        .iter()
        .filter(|one| one.uid == pod.uid || (pod.app.is_some() && one.app == pod.app));
    of_app
        .filter_map(|one| memory.ends(&one.uid))
        .fold(Tries::default(), Tries::and)
}

/// The application has more ready ones than it must have.
fn has_room(seen: &Observations, pod: &PodObservation, ended: &BTreeMap<&AppName, u32>) -> bool {
    let Some(name) = &pod.app else { return true };
    let gone = ended.get(name).copied().unwrap_or(0);
    let app = seen.apps.get(name);
    !pod.ready || app.is_some_and(|app| app.ready > app.min_ready.saturating_add(gone))
}
