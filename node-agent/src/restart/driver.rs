//! What carries requests out: looks at the world, lets the plan decide, stores the decision, and only then takes its step.
//!
//! One task, one request after the other. Always holds: no step is taken whose decision is not stored; the Pod is read live for every
//! decision about it, and so is its gate. All that is remembered between two looks is what may be lost.

use std::collections::BTreeMap;
use std::time::Duration;

use ipamd_daemon::chain;
use node_agent_cri::Runtime;
use node_agent_restart::backoff::BackOff;
use node_agent_restart::observed::Observed;
use node_agent_restart::plan::{Decision, Step, StopOrder, plan};
use node_agent_restart::queue::Turn;
use proto_crd::container_restart::{ContainerRestartStatus, Phase};
use proto_crd::time::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::api::{Api, AskApiError};
use super::gate::{PodRef, change};
use super::kubelet::Kubelet;
use super::metrics::{RestartMetrics, RestartResult};
use super::request::{Request, turn};
use super::requests::Requests;
use super::stop::{Stop, Stops, now};
use super::store::{Store, Stored};
use super::verdict;
use crate::pods::Pods;

mod observe;

/// How often a request is looked at that is under way, whatever is told: the runtime tells nothing, and the API may be away.
const POLL: Duration = Duration::from_secs(1);
/// The same for one that waits for minutes.
const SLOW_POLL: Duration = Duration::from_secs(5);
/// When what failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// From one pass to the next at least: kubelet writes a Pod's status several times in a row.
const PACE: Duration = Duration::from_millis(200);
/// How long the first list is waited for; after that what is on the node is gone on with.
const PATIENCE: Duration = Duration::from_secs(5);
/// Decisions about one request in one pass: more would be a plan that does not come to rest.
const MOST_STEPS: u32 = 16;

/// What the driver is made with.
pub(super) struct Parts {
    pub(super) node: String,
    pub(super) api: Api,
    pub(super) runtime: Runtime,
    pub(super) pods: Pods,
    pub(super) requests: Requests,
    pub(super) store: Store,
    pub(super) stops: Stops,
    pub(super) back_off: BackOff,
    pub(super) kubelet: Kubelet,
    pub(super) metrics: RestartMetrics,
}

/// Carries requests out.
pub(super) struct Driver {
    parts: Parts,
    begun_at: Instant,
    /// By UID: since when its Pod is seen without a gap.
    watching: BTreeMap<String, Timestamp>,
    /// By UID of requests for which nothing is left to be done: when they are to be deleted.
    settled: BTreeMap<String, Option<Timestamp>>,
}

/// What follows a step.
enum Next {
    /// The next decision.
    Decide,
    /// Another look, at the latest then.
    Look(Option<Timestamp>),
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            begun_at: Instant::now(),
            watching: BTreeMap::new(),
            settled: BTreeMap::new(),
        }
    }

    /// Looks whenever something is told, and when it is time to.
    ///
    /// # Cancellation
    /// As a crash: what was stored is gone on with by the next process.
    pub(super) async fn run(mut self, token: CancellationToken) {
        let mut of_pods = self.parts.pods.changes();
        let mut of_requests = self.parts.requests.changes();
        loop {
            of_pods.borrow_and_update();
            of_requests.borrow_and_update();
            let next = tokio::select! {
                () = token.cancelled() => return,
                next = self.pass() => next,
            };
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep(at.since(now())).await,
                    None => std::future::pending().await,
                }
            };
            let told = async {
                tokio::select! {
                    _ = of_pods.changed() => {}
                    _ = of_requests.changed() => {}
                    () = self.parts.stops.ended() => {}
                    () = due => {}
                }
            };
            tokio::select! {
                () = token.cancelled() => return,
                () = told => {}
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// Every request once. Answers when to look again at the latest.
    async fn pass(&mut self) -> Option<Timestamp> {
        let patient = self.begun_at + PATIENCE;
        if !self.parts.requests.is_complete() && Instant::now() < patient {
            return Some(now().after(POLL));
        }
        self.parts.store.forget_gone().await;
        let uids: Vec<String> = uids(&self.parts.store.all());
        self.watching.retain(|uid, _| uids.contains(uid));
        self.settled.retain(|uid, _| uids.contains(uid));
        let mut next: Option<Timestamp> = None;
        for uid in uids {
            let at = self.attend(&uid).await;
            next = [next, at].into_iter().flatten().min();
        }
        next
    }

    async fn attend(&mut self, uid: &str) -> Option<Timestamp> {
        for _ in 0..MOST_STEPS {
            let all = self.parts.store.all();
            let request = all.iter().find(|request| request.uid == uid)?;
            if let Some(delete_at) = self.settled.get(uid).copied() {
                return self.rest(request, delete_at).await;
            }
            if !request.is_told() && self.parts.store.tell(request).await {
                continue;
            }
            let turn = turn(request, &all);
            match self.decide(request, turn).await {
                Next::Decide => {}
                Next::Look(at) => return at,
            }
        }
        warn!(uid, "a restart does not come to rest");
        Some(now().after(AGAIN))
    }

    async fn decide(&mut self, request: &Request, turn: Turn) -> Next {
        let (seen, ip) = self.observe(request, turn).await;
        let mut decision = plan(&seen);
        decision.status = as_stored(decision.status);
        if decision.status != request.status {
            match self.parts.store.store(request, &decision.status).await {
                Stored::Yes => self.ended(request, &decision),
                Stored::Outdated => {
                    self.watching.remove(&request.uid);
                    return Next::Decide;
                }
                Stored::No => {
                    self.watching.remove(&request.uid);
                    return Next::Look(Some(now().after(AGAIN)));
                }
            }
        }
        // As it is now that this is stored.
        let Some(request) = self.parts.store.get(&request.uid) else {
            return Next::Look(None);
        };
        let look_again = look_again(&seen, &decision);
        match decision.step {
            Step::RefuseForGood(_) | Step::Failed(_) | Step::Succeeded => Next::Decide,
            Step::Wait { .. }
            | Step::WaitBackoff { .. }
            | Step::WaitUnready { hold: false, .. } => Next::Look(Some(look_again)),
            Step::WaitUnready { hold: true, .. } => self.hold(&request).await,
            Step::ReleaseUnready => self.release(&request).await,
            Step::Stop(order) => self.stop(order, ip, true, look_again),
            Step::ResumeStop(order) => self.stop(order, ip, false, look_again),
            Step::Finished { delete_at } => self.finish(&request, delete_at).await,
        }
    }

    /// Counts and tells of a verdict that has just been stored.
    fn ended(&self, request: &Request, decision: &Decision) {
        let status = &decision.status;
        if !status.phase.is_final() || request.status.phase.is_final() {
            return;
        }
        let result = match (&decision.step, status.phase) {
            (_, Phase::Succeeded) => RestartResult::succeeded,
            (Step::RefuseForGood(_), _) => RestartResult::refused,
            _ => RestartResult::failed,
        };
        self.parts.metrics.ended(result);
        info!(
            restart = request.name,
            pod = format!("{}/{}", request.namespace, request.spec.pod_name),
            phase = ?status.phase,
            reason = ?status.reason,
            message = status.message,
            "restart has ended"
        );
    }

    fn stop(
        &self,
        order: StopOrder,
        ip: Option<String>,
        with_hook: bool,
        look_again: Timestamp,
    ) -> Next {
        self.parts.stops.begin(Stop {
            order,
            ip,
            with_hook,
        });
        // Others of the Pod may be stopped at the same time.
        let soon = now().after(PACE);
        Next::Look(Some(look_again.min(soon)))
    }

    /// Enters the request as a holder of its Pod's gate; the finalizer first, so that it is given back whatever comes.
    async fn hold(&mut self, request: &Request) -> Next {
        if !request.has_finalizer {
            return self.set_finalizer(request, true).await;
        }
        let (holder, now) = (request.holder(), now());
        let entered = change(&self.parts.api, pod_of(request), now, |holders| {
            holders.enter(&holder, now)
        });
        match entered.await {
            Ok(()) => Next::Look(Some(now.after(POLL))),
            Err(error) => {
                warn!(restart = request.name, error = %chain(&error), "the Pod cannot be made unready; trying again");
                Next::Look(Some(now.after(AGAIN)))
            }
        }
    }

    async fn release(&mut self, request: &Request) -> Next {
        let (holder, now) = (request.holder(), now());
        let left = change(&self.parts.api, pod_of(request), now, |holders| {
            Ok(holders.leave(&holder))
        });
        match left.await {
            Ok(()) => Next::Decide,
            Err(error) => {
                warn!(restart = request.name, error = %chain(&error), "the Pod's readiness gate cannot be given back; trying again");
                Next::Look(Some(now.after(AGAIN)))
            }
        }
    }

    async fn set_finalizer(&mut self, request: &Request, wanted: bool) -> Next {
        match self.parts.api.set_finalizer(request, wanted).await {
            Ok(object) => {
                self.parts.requests.wrote(&object);
                Next::Decide
            }
            Err(AskApiError::Outdated | AskApiError::Gone)
                if self.parts.store.refresh(request).await =>
            {
                Next::Decide
            }
            Err(error) => {
                debug!(restart = request.name, error = %chain(&error), "the finalizer is not written; trying again");
                Next::Look(Some(now().after(AGAIN)))
            }
        }
    }

    async fn finish(&mut self, request: &Request, delete_at: Option<Timestamp>) -> Next {
        if !request.is_told() && !request.deleting {
            return Next::Look(Some(now().after(AGAIN)));
        }
        if request.has_finalizer {
            return self.set_finalizer(request, false).await;
        }
        if let Some(event) = verdict::event(&self.parts.node, request, now()) {
            match self.parts.api.tell(&event).await {
                Ok(()) => {}
                Err(AskApiError::Unanswered { .. } | AskApiError::Away) => {
                    return Next::Look(Some(now().after(AGAIN)));
                }
                Err(error) => {
                    warn!(restart = request.name, error = %chain(&error), "no Event tells of the verdict; the request has it");
                }
            }
        }
        self.parts.store.forget(&request.uid).await;
        self.settled.insert(request.uid.clone(), delete_at);
        Next::Decide
    }

    /// A request for which nothing is left to be done.
    async fn rest(&self, request: &Request, delete_at: Option<Timestamp>) -> Option<Timestamp> {
        let delete_at = delete_at?;
        if request.deleting || now() < delete_at {
            return (!request.deleting).then_some(delete_at);
        }
        match self.parts.api.delete(request).await {
            Ok(()) | Err(AskApiError::Gone | AskApiError::Outdated) => None,
            Err(error) => {
                warn!(restart = request.name, error = %chain(&error), "a restart whose time is over is not deleted; trying again");
                Some(now().after(SLOW_POLL))
            }
        }
    }
}

fn uids(all: &[Request]) -> Vec<String> {
    all.iter().map(|request| request.uid.clone()).collect()
}

fn pod_of(request: &Request) -> PodRef<'_> {
    PodRef {
        namespace: &request.namespace,
        name: &request.spec.pod_name,
        uid: &request.spec.pod_uid,
    }
}

/// A status as it is read back: in whole seconds.
fn as_stored(status: ContainerRestartStatus) -> ContainerRestartStatus {
    let text = serde_json::to_vec(&status).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or(status)
}

/// When to look again: when the plan says so, and before when nobody tells what is waited for.
fn look_again(seen: &Observed, decision: &Decision) -> Timestamp {
    let period = match (&decision.step, &seen.turn) {
        (Step::WaitBackoff { .. }, _) | (_, Turn::After { .. }) => SLOW_POLL,
        _ => POLL,
    };
    let poll = seen.now.after(period);
    decision.look_again.map_or(poll, |at| at.min(poll))
}
