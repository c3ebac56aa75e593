//! The stages in which the Pod is touched: out of service, other images, back into service.
//!
//! Nothing is patched while kubelet calls a Pod ready that is to be unready.

use proto_crd::time::Timestamp;

use super::{End, PATIENCE, Stage, Step, Upgrade, failed, is_held, unknown, wait};
use crate::running::{GateSeen, RunningPod};
use crate::upgrade::verify::{Judged, is_patched};

impl Upgrade {
    pub(super) fn drain(&mut self, pod: &RunningPod, now: Timestamp) -> Option<Step> {
        let Stage::Draining {
            before,
            unready_since,
        } = &mut self.stage
        else {
            return None;
        };
        let holders = pod.gate.as_ref().map(GateSeen::holders);
        match holders {
            Some(Ok(holders)) if holders.has(&self.wanted.holder) => {}
            Some(Err(error)) => return Some(failed(error.to_string())),
            _ => {
                *unready_since = None;
                self.holds = true;
                return Some(Step::Hold);
            }
        }
        if pod.ready {
            *unready_since = None;
            return Some(wait("for kubelet to call the Pod not ready"));
        }
        let since = *unready_since.get_or_insert(now);
        let quiet = self.wanted.unready.unwrap_or_default();
        if now.since(since) < quiet {
            let seconds = quiet.as_secs();
            return Some(Step::Wait(format!(
                "for {seconds} s, until the last requests are answered"
            )));
        }
        self.stage = Stage::Verifying {
            before: before.clone(),
            ready_since: None,
        };
        None
    }

    pub(super) fn verify(&mut self, pod: &RunningPod, now: Timestamp) -> Option<Step> {
        let Stage::Verifying {
            before,
            ready_since,
        } = &mut self.stage
        else {
            return None;
        };
        if !is_patched(pod, &self.wanted.images) {
            if let Some(other) = before.changed_by_others(pod, &self.wanted.images) {
                return Some(failed(other));
            }
            before.renew(pod);
            return Some(Step::Patch);
        }
        self.way_back = before.changed(&self.wanted.images);
        let words = match before.judge(pod, &self.wanted.images) {
            Judged::Failed(words) => return Some(failed(words)),
            Judged::Waiting(words) => {
                *ready_since = None;
                return Some(Step::Wait(words));
            }
            Judged::Ready => {
                let since = *ready_since.get_or_insert(now);
                (now.since(since) < self.wanted.min_ready)
                    .then(|| format!("for {} s of readiness", self.wanted.min_ready.as_secs()))
            }
        };
        if let Some(words) = words {
            return Some(Step::Wait(words));
        }
        self.stage = Stage::Returning { since: now };
        None
    }

    pub(super) fn return_to_service(
        &self,
        pod: &RunningPod,
        now: Timestamp,
        since: Timestamp,
    ) -> Step {
        if self.holds && is_held(pod, &self.wanted.holder) {
            return Step::GiveBack;
        }
        let ips = pod.ips.join(", ");
        let done =
            format!("the new containers are ready; Pod, sandbox and address unchanged ({ips})");
        if pod.ready {
            return Step::End(End::Succeeded(done));
        }
        let others = pod.gate.as_ref().and_then(|gate| gate.holders().ok());
        if let Some(other) = others.and_then(|all| all.iter().next().map(|it| it.holder.clone())) {
            return Step::End(End::Succeeded(format!(
                "{done}; {other} holds the Pod unready still"
            )));
        }
        if now.since(since) < PATIENCE {
            return wait("for kubelet to call the Pod ready");
        }
        unknown(format!(
            "{done}; kubelet does not call the Pod ready: kubectl describe pod -n {} {}",
            pod.namespace, pod.name
        ))
    }
}
