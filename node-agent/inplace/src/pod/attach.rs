//! How a Pod's traffic is led back, and when it is all there. It serves meanwhile, and keeps what it has.

use proto_crd::in_place_set::Lossless;

use super::signals::listed;
use super::step::{Goal, Look, Next, Step};
use crate::operation::{Operation, Reason, State};

impl Look<'_> {
    /// Nothing is to be done with it: whether it went through the release that is under way, and its traffic is not all back.
    ///
    /// Nothing of that is written on the Pod. What is not ready does not wait for its traffic, but for itself.
    pub(super) fn settle(&self) -> Step {
        let pod = self.pod;
        let is_of_it = self.release.is_some() && pod.release.as_deref() == self.release;
        let Some(lossless) = self.lossless.filter(|_| is_of_it && pod.gate.declared) else {
            return Step::idle();
        };
        let awaited = pod.awaited_to_attach(Some(lossless), self.endpoint);
        if awaited.is_empty() || !pod.containers_ready.is_true || !pod.is_living() {
            return Step::idle();
        }
        let ready = pod.ready.since.filter(|_| pod.ready.is_true);
        let times = [pod.gate.since, pod.containers_ready.since, ready];
        let since = times.into_iter().flatten().max().unwrap_or(self.now);
        let at = Step::new(State::Attaching, Some(since), Next::Nothing);
        let late = since.after(lossless.attach_timeout());
        let waits_for = listed(&awaited);
        if late > self.now {
            return at.for_whom(waits_for).until(late);
        }
        at.failed(Reason::AttachTimeout, not_back(&waits_for))
    }

    /// Its traffic is led back.
    pub(super) fn bring_back(&self, operation: &Operation, goal: &Goal<'_>, is_this: bool) -> Step {
        if is_this && let Some(failure) = &operation.failure {
            let forced = self.pod.force_drain.as_ref() == Some(&operation.release_id);
            if forced && failure.reason == Reason::DrainTimeout {
                return self.begin(goal, operation.attempts);
            }
            let step = Step::of(operation, self.forgotten());
            return step.failed(failure.reason, failure.message.as_str());
        }
        match goal {
            Goal::Upgrade { .. } if !is_this && self.is_attached() => {
                Step::of(operation, Next::Do(self.finish()))
            }
            Goal::Upgrade { .. } | Goal::Leave { .. } if !is_this => {
                self.begin(goal, operation.attempts)
            }
            _ => self.attach(operation),
        }
    }

    fn is_attached(&self) -> bool {
        !self.pod.gate.is_held_by(self.holder)
            && self
                .pod
                .awaited_to_attach(self.lossless, self.endpoint)
                .is_empty()
    }

    fn attach(&self, operation: &Operation) -> Step {
        if self.pod.gate.is_held_by(self.holder) {
            let again = self.release(Some(operation.clone()));
            return Step::of(operation, Next::Do(again));
        }
        let awaited = match self.lossless {
            None => Vec::new(),
            Some(_) => self.pod.awaited_to_attach(self.lossless, self.endpoint),
        };
        if awaited.is_empty() {
            let lost = operation
                .failure
                .as_ref()
                .filter(|failure| failure.reason == Reason::IdentityLost && !self.paused);
            return match lost {
                Some(failure) => {
                    Step::waiting(operation, "").failed(failure.reason, failure.message.as_str())
                }
                None => Step::of(operation, Next::Do(self.finish())),
            };
        }
        let waits_for = listed(&awaited);
        let timeout = self.lossless.map(Lossless::attach_timeout);
        let late = operation.since.after(timeout.unwrap_or_default());
        if late > self.now {
            return Step::waiting(operation, waits_for).until(late);
        }
        Step::waiting(operation, "").failed(Reason::AttachTimeout, not_back(&waits_for))
    }
}

fn not_back(waits_for: &str) -> String {
    format!("its traffic was not led back in time; it waits for {waits_for}. It keeps what it has")
}
