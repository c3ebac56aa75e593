//! A request's turn: what must not change is written down, and compared from then on.

use proto_crd::container_restart::{ContainerStatus, Phase, Reason, SandboxBefore};

use super::{Draft, Failure, Step, wait};
use crate::backoff::Remembered;
use crate::observed::{ContainerState, LiveContainer, PodView, Runtime};

impl Draft<'_> {
    /// Begins; a step when it cannot yet.
    pub(super) fn accept(&mut self, runtime: &Runtime) -> Result<Option<Step>, Failure> {
        let PodView::Seen(pod) = &self.seen.pod else {
            return Ok(Some(wait("to see the Pod")));
        };
        let Some(sandbox) = runtime.sandbox.as_ref().filter(|sandbox| sandbox.ready) else {
            return Ok(Some(wait("for the Pod's sandbox to be ready")));
        };
        if sandbox.ips.is_empty() || (sandbox.mac.is_none() && !pod.host_network) {
            return Ok(Some(wait(
                "for the addresses of the Pod's sandbox to be known",
            )));
        }
        if self.is_late() {
            return Ok(Some(wait("to begin")));
        }
        let mut containers = Vec::with_capacity(self.seen.spec.containers.len());
        for target in &self.seen.spec.containers {
            let live = runtime.newest(&target.name);
            if let Some(live) = live
                && !matches!(live.state, ContainerState::Exited { .. })
                && let Err(words) = &live.stop
            {
                return Err(Failure::new(Reason::StopSettings, words.clone()));
            }
            let foreseen = self
                .remembered(runtime, &target.name)
                .map(|memory| memory.longest(self.seen.now).as_secs());
            containers.push(ContainerStatus {
                name: target.name.clone(),
                old_container_id: live.map_or_else(String::new, |live| live.id.clone()),
                restart_count: live
                    .and_then(LiveContainer::restart_count)
                    .unwrap_or_default(),
                foreseen_back_off_seconds: foreseen.and_then(|seconds| u32::try_from(seconds).ok()),
                ..ContainerStatus::default()
            });
        }
        self.status.accepted_at = Some(self.seen.now);
        self.status.phase = Phase::Pending;
        self.status.sandbox = Some(SandboxBefore {
            id: sandbox.id.clone(),
            ips: sandbox.ips.clone(),
            mac: sandbox.mac.clone(),
        });
        self.status.containers = containers;
        Ok(None)
    }

    /// What kubelet remembers of a container's restarts.
    pub(super) fn remembered(&self, runtime: &Runtime, container: &str) -> Option<Remembered> {
        self.seen
            .back_off
            .remembered(&runtime.runs(container), self.seen.kubelet_started_at)
    }

    /// Fails when the Pod is no longer what it was; a step when that is not known.
    pub(super) fn same_sandbox(&self, runtime: &Runtime) -> Result<Option<Step>, Failure> {
        let Some(before) = &self.status.sandbox else {
            return Err(Failure::new(
                Reason::Invalid,
                "the status does not say which sandbox the Pod had; make another request",
            ));
        };
        let Some(sandbox) = &runtime.sandbox else {
            return Ok(Some(wait("for the Pod's sandbox to be seen")));
        };
        if sandbox.id != before.id {
            return Err(Failure::new(
                Reason::SandboxChanged,
                format!(
                    "the Pod's sandbox is {}, and was {}: kubelet set the whole Pod up anew",
                    sandbox.id, before.id
                ),
            ));
        }
        if !sandbox.ready {
            return Ok(Some(wait("for the Pod's sandbox to be ready")));
        }
        if !sandbox.ips.is_empty() && sandbox.ips != before.ips {
            return Err(Failure::new(
                Reason::AddressChanged,
                format!(
                    "the Pod's addresses are {}, and were {}",
                    sandbox.ips.join(", "),
                    before.ips.join(", ")
                ),
            ));
        }
        if let Some(mac) = &sandbox.mac
            && Some(mac) != before.mac.as_ref()
        {
            let was = before.mac.as_deref().unwrap_or("none");
            return Err(Failure::new(
                Reason::AddressChanged,
                format!("the Pod's MAC address is {mac}, and was {was}"),
            ));
        }
        if sandbox.ips.is_empty() || (sandbox.mac.is_none() && before.mac.is_some()) {
            return Ok(Some(wait(
                "for the addresses of the Pod's sandbox to be known",
            )));
        }
        Ok(None)
    }
}
