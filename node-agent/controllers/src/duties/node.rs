//! What the duties read and keep of a Node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt as _};
use serde::{Deserialize, Serialize};

use super::{figures, labels};
use crate::write::Basis;

/// A Node as it is read.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = Node)]
pub(super) struct LeanNode {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: LeanSpec,
    #[serde(default)]
    status: LeanStatus,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct LeanSpec {
    unschedulable: bool,
    /// Whole, since they are written back.
    taints: Vec<Taint>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct LeanStatus {
    conditions: Vec<LeanCondition>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanCondition {
    r#type: String,
    status: String,
    #[serde(default)]
    last_heartbeat_time: Option<String>,
}

/// A Node as it is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NodeView {
    pub(super) uid: String,
    pub(super) version: String,
    /// Of its labels those that a duty looks at.
    pub(super) labels: BTreeMap<String, String>,
    /// Somebody has said that it is to get no Pods.
    pub(super) unschedulable: bool,
    pub(super) taints: Vec<Taint>,
    /// Its status by type.
    pub(super) conditions: BTreeMap<String, String>,
    /// When kubelet last wrote that it is ready or not, as text: another one means that it lives.
    pub(super) heartbeat: Option<String>,
}

impl NodeView {
    /// Its version as a number: a later one is larger.
    pub(super) fn order(&self) -> u64 {
        self.version.parse().unwrap_or_default()
    }

    /// As what it is written.
    pub(super) fn basis<'a>(&'a self, name: &'a str) -> Basis<'a> {
        Basis {
            namespace: "",
            name,
            uid: &self.uid,
            version: &self.version,
        }
    }

    /// What its condition `Ready` says, where it has one.
    pub(super) fn ready(&self) -> Option<&str> {
        self.conditions.get("Ready").map(String::as_str)
    }
}

impl From<&LeanNode> for NodeView {
    fn from(node: &LeanNode) -> Self {
        let is_of_interest =
            |key: &str| labels::KEYS.contains(&key) || figures::KEYS.contains(&key);
        let labels = node.labels().iter();
        let labels = labels.filter(|(key, _)| is_of_interest(key));
        let conditions = node.status.conditions.iter();
        let ready = conditions.clone().find(|it| it.r#type == "Ready");
        Self {
            uid: node.uid().unwrap_or_default(),
            version: node.resource_version().unwrap_or_default(),
            labels: labels.map(|(key, it)| (key.clone(), it.clone())).collect(),
            unschedulable: node.spec.unschedulable,
            taints: node.spec.taints.clone(),
            heartbeat: ready.and_then(|ready| ready.last_heartbeat_time.clone()),
            conditions: conditions
                .map(|it| (it.r#type.clone(), it.status.clone()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_read_as_kubernetes_writes_them() {
        let node: LeanNode = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": "n1", "uid": "u1", "resourceVersion": "7",
                "labels": {"kubernetes.io/os": "linux", "example.com/other": "x", "topology.kubernetes.io/zone": "z"},
            },
            "spec": {
                "podCIDR": "10.0.0.0/24", "unschedulable": true,
                "taints": [{"key": "k", "value": "v", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}],
            },
            "status": {"conditions": [
                {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "lastHeartbeatTime": "2026-01-01T00:00:10Z"},
                {"type": "MemoryPressure", "status": "True"},
            ], "nodeInfo": {"bootID": "b"}},
        }))
        .unwrap();
        let view = NodeView::from(&node);
        assert_eq!((view.uid.as_str(), view.version.as_str()), ("u1", "7"));
        assert_eq!(view.labels.len(), 2);
        assert!(view.unschedulable && view.taints[0].time_added.is_some());
        assert_eq!(view.ready(), Some("False"));
        assert_eq!(view.heartbeat.as_deref(), Some("2026-01-01T00:00:10Z"));
        assert_eq!(view.conditions.len(), 2);
    }

    #[test]
    fn a_node_that_has_said_nothing_is_read_too() {
        let node = json!({"metadata": {"name": "n1"}, "spec": {}, "status": {}});
        let node: LeanNode = serde_json::from_value(node).unwrap();
        assert_eq!(NodeView::from(&node), NodeView::default());
    }
}
