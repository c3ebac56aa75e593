//! The next step of an upgrade, from what is seen of the Pod and of the images on its node. Pure: no clock, no IO.
//!
//! Always holds: the images are on the node before anything else is touched; nothing is patched while kubelet calls a Pod ready that
//! is to be unready; each image is patched once; Succeeded is said only of containers that run with another id, as the node's agent
//! reports them for the specification that was asked for, ready for the minimum time, in the same Pod, sandbox and addresses.

use std::collections::BTreeMap;
use std::time::Duration;

use proto_crd::time::Timestamp;

use super::pull::Pulled;
use super::verify::{Before, Judged};
use crate::running::{GateSeen, RunningPod};

mod service;

/// How long the node's agent may take to report the containers of a Pod, and kubelet to see that the last holder has left: a watch whose
/// connection was lost without a word is noticed after 90 s.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Images by container.
    pub(super) images: BTreeMap<String, String>,
    /// How long the Pod is not ready before its images are changed; nothing: it is not made so.
    pub(super) unready: Option<Duration>,
    /// How long the containers must be ready to count.
    pub(super) min_ready: Duration,
    /// As whom the Pod is held unready.
    pub(super) holder: String,
    /// Go on with a hold that an earlier upgrade has left.
    pub(super) take_over: bool,
    /// When it is given up.
    pub(super) deadline: Timestamp,
}

/// What is seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The Pod; nothing: there is none.
    pub(super) pod: Option<RunningPod>,
    /// How far the images are.
    pub(super) pulled: Pulled,
    /// The time.
    pub(super) now: Timestamp,
}

/// What is done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The node's agent is asked to report the Pod's containers.
    AskReport,
    /// The images are asked for on the node.
    Pull,
    /// The Pod is held unready.
    Hold,
    /// The images are changed, over the version that was seen.
    Patch,
    /// The hold is given up.
    GiveBack,
    /// Nothing, until something changes.
    Wait(String),
    /// Nothing more.
    End(End),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Every container runs its image, and the Pod is what it was.
    Succeeded(String),
    /// It is not so.
    Failed(String),
    /// That is not known.
    Unknown(String),
}

/// How far it is.
#[derive(Clone, Debug)]
enum Stage {
    /// The Pod is looked at for the first time.
    Beginning,
    /// The agent's report of the Pod as it is waited for.
    Reporting { since: Timestamp },
    /// The images are on their way.
    Pulling { before: Before },
    /// The Pod is made unready.
    Draining {
        before: Before,
        unready_since: Option<Timestamp>,
    },
    /// The images are changed.
    Verifying {
        before: Before,
        ready_since: Option<Timestamp>,
    },
    /// The Pod is given back.
    Returning { since: Timestamp },
}

/// One upgrade.
#[derive(Clone, Debug)]
pub(super) struct Upgrade {
    wanted: Wanted,
    stage: Stage,
    /// Whether a hold may be there that is ours.
    holds: bool,
    /// What the images were that were changed: how to go back.
    way_back: BTreeMap<String, String>,
}

impl Upgrade {
    /// Of what is wanted.
    pub(super) const fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            stage: Stage::Beginning,
            holds: false,
            way_back: BTreeMap::new(),
        }
    }

    /// Whether the Pod may be held unready by it: to be given back on every way out.
    pub(super) const fn holds(&self) -> bool {
        self.holds
    }

    /// The images that were changed, as they were.
    pub(super) const fn way_back(&self) -> &BTreeMap<String, String> {
        &self.way_back
    }

    /// The next step. Steps that write have been taken when the next one is asked for, or are asked for again.
    pub(super) fn next(&mut self, seen: &Seen) -> Step {
        let Some(pod) = &seen.pod else {
            return failed("the Pod is gone".to_owned());
        };
        if seen.now >= self.wanted.deadline {
            return self.late(pod);
        }
        loop {
            let before = match &self.stage {
                Stage::Beginning | Stage::Reporting { .. } | Stage::Returning { .. } => None,
                Stage::Pulling { before }
                | Stage::Draining { before, .. }
                | Stage::Verifying { before, .. } => Some(before),
            };
            if let Some(lost) = before.and_then(|before| before.lost(pod)) {
                return failed(lost);
            }
            if let Some(step) = self.step(pod, seen) {
                return step;
            }
        }
    }

    /// A step, or nothing where a stage is over and the next one begins.
    fn step(&mut self, pod: &RunningPod, seen: &Seen) -> Option<Step> {
        match &mut self.stage {
            Stage::Beginning => self.begin(pod, seen.now),
            Stage::Reporting { since } => {
                let since = *since;
                self.report(pod, seen.now, since)
            }
            Stage::Pulling { .. } => self.pull(pod, &seen.pulled),
            Stage::Draining { .. } => self.drain(pod, seen.now),
            Stage::Verifying { .. } => self.verify(pod, seen.now),
            Stage::Returning { since } => {
                let since = *since;
                Some(self.return_to_service(pod, seen.now, since))
            }
        }
    }

    fn begin(&mut self, pod: &RunningPod, now: Timestamp) -> Option<Step> {
        if let Some(refusal) = self.refusal(pod) {
            return Some(failed(refusal));
        }
        // What an earlier upgrade has left is this one's to give back, whatever comes of it.
        self.holds = self.wanted.take_over && is_held(pod, &self.wanted.holder);
        self.stage = Stage::Reporting { since: now };
        None
    }

    fn refusal(&self, pod: &RunningPod) -> Option<String> {
        let key = pod.key();
        if let Some(unfit) = pod.unfit {
            return Some(format!("Pod {key} cannot be upgraded in place: {unfit}"));
        }
        if let Some(name) = self
            .wanted
            .images
            .keys()
            .find(|it| pod.container(it).is_none())
        {
            let names = pod.container_names();
            return Some(format!("Pod {key} has no container {name}; it has {names}"));
        }
        let gate = pod
            .gate
            .as_ref()
            .filter(|_| self.wanted.unready.is_some())?;
        match gate.holders() {
            Err(error) => Some(error.to_string()),
            Ok(holders) if holders.has(&self.wanted.holder) && !self.wanted.take_over => {
                Some(format!(
                    "an upgrade of Pod {key} holds it unready already: wait for its end; if it was cut off, add --take-over"
                ))
            }
            Ok(_) => None,
        }
    }

    fn report(&mut self, pod: &RunningPod, now: Timestamp, since: Timestamp) -> Option<Step> {
        if !pod.reports {
            return Some(Step::AskReport);
        }
        let Some(reported) = pod.reported() else {
            if now.since(since) < PATIENCE {
                return Some(wait("for the node's agent to report the Pod's containers"));
            }
            let node = pod.node.as_deref().unwrap_or_default();
            return Some(unknown(format!(
                "the agent of node {node} does not report the Pod's containers, so that nobody could say whether the upgrade succeeded; \
                 nothing was touched. Does it run? kubectl berth health {node}"
            )));
        };
        let changes = self.wanted.images.iter();
        let done = changes.clone().all(|(name, image)| {
            pod.container(name)
                .is_some_and(|it| it.image == *image && it.ready)
                && reported.get(name).is_some_and(|it| it.current)
        });
        if done {
            return Some(Step::End(End::Succeeded(
                "the Pod runs these images already; nothing was touched".to_owned(),
            )));
        }
        self.stage = Stage::Pulling {
            before: Before::of(pod, &reported, &self.wanted.images),
        };
        None
    }

    fn pull(&mut self, pod: &RunningPod, pulled: &Pulled) -> Option<Step> {
        let Stage::Pulling { before } = &self.stage else {
            return None;
        };
        let node = pod.node.as_deref().unwrap_or_default();
        match pulled {
            Pulled::NotAsked => return Some(Step::Pull),
            Pulled::Waiting(words) => return Some(Step::Wait(words.clone())),
            Pulled::Failed(words) => {
                return Some(failed(format!(
                    "{words}; nothing was touched on node {node}"
                )));
            }
            Pulled::All => {}
        }
        let before = before.clone();
        self.stage = if self.wanted.unready.is_some() && pod.gate.is_some() {
            Stage::Draining {
                before,
                unready_since: None,
            }
        } else {
            Stage::Verifying {
                before,
                ready_since: None,
            }
        };
        None
    }

    fn late(&self, pod: &RunningPod) -> Step {
        let what = match &self.stage {
            Stage::Beginning | Stage::Reporting { .. } | Stage::Pulling { .. } => {
                "nothing was touched".to_owned()
            }
            Stage::Draining { .. } => "no container was touched".to_owned(),
            Stage::Verifying { before, .. } => match before.judge(pod, &self.wanted.images) {
                Judged::Waiting(words) | Judged::Failed(words) => format!("it waited {words}"),
                Judged::Ready => "the new containers were not ready for long enough".to_owned(),
            },
            Stage::Returning { .. } => "the new containers are ready, the Pod is not".to_owned(),
        };
        failed(format!("not done by {}: {what}", self.wanted.deadline))
    }
}

/// Whether a Pod is held by this holder.
pub(super) fn is_held(pod: &RunningPod, holder: &str) -> bool {
    let holders = pod.gate.as_ref().map(GateSeen::holders);
    matches!(holders, Some(Ok(holders)) if holders.has(holder))
}

fn wait(words: &str) -> Step {
    Step::Wait(words.to_owned())
}

fn failed(words: String) -> Step {
    Step::End(End::Failed(words))
}

fn unknown(words: String) -> Step {
    Step::End(End::Unknown(words))
}

#[cfg(test)]
mod tests;
