//! What is kept of other people's objects: a few fields of each, since a cluster has ten thousand Nodes.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Node;
use kube::Resource;
use kube::core::ObjectMeta;
use proto_crd::names;
use serde::{Deserialize, Serialize};

/// A Node as it is read: metadata alone would leave out the taints.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = Node)]
pub(crate) struct LeanNode {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: LeanNodeSpec,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LeanNodeSpec {
    #[serde(default)]
    taints: Vec<LeanTaint>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct LeanTaint {
    key: String,
}

/// A Node as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeView {
    /// Its UID.
    pub(crate) uid: String,
    /// Somebody says that it is shut down and stays so.
    pub(crate) is_out_of_service: bool,
}

impl From<&LeanNode> for NodeView {
    fn from(node: &LeanNode) -> Self {
        let taints = &node.spec.taints;
        Self {
            uid: node.metadata.uid.clone().unwrap_or_default(),
            is_out_of_service: taints
                .iter()
                .any(|taint| taint.key == names::OUT_OF_SERVICE_TAINT),
        }
    }
}

/// A `StatefulSet` as it is read.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = StatefulSet)]
pub(crate) struct LeanSet {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: LeanSetSpec,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LeanSetSpec {
    replicas: Option<i64>,
    ordinals: Option<LeanOrdinals>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LeanOrdinals {
    #[serde(default)]
    start: i64,
}

/// The Pods that a `StatefulSet` wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetView {
    /// The first ordinal.
    pub(crate) start: i64,
    /// How many.
    pub(crate) replicas: i64,
}

impl SetView {
    /// Whether it wants a Pod of this ordinal.
    pub(crate) fn wants(self, ordinal: i64) -> bool {
        (self.start..self.start.saturating_add(self.replicas)).contains(&ordinal)
    }
}

impl From<&LeanSet> for SetView {
    fn from(set: &LeanSet) -> Self {
        let spec = &set.spec;
        Self {
            start: spec.ordinals.as_ref().map_or(0, |ordinals| ordinals.start),
            // The API server's default.
            replicas: spec.replicas.unwrap_or(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn taints_are_kept_of_a_node_and_nothing_else() {
        let node = |spec| -> NodeView {
            let node = json!({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "u1"},
                "spec": spec, "status": {"nodeInfo": {"bootID": "b"}},
            });
            (&serde_json::from_value::<LeanNode>(node).unwrap()).into()
        };
        let taints = |key: &str| json!({"podCIDR": "10.0.0.0/24", "taints": [{"key": key, "effect": "NoExecute"}]});
        assert!(node(taints("node.kubernetes.io/out-of-service")).is_out_of_service);
        assert!(!node(taints("node.kubernetes.io/not-ready")).is_out_of_service);
        let bare = node(json!({}));
        assert_eq!((bare.uid.as_str(), bare.is_out_of_service), ("u1", false));
    }

    #[test]
    fn a_set_wants_its_ordinals_and_no_others() {
        let set = |spec| -> SetView {
            let set = json!({"metadata": {"name": "db", "namespace": "shop"}, "spec": spec});
            (&serde_json::from_value::<LeanSet>(set).unwrap()).into()
        };
        for (spec, wanted) in [
            (json!({"replicas": 3}), vec![0, 1, 2]),
            (json!({}), vec![0]),
            (json!({"replicas": 0}), vec![]),
            (json!({"replicas": 2, "ordinals": {"start": 3}}), vec![3, 4]),
            (json!({"replicas": 2, "ordinals": {}}), vec![0, 1]),
        ] {
            let set = set(spec.clone());
            let wants: Vec<_> = (0..9).filter(|ordinal| set.wants(*ordinal)).collect();
            assert_eq!(wants, wanted, "{spec}");
        }
    }
}
