//! The reference protection controller: the finalizer `protection.berth.dev/endpoints` is on a Pod that names it for as long as a
//! Service sends traffic there.
//!
//! Looks at all Pods and `EndpointSlice`s after each change ([`plan`]) and writes finalizers, each at the version that was looked at.
//! **Always holds:** a finalizer is removed for quiet only when the slices, read again, still say so: a release takes its absence
//! for "no traffic goes there". **Never:** touches another finalizer, or a Pod that does not name this one.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::json;
use tracing::{debug, warn};

use crate::endpoints::{SliceView, Traffic};
use crate::fleet::{FleetHandle, LeanPod};
use crate::metrics::{Controller, ControllersMetrics, PassResult};
use crate::read::{ReadError, Reader};
use crate::reign::Reign;
use crate::world::Key;
use crate::write::{Basis, WriteError, WriteKind, Writer};
use plan::{Cause, Deed};

/// From one pass to the next at least: a Pod that is drained waits for it.
const PASS_GAP: Duration = Duration::from_millis(100);
/// A pass over a large cluster takes longer: of a core it has a tenth at most.
const PASS_SHARE: u32 = 10;
/// While something was not done.
const TICK: Duration = Duration::from_secs(2);
/// Without any change, all the same.
const IDLE_TICK: Duration = Duration::from_secs(30);
/// Deeds of one pass: a second of the pace. What was read live is not older than that, and what came meanwhile waits no longer.
const BATCH: usize = 50;

/// The protection controller.
pub(crate) struct Protections {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) fleet: FleetHandle,
    pub(crate) metrics: ControllersMetrics,
}

/// Why a pass was broken off.
#[derive(Debug, thiserror::Error)]
enum PassError {
    /// The slices could not be read again.
    #[error("asking where traffic goes")]
    Read(#[source] ReadError),
    /// The API server does not answer, or this process leads no more.
    #[error("writing")]
    Write(#[source] WriteError),
}

/// Slices that were read in this pass, by namespace and the Services asked for.
type Live = BTreeMap<(String, Vec<String>), Vec<(Key, SliceView)>>;

impl Protections {
    /// Works until the reign is over.
    pub(crate) async fn run(self, reign: Reign) {
        let mut changes = self.fleet.changes();
        let mut written = BTreeMap::new();
        let mut is_told = false;
        while reign.goes_on() {
            let began = Instant::now();
            changes.mark_unchanged();
            let due = {
                let fleet = self.fleet.lock();
                // What was written and is seen is looked at again.
                written.retain(|key, version| {
                    let pod = fleet.pods().get(key);
                    pod.is_some_and(|pod| plan::version(pod) == Some(version))
                });
                let due = plan::plan(&fleet, &written).into_iter();
                let due = due.filter_map(|(key, deed)| {
                    let pod = Arc::clone(fleet.pods().get(&key)?);
                    let services = plan::services(&fleet, &pod);
                    Some((key, pod, deed, services))
                });
                let due: Vec<_> = due.take(BATCH + 1).collect();
                due
            };
            let gap = PASS_GAP.max(began.elapsed() * PASS_SHARE);
            let is_more = due.len() > BATCH;
            let outcome = self.apply(due, &mut written, &reign).await;
            let result = match &outcome {
                Ok(()) => PassResult::done,
                Err(_) => PassResult::failed,
            };
            self.metrics.passed(Controller::protection, result);
            let tick = if outcome.is_err() { TICK } else { IDLE_TICK };
            match outcome {
                Err(error) if !is_told && reign.goes_on() => {
                    warn!(error = %chain(&error), "protections not all seen to; trying on");
                    is_told = true;
                }
                outcome => is_told &= outcome.is_err(),
            }
            reign.until(began + if is_told { TICK } else { gap }).await;
            if !is_more {
                tokio::select! {
                    // The fleet's owner goes only when the reign is over.
                    _ = changes.changed() => {}
                    () = reign.until(began + tick) => {}
                }
            }
        }
    }

    async fn apply(
        &self,
        due: Vec<(Key, Arc<LeanPod>, Deed, Vec<String>)>,
        written: &mut BTreeMap<Key, String>,
        reign: &Reign,
    ) -> Result<(), PassError> {
        let mut live = Live::new();
        for (key, pod, deed, services) in due.into_iter().take(BATCH) {
            if !reign.goes_on() {
                return Ok(());
            }
            if deed == Deed::Remove(Cause::Quiet) {
                let asked = self.is_quiet(&pod, services, &mut live);
                match reign.unless_over(asked).await {
                    None => return Ok(()),
                    Some(Err(error)) => return Err(PassError::Read(error)),
                    Some(Ok(false)) => continue,
                    Some(Ok(true)) => {}
                }
            }
            let (namespace, name) = (key.0.as_str(), key.1.as_str());
            match self.write(&pod, deed, reign).await {
                Ok(()) => {
                    debug!(namespace, pod = name, ?deed, "protection changed");
                    written.extend(plan::version(&pod).map(|version| (key, version.clone())));
                }
                // Somebody was faster: the next pass sees what there is then.
                Err(error) if error.is_overtaken() => {}
                Err(error) if error.is_of_this_object() => {
                    warn!(namespace, pod = name, error = %chain(&error), "protection not changed");
                }
                Err(error) => return Err(PassError::Write(error)),
            }
        }
        Ok(())
    }

    /// Whether nothing sends traffic to the Pod, as the API server says now.
    async fn is_quiet(
        &self,
        pod: &LeanPod,
        services: Vec<String>,
        live: &mut Live,
    ) -> Result<bool, ReadError> {
        let asked = (pod.namespace().unwrap_or_default(), services);
        if !live.contains_key(&asked) {
            let slices = self.reader.slices(&asked.0, &asked.1).await?;
            live.insert(asked.clone(), slices);
        }
        let slices = live.get(&asked).into_iter().flatten();
        let traffic = Traffic::of(slices.map(|(key, slice)| (key, slice)));
        Ok(plan::decide(pod, &traffic) == Some(Deed::Remove(Cause::Quiet)))
    }

    async fn write(&self, pod: &LeanPod, deed: Deed, reign: &Reign) -> Result<(), WriteError> {
        let basis = Basis::of(&pod.metadata);
        let kind = match deed {
            Deed::Add => WriteKind::Protect,
            Deed::Remove(_) => WriteKind::Unprotect,
        };
        let fields = json!({"metadata": {"finalizers": plan::finalizers(pod, deed)}});
        let term = reign.term();
        self.writer.patch::<Pod>(term, kind, basis, fields).await
    }
}
