//! Who looks at whom, written to each `NodeHealth`; and the key that they sign with.
//!
//! Chosen from the Nodes that the watches show ([`plan`]), written where it differs and not faster than [`BATCH`] a pass. A node
//! without a `NodeHealth` has no agent yet: it is looked at by nobody until its agent has made one. Whether a Node is ready
//! does not matter. The key ([`key`]) is in the Secret `berth-peers`, made where it is missing and changed every thirty days.

mod key;
mod plan;

use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use proto_crd::names;
use proto_crd::node_health::NodeHealth;
use serde_json::json;
use tracing::{info, warn};

use crate::metrics::{Controller, ControllersMetrics, PassResult};
use crate::read::{ReadError, Reader};
use crate::reign::Reign;
use crate::world::WorldHandle;
use crate::write::{Basis, WriteError, WriteKind, Writer};
use key::{DrawKeyError, SecretView};
use plan::{Change, Chooser};

/// From one pass to the next at least: nodes that come together are seen together.
const PASS_GAP: Duration = Duration::from_secs(5);
/// Without any change, all the same.
const IDLE_TICK: Duration = Duration::from_secs(60);
/// Rosters that are written in one pass: ten a second, so that the marks of claims are not kept waiting. A roster is in no hurry.
const BATCH: usize = 50;
/// From one look at the key to the next.
const KEY_EVERY: Duration = Duration::from_secs(15);

/// The controller of peers.
pub(crate) struct Peers {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) world: WorldHandle,
    pub(crate) namespace: String,
    pub(crate) metrics: ControllersMetrics,
}

/// Why a pass was broken off.
#[derive(Debug, thiserror::Error)]
enum PassError {
    /// Whether there is a key could not be asked.
    #[error("asking for the key of the peers")]
    Read(#[source] ReadError),
    /// No key could be drawn.
    #[error("making a key for the peers")]
    Draw(#[source] DrawKeyError),
    /// The key was not written.
    #[error("writing the key of the peers")]
    WriteKey(#[source] WriteError),
    /// A roster was not.
    #[error("writing whom nodes look at")]
    WriteRoster(#[source] WriteError),
}

impl Peers {
    /// Works until the reign is over.
    pub(crate) async fn run(self, reign: Reign) {
        let mut chooser = Chooser::default();
        let mut changes = self.world.changes();
        let mut key_due = Instant::now();
        let mut is_told = false;
        while reign.goes_on() {
            let began = Instant::now();
            changes.mark_unchanged();
            let key = if began >= key_due {
                key_due = began + KEY_EVERY;
                self.keep_key(&reign).await
            } else {
                Ok(())
            };
            let due = {
                let world = self.world.lock();
                let is_known = world.nodes.is_complete() && world.healths.is_complete();
                is_known.then(|| chooser.plan(world.nodes.items(), world.healths.items()))
            };
            let is_complete = due.is_some();
            let due = due.unwrap_or_default();
            let is_more = due.len() > BATCH;
            let outcome = key.and(self.apply(due, &reign).await);
            let result = match &outcome {
                Ok(()) => PassResult::done,
                Err(_) => PassResult::failed,
            };
            self.metrics.passed(Controller::peer, result);
            match outcome {
                Err(error) if !is_told && reign.goes_on() => {
                    warn!(error = %chain(&error), "peers not all seen to; trying on");
                    is_told = true;
                }
                outcome => is_told &= outcome.is_err(),
            }
            if !is_complete {
                // The first choice is not put off.
                tokio::select! {
                    _ = changes.changed() => continue,
                    () = reign.until(began + PASS_GAP) => continue,
                }
            }
            reign.until(began + PASS_GAP).await;
            if !is_more && !is_told {
                tokio::select! {
                    // The world's owner goes only when the reign is over.
                    _ = changes.changed() => {}
                    () = reign.until(key_due.min(began + IDLE_TICK)) => {}
                }
            }
        }
    }

    /// Makes the key where it is missing, and changes it when its time has come.
    async fn keep_key(&self, reign: &Reign) -> Result<(), PassError> {
        let asked = self.reader.secret(&self.namespace, names::PEERS_SECRET);
        let Some(asked) = reign.unless_over(asked).await else {
            return Ok(());
        };
        let secret = asked.map_err(PassError::Read)?;
        let view = secret.as_ref().map(SecretView::from);
        let Some(deed) = key::plan(view.as_ref(), Timestamp::now()) else {
            return Ok(());
        };
        let drawn = key::draw().map_err(PassError::Draw)?;
        let fields = key::fields(deed, view.as_ref(), &drawn, Timestamp::now());
        let (term, kind) = (reign.term(), WriteKind::PeerKey);
        let written = if let Some(secret) = &secret {
            let basis = Basis::of(&secret.metadata);
            self.writer.patch::<Secret>(term, kind, basis, fields).await
        } else {
            let secret = key::new_secret(&self.namespace, &drawn, Timestamp::now());
            let namespace = &self.namespace;
            self.writer.create(term, kind, namespace, &secret).await
        };
        match written {
            Ok(()) => info!(
                secret = names::PEERS_SECRET,
                ?deed,
                "key of the peers changed"
            ),
            // Somebody was faster: looked at again soon.
            Err(error) if error.is_overtaken() => {}
            Err(error) => return Err(PassError::WriteKey(error)),
        }
        Ok(())
    }

    async fn apply(&self, due: Vec<Change>, reign: &Reign) -> Result<(), PassError> {
        for change in due.into_iter().take(BATCH) {
            if !reign.goes_on() {
                return Ok(());
            }
            let basis = Basis {
                namespace: &self.namespace,
                name: &change.node,
                uid: &change.uid,
                // Reports change it all the time, and nobody else writes the peers.
                version: "",
            };
            let fields = json!({"spec": {"peers": change.peers}});
            let (term, kind) = (reign.term(), WriteKind::Roster);
            let manager = names::PEERS_FIELD_MANAGER;
            let written = self
                .writer
                .patch_own::<NodeHealth>(term, kind, basis, manager, fields)
                .await;
            match written {
                Ok(()) => {}
                // Gone, or made anew: the next pass sees what there is then.
                Err(error) if error.is_overtaken() => {}
                Err(error) if error.is_of_this_object() => {
                    warn!(node = change.node, error = %chain(&error), "peers not written");
                }
                Err(error) => return Err(PassError::WriteRoster(error)),
            }
        }
        Ok(())
    }
}
