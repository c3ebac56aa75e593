//! Which nodes something can be done on: Ready, with an agent that lives. Asked when a set is about to need it, and remembered for a
//! while.
//!
//! Not watched: ten thousand agents renew their Leases four hundred times a second, and most of the time no release is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::read::{ReadError, Reader};

/// How long an answer counts. A node that dies is noticed by its Pods besides.
const REMEMBERED: Duration = Duration::from_secs(20);
/// A node that is not well is asked again sooner.
const REMEMBERED_ILL: Duration = Duration::from_secs(5);
/// Nodes that are asked at once, by all sets together.
const AT_ONCE: usize = 8;
/// The clocks of two machines may be so far apart.
const SKEW: Duration = Duration::from_secs(30);

/// A Node as it is read.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = Node)]
struct LeanNode {
    metadata: ObjectMeta,
    #[serde(default)]
    status: LeanNodeStatus,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LeanNodeStatus {
    #[serde(default)]
    conditions: Option<Vec<LeanCondition>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct LeanCondition {
    r#type: String,
    status: String,
}

impl LeanNode {
    fn is_ready(&self) -> bool {
        let mut conditions = self.status.conditions.iter().flatten();
        conditions.any(|condition| condition.r#type == "Ready" && condition.status == "True")
    }
}

/// Whether the agent whose Lease this is lives. By two clocks: its own, and this machine's.
fn is_fresh(lease: &Lease, now: Timestamp) -> bool {
    let Some(spec) = &lease.spec else {
        return false;
    };
    let Some(renewed) = &spec.renew_time else {
        return false;
    };
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    let lasts = Duration::from_secs(u64::try_from(seconds).unwrap_or_default()) + SKEW;
    let age = now.as_second().saturating_sub(renewed.0.as_second());
    u64::try_from(age).unwrap_or_default() < lasts.as_secs()
}

/// What is remembered of nodes. Clones remember the same.
#[derive(Clone)]
pub(super) struct Nodes {
    reader: Reader,
    /// Where Berth's own objects are.
    namespace: String,
    seen: Arc<Mutex<BTreeMap<String, (Instant, bool)>>>,
    turns: Arc<Semaphore>,
}

impl Nodes {
    /// Nothing is known yet.
    pub(super) fn new(reader: Reader, namespace: &str) -> Self {
        Self {
            reader,
            namespace: namespace.to_owned(),
            seen: Arc::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Those of these nodes that are well.
    ///
    /// # Errors
    /// When one could not be asked.
    ///
    /// # Cancellation
    /// Safe: what was answered is remembered.
    pub(super) async fn well(
        &self,
        nodes: BTreeSet<String>,
    ) -> Result<BTreeSet<String>, ReadError> {
        let mut well = BTreeSet::new();
        let mut asked = JoinSet::new();
        for node in nodes {
            match self.remembered(&node) {
                Some(true) => {
                    well.insert(node);
                }
                Some(false) => {}
                None => {
                    let this = self.clone();
                    asked.spawn(async move { (this.ask(&node).await, node) });
                }
            }
        }
        while let Some(answer) = asked.join_next().await {
            // A task that was cancelled or panicked asked nothing.
            let Ok((answer, node)) = answer else { continue };
            let is_well = answer?;
            self.remember(&node, is_well);
            if is_well {
                well.insert(node);
            }
        }
        Ok(well)
    }

    async fn ask(&self, name: &str) -> Result<bool, ReadError> {
        let turn = self.turns.acquire().await;
        let node = self.reader.object_of_cluster::<LeanNode>("Node", name);
        let is_ready = node.await?.is_some_and(|node| node.is_ready());
        if !is_ready {
            return Ok(false);
        }
        let lease = self.reader.object::<Lease>("Lease", &self.namespace, name);
        let lease = lease.await?;
        drop(turn);
        Ok(lease.is_some_and(|lease| is_fresh(&lease, Timestamp::now())))
    }

    fn remembered(&self, node: &str) -> Option<bool> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, is_well) = *seen.get(node)?;
        let lasts = if is_well { REMEMBERED } else { REMEMBERED_ILL };
        (at.elapsed() < lasts).then_some(is_well)
    }

    fn remember(&self, node: &str, is_well: bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        seen.insert(node.to_owned(), (Instant::now(), is_well));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_ready_when_its_condition_says_so() {
        let ready = |conditions| {
            let node = json!({"metadata": {"name": "n1"}, "status": {"conditions": conditions}});
            serde_json::from_value::<LeanNode>(node).unwrap().is_ready()
        };
        assert!(ready(json!([{"type": "Ready", "status": "True"}])));
        assert!(!ready(json!([{"type": "Ready", "status": "Unknown"}])));
        assert!(!ready(json!(null)));
    }

    #[test]
    fn an_agent_lives_for_as_long_as_its_lease_lasts() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let fresh = |renewed: &str| {
            let lease = json!({"metadata": {}, "spec": {"renewTime": renewed, "leaseDurationSeconds": 120}});
            is_fresh(&serde_json::from_value(lease).unwrap(), now)
        };
        assert!(fresh("2026-01-01T00:09:30.000000Z"));
        // Another machine's clock.
        assert!(fresh("2026-01-01T00:10:20.000000Z"));
        assert!(fresh("2026-01-01T00:07:31.000000Z"));
        assert!(!fresh("2026-01-01T00:07:29.000000Z"));
        assert!(!is_fresh(&Lease::default(), now));
    }
}
