//! Orders carried out: each after everything it rests on was read again from the API server, and the core has confirmed it.
//!
//! **Always holds:** freezes are read right before, and what cannot be read is frozen; every write names UID and version of what was just
//! read; what became of an order is a decision of its own.

mod endpoints;

use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use kube::{Resource as _, ResourceExt as _};
use node_agent_lifecycle::decision::Outcome;
use node_agent_lifecycle::observation::Version;
use node_agent_lifecycle::{Action, Order, PodTarget};
use proto_ids::NodeName;
use serde_json::{Value, json};
use tracing::{debug, info};

use super::desk::{Desk, Lane};
use super::figures::{LifecycleMetrics, OrderResult};
use super::scene::{take_marks, version};
use super::soft::{SoftEvictError, is_soft_evicted, readopt, soft_evict};
use super::upkeep::{read_freezes, wall_clock};
use super::{object, taints};
use crate::fleet::LeanPod;
use crate::heartbeats::HeartbeatsHandle;
use crate::lean::{LeanNode, LeanTaint, NodeMarks};
use crate::read::{ReadError, Reader};
use crate::reign::Reign;
use crate::world::WorldHandle;
use crate::write::{Basis, WriteError, WriteKind, Writer};

/// While nothing is to be done, it is looked again after so long all the same.
const IDLE: Duration = Duration::from_millis(500);
/// An object that is changed between reading and writing it is tried so often, in all.
const TRIES: u32 = 3;
/// A Pod is not deleted hard before the claims of its node are marked, which the claims' controller does: it is waited so long.
const CLAIMS_LIMIT: Duration = Duration::from_secs(6);
/// How often that is looked at.
const CLAIMS_EVERY: Duration = Duration::from_millis(100);

/// Carries out.
#[derive(Clone)]
pub(super) struct Hands {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) world: WorldHandle,
    pub(super) heartbeats: HeartbeatsHandle,
    pub(super) namespace: String,
    pub(super) metrics: LifecycleMetrics,
    /// The term that decisions are of.
    pub(super) term: u64,
}

/// What of an order is there now.
struct Facts {
    node: LeanNode,
    pod: Option<LeanPod>,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
enum CarryError {
    /// What it rests on could not be read.
    #[error("what it rests on could not be read again")]
    Read(#[source] ReadError),
    /// It is not right any more.
    #[error("{0}")]
    Refused(String),
    /// The Pod cannot be marked, or its mark not be taken off.
    #[error("the Pod's mark")]
    Mark(#[source] SoftEvictError),
    /// It was not written.
    #[error("it was not written")]
    Write(#[source] WriteError),
    /// The claims of the node carry no mark.
    #[error(
        "the claims of the node are not marked fenced after {CLAIMS_LIMIT:?}: kubectl berth addresses shows them"
    )]
    Claims,
    /// Nobody can do this.
    #[error("nothing here can restart a kubelet: the rule localRepair is for observation only")]
    Unable,
}

impl Hands {
    /// Carries out a lane's orders, one after the other, until the term is over.
    pub(super) async fn run(&self, desk: &Desk, reign: &Reign, lane: Lane) {
        while reign.goes_on() {
            let (order, unwritten) = desk.lock().next_order(lane);
            for order in unwritten {
                self.metrics.ordered(&order.action, OrderResult::failed);
            }
            let Some(order) = order else {
                tokio::select! {
                    () = desk.news.notified() => {}
                    () = reign.until(Instant::now() + IDLE) => {}
                }
                continue;
            };
            let mut done = self.carry_out(desk, reign, &order).await;
            for _ in 1..TRIES {
                // A Node that boots is written all the time. Everything is read and asked again.
                if !matches!(&done, Err(CarryError::Write(error)) if error.is_overtaken()) {
                    break;
                }
                done = self.carry_out(desk, reign, &order).await;
            }
            let (outcome, result) = match done {
                Ok(()) => {
                    info!(decision = %order.decision, "{}", order.action);
                    (Outcome::Done, OrderResult::done)
                }
                Err(error) => {
                    let result = match error {
                        CarryError::Refused(_) => OrderResult::refused,
                        _ => OrderResult::failed,
                    };
                    debug!(decision = %order.decision, error = %chain(&error), "not done: {}", order.action);
                    (Outcome::Failed(chain(&error)), result)
                }
            };
            self.metrics.ordered(&order.action, result);
            let mut state = desk.lock();
            state.touched.insert(order.action.node().clone());
            state.outcome(&order, outcome, desk.clock, wall_clock());
            drop(state);
            desk.news.notify_waiters();
        }
    }

    async fn carry_out(&self, desk: &Desk, reign: &Reign, order: &Order) -> Result<(), CarryError> {
        if let Action::HardDelete { node, .. } = &order.action {
            self.await_claims(reign, node).await?;
        }
        let facts = self.confirm(desk, reign, order).await?;
        let node = &facts.node;
        match &order.action {
            Action::Cordon { .. } => {
                let wanted = taints::cordoned(node.taints());
                self.taint(reign, WriteKind::Cordon, node, wanted).await
            }
            Action::Uncordon { .. } => {
                let wanted = taints::uncordoned(node.taints());
                self.taint(reign, WriteKind::Uncordon, node, wanted).await
            }
            Action::Fence { .. } => {
                let wanted = taints::fenced(node.taints());
                self.taint(reign, WriteKind::FenceNode, node, wanted).await
            }
            Action::LiftFence { .. } => {
                let wanted = taints::unfenced(node.taints());
                self.taint(reign, WriteKind::UnfenceNode, node, wanted)
                    .await
            }
            Action::WithdrawEndpoints { .. } | Action::RestoreEndpoints { .. } => {
                self.endpoints(desk, reign, order, node).await
            }
            Action::RestartKubelet { .. } => Err(CarryError::Unable),
            Action::SoftEvict { .. }
            | Action::Readopt { .. }
            | Action::Evict { .. }
            | Action::HardDelete { .. }
            | Action::EndSuperseded { .. } => {
                // The core has confirmed it, so that it is there.
                let pod = facts.pod.as_ref();
                let pod = pod.ok_or_else(|| CarryError::Refused("the Pod is gone".to_owned()))?;
                self.act_on_pod(reign, order, pod).await
            }
        }
    }

    /// Reads again what the order rests on, and asks the core.
    async fn confirm(
        &self,
        desk: &Desk,
        reign: &Reign,
        order: &Order,
    ) -> Result<Facts, CarryError> {
        let name = order.action.node();
        let node: Option<LeanNode> = self
            .reader
            .object_of_cluster("Node", name.as_str())
            .await
            .map_err(CarryError::Read)?;
        let node = node.ok_or_else(|| CarryError::Refused("the node is gone".to_owned()))?;
        let pod = match order.action.target() {
            Some(target) => {
                let (namespace, name) = (target.pod.namespace(), target.pod.name());
                let pod: Option<LeanPod> = self
                    .reader
                    .object("Pod", namespace, name)
                    .await
                    .map_err(CarryError::Read)?;
                pod.filter(|pod| pod.uid().as_deref() == Some(target.uid.as_str()))
            }
            None => None,
        };
        self.ask(desk, reign, order, &node, pod.as_ref()).await?;
        Ok(Facts { node, pod })
    }

    /// Asks the core, by what is known now. Freezes come last: nothing that a person has said meanwhile is missed.
    async fn ask(
        &self,
        desk: &Desk,
        reign: &Reign,
        order: &Order,
        node: &LeanNode,
        pod: Option<&LeanPod>,
    ) -> Result<(), CarryError> {
        let apps = desk.lock().seen.apps.keys().cloned().collect();
        let freezes = read_freezes(&self.reader, &self.namespace, &apps).await;
        let name = order.action.node();
        let beats = {
            let heartbeats = self.heartbeats.lock();
            let kubelet = heartbeats.kubelets.get(name.as_str()).cloned();
            (kubelet, heartbeats.agents.get(name.as_str()).cloned())
        };
        let mut state = desk.lock();
        let seen = &mut state.seen;
        seen.freezes = freezes;
        seen.controller.term = reign.goes_on().then_some(self.term);
        if let Some(seen) = seen.nodes.get_mut(name) {
            take_marks(seen, &NodeMarks::from(node), wall_clock());
            version(&mut seen.kubelet_lease, beats.0.as_ref());
            version(&mut seen.agent_lease, beats.1.as_ref());
        }
        if let Some(target) = order.action.target() {
            take_pod(seen.pods.entry(name.clone()).or_default(), target, pod);
        }
        state
            .core
            .confirm(desk.clock.now(), &state.seen, order)
            .map_err(|refusal| CarryError::Refused(refusal_words(&refusal)))
    }

    async fn act_on_pod(
        &self,
        reign: &Reign,
        order: &Order,
        pod: &LeanPod,
    ) -> Result<(), CarryError> {
        let basis = Basis::of(&pod.metadata);
        let term = reign.term();
        let written = match &order.action {
            Action::SoftEvict { .. } => {
                let fields = soft_evict(&pod.metadata, order.decision).map_err(CarryError::Mark)?;
                let kind = WriteKind::SoftEvict;
                self.writer
                    .patch::<LeanPod>(term, kind, basis, fields)
                    .await
            }
            Action::Readopt { .. } => {
                let fields = readopt(&pod.metadata).map_err(CarryError::Mark)?;
                let kind = WriteKind::Readopt;
                self.writer
                    .patch::<LeanPod>(term, kind, basis, fields)
                    .await
            }
            Action::Evict { .. } => self.writer.evict(term, WriteKind::Evict, basis).await,
            Action::HardDelete { .. } => {
                let kind = WriteKind::HardDelete;
                self.writer
                    .delete_at_once::<LeanPod>(term, kind, basis)
                    .await
            }
            _ => {
                let kind = WriteKind::EndSuperseded;
                self.writer.delete::<LeanPod>(term, kind, basis).await
            }
        };
        written.map_err(CarryError::Write)
    }

    async fn taint(
        &self,
        reign: &Reign,
        kind: WriteKind,
        node: &LeanNode,
        wanted: Option<Vec<LeanTaint>>,
    ) -> Result<(), CarryError> {
        let Some(wanted) = wanted else { return Ok(()) };
        self.patch_node(reign, kind, node, json!({"spec": {"taints": wanted}}))
            .await
    }

    async fn patch_node(
        &self,
        reign: &Reign,
        kind: WriteKind,
        node: &LeanNode,
        fields: Value,
    ) -> Result<(), CarryError> {
        let basis = Basis::of(node.meta());
        let written = self
            .writer
            .patch_of_cluster::<LeanNode>(reign.term(), kind, basis, fields);
        written.await.map_err(CarryError::Write)
    }

    /// Waits until the claims of a fenced node are marked: only then may its Pods' identities go on elsewhere.
    async fn await_claims(&self, reign: &Reign, node: &NodeName) -> Result<(), CarryError> {
        let limit = Instant::now() + CLAIMS_LIMIT;
        loop {
            let is_marked = {
                let world = self.world.lock();
                let mut claims = world.claims.items().values();
                claims.all(|claim| claim.node != node.as_str() || claim.fenced.is_some())
            };
            if is_marked {
                return Ok(());
            }
            if Instant::now() >= limit || !reign.goes_on() {
                return Err(CarryError::Claims);
            }
            reign.until(Instant::now() + CLAIMS_EVERY).await;
        }
    }
}

/// The Pod as it was just read, in the place of what was known of it.
fn take_pod(
    pods: &mut Vec<node_agent_lifecycle::observation::PodObservation>,
    target: &PodTarget,
    pod: Option<&LeanPod>,
) {
    let Some(pod) = pod else {
        return pods.retain(|known| known.uid != target.uid);
    };
    for known in pods.iter_mut().filter(|known| known.uid == target.uid) {
        known.version = Version::new(pod.resource_version().as_deref().unwrap_or_default());
        known.terminating = pod.metadata.deletion_timestamp.is_some();
        known.soft_evicted = is_soft_evicted(&pod.metadata);
        known.ready = pod.condition("Ready").is_some_and(|it| it.status == "True");
    }
}

fn refusal_words(refusal: &node_agent_lifecycle::Refusal) -> String {
    match refusal {
        node_agent_lifecycle::Refusal::Held(hold) => {
            format!("held: {}", object::hold_words(hold))
        }
        other => other.to_string(),
    }
}
