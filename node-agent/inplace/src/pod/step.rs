//! The next step of one Pod, from its annotation and its signals.
//!
//! Always holds: before the patch everything can be taken back, and is where the target is the Pod's own again; after it there is
//! only another target. Nothing is patched or deleted that the Pod's gate does not hold unready, where traffic is led away.

use std::collections::BTreeMap;
use std::time::Duration;

use proto_crd::in_place_set::Lossless;
use proto_crd::time::Timestamp;

use super::signals::listed;
use super::{Endpoint, PodView, Underway};
use crate::operation::{Failure, Kind, Operation, Reason, State};
use crate::plan::{Deed, NodePulls, PodPatch, Pull, Restart};

/// What is looked at for one Pod.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The Pod.
    pub pod: &'a PodView,
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// What the set is called as a holder of the Pod's gate.
    pub holder: &'a str,
    /// How its traffic is led away; nothing: it is not.
    pub lossless: Option<&'a Lossless>,
    /// How long it must be ready.
    pub min_ready: Duration,
    /// How long it may take from its patch until it is ready.
    pub progress_deadline: Duration,
    /// How long its images may take.
    pub pre_pull_timeout: Duration,
    /// Whether its node is Ready and has an agent that lives.
    pub node_is_well: bool,
    /// What its node was asked for.
    pub pulls: Option<&'a NodePulls>,
    /// The set's requests to restart containers, by name.
    pub restarts: &'a BTreeMap<String, Restart>,
    /// For how long no traffic was led to it, as far as this leader knows; nothing: it was at his last look.
    pub detached_for: Option<Duration>,
    /// The release that is under way, if one is.
    pub release: Option<&'a str>,
    /// Whether no further Pod is begun with. What was given up is forgotten then.
    pub paused: bool,
    /// The term of the leader that looks.
    pub term: u64,
    /// Now.
    pub now: Timestamp,
}

/// What is wanted of a Pod.
#[derive(Clone, Copy, Debug)]
pub enum Goal<'a> {
    /// That it serves as it is.
    Stay,
    /// Another revision, in place.
    Upgrade {
        /// For which release.
        release: &'a str,
        /// What is changed.
        patch: &'a PodPatch,
        /// Containers that are restarted although kubelet sees no difference.
        restart: &'a [String],
    },
    /// That it goes.
    Leave {
        /// To be made anew or not.
        kind: Kind,
        /// For which release, or for which change of the set.
        release: &'a str,
    },
}

/// The next write on a Pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// None.
    Nothing,
    /// This one, whatever else is under way.
    Do(Deed),
    /// None on the Pod: its node is asked for its images.
    AskImages,
    /// The only one of an operation. It costs no service.
    Free(Deed),
    /// It costs the Pod's service.
    Drain(Deed),
}

/// Where a Pod stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// How far it is, as its signals say.
    pub state: State,
    /// Since when; nothing: nothing is done with it.
    pub since: Option<Timestamp>,
    /// What is written.
    pub next: Next,
    /// Whom it waits for.
    pub waits_for: String,
    /// Why it does not go on by itself.
    pub failure: Option<Failure>,
    /// Whether it looks as if it would fail: no further Pod follows it.
    pub troubled: bool,
    /// Whether it is held unready and no traffic is led to it.
    pub detached: bool,
    /// When to look again even if nothing happens.
    pub look_again: Option<Timestamp>,
}

impl Step {
    pub(super) const fn new(state: State, since: Option<Timestamp>, next: Next) -> Self {
        Self {
            state,
            since,
            next,
            waits_for: String::new(),
            failure: None,
            troubled: false,
            detached: false,
            look_again: None,
        }
    }

    /// Nothing is done.
    pub(crate) const fn idle() -> Self {
        Self::new(State::Serving, None, Next::Nothing)
    }

    pub(super) fn of(operation: &Operation, next: Next) -> Self {
        Self::new(operation.state, Some(operation.since), next)
    }

    pub(super) fn waiting(operation: &Operation, waits_for: impl Into<String>) -> Self {
        Self::of(operation, Next::Nothing).for_whom(waits_for)
    }

    pub(super) fn for_whom(mut self, waits_for: impl Into<String>) -> Self {
        self.waits_for = waits_for.into();
        self
    }

    pub(super) const fn until(mut self, look_again: Timestamp) -> Self {
        self.look_again = Some(look_again);
        self
    }

    pub(super) fn failed(mut self, reason: Reason, message: impl Into<String>) -> Self {
        let message = message.into();
        self.waits_for.clone_from(&message);
        self.failure = Some(Failure { reason, message });
        self
    }
}

/// The next step of a Pod.
pub fn step(look: &Look<'_>, goal: &Goal<'_>) -> Step {
    let pod = look.pod;
    match &pod.operation {
        _ if pod.deleting => {
            let state = pod.operation().map_or(State::Serving, |_| State::Upgrading);
            Step::new(state, None, Next::Nothing).for_whom("its deletion to end")
        }
        Underway::Unreadable(why) => {
            Step::new(State::Serving, None, Next::Nothing).failed(Reason::Unreadable, why)
        }
        Underway::Nothing => look.begin(goal, 0),
        Underway::This(operation) if operation.term > look.term => {
            Step::waiting(operation, "the leader of a later term")
        }
        Underway::This(operation) => look.go_on(operation, goal),
    }
}

impl Look<'_> {
    /// Nothing is done with the Pod yet.
    pub(super) fn begin(&self, goal: &Goal<'_>, attempts: u32) -> Step {
        let pod = self.pod;
        let serving = |next| Step::new(State::Serving, None, next);
        match *goal {
            Goal::Stay => self.settle(),
            Goal::Leave { kind, release } => {
                let to = pod.revision.as_deref().unwrap_or_default();
                if pod.node.is_none() {
                    return serving(Next::Drain(self.delete(false)));
                }
                self.drain(&self.operation(kind, release, to, attempts), goal)
            }
            Goal::Upgrade {
                release,
                patch,
                restart,
            } => {
                let is_metadata_only = images(patch).next().is_none() && restart.is_empty();
                if is_metadata_only || pod.node.is_none() {
                    return serving(Next::Free(self.patch(None, release, patch)));
                }
                let operation = self.operation(Kind::Upgrade, release, &patch.revision, attempts);
                if images(patch).next().is_none() {
                    return self.drain(&operation, goal);
                }
                self.pre_pull(&operation, goal, patch)
            }
        }
    }

    fn operation(&self, op: Kind, release: &str, to: &str, attempts: u32) -> Operation {
        Operation {
            op,
            release_id: release.to_owned(),
            to_revision: to.to_owned(),
            state: State::Serving,
            since: self.now.rounded_up(),
            attempts,
            term: self.term,
            before: BTreeMap::new(),
            restart: Vec::new(),
            identity: None,
            forced: false,
            failure: None,
        }
    }

    /// Its traffic begins to be led away, if it is to be.
    fn drain(&self, operation: &Operation, goal: &Goal<'_>) -> Step {
        let (state, since) = (operation.state, Some(operation.since));
        if self.lossless.is_none() || !self.pod.gate.declared {
            let last = self.last(operation, goal, false);
            return Step::new(state, since, Next::Drain(last));
        }
        if let Err(error) = self.pod.gate.holders() {
            return Step::new(state, since, Next::Nothing).for_whom(error.to_string());
        }
        let mut operation = operation.at(State::Draining, self.now);
        operation.attempts += 1;
        Step::new(state, since, Next::Drain(self.hold(operation)))
    }

    fn go_on(&self, operation: &Operation, goal: &Goal<'_>) -> Step {
        let is_this = match *goal {
            Goal::Stay => false,
            Goal::Upgrade { release, patch, .. } => {
                operation.op == Kind::Upgrade
                    && operation.to_revision == patch.revision
                    && operation.release_id == release
            }
            Goal::Leave { release, .. } => {
                operation.op != Kind::Upgrade && operation.release_id == release
            }
        };
        match operation.state {
            State::Serving | State::PrePull => match goal {
                Goal::Stay => Step::of(operation, Next::Do(self.finish())),
                _ => self.begin(goal, operation.attempts),
            },
            State::Draining | State::Detached | State::Quiet => {
                self.take_out(operation, goal, is_this)
            }
            State::Upgrading | State::Verifying => self.replace(operation, goal),
            State::Attaching => self.bring_back(operation, goal, is_this),
        }
    }

    /// Its node gets the images. Nothing of that is written on the Pod: what its node is asked for says it.
    fn pre_pull(&self, operation: &Operation, goal: &Goal<'_>, patch: &PodPatch) -> Step {
        let all = |asked: &&NodePulls| images(patch).all(|it| asked.images.contains_key(it));
        let asked = self
            .pulls
            .filter(|asked| asked.requested_by == operation.release_id);
        let Some(asked) = asked.filter(all) else {
            return Step::new(State::Serving, None, Next::AskImages);
        };
        let since = asked.since.unwrap_or(self.now);
        let at = |next| Step::new(State::PrePull, Some(since), next);
        let mut waits_for = Vec::new();
        for image in images(patch) {
            match asked.images.get(image) {
                None | Some(Pull::Present) => {}
                Some(Pull::Failed(why)) => {
                    let why = format!("image {image} cannot be pulled: {why}");
                    return at(Next::Nothing).failed(Reason::ImagePullFailed, why);
                }
                Some(Pull::Pending(how)) => waits_for.push(format!("image {image} ({how})")),
            }
        }
        if waits_for.is_empty() {
            if !self.node_is_well {
                return at(Next::Nothing).for_whom(self.node());
            }
            let step = self.drain(operation, goal);
            return Step {
                state: State::PrePull,
                since: Some(since),
                ..step
            };
        }
        let late = since.after(self.pre_pull_timeout);
        let waits_for = listed(&waits_for);
        if late <= self.now {
            let why = format!("{} does not have {waits_for} in time", self.node());
            return at(Next::Nothing).failed(Reason::PrePullTimeout, why);
        }
        at(Next::Nothing).for_whom(waits_for).until(late)
    }

    pub(super) fn node(&self) -> String {
        let name = self.pod.node.as_deref().unwrap_or_default();
        format!("node {name}")
    }

    /// What was given up is forgotten while the set is paused, so that it is tried anew.
    pub(super) fn forgotten(&self) -> Next {
        if self.paused {
            Next::Do(self.finish())
        } else {
            Next::Nothing
        }
    }

    /// It was patched: it goes on, or gets another target.
    fn replace(&self, operation: &Operation, goal: &Goal<'_>) -> Step {
        match *goal {
            Goal::Leave { kind, release } => {
                let to = operation.to_revision.clone();
                let mut leaving = self.operation(kind, release, &to, operation.attempts);
                leaving.state = State::Draining;
                let held = self.pod.gate.is_held_by(self.holder);
                let detached = self.lossless.is_none_or(|lossless| {
                    let awaited = self
                        .pod
                        .awaited_to_detach(lossless, self.endpoint, self.holder);
                    held && awaited.is_empty()
                });
                if detached {
                    let last = self.last(&leaving, goal, self.lossless.is_some());
                    return Step::of(operation, Next::Do(last));
                }
                Step::of(operation, Next::Do(self.hold(leaving)))
            }
            Goal::Upgrade { patch, .. } if patch.revision != operation.to_revision => {
                // No second drain: it is out of service. Nor is anybody waited for: it may be down because of what it has.
                if self.lossless.is_some() && !self.pod.gate.is_held_by(self.holder) {
                    return Step::of(operation, Next::Do(self.hold(operation.clone())));
                }
                let is_held = self.pod.gate.is_held_by(self.holder);
                Step::of(operation, Next::Do(self.last(operation, goal, is_held)))
            }
            Goal::Upgrade { .. } | Goal::Stay => self.verify(operation),
        }
    }
}

/// The images that a patch needs.
pub(crate) fn images(patch: &PodPatch) -> impl Iterator<Item = &String> {
    patch.images.values().chain(patch.init_images.values())
}
