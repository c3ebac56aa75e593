//! Which nodes something can be done on (Ready, with an agent that lives), and what their kubelets can. Asked when a set is about to
//! need it, and remembered for a while.
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
/// The first kubelet that replaces a sidecar whose image changes.
const SIDECARS_FROM: (u32, u32) = (1, 32);
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
#[serde(rename_all = "camelCase")]
struct LeanNodeStatus {
    #[serde(default)]
    conditions: Option<Vec<LeanCondition>>,
    #[serde(default)]
    node_info: Option<LeanNodeInfo>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanNodeInfo {
    #[serde(default)]
    kubelet_version: String,
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

    fn version(&self) -> &str {
        let info = self.status.node_info.as_ref();
        info.map(|info| info.kubelet_version.as_str())
            .unwrap_or_default()
    }
}

/// Whether a kubelet of this version replaces a sidecar whose image changes. One that does not say its version might not.
fn replaces_sidecars(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split('.');
    let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
    (number(), number()) >= (Some(SIDECARS_FROM.0), Some(SIDECARS_FROM.1))
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
    seen: Arc<Mutex<BTreeMap<String, (Instant, Seen)>>>,
    turns: Arc<Semaphore>,
}

/// What one node is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    is_well: bool,
    sidecars_stay: bool,
}

/// What nodes are like.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Those that are Ready, with an agent that lives.
    pub(super) well: BTreeSet<String>,
    /// Those whose kubelet does not replace a sidecar whose image changes.
    pub(super) sidecars_stay: BTreeSet<String>,
}

impl Asked {
    fn take(&mut self, node: String, seen: Seen) {
        if seen.sidecars_stay {
            self.sidecars_stay.insert(node.clone());
        }
        if seen.is_well {
            self.well.insert(node);
        }
    }
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

    /// What these nodes are like.
    ///
    /// # Errors
    /// When one could not be asked.
    ///
    /// # Cancellation
    /// Safe: what was answered is remembered.
    pub(super) async fn ask_all(&self, nodes: BTreeSet<String>) -> Result<Asked, ReadError> {
        let mut all = Asked::default();
        let mut asked = JoinSet::new();
        for node in nodes {
            if let Some(seen) = self.remembered(&node) {
                all.take(node, seen);
            } else {
                let this = self.clone();
                asked.spawn(async move { (this.ask(&node).await, node) });
            }
        }
        while let Some(answer) = asked.join_next().await {
            // A task that was cancelled or panicked asked nothing.
            let Ok((answer, node)) = answer else { continue };
            let seen = answer?;
            self.remember(&node, seen);
            all.take(node, seen);
        }
        Ok(all)
    }

    async fn ask(&self, name: &str) -> Result<Seen, ReadError> {
        let turn = self.turns.acquire().await;
        let node = self.reader.object_of_cluster::<LeanNode>("Node", name);
        let Some(node) = node.await? else {
            return Ok(Seen::default());
        };
        let mut seen = Seen {
            is_well: node.is_ready(),
            sidecars_stay: !replaces_sidecars(node.version()),
        };
        if seen.is_well {
            let lease = self.reader.object::<Lease>("Lease", &self.namespace, name);
            let lease = lease.await?;
            seen.is_well = lease.is_some_and(|lease| is_fresh(&lease, Timestamp::now()));
        }
        drop(turn);
        Ok(seen)
    }

    fn remembered(&self, node: &str) -> Option<Seen> {
        let all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, seen) = *all.get(node)?;
        let lasts = if seen.is_well {
            REMEMBERED
        } else {
            REMEMBERED_ILL
        };
        (at.elapsed() < lasts).then_some(seen)
    }

    fn remember(&self, node: &str, seen: Seen) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        all.insert(node.to_owned(), (Instant::now(), seen));
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
    fn a_kubelet_replaces_sidecars_from_1_32_on() {
        for (version, replaces) in [
            ("v1.36.3", true),
            ("v1.32.0-rc.1+k3s1", true),
            ("v1.31.14", false),
            ("v2.0.0", true),
            ("v1", false),
            ("", false),
        ] {
            let info = json!({"nodeInfo": {"kubeletVersion": version}});
            let node = json!({"metadata": {"name": "n1"}, "status": info});
            let node: LeanNode = serde_json::from_value(node).unwrap();
            assert_eq!(replaces_sidecars(node.version()), replaces, "{version}");
        }
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
