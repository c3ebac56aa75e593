//! `InPlaceSet`: Pods with stable names and addresses, whose containers are replaced in place. In the application's namespace.
//!
//! The spec is people's, or that of a controller above; the status the controllers' leader's. A revision is always named by its
//! hash, here, in the Pods' label and in the status; its `ControllerRevision` is called `SET-HASH`. What the API server
//! can tell of one object is refused by it; what is wrong in the template besides shows when Pods are refused, as a condition.
//! What becomes of a set is decided by `node-agent/inplace`.

use std::time::Duration;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod lossless;
mod rules;
mod selector;
mod status;
mod unavailable;

pub use lossless::{Lossless, OnDrainTimeout};
pub use selector::{Operator, Requirement, Selector};
pub use status::{
    InPlaceSetStatus, PODS_LIMIT, Release, ReleasePhase, ReleasePod, SOFT_EVICTED_LIMIT,
    SoftEvictedPod, TEXT_LIMIT,
};
pub use unavailable::MaxUnavailable;

/// How many Pods a set may have.
pub const REPLICAS_LIMIT: u32 = 10_000;

/// How many characters a set's name may have: with a hyphen and a hash it is the name of a `ControllerRevision`, and with an
/// ordinal the host name of a Pod, which has at most 63.
pub const NAME_LIMIT: usize = 52;

/// What is to be.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "berth.dev",
    version = "v1alpha1",
    kind = "InPlaceSet",
    plural = "inplacesets",
    shortname = "ips",
    category = "all",
    category = "berth",
    namespaced,
    status = "InPlaceSetStatus",
    derive = "PartialEq",
    doc = "Pods with stable names and addresses, whose containers are replaced in place: node, IP, MAC and UID of a Pod stay.",
    label("app.kubernetes.io/part-of", "berth"),
    validation = (
        "size(self.metadata.name) <= 52 && !self.metadata.name.contains('.')",
        "the name of a set has at most 52 characters and no dot: the host names of its Pods begin with it"
    ),
    validation = (
        "!has(self.spec.podsToDelete) || self.spec.podsToDelete.all(p, p.substring(0, p.lastIndexOf('-')) == self.metadata.name)",
        "podsToDelete names Pods of this set: its name, a hyphen and an ordinal"
    ),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.labelSelector"
    ),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Updated", type_ = "integer", json_path = ".status.updatedReadyReplicas", description = "Pods that are ready at the update revision"),
    printcolumn(name = "Release", type_ = "string", json_path = ".status.release.phase", description = "How far the last release is"),
    printcolumn(name = "Waits-For", type_ = "string", json_path = ".status.release.waitsFor", description = "What the release waits for"),
    printcolumn(name = "Since", type_ = "date", json_path = ".status.release.since", description = "Since when it waits for that"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Available", type_ = "integer", json_path = ".status.availableReplicas", priority = "1"),
    printcolumn(name = "Draining", type_ = "integer", json_path = ".status.draining", description = "Pods that lose their traffic", priority = "1"),
    printcolumn(name = "Upgrading", type_ = "integer", json_path = ".status.upgrading", description = "Pods whose containers are replaced", priority = "1"),
    printcolumn(name = "Attaching", type_ = "integer", json_path = ".status.attaching", description = "Pods that get their traffic back", priority = "1"),
    printcolumn(name = "Current", type_ = "string", json_path = ".status.currentRevision", priority = "1"),
    printcolumn(name = "Update", type_ = "string", json_path = ".status.updateRevision", priority = "1"),
    printcolumn(name = "Selector", type_ = "string", json_path = ".status.labelSelector", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::spec()))]
pub struct InPlaceSetSpec {
    /// How many Pods there are to be. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 10_000))]
    pub replicas: u32,
    /// How many of them are to be at the update revision; without it, or where it is more than there are, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub updated_replicas: Option<u32>,
    /// The update revision, by its hash, of the set's history; without it, that of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]+$"))]
    pub revision: Option<String>,
    /// Which Pods are the set's, by their labels. It cannot be changed.
    #[schemars(extend("x-kubernetes-validations" = rules::selector()))]
    pub selector: Selector,
    /// How long a Pod must be ready without a gap to count as available. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 86_400))]
    pub min_ready_seconds: u32,
    /// What is done with a change of the template. Default: `InPlaceIfPossible`.
    #[serde(default)]
    pub upgrade_policy: UpgradePolicy,
    /// How many Pods may be unavailable before one more is taken out of service for a release: a number or a percentage of
    /// `replicas`, rounded down, at least one. Every Pod that is not available counts, whatever the cause. Default: 1.
    #[serde(default)]
    pub max_unavailable: MaxUnavailable,
    /// Begin with no further Pod. Those under way are finished.
    #[serde(default)]
    pub paused: bool,
    /// How many revisions are kept that no Pod has. Default: 10.
    #[serde(default = "ten")]
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: u32,
    /// How long a Pod may take from its patch until it is ready; after it, its upgrade has failed. Default: 600.
    #[serde(default = "ten_minutes")]
    #[schemars(range(min = 1, max = 86_400))]
    pub progress_deadline_seconds: u32,
    /// How long the images of a release may take to be pulled before a Pod is touched; after it, its upgrade has failed with
    /// nothing stopped. Default: 600.
    #[serde(default = "ten_minutes")]
    #[schemars(range(min = 1, max = 86_400))]
    pub pre_pull_timeout_seconds: u32,
    /// How a Pod's traffic is led away before its containers are replaced, and back afterwards; without it, it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lossless: Option<Lossless>,
    /// Pods that go first when there are to be fewer; each is `SET-ORDINAL`. They do not change how many there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(length(min = 1, max = 63), pattern(r"^[a-z0-9-]+-(0|[1-9][0-9]{0,5})$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub pods_to_delete: Vec<String>,
    /// What each Pod is made of, as in a `StatefulSet`.
    #[schemars(schema_with = "rules::template")]
    pub template: Value,
}

/// What is done with a change of the template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpgradePolicy {
    /// It is made in place; what cannot be is refused, and no Pod is touched.
    InPlaceOnly,
    /// It is made in place where that is possible; else Pods are made anew.
    #[default]
    InPlaceIfPossible,
    /// Pods are made anew.
    ReCreate,
}

impl InPlaceSetSpec {
    /// How many Pods are to be at the update revision.
    pub fn updated_replicas(&self) -> u32 {
        self.updated_replicas
            .map_or(self.replicas, |count| count.min(self.replicas))
    }

    /// How many Pods may be unavailable.
    pub fn max_unavailable(&self) -> u32 {
        self.max_unavailable.of(self.replicas)
    }

    /// How long a Pod must be ready to count as available.
    pub fn min_ready(&self) -> Duration {
        whole(self.min_ready_seconds)
    }

    /// How long a Pod may take from its patch until it is ready.
    pub fn progress_deadline(&self) -> Duration {
        whole(self.progress_deadline_seconds)
    }

    /// How long images may take to be pulled.
    pub fn pre_pull_timeout(&self) -> Duration {
        whole(self.pre_pull_timeout_seconds)
    }
}

fn whole(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

const fn one() -> u32 {
    1
}

const fn ten() -> u32 {
    10
}

const fn ten_minutes() -> u32 {
    600
}

#[cfg(test)]
mod tests;
