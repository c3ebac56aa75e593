//! `LifecycleFreeze`: people say that nothing is done about nodes: of the cluster, of a rack, about one node, about the Pods of one
//! application. In Berth's own namespace; made by operators.
//!
//! Nothing but its end can be changed. The leader looks at all of them before each action, and deletes what has expired: a
//! freeze without a leader holds until somebody takes it away. The API server holds back Kubernetes' own controllers by it
//! (`install/manifests/policy/freeze.yaml`), which knows no clock and no racks: the nodes of a rack are written by the leader.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod rules;

use crate::time::Timestamp;

/// How many nodes a rack has at most whose freeze the API server itself knows of.
pub const NODES_LIMIT: usize = 1024;

/// What nothing is done about, and why.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "berth.dev",
    version = "v1alpha1",
    kind = "LifecycleFreeze",
    plural = "lifecyclefreezes",
    shortname = "lf",
    category = "berth",
    namespaced,
    status = "LifecycleFreezeStatus",
    derive = "PartialEq",
    doc = "Nothing is done about nodes, their endpoints and their Pods, by Berth and by Kubernetes' own node controllers, in a scope, until it is deleted or expires.",
    label("app.kubernetes.io/part-of", "berth"),
    printcolumn(name = "Cluster", type_ = "boolean", json_path = ".spec.scope.cluster"),
    printcolumn(name = "Rack", type_ = "string", json_path = ".spec.scope.rack"),
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.scope.node"),
    printcolumn(
        name = "Application",
        type_ = "string",
        json_path = ".spec.scope.application.name"
    ),
    printcolumn(
        name = "Expires",
        type_ = "string",
        json_path = ".spec.expiryTime",
        description = "Nothing: when somebody takes it away"
    ),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.by"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Ticket",
        type_ = "string",
        json_path = ".spec.ticket",
        priority = "1"
    ),
    printcolumn(
        name = "Observed",
        type_ = "date",
        json_path = ".status.observedTime",
        description = "When the leader first held by it",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::spec()))]
#[expect(
    clippy::duplicated_attributes,
    reason = "each column has a type and a priority of its own"
)]
pub struct LifecycleFreezeSpec {
    /// What nothing is done about: exactly one of these.
    pub scope: FreezeScope,
    /// Why.
    #[schemars(length(min = 1, max = 512), pattern(r"\S"))]
    pub reason: String,
    /// Who says so. The API server's own audit log has who wrote it.
    #[schemars(length(min = 1, max = 253), pattern(r"\S"))]
    pub by: String,
    /// Where more is written about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ticket: Option<String>,
    /// Until when; without it, until somebody takes it away. The only field that can be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_time: Option<Timestamp>,
}

/// What nothing is done about: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::scope()))]
pub struct FreezeScope {
    /// Everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<bool>,
    /// The nodes of a rack and their Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        pattern(r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$")
    )]
    pub rack: Option<String>,
    /// A node and its Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        pattern(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub node: Option<String>,
    /// The Pods of an application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<FrozenApplication>,
}

/// An application: the owner of its Pods, whatever its kind. A Deployment is meant as well as each of its `ReplicaSet`s.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrozenApplication {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Its name.
    #[schemars(
        length(min = 1, max = 253),
        pattern(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// What the leader knows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LifecycleFreezeStatus {
    /// When the leader first held by it. Before, the API server takes a rack's freeze for one of all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_time: Option<Timestamp>,
    /// The nodes of the rack, where it is one's. The leader follows what nodes come and go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1024),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub nodes: Vec<String>,
}

impl LifecycleFreezeSpec {
    /// Whether it is over at this time.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expiry_time.is_some_and(|expiry| expiry <= now)
    }
}

#[cfg(test)]
mod tests;
