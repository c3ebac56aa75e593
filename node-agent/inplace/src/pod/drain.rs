//! How a Pod's traffic is led away: until nobody sends it any, and a quiet time besides. It can be taken back at any moment.

use std::time::Duration;

use proto_crd::in_place_set::{Lossless, OnDrainTimeout};

use super::signals::listed;
use super::step::{Goal, Look, Next, Step};
use crate::operation::{FORCE_DRAIN_ANNOTATION, Failure, Kind, Operation, Reason, State};

impl Look<'_> {
    /// Its traffic is led away; it can be taken back.
    pub(super) fn take_out(&self, operation: &Operation, goal: &Goal<'_>, is_this: bool) -> Step {
        let goes = matches!(goal, Goal::Leave { .. });
        if !is_this && !goes {
            return Step::of(operation, Next::Do(self.back(operation, None)));
        }
        let mut operation = operation.clone();
        if let Goal::Leave { kind, release } = *goal {
            operation.op = kind;
            release.clone_into(&mut operation.release_id);
        }
        self.detach(&operation, goal)
    }

    fn detach(&self, operation: &Operation, goal: &Goal<'_>) -> Step {
        let Some(lossless) = self.lossless.filter(|_| self.pod.gate.declared) else {
            return Step::of(operation, Next::Do(self.last(operation, goal, false)));
        };
        if !self.pod.gate.is_held_by(self.holder) {
            return match self.pod.gate.holders() {
                Err(error) => Step::waiting(operation, error.to_string()),
                Ok(_) => Step::of(operation, Next::Do(self.hold(self.draining(operation)))),
            };
        }
        let mut awaited = Vec::new();
        if !operation.forced {
            awaited = self
                .pod
                .awaited_to_detach(lossless, self.endpoint, self.holder);
        }
        if awaited.is_empty() {
            return self.quiet(operation, goal, lossless);
        }
        if operation.state == State::Quiet || self.detached_for.is_some() {
            // Traffic is back: it has all of its time anew.
            let again = self.stamp(operation.at(State::Draining, self.now));
            return Step::of(operation, Next::Do(again)).for_whom(listed(&awaited));
        }
        let late = operation.since.after(lossless.drain_timeout());
        let waits_for = listed(&awaited);
        if late > self.now {
            return Step::waiting(operation, waits_for).until(late);
        }
        let forced = self.pod.force_drain.as_ref() == Some(&operation.release_id);
        if forced || lossless.on_drain_timeout == OnDrainTimeout::Proceed {
            let mut quiet = operation.at(State::Quiet, self.now);
            quiet.forced = true;
            return Step::of(operation, Next::Do(self.stamp(quiet))).for_whom(waits_for);
        }
        let failure = Failure {
            reason: Reason::DrainTimeout,
            message: format!(
                "its traffic was not led away in time; it waited for {waits_for}. It serves again. Pause and resume the set to try anew, or annotate the Pod with {FORCE_DRAIN_ANNOTATION}={} to go on all the same",
                operation.release_id
            ),
        };
        Step::of(operation, Next::Do(self.back(operation, Some(failure)))).for_whom(waits_for)
    }

    /// As when it began to be drained; from now on, where it was further already.
    fn draining(&self, operation: &Operation) -> Operation {
        if operation.state == State::Draining {
            return operation.clone();
        }
        operation.at(State::Draining, self.now)
    }

    /// No traffic is led to it. Since when, the leader remembers: one that begins anew waits anew, which loses nothing.
    fn quiet(&self, operation: &Operation, goal: &Goal<'_>, lossless: &Lossless) -> Step {
        let written = self.now.since(operation.since);
        let passed = match operation.state {
            State::Quiet => written,
            _ => self.detached_for.unwrap_or_default(),
        };
        let mut step = Step::of(operation, Next::Nothing);
        step.state = State::Quiet;
        step.detached = true;
        if passed < lossless.quiet() {
            // Kept in whole milliseconds: rounded up, it is over then.
            let left = lossless.quiet().saturating_sub(passed) + Duration::from_millis(1);
            return step
                .for_whom("the quiet time to end")
                .until(self.now.after(left));
        }
        if operation.op == Kind::Upgrade && !self.node_is_well {
            let who = format!("{} to be ready, with an agent that lives", self.node());
            return step.for_whom(who);
        }
        step.next = Next::Do(self.last(operation, goal, true));
        step
    }
}
