//! How full each pool is, and what speaks against it: its status.
//!
//! Counts the claims that the watches show, by the arithmetic of the address daemons ([`spec`]); writes on change only, and not
//! more often than every 30 s a pool ([`plan`]). Nothing depends on it but people.

mod forecast;
mod plan;
mod spec;

use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use proto_crd::pool::{Pool, PoolSpec, PoolStatus};
use serde_json::json;
use tracing::warn;

use crate::metrics::{Controller, ControllersMetrics, PassResult};
use crate::reign::Reign;
use crate::world::WorldHandle;
use crate::write::{Basis, WriteError, WriteKind, Writer};
use plan::History;

/// From one count to the next.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// How long an address rests where its pool does not say: the address daemons' default.
pub(crate) const DEFAULT_REST: Duration = Duration::from_secs(10 * 60);

/// A pool, as far as the controllers need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PoolView {
    uid: String,
    version: String,
    generation: i64,
    spec: PoolSpec,
    /// How many addresses it hands out; none, where it cannot be read.
    capacity: u64,
    /// How long an address rests after its use.
    pub(crate) rest: Duration,
    status: Option<PoolStatus>,
}

impl From<&Pool> for PoolView {
    fn from(pool: &Pool) -> Self {
        let parsed = spec::parse(&pool.name_any(), &pool.spec);
        Self {
            uid: pool.uid().unwrap_or_default(),
            version: pool.resource_version().unwrap_or_default(),
            generation: pool.metadata.generation.unwrap_or_default(),
            capacity: parsed.map_or(0, |parsed| parsed.capacity()),
            rest: spec::rest(pool.spec.quarantine.as_deref()),
            spec: pool.spec.clone(),
            status: pool.status.clone(),
        }
    }
}

impl PoolView {
    /// The network and the rack that it has addresses for.
    pub(crate) fn place(&self) -> (&str, &str) {
        (&self.spec.network, &self.spec.rack)
    }
}

/// The controller of pools.
pub(crate) struct Pools {
    pub(crate) writer: Writer,
    pub(crate) world: WorldHandle,
    pub(crate) namespace: String,
    pub(crate) metrics: ControllersMetrics,
}

impl Pools {
    /// Works until the reign is over.
    pub(crate) async fn run(self, reign: Reign) {
        let mut history = History::default();
        let mut changes = self.world.changes();
        let mut is_told = false;
        while reign.goes_on() {
            let began = Instant::now();
            changes.mark_unchanged();
            let (is_complete, due) = {
                let world = self.world.lock();
                let pools = world.pools.items();
                let counts = plan::count(world.claims.items().values());
                let due = if world.is_complete() {
                    history.plan(pools, &counts, began, Timestamp::now())
                } else {
                    Vec::new()
                };
                (world.is_complete(), due)
            };
            let outcome = self.apply(due, &mut history, &reign).await;
            let result = match &outcome {
                Ok(()) => PassResult::done,
                Err(_) => PassResult::failed,
            };
            self.metrics.passed(Controller::pool, result);
            match outcome {
                Err(error) if !is_told && reign.goes_on() => {
                    warn!(error = %chain(&error), "status of pools not written; trying on");
                    is_told = true;
                }
                outcome => is_told &= outcome.is_err(),
            }
            if !is_complete {
                // The first count is not put off.
                tokio::select! {
                    _ = changes.changed() => continue,
                    () = reign.until(began + COUNT_EVERY) => continue,
                }
            }
            reign.until(began + COUNT_EVERY).await;
        }
    }

    async fn apply(
        &self,
        due: Vec<(String, PoolStatus)>,
        history: &mut History,
        reign: &Reign,
    ) -> Result<(), WriteError> {
        for (name, status) in due {
            let Some(pool) = self.world.lock().pools.items().get(&name).cloned() else {
                continue;
            };
            let basis = Basis {
                namespace: &self.namespace,
                name: &name,
                uid: &pool.uid,
                version: &pool.version,
            };
            // A merge removes only what is named.
            let mut fields = json!(status);
            if status.exhausted_at.is_none() {
                fields["exhaustedAt"] = serde_json::Value::Null;
            }
            let kind = WriteKind::PoolStatus;
            let term = reign.term();
            let written = self
                .writer
                .patch_status::<Pool>(term, kind, basis, fields)
                .await;
            match written {
                Ok(()) => history.wrote(&name, Instant::now()),
                // Somebody was faster: counted again soon.
                Err(error) if error.is_overtaken() => {}
                Err(error) if error.is_of_this_object() => {
                    history.wrote(&name, Instant::now());
                    warn!(pool = name, error = %chain(&error), "status not written");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
