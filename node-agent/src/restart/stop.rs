//! Stops under way: of each container its hook, then TERM with what remains of the grace period. Nothing is started here.
//!
//! Always holds: neither hook nor TERM is begun at or after the order's end; a container is named as being stopped for exactly as long
//! as somebody works on it. The process does not wait for a stop when it ends: the next one finishes it by what was stored.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ipamd_daemon::{Tasks, chain};
use node_agent_cri::{CallRuntimeError, Runtime};
use node_agent_restart::plan::StopOrder;
use node_agent_restart::prestop::LEAST_GRACE;
use proto_crd::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

use super::hook::{self, Place};

/// How often a runtime is asked again that went away in the middle of a stop.
const AGAIN: Duration = Duration::from_secs(1);
/// How much longer than its grace period a stop is tried for while the runtime is away: as long as the plan waits for one.
const SLACK: Duration = Duration::from_secs(10);

/// The time.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::default().after(since.unwrap_or_default())
}

/// One stop.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    pub(super) order: StopOrder,
    /// The Pod's first address, for a hook that asks it.
    pub(super) ip: Option<String>,
    /// Whether the hook is still to be run.
    pub(super) with_hook: bool,
}

/// Carries out stops, each in a task of its own.
pub(super) struct Stops {
    tasks: Tasks,
    runtime: Runtime,
    under_way: Arc<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    ids: Mutex<BTreeSet<String>>,
    ended: Notify,
}

impl UnderWay {
    fn ids(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A container that is being stopped, until this is dropped.
struct Entered {
    id: String,
    under_way: Arc<UnderWay>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.under_way.ids().remove(&self.id);
        self.under_way.ended.notify_one();
    }
}

impl Stops {
    pub(super) fn new(tasks: Tasks, runtime: Runtime) -> Self {
        Self {
            tasks,
            runtime,
            under_way: Arc::default(),
        }
    }

    /// The ids of containers that are being stopped.
    pub(super) fn under_way(&self) -> BTreeSet<String> {
        self.under_way.ids().clone()
    }

    /// Waits until a stop has ended, or has since this was last asked.
    pub(super) async fn ended(&self) {
        self.under_way.ended.notified().await;
    }

    /// Begins a stop; one that is under way is left alone.
    pub(super) fn begin(&self, stop: Stop) {
        if !self.under_way.ids().insert(stop.order.id.clone()) {
            return;
        }
        let entered = Entered {
            id: stop.order.id.clone(),
            under_way: Arc::clone(&self.under_way),
        };
        let runtime = self.runtime.clone();
        let token = self.tasks.token();
        self.tasks.spawn_job("stop", async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = carry_out(&runtime, &stop) => {}
            }
            drop(entered);
        });
    }
}

async fn carry_out(runtime: &Runtime, stop: &Stop) {
    let order = &stop.order;
    let (container, id) = (order.container.as_str(), order.id.as_str());
    let begun = Instant::now();
    info!(container, id, grace = ?order.spec.grace, hook = stop.with_hook && order.spec.hook.is_some(), "stopping a container");
    if stop.with_hook
        && let Some((hook, limit)) = order.spec.hook.as_ref().zip(order.spec.hook_limit())
        && now() < order.not_after
    {
        let place = Place {
            runtime,
            id,
            ip: stop.ip.as_deref(),
        };
        if let Err(error) = hook::run(hook, place, limit).await {
            warn!(container, id, error = %chain(&error), "preStop hook failed; the container is stopped all the same");
        }
    }
    let grace = order.spec.term_grace(begun.elapsed());
    let give_up = begun + order.spec.longest() + SLACK;
    while now() < order.not_after && Instant::now() < give_up {
        match runtime.stop_container(id, grace).await {
            Ok(()) | Err(CallRuntimeError::NotFound { .. }) => {
                info!(
                    container,
                    id,
                    seconds = begun.elapsed().as_secs_f32(),
                    "container stopped"
                );
                return;
            }
            Err(error @ CallRuntimeError::Away { .. }) => {
                warn!(container, id, error = %chain(&error), "the runtime went away; asking it again");
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => {
                warn!(container, id, error = %chain(&error), "the runtime did not stop the container");
                return;
            }
        }
    }
    warn!(container, id, least = ?LEAST_GRACE, "not stopped: its time was over");
}
