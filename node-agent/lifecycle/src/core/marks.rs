//! The marks that a node is to have, and the second half of a step: what is asked for each node.

use super::advance::is_doubted;
use super::budget::Usage;
use super::desk::{Granted, Subjected, Wish};
use super::memory::Asked;
use super::pods::Load;
use super::view::View;
use super::{Core, Desk, Step};
use crate::action::Action;
use crate::beside::Beside;
use crate::decision::{Change, Outcome, Subject};
use crate::mode::{Mode, Rule};
use crate::phase::Phase;
use crate::verdict::Verdict;

impl Core {
    /// Asks for what each node is to have and lacks.
    pub(super) fn work<'a>(&mut self, view: &View<'a>, usage: Usage<'a>, step: &mut Step) {
        let load = Load::count(view.seen, &self.nodes);
        let mut round = super::pods::Round::new(load, usage);
        let mut memories = Beside::walk(&mut self.nodes);
        for (name, node) in &view.seen.nodes {
            let Some(memory) = memories.at(name.as_str()) else {
                continue;
            };
            let is_marked = node.cordoned || node.endpoints_withdrawn || node.fence_marked;
            let may_have_superseded = memory.has_superseded && view.seen.pods.contains_key(name);
            if memory.phase == Phase::Healthy && !is_marked && !may_have_superseded {
                continue;
            }
            let mut about = Subjected { name, node, memory };
            self.desk.mark(view, &mut about, step);
            self.desk.escalate(view, &mut about, step);
            self.desk.tend_pods(view, &mut about, &mut round, step);
        }
    }
}

impl Desk {
    fn mark(&mut self, view: &View<'_>, about: &mut Subjected<'_>, step: &mut Step) {
        self.restart_kubelet(view, about, step);
        let node = about.name.clone();
        match self.wants_cordon(view, about) {
            Some(true) if !about.node.cordoned => {
                let wish = (Action::Cordon { node }, Asked::Cordon, Asked::Uncordon);
                self.grant_mark(view, about, wish, step);
            }
            Some(false) if about.node.cordoned => {
                let wish = (Action::Uncordon { node }, Asked::Uncordon, Asked::Cordon);
                self.grant_mark(view, about, wish, step);
            }
            _ => {}
        }
        let node = about.name.clone();
        if !about.node.endpoints_withdrawn && self.may_withdraw(view, about) {
            let wish = (
                Action::WithdrawEndpoints { node },
                Asked::Withdraw,
                Asked::Restore,
            );
            self.grant_mark(view, about, wish, step);
        } else if about.node.endpoints_withdrawn && self.may_restore(view, about) {
            let wish = (
                Action::RestoreEndpoints { node },
                Asked::Restore,
                Asked::Withdraw,
            );
            self.grant_mark(view, about, wish, step);
        }
        if about.node.fence_marked && about.memory.verdict.is_connected() {
            let node = about.name.clone();
            let wish = (Action::LiftFence { node }, Asked::LiftFence, Asked::Fence);
            self.grant_mark(view, about, wish, step);
        }
    }

    fn grant_mark(
        &mut self,
        view: &View<'_>,
        about: &mut Subjected<'_>,
        (action, asked, opposite): (Action, Asked, Asked),
        step: &mut Step,
    ) {
        let wish = Wish {
            action,
            asked,
            app: None,
        };
        if self.grant(view, about, wish, step) == Granted::Yes {
            about.memory.asked.remove(&opposite);
        }
    }

    /// Whether the node is to have our taint; none: it stays as it is.
    fn wants_cordon(&self, view: &View<'_>, about: &Subjected<'_>) -> Option<bool> {
        let timers = &self.config.timers;
        let memory = &about.memory;
        let age = view.now.since(memory.phase_since);
        match memory.phase {
            Phase::Healthy => Some(false),
            // Most of a rule's findings at once are the rule's fault: no more nodes are closed for it.
            Phase::Cordoned | Phase::Draining | Phase::Empty => {
                let place = super::view::place(about.node, memory, view.now, &self.config);
                self.gates.stops(place).is_none().then_some(true)
            }
            Phase::Suspect | Phase::Recovering => None,
            Phase::ControlPlaneCut => (age >= timers.cut_cordon).then_some(true),
            Phase::KubeletDown => {
                let is_repaired =
                    self.config.modes.of(Rule::LocalRepair, &about.node.rack) == Mode::Enforce;
                let repairs = if is_repaired {
                    timers.kubelet_restarts
                } else {
                    0
                };
                let patience = timers.cut_cordon + timers.kubelet_restart * repairs;
                (age >= patience).then_some(true)
            }
            Phase::RackDark
            | Phase::QuorumDead
            | Phase::SoftEvicting
            | Phase::HardEvicting
            | Phase::Gone
            | Phase::Flapping => Some(true),
        }
    }

    /// Only while peers agree that it is lost, and have for a while.
    fn may_withdraw(&self, view: &View<'_>, about: &Subjected<'_>) -> bool {
        let memory = &about.memory;
        let held = memory.lost_since.map(|since| view.now.since(since));
        memory.phase.is_lost()
            && memory.verdict.is_lost()
            && held.is_some_and(|held| held >= self.config.timers.quorum_steady)
    }

    /// Only while peers do not say that it is dead; a node that comes and goes waits until it has stayed.
    fn may_restore(&self, view: &View<'_>, about: &Subjected<'_>) -> bool {
        let memory = &about.memory;
        let case = view.case(about.name, about.node, memory, &self.config);
        let stable = memory.connected_since.map(|since| view.now.since(since));
        match memory.verdict {
            Verdict::Healthy | Verdict::Degraded(_) => {
                let has_stayed = stable.is_some_and(|stable| stable >= self.config.timers.recovery);
                !is_doubted(&case) && (memory.phase != Phase::Flapping || has_stayed)
            }
            Verdict::ControlPlaneCut | Verdict::KubeletDown => {
                let penalty = memory.penalty.at(view.now, &self.config.flapping);
                !is_doubted(&case) && penalty <= self.config.flapping.suppress
            }
            _ => false,
        }
    }

    fn restart_kubelet(&mut self, view: &View<'_>, about: &mut Subjected<'_>, step: &mut Step) {
        let timers = &self.config.timers;
        let attempt = about.memory.restarts + 1;
        let age = view.now.since(about.memory.phase_since);
        let is_due = about.memory.phase == Phase::KubeletDown
            && attempt <= timers.kubelet_restarts
            && age >= timers.kubelet_restart * about.memory.restarts;
        if !is_due {
            return;
        }
        let node = about.name.clone();
        let wish = Wish {
            action: Action::RestartKubelet { node, attempt },
            asked: Asked::Restart(attempt),
            app: None,
        };
        if self.grant(view, about, wish, step) == Granted::Yes {
            about.memory.restarts = attempt;
        }
    }

    /// Calls people, once.
    fn escalate(&mut self, view: &View<'_>, about: &mut Subjected<'_>, step: &mut Step) {
        let age = view.now.since(about.memory.phase_since);
        let is_due = matches!(
            about.memory.phase,
            Phase::ControlPlaneCut | Phase::KubeletDown
        ) && age >= self.config.timers.cut_escalate;
        if !is_due || about.memory.is_escalated {
            return;
        }
        about.memory.is_escalated = true;
        let case = view.case(about.name, about.node, about.memory, &self.config);
        let evidence = case.evidence();
        let subject = Subject::Node(about.name.clone());
        let record = self.record(
            view.now,
            subject,
            Change::Escalated,
            evidence,
            Outcome::Recorded,
        );
        step.decisions.push(record);
    }
}
