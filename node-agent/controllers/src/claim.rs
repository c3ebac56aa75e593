//! The claims of nodes that are gone, and the bindings that nobody wants: marked, let go, deleted.
//!
//! Looks at all claims after each change, a second apart at most ([`plan`]), asks the API server again about what it would do harm
//! with ([`Live`](plan::Live)), and writes. **Never:** takes a claim for anybody, or touches a binding; that is the nodes' own
//! business.

mod decide;
mod fence;
mod life;
mod owner;
mod patience;
mod plan;
mod refusal;
mod view;

use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use proto_crd::claim::{Claim, MARK_LIMIT, Mark};
use proto_crd::names;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::heartbeats::{HeartbeatsHandle, KUBELETS_NAMESPACE};
use crate::metrics::{Controller, ControllersMetrics, PassResult};
use crate::read::{ReadError, Reader};
use crate::reign::Reign;
use crate::world::WorldHandle;
use crate::write::{Basis, WriteError, WriteKind, Writer};
use decide::Deed;
use owner::OwnerKind;
use plan::{Live, Memory, Moment, Plan, Refused};
use refusal::Told;
pub(crate) use view::ClaimView;

/// From one pass to the next at least: a hundred thousand claims are looked at in a tenth of a second.
const PASS_GAP: Duration = Duration::from_secs(1);
/// While something becomes due by time alone.
const TICK: Duration = Duration::from_secs(2);
/// Without any change, all the same.
const IDLE_TICK: Duration = Duration::from_secs(30);

/// The controller of claims.
pub(crate) struct Claims {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) world: WorldHandle,
    pub(crate) heartbeats: HeartbeatsHandle,
    pub(crate) namespace: String,
    /// Who tells in Events.
    pub(crate) instance: String,
    pub(crate) metrics: ControllersMetrics,
}

/// Why a pass was broken off.
#[derive(Debug, thiserror::Error)]
enum PassError {
    /// Something could not be asked.
    #[error("asking what there is")]
    Read(#[source] ReadError),
    /// The API server does not answer, or this process leads no more.
    #[error("writing")]
    Write(#[source] WriteError),
}

/// Whether a mark was set by the controllers.
fn is_ours(mark: &Mark) -> bool {
    mark.by == names::CONTROLLERS_ACCOUNT
}

impl Claims {
    /// Works until the reign is over.
    pub(crate) async fn run(self, reign: Reign) {
        let mut memory = Memory::default();
        let mut changes = self.world.changes();
        let mut is_told = false;
        let mut told = Told::default();
        while reign.goes_on() {
            let began = Instant::now();
            changes.mark_unchanged();
            let (is_complete, plan) = {
                let world = self.world.lock();
                let is_complete = world.is_complete();
                let plan = if is_complete {
                    memory.plan(&world, &self.heartbeats.lock(), Moment::now())
                } else {
                    Plan::default()
                };
                (is_complete, plan)
            };
            let outcome = self.apply(plan.deeds, &memory, &reign).await;
            self.tell(&mut told, plan.refused, &reign).await;
            let result = match &outcome {
                Ok(()) => PassResult::done,
                Err(_) => PassResult::failed,
            };
            self.metrics.passed(Controller::claim, result);
            match outcome {
                Err(error) if !is_told && reign.goes_on() => {
                    warn!(error = %chain(&error), "claims not all seen to; trying on");
                    is_told = true;
                }
                outcome => is_told &= outcome.is_err(),
            }
            let tick = if is_complete && !plan.is_waiting {
                IDLE_TICK
            } else {
                TICK
            };
            reign.until(began + PASS_GAP).await;
            tokio::select! {
                // The world's owner goes only when the reign is over.
                _ = changes.changed() => {}
                () = reign.until(began + tick) => {}
            }
        }
    }

    async fn apply(
        &self,
        deeds: Vec<(String, Deed)>,
        memory: &Memory,
        reign: &Reign,
    ) -> Result<(), PassError> {
        let mut live = Live::default();
        for (name, deed) in deeds {
            if !reign.goes_on() {
                return Ok(());
            }
            let Some(claim) = self.world.lock().claims.items().get(&name).cloned() else {
                continue;
            };
            let asked = reign.unless_over(self.ask(&claim, &deed, &mut live)).await;
            match asked {
                None => return Ok(()),
                Some(Err(error)) => return Err(PassError::Read(error)),
                Some(Ok(())) => {}
            }
            let confirmed = {
                let (world, heartbeats) = (self.world.lock(), self.heartbeats.lock());
                memory.confirm(&claim, &world, (&heartbeats, &live), Moment::now())
            };
            if confirmed.as_ref() != Some(&deed) {
                continue;
            }
            match self.write(&name, &claim, &deed, reign).await {
                Ok(()) => told(&name, &claim, &deed),
                // Somebody was faster: the next pass sees what there is then.
                Err(error) if error.is_overtaken() => {}
                Err(error) if error.is_of_this_object() => {
                    warn!(claim = name, error = %chain(&error), "claim not written");
                }
                Err(error) => return Err(PassError::Write(error)),
            }
        }
        Ok(())
    }

    /// Reads what the deed depends on, each once a pass.
    async fn ask(&self, claim: &ClaimView, deed: &Deed, live: &mut Live) -> Result<(), ReadError> {
        let binding = claim.binding.as_deref();
        let is_of_node = matches!(
            deed,
            Deed::Fence { .. } | Deed::Unfence | Deed::Adopt { .. } | Deed::Discard { .. }
        );
        if is_of_node && !live.nodes.contains_key(&claim.node) {
            let node = self.reader.node(&claim.node).await?;
            if node
                .as_ref()
                .is_some_and(|node| fence::is_said(&node.marks.fence))
            {
                self.ask_life(&claim.node).await?;
            }
            live.nodes.insert(claim.node.clone(), node);
        }
        let is_of_owner = matches!(
            deed,
            Deed::Release { .. } | Deed::Unrelease | Deed::Discard { .. }
        );
        let asked = binding.filter(|_| is_of_owner).and_then(plan::asked);
        let is_in_place = matches!(asked, Some(((OwnerKind::InPlaceSet, _), _)));
        if let Some((owner, _)) = asked
            && !live.sets.contains_key(&owner)
        {
            let (kind, (namespace, name)) = &owner;
            let set = match kind {
                OwnerKind::StatefulSet => self.reader.set(namespace, name).await?,
                OwnerKind::InPlaceSet => self.reader.in_place_set(namespace, name).await?,
            };
            live.sets.insert(owner, set);
        }
        let is_of_pod = matches!(deed, Deed::Discard { .. });
        if let Some(key) = binding
            .filter(|binding| is_of_pod && binding.is_attached || is_in_place)
            .and_then(|binding| binding.pod.clone())
            && !live.pods.contains_key(&key)
        {
            let has_pod = self.reader.has_pod(&key.0, &key.1).await?;
            live.pods.insert(key, has_pod);
        }
        Ok(())
    }

    /// Reads both Leases of a node: a watch may be behind.
    async fn ask_life(&self, node: &str) -> Result<(), ReadError> {
        for namespace in [KUBELETS_NAMESPACE, self.namespace.as_str()] {
            let lease = self.reader.lease_version(namespace, node).await?;
            let now = Instant::now();
            let mut heartbeats = self.heartbeats.lock();
            let beats = if namespace == KUBELETS_NAMESPACE {
                &mut heartbeats.kubelets
            } else {
                &mut heartbeats.agents
            };
            beats.saw(node, lease.as_deref(), now);
        }
        Ok(())
    }

    /// Tells people on the Node that its addresses are not given away.
    async fn tell(&self, told: &mut Told, refused: Vec<Refused>, reign: &Reign) {
        for refused in refused {
            if !reign.goes_on() || !told.may(&refused.node, Instant::now()) {
                continue;
            }
            let node = refused.node.as_str();
            let why = refused.sign.words();
            warn!(
                node,
                why, "said to be fenced, and lives: no claim of its is marked"
            );
            let event = refusal::event(&refused, &self.instance, Timestamp::now());
            let term = reign.term();
            let told = self
                .writer
                .create(term, WriteKind::Event, refusal::NAMESPACE, &event);
            // One of that name says the same.
            if let Err(error) = told.await
                && !error.is_overtaken()
            {
                warn!(node, error = %chain(&error), "Event not written");
            }
        }
    }

    async fn write(
        &self,
        name: &str,
        claim: &ClaimView,
        deed: &Deed,
        reign: &Reign,
    ) -> Result<(), WriteError> {
        let basis = Basis {
            namespace: &self.namespace,
            name,
            uid: &claim.uid,
            version: &claim.version,
        };
        let (kind, fields) = match deed {
            Deed::Fence { reason } => (WriteKind::Fence, json!({"spec": {"fenced": mark(reason)}})),
            Deed::Unfence => (WriteKind::Unfence, json!({"spec": {"fenced": null}})),
            Deed::Adopt { uid } => {
                let annotations = json!({ names::NODE_UID_ANNOTATION: uid });
                let fields =
                    json!({"metadata": {"annotations": annotations}, "spec": {"fenced": null}});
                (WriteKind::Adopt, fields)
            }
            Deed::Release { reason } => (
                WriteKind::Release,
                json!({"spec": {"release": mark(reason)}}),
            ),
            Deed::Unrelease => (WriteKind::Unrelease, json!({"spec": {"release": null}})),
            // In two steps, each of which can be the last for now: the second is decided when the first is seen.
            Deed::Discard { .. } if !claim.is_deleting => {
                let term = reign.term();
                let kind = WriteKind::DeleteClaim;
                return self.writer.delete::<Claim>(term, kind, basis).await;
            }
            Deed::Discard { .. } => {
                let others = claim.finalizers.iter();
                let others: Vec<_> = others.filter(|it| *it != names::CLAIM_FINALIZER).collect();
                let fields = json!({"metadata": {"finalizers": others}});
                (WriteKind::FinishClaim, fields)
            }
        };
        let term = reign.term();
        self.writer.patch::<Claim>(term, kind, basis, fields).await
    }
}

impl Moment {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            wall: Timestamp::now(),
        }
    }
}

fn mark(reason: &str) -> Value {
    let mark = Mark {
        reason: reason.chars().take(MARK_LIMIT).collect(),
        by: names::CONTROLLERS_ACCOUNT.to_owned(),
        at: Time(Timestamp::now()),
    };
    json!(mark)
}

fn told(name: &str, claim: &ClaimView, deed: &Deed) {
    let node = claim.node.as_str();
    match deed {
        Deed::Fence { reason } => info!(claim = name, node, reason, "claim fenced"),
        Deed::Unfence => info!(claim = name, node, "fence mark removed"),
        Deed::Adopt { uid } => info!(claim = name, node, uid, "claim is the new Node's"),
        Deed::Release { reason } => info!(claim = name, node, reason, "binding to be let go"),
        Deed::Unrelease => info!(claim = name, node, "binding to be kept after all"),
        Deed::Discard { reason } => info!(claim = name, node, reason, "claim deleted"),
    }
}
