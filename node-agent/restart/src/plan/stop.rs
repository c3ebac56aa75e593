//! Which container is stopped next, and when: after the back-off is known to be short enough, and the Pod is unready.

use std::time::Duration;

use proto_crd::container_restart::{BackOffPolicy, ContainerPhase, ContainerStatus, Phase, Reason};
use proto_crd::time::Timestamp;

use super::{Draft, Failure, Step, StopOrder, wait};
use crate::observed::{ContainerState, LiveContainer, PodView, Runtime};
use crate::prestop::StopSpec;

/// How much longer than its grace period a stop may take: the runtime's KILL, and the fraction of a second that a stored
/// time loses.
const SLACK: Duration = Duration::from_secs(10);

impl Draft<'_> {
    /// The step after every container is known to be where it is.
    pub(super) fn next(&mut self, runtime: &Runtime) -> Result<Step, Failure> {
        if let Some(step) = self.unfinished_stop(runtime)? {
            return Ok(step);
        }
        if let Some(index) = self.next_pending() {
            return self.towards_stop(index, runtime);
        }
        let unfinished = self.status.containers.iter().find(|container| {
            matches!(
                container.phase,
                ContainerPhase::Pending | ContainerPhase::Recreating
            )
        });
        match unfinished {
            Some(container) => Ok(waits_for(container)),
            None => self.verdict(),
        }
    }

    fn verdict(&self) -> Result<Step, Failure> {
        let failed: Vec<&str> = self
            .status
            .containers
            .iter()
            .filter(|container| container.phase == ContainerPhase::Failed)
            .map(|container| container.name.as_str())
            .collect();
        if !failed.is_empty() {
            return Err(Failure::new(
                Reason::ContainersFailed,
                format!(
                    "container(s) {} failed; their own messages say why",
                    failed.join(", ")
                ),
            ));
        }
        let PodView::Seen(pod) = &self.seen.pod else {
            return Ok(wait("to see the Pod"));
        };
        let unsure = self.status.containers.iter().find(|container| {
            pod.container(&container.name)
                .is_none_or(|seen| seen.id != container.new_container_id || !seen.ready)
        });
        if let Some(container) = unsure {
            return Ok(wait(&format!(
                "for container {} to be ready",
                container.name
            )));
        }
        if pod.gate.held {
            return Ok(Step::ReleaseUnready);
        }
        Ok(Step::Succeeded)
    }

    /// The first container that is still to be stopped and may be by the order; none while an earlier one is under way.
    fn next_pending(&self) -> Option<usize> {
        let containers = &self.status.containers;
        let pending = |container: &ContainerStatus| container.phase == ContainerPhase::Pending;
        let index = containers.iter().position(pending)?;
        let free = !self.seen.spec.strategy.ordered
            || containers[..index]
                .iter()
                .all(|container| container.phase != ContainerPhase::Recreating);
        free.then_some(index)
    }

    fn towards_stop(&mut self, index: usize, runtime: &Runtime) -> Result<Step, Failure> {
        let name = self.status.containers[index].name.clone();
        let order = match self.stoppable(index, runtime) {
            Ok(Ok(order)) => order,
            Ok(Err(step)) => return self.instead(index, step, runtime),
            Err(failure) => {
                self.container_fails(index, failure)?;
                return self.next(runtime);
            }
        };
        let touched = self
            .status
            .containers
            .iter()
            .any(|container| container.killed_at.is_some());
        let checked: Vec<usize> = if touched {
            vec![index]
        } else {
            // Before anything is stopped, all that will be stopped is looked at.
            (0..self.status.containers.len())
                .filter(|index| self.status.containers[*index].phase == ContainerPhase::Pending)
                .collect()
        };
        for index in checked {
            match self.back_off(index, runtime) {
                Ok(None) => {}
                Ok(Some(step)) => return Ok(step),
                Err(failure) => {
                    self.container_fails(index, failure)?;
                    return self.next(runtime);
                }
            }
        }
        if let Some(step) = self.unready() {
            return Ok(step);
        }
        if self.is_late() {
            return Ok(wait(&format!("to stop container {name}")));
        }
        self.status.phase = Phase::Recreating;
        let container = &mut self.status.containers[index];
        container.phase = ContainerPhase::Recreating;
        container.killed_at = Some(self.seen.now);
        "for it to end".clone_into(&mut container.message);
        self.status.message = format!("stopping container {name}");
        Ok(Step::Stop(order))
    }

    /// Where a container cannot be stopped yet and the order does not matter, the others need not wait for it.
    fn instead(&mut self, index: usize, step: Step, runtime: &Runtime) -> Result<Step, Failure> {
        if self.seen.spec.strategy.ordered {
            return Ok(step);
        }
        let later = (index + 1..self.status.containers.len()).find(|later| {
            self.status.containers[*later].phase == ContainerPhase::Pending
                && matches!(self.stoppable(*later, runtime), Ok(Ok(_)) | Err(_))
        });
        later.map_or(Ok(step), |later| self.towards_stop(later, runtime))
    }

    /// How a container is stopped, or what has to happen first.
    fn stoppable(
        &self,
        index: usize,
        runtime: &Runtime,
    ) -> Result<Result<StopOrder, Step>, Failure> {
        let status = &self.status.containers[index];
        let name = &status.name;
        let live = runtime
            .newest(name)
            .filter(|live| live.id == status.old_container_id);
        let Some(live) = live.filter(|live| matches!(live.state, ContainerState::Running { .. }))
        else {
            return Ok(Err(wait(&format!("for container {name} to run"))));
        };
        if let PodView::Seen(pod) = &self.seen.pod
            && !self.seen.spec.strategy.force
            && pod
                .container(name)
                .is_none_or(|seen| seen.id != live.id || !seen.started)
        {
            return Ok(Err(wait(&format!(
                "for container {name} to have started (force stops it all the same)"
            ))));
        }
        self.order(live).map(Ok)
    }

    fn order(&self, live: &LiveContainer) -> Result<StopOrder, Failure> {
        Ok(StopOrder {
            container: live.name.clone(),
            id: live.id.clone(),
            spec: self.stop_spec(live)?,
            not_after: self.deadline,
        })
    }

    fn stop_spec(&self, live: &LiveContainer) -> Result<StopSpec, Failure> {
        match &live.stop {
            Ok(spec) => Ok(spec.clone().with_grace(self.seen.spec.strategy.grace())),
            Err(words) => Err(Failure::new(Reason::StopSettings, words.clone())),
        }
    }

    /// Whether kubelet would keep a container down for longer than the request allows.
    fn back_off(&self, index: usize, runtime: &Runtime) -> Result<Option<Step>, Failure> {
        let name = &self.status.containers[index].name;
        let strategy = &self.seen.spec.strategy;
        let Some(memory) = self.remembered(runtime, name) else {
            return Ok(None);
        };
        let (longest, allowed) = (memory.longest(self.seen.now), strategy.max_back_off());
        if longest <= allowed {
            return Ok(None);
        }
        let until = memory.forgotten_at().rounded_up();
        if strategy.back_off_policy == BackOffPolicy::Wait && until < self.deadline {
            return Ok(Some(Step::WaitBackoff {
                container: name.clone(),
                until,
            }));
        }
        Err(Failure::new(
            Reason::BackOff,
            format!(
                "container {name} was restarted lately: stopped now, kubelet would keep it down for up to {} s, and {} s are allowed. \
                 Ask again after {until}, allow more (maxBackOffSeconds), or set kubelet's crashLoopBackOff.maxContainerRestartPeriod",
                longest.as_secs(),
                allowed.as_secs()
            ),
        ))
    }

    /// What has to happen before the Pod has been unready for long enough.
    fn unready(&mut self) -> Option<Step> {
        let grace = self.seen.spec.strategy.unready_grace()?;
        if self.status.phase == Phase::Pending {
            self.status.phase = Phase::Draining;
        }
        let PodView::Seen(pod) = &self.seen.pod else {
            return Some(wait("to see whether the Pod is unready"));
        };
        if !pod.gate.held || pod.gate.pod_ready {
            self.status.unready_since = None;
            return Some(Step::WaitUnready {
                hold: !pod.gate.held,
                until: None,
            });
        }
        let since = *self
            .status
            .unready_since
            .get_or_insert_with(|| self.seen.now.rounded_up());
        let until = since.after(grace);
        (self.seen.now < until).then_some(Step::WaitUnready {
            hold: false,
            until: Some(until),
        })
    }

    /// A stop that was stored, whose time is over, and that nobody carries out: it is finished, once.
    fn unfinished_stop(&mut self, runtime: &Runtime) -> Result<Option<Step>, Failure> {
        for index in 0..self.status.containers.len() {
            let status = &self.status.containers[index];
            let Some((live, decided)) = self.stuck(status, runtime) else {
                continue;
            };
            let due = match self.stop_due(live, decided) {
                Ok(due) => due,
                Err(failure) => {
                    self.container_fails(index, failure)?;
                    continue;
                }
            };
            if self.seen.now < due || self.is_late() {
                continue;
            }
            if status.kill_resumed_at.is_some() {
                let failure = Failure::new(
                    Reason::NotStopped,
                    format!(
                        "container {} still runs after it was stopped twice; see what the runtime says of {}",
                        status.name, live.id
                    ),
                );
                self.container_fails(index, failure)?;
                continue;
            }
            let order = self.order(live)?;
            self.status.containers[index].kill_resumed_at = Some(self.seen.now);
            return Ok(Some(Step::ResumeStop(order)));
        }
        Ok(None)
    }

    /// When a stop that was decided then has had its time.
    fn stop_due(&self, live: &LiveContainer, decided: Timestamp) -> Result<Timestamp, Failure> {
        let spec = self.stop_spec(live)?;
        Ok(decided.after(spec.longest()).after(SLACK))
    }

    /// When a container is to be looked at again.
    pub(super) fn look_at(&self, status: &ContainerStatus) -> Option<Timestamp> {
        let stop = self.seen.runtime.as_ref().and_then(|runtime| {
            let (live, decided) = self.stuck(status, runtime)?;
            self.stop_due(live, decided).ok()
        });
        let ready = status.ready_since.map(|since| {
            since
                .max(self.seen.watching_since)
                .after(self.seen.spec.strategy.min_started())
        });
        [stop, ready, status.backoff_until]
            .into_iter()
            .flatten()
            .filter(|time| *time > self.seen.now)
            .min()
    }

    fn stuck<'a>(
        &self,
        status: &ContainerStatus,
        runtime: &'a Runtime,
    ) -> Option<(&'a LiveContainer, Timestamp)> {
        let decided = status.kill_resumed_at.or(status.killed_at)?;
        let live = runtime.newest(&status.name)?;
        let runs = matches!(live.state, ContainerState::Running { .. });
        let is_stuck = runs
            && status.phase == ContainerPhase::Recreating
            && live.id == status.old_container_id
            && !self.seen.stopping.contains(&live.id);
        is_stuck.then_some((live, decided))
    }
}

fn waits_for(container: &ContainerStatus) -> Step {
    wait(&format!(
        "container {}: {}",
        container.name, container.message
    ))
}
