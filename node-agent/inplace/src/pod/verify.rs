//! Whether a Pod's containers were replaced, by their ids and specification hashes, never by image ids.

use std::collections::BTreeMap;

use proto_crd::container_restart::Phase;
use proto_crd::pod_containers::specification_hash;
use proto_crd::time::Timestamp;

use super::signals::listed;
use super::step::{Look, Next, Step};
use super::{Container, PodView};
use crate::operation::{Failure, Operation, Reason, State};
use crate::plan::Deed;

/// What kubelet says of a container that will hardly come up by itself. A slow start is none of them.
const TROUBLE: [&str; 9] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

impl Look<'_> {
    /// The Pod was patched: whether its containers were replaced and stay ready.
    pub(super) fn verify(&self, operation: &Operation) -> Step {
        let mut step = self.replaced(operation);
        let late = operation.since.after(self.progress_deadline);
        if matches!(step.next, Next::Nothing) && step.failure.is_none() {
            step.troubled = self.pod.containers.iter().any(is_in_trouble);
            if late <= self.now {
                let why = format!("it is not up in time; it waits for {}", step.waits_for);
                return step.failed(Reason::ProgressDeadlineExceeded, why);
            }
            let first = step.look_again.map_or(late, |again| again.min(late));
            step.look_again = Some(first);
        }
        step
    }

    fn replaced(&self, operation: &Operation) -> Step {
        let mut waits_for = Vec::new();
        let pod = self.pod;
        if pod
            .observed_generation
            .is_some_and(|seen| seen < pod.generation)
        {
            waits_for.push("kubelet to take note of its new spec".to_owned());
        }
        for (name, before) in &operation.before {
            let container = pod.containers.iter().find(|one| one.name == *name);
            let awaited = container.and_then(|one| awaited(pod, one, before));
            waits_for.extend(awaited);
        }
        if !waits_for.is_empty() {
            let step = Step::waiting(operation, listed(&waits_for));
            return self.restarted(operation, step);
        }
        let mut step = Step::waiting(operation, "");
        step.state = State::Verifying;
        if !pod.containers_ready.is_true {
            let mut why: Vec<String> = pod.containers.iter().filter_map(unready).collect();
            if why.is_empty() {
                why.push("kubelet to report its containers ready".to_owned());
            }
            return step.for_whom(listed(&why));
        }
        let since = self.ready_since(operation);
        let end = since.after(self.min_ready);
        if end > self.now {
            return step
                .for_whom("its containers to stay ready for minReadySeconds")
                .until(end);
        }
        step.next = Next::Do(self.verified(operation));
        step
    }

    /// Since when what runs now is ready: kubelet need not have noticed the gap.
    fn ready_since(&self, operation: &Operation) -> Timestamp {
        let started = self
            .pod
            .containers
            .iter()
            .filter(|container| operation.before.contains_key(&container.name))
            .filter_map(|container| container.started_at);
        let seen = self.pod.containers_ready.since;
        started.chain(seen).fold(operation.since, Ord::max)
    }

    fn verified(&self, operation: &Operation) -> Deed {
        if self.lossless.is_none() && !self.pod.gate.is_held_by(self.holder) {
            return self.finish();
        }
        let before = operation.identity.as_ref();
        let lost = before.filter(|before| {
            !before.ips.is_empty() && !self.pod.ips.is_empty() && before.ips != self.pod.ips
        });
        let failure = lost.map(|before| Failure {
            reason: Reason::IdentityLost,
            message: format!(
                "its addresses were {} and are {}: its sandbox was made anew meanwhile. It serves; find out why before others follow, then pause and resume the set",
                before.ips.join(", "),
                self.pod.ips.join(", ")
            ),
        });
        // Whether its traffic is back its signals say: that it is released is this write.
        self.release(failure.map(|failure| Operation {
            before: BTreeMap::new(),
            restart: Vec::new(),
            identity: None,
            failure: Some(failure),
            ..operation.at(State::Attaching, self.now)
        }))
    }

    /// The request of the target before this one, as long as it may still stop something, whether it was seen or not.
    pub(super) fn restart_under_way(&self) -> Option<String> {
        let operation = self.pod.operation()?;
        let name = restart_name(self.pod, operation);
        let has_ended = self
            .restarts
            .get(&name)
            .is_some_and(|request| request.phase.is_final());
        (operation.state == State::Upgrading && !operation.restart.is_empty() && !has_ended)
            .then_some(name)
    }

    /// Containers in which kubelet sees no difference are stopped by the agent, each once in a release.
    fn restarted(&self, operation: &Operation, step: Step) -> Step {
        let old: Vec<&Container> = self
            .pod
            .containers
            .iter()
            .filter(|container| operation.restart.contains(&container.name))
            .filter(|container| container.id.as_ref() == operation.before.get(&container.name))
            .collect();
        let Some(node) = self.pod.node.as_ref().filter(|_| !old.is_empty()) else {
            return step;
        };
        let name = restart_name(self.pod, operation);
        let Some(request) = self.restarts.get(&name) else {
            // What does not run now comes back with the new environment by itself.
            let running = old
                .iter()
                .filter(|container| container.started_at.is_some());
            let containers: Vec<String> = running.map(|container| container.name.clone()).collect();
            if containers.is_empty() || !self.node_is_well {
                return step;
            }
            let ask = Deed::AskRestart {
                name,
                pod: self.pod.basis(),
                node: node.clone(),
                containers,
                deadline: self.progress_deadline,
            };
            return Step {
                next: Next::Do(ask),
                ..step
            };
        };
        let until = request
            .backoff_until
            .map(|until| format!(", kubelet's back-off until {until}"))
            .unwrap_or_default();
        if request.phase == Phase::Failed {
            let why = format!("ContainerRestart {name} failed: {}{until}", request.message);
            return step.failed(Reason::RestartFailed, why);
        }
        step.for_whom(format!(
            "ContainerRestart {name} ({}{until})",
            request.message
        ))
    }
}

/// One request a Pod and release, however often it is asked.
fn restart_name(pod: &PodView, operation: &Operation) -> String {
    let uid: String = pod.uid.chars().take(8).collect();
    format!("{}-{}-{uid}", pod.name, operation.release_id)
}

/// What a container waits for until it is another one.
fn awaited(pod: &PodView, container: &Container, before: &str) -> Option<String> {
    let name = &container.name;
    let is_new = container.id.as_deref().is_some_and(|id| id != before);
    if !is_new || container.started_at.is_none() {
        let why = container.waiting.as_ref().map(why).unwrap_or_default();
        return Some(format!("kubelet to replace container {name}{why}"));
    }
    if container.sidecar {
        return None;
    }
    let desired = specification_hash(name, &container.image);
    let facts = pod.reported.get(name);
    let told = facts
        .is_some_and(|facts| facts.reported.as_ref() == Some(&desired) && facts.id == container.id);
    (!told).then(|| format!("the node's agent to report container {name}"))
}

fn unready(container: &Container) -> Option<String> {
    let why = container.waiting.as_ref().map(why).unwrap_or_default();
    let name = &container.name;
    (!container.ready).then(|| format!("container {name} to be ready{why}"))
}

fn why((reason, message): &(String, String)) -> String {
    let message: String = message.chars().take(200).collect();
    let between = if message.is_empty() { "" } else { ": " };
    format!(" ({reason}{between}{message})")
}

fn is_in_trouble(container: &Container) -> bool {
    let reason = container
        .waiting
        .as_ref()
        .map(|(reason, _)| reason.as_str());
    reason.is_some_and(|reason| TROUBLE.contains(&reason))
}
