//! The next step of one request, from what is seen of the world.
//!
//! Always holds: of each container only the one that ran when the request was accepted is ever stopped, its hook runs
//! once, and nothing is stopped at or after the deadline; `Succeeded` is said only of containers that run with another id,
//! ready for the minimum time, in the same Pod, sandbox and addresses. The caller stores the [`Decision`]'s status (with
//! a precondition on the version it was read at) and takes the step only when that succeeded; after a crash it looks and
//! plans again. What it reads may be old, but a Pod is read live before it is said to be gone, and its gate always is.

use proto_crd::container_restart::{
    ContainerRestartStatus, FailurePolicy, Phase, Reason, TEXT_LIMIT,
};
use proto_crd::time::Timestamp;

use crate::observed::{Observed, PodFacts, PodView, Runtime};
use crate::prestop::StopSpec;
use crate::queue::Turn;

mod accept;
mod container;
mod standing;
mod stop;

/// What is stored, and what is done once it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The request's status from now on.
    pub status: ContainerRestartStatus,
    /// What is done next.
    pub step: Step,
    /// When to look again at the latest, although nothing is seen to happen; none when nothing is left to decide.
    pub look_again: Option<Timestamp>,
}

/// What is done next for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, ever: nothing was stopped for it, and nothing will be.
    RefuseForGood(Failure),
    /// The Pod is made unready (`hold`: the request is to be entered as a holder of its gate) and that takes effect.
    WaitUnready {
        /// Whether the request does not hold the gate yet.
        hold: bool,
        /// Until when; none while kubelet still calls the Pod ready.
        until: Option<Timestamp>,
    },
    /// Nothing until kubelet has forgotten a container's restarts.
    WaitBackoff {
        /// Which container.
        container: String,
        /// When it will have.
        until: Timestamp,
    },
    /// A container is stopped: its hook, then TERM.
    Stop(StopOrder),
    /// A stop that was stored and of which nothing came (this process or the runtime ended in between) is finished: TERM
    /// alone, for the same container.
    ResumeStop(StopOrder),
    /// Something else has to happen first.
    Wait {
        /// What.
        message: String,
    },
    /// The request gives up its hold on the Pod's gate.
    ReleaseUnready,
    /// The request ends well.
    Succeeded,
    /// The request ends.
    Failed(Failure),
    /// Nothing is left to be done; finalizers may go.
    Finished {
        /// When the request is to be deleted.
        delete_at: Option<Timestamp>,
    },
}

/// Which container is stopped, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopOrder {
    /// Its name.
    pub container: String,
    /// Its id: never another one.
    pub id: String,
    /// How.
    pub spec: StopSpec,
    /// From then on neither hook nor TERM is begun.
    pub not_after: Timestamp,
}

/// Why a request ends badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub reason: Reason,
    /// For people: the cause and what to do.
    pub message: String,
}

/// The next step of a request.
///
/// # Guarantees
/// The same look at the world gives the same decision; one with a stored `Stop` never gives a second one.
pub fn plan(seen: &Observed) -> Decision {
    let mut draft = Draft {
        seen,
        status: seen.status.clone(),
        deadline: seen.created_at.after(seen.spec.deadline()),
    };
    let step = if seen.deleting || seen.status.phase.is_final() {
        draft.give_back()
    } else {
        draft.decide()
    };
    if let Some(message) = step.waits()
        && !draft.status.phase.is_final()
    {
        draft.status.message = message;
    }
    draft.bound();
    Decision {
        look_again: draft.look_again(&step),
        status: draft.status,
        step,
    }
}

struct Draft<'a> {
    seen: &'a Observed,
    status: ContainerRestartStatus,
    deadline: Timestamp,
}

impl Draft<'_> {
    fn give_back(&self) -> Step {
        let finished = Step::Finished {
            delete_at: self
                .status
                .completed_at
                .zip(self.seen.spec.ttl_seconds_after_finished)
                .map(|(end, ttl)| end.after(std::time::Duration::from_secs(ttl.into()))),
        };
        match &self.seen.pod {
            _ if self.seen.spec.strategy.unready_grace().is_none() => finished,
            PodView::Seen(pod) if pod.uid == self.seen.spec.pod_uid && pod.gate.held => {
                Step::ReleaseUnready
            }
            PodView::Unknown => wait("to know whether the Pod is still held unready"),
            PodView::Gone | PodView::Seen(_) => finished,
        }
    }

    fn decide(&mut self) -> Step {
        let step = match self.forward() {
            Ok(step) => step,
            Err(failure) => return self.fail(failure),
        };
        if step == Step::Succeeded {
            self.status.phase = Phase::Succeeded;
            self.status.completed_at = Some(self.seen.now.rounded_up());
            "every container runs anew and is ready".clone_into(&mut self.status.message);
        } else if self.is_late() && step != Step::ReleaseUnready {
            let waited = match &step {
                Step::Wait { message } => message.clone(),
                Step::WaitBackoff { container, .. } => {
                    format!("for kubelet to forget the restarts of container {container}")
                }
                _ => "for the Pod to be unready".to_owned(),
            };
            return self.fail(Failure::new(
                Reason::DeadlineExceeded,
                format!(
                    "not done by {}, when it waited {waited}; nothing more is stopped",
                    self.deadline
                ),
            ));
        }
        step
    }

    /// The API server refuses longer messages; kubelet's and the runtime's words, which are told on, have no bound.
    fn bound(&mut self) {
        let of_containers = self.status.containers.iter_mut();
        for message in of_containers
            .map(|container| &mut container.message)
            .chain([&mut self.status.message])
        {
            if let Some((end, _)) = message.char_indices().nth(TEXT_LIMIT) {
                message.truncate(end);
            }
        }
    }

    fn look_again(&self, step: &Step) -> Option<Timestamp> {
        if let Step::Finished { delete_at } = step {
            return *delete_at;
        }
        if self.status.phase.is_final() {
            return None;
        }
        let by_step = match step {
            Step::WaitUnready { until, .. } => *until,
            Step::WaitBackoff { until, .. } => Some(*until),
            _ => None,
        };
        let containers = self.status.containers.iter();
        containers
            .filter_map(|container| self.look_at(container))
            .chain(by_step)
            .filter(|time| *time > self.seen.now)
            .chain([self.deadline])
            .min()
    }

    fn is_late(&self) -> bool {
        self.seen.now >= self.deadline
    }

    fn forward(&mut self) -> Result<Step, Failure> {
        self.note_unready();
        if let Some(step) = self.turn()? {
            return Ok(step);
        }
        let Some(runtime) = &self.seen.runtime else {
            return Ok(wait("for the container runtime to answer"));
        };
        if let Some(pod) = self.pod()? {
            standing::judge(&self.seen.spec, pod, &self.seen.node)?;
        }
        if !self.status.has_begun()
            && let Some(step) = self.accept(runtime)?
        {
            return Ok(step);
        }
        if let Some(step) = self.same_sandbox(runtime)? {
            return Ok(step);
        }
        self.progress(runtime)?;
        self.next(runtime)
    }

    /// What is seen not to be ready is noted first: whatever else has to be waited for, its time begins anew.
    fn note_unready(&mut self) {
        let PodView::Seen(pod) = &self.seen.pod else {
            return;
        };
        for status in &mut self.status.containers {
            let is_ready = pod
                .container(&status.name)
                .is_some_and(|seen| seen.ready && seen.id == status.new_container_id);
            status.ready_since = status.ready_since.filter(|_| is_ready);
        }
    }

    /// The Pod, where it is known.
    fn pod(&self) -> Result<Option<&PodFacts>, Failure> {
        match &self.seen.pod {
            PodView::Unknown => Ok(None),
            PodView::Seen(pod) => Ok(Some(pod)),
            PodView::Gone => Err(Failure::new(
                Reason::PodGone,
                format!("there is no Pod {} any more", self.seen.spec.pod_name),
            )),
        }
    }

    fn turn(&mut self) -> Result<Option<Step>, Failure> {
        self.status.queue_position = None;
        match &self.seen.turn {
            Turn::Now => Ok(None),
            Turn::SupersededBy(_) if self.status.has_begun() => Ok(None),
            Turn::SupersededBy(by) => Err(Failure::new(
                Reason::Superseded,
                format!("request {by}, made later, asks for the same containers"),
            )),
            Turn::After { position, behind } => {
                self.status.queue_position = Some(*position);
                Ok(Some(wait(&format!(
                    "for {position} earlier request(s) for this Pod, {behind} first"
                ))))
            }
        }
    }

    /// What has become of each container; a failure of one fails the request where its policy says so.
    fn progress(&mut self, runtime: &Runtime) -> Result<(), Failure> {
        let pod = match &self.seen.pod {
            PodView::Seen(pod) => Some(pod),
            PodView::Unknown | PodView::Gone => None,
        };
        for index in 0..self.status.containers.len() {
            let view = container::View {
                seen: self.seen,
                runtime,
                pod,
                deadline: self.deadline,
            };
            if let Err(failure) = container::progress(&mut self.status.containers[index], &view) {
                self.container_fails(index, failure)?;
            }
        }
        Ok(())
    }

    fn container_fails(&mut self, index: usize, failure: Failure) -> Result<(), Failure> {
        container::fail(&mut self.status.containers[index], &failure);
        match self.seen.spec.strategy.failure_policy {
            FailurePolicy::Ignore => Ok(()),
            FailurePolicy::Fail => Err(failure),
        }
    }

    fn fail(&mut self, failure: Failure) -> Step {
        for status in &mut self.status.containers {
            container::end(status, &failure);
        }
        self.status.phase = Phase::Failed;
        self.status.reason = Some(failure.reason);
        self.status.message.clone_from(&failure.message);
        self.status.queue_position = None;
        self.status.completed_at = Some(self.seen.now.rounded_up());
        let touched = self
            .status
            .containers
            .iter()
            .any(|container| container.killed_at.is_some());
        if touched || failure.reason == Reason::DeadlineExceeded {
            Step::Failed(failure)
        } else {
            Step::RefuseForGood(failure)
        }
    }
}

impl Step {
    /// What is waited for, for people.
    fn waits(&self) -> Option<String> {
        match self {
            Self::Wait { message } => Some(message.clone()),
            Self::WaitBackoff { container, until } => Some(format!(
                "until {until}, for kubelet to forget the restarts of container {container}: stopped before, it would stay down for longer than is allowed"
            )),
            Self::WaitUnready { until: None, .. } => Some("for the Pod to be unready".to_owned()),
            Self::WaitUnready {
                until: Some(until), ..
            } => Some(format!("until {until}, with the Pod unready")),
            _ => None,
        }
    }
}

impl Failure {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

fn wait(message: &str) -> Step {
    Step::Wait {
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod interleave;
#[cfg(test)]
mod tests;
