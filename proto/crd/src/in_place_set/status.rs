//! What has become of a set, as the controllers' leader writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::time::Timestamp;

/// The longest text, in characters. Who writes it cuts what is longer.
pub const TEXT_LIMIT: usize = 1024;

/// How many Pods a release names.
pub const PODS_LIMIT: usize = 16;

/// How many soft-evicted Pods a set names.
pub const SOFT_EVICTED_LIMIT: usize = 16;

/// What has become of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InPlaceSetStatus {
    /// The generation of the spec that this is about.
    #[schemars(range(min = 0))]
    pub observed_generation: i64,
    /// Pods that there are.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub replicas: u32,
    /// Those that are ready.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub ready_replicas: u32,
    /// Those that are ready for the minimum time.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub available_replicas: u32,
    /// Those at the update revision.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub updated_replicas: u32,
    /// Those at the update revision that are ready and released: all of their traffic is back.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub updated_ready_replicas: u32,
    /// Those whose traffic is being led away.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub draining: u32,
    /// Those whose containers are being replaced.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub upgrading: u32,
    /// Those whose traffic is being led back.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub attaching: u32,
    /// Those that do not count any more, because their nodes are lost: others are made in their places. They are in none of the
    /// other numbers.
    #[serde(skip_serializing_if = "is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub soft_evicted_replicas: u32,
    /// These; not all, where there are many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub soft_evicted: Vec<SoftEvictedPod>,
    /// The revision that all Pods had last, by its hash.
    #[schemars(length(max = 63))]
    pub current_revision: String,
    /// The revision that Pods are to have, by its hash.
    #[schemars(length(max = 63))]
    pub update_revision: String,
    /// How often the hash of a template was another template's.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub collision_count: u32,
    /// The selector as a text, for the scale subresource.
    #[schemars(length(max = 32_768))]
    pub label_selector: String,
    /// The last release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// `Available`, `Progressing`, `Paused`, `ReplicaFailure`.
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over so"
)]
const fn is_none(count: &u32) -> bool {
    *count == 0
}

/// A Pod that does not count any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SoftEvictedPod {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The decision of the node lifecycle (`kubectl berth decisions`).
    #[schemars(length(max = 63))]
    pub decision: String,
    /// The Pod in its place; none, where there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub replacement: Option<String>,
}

/// One release: Pods go from one revision to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Its id, which each Pod that it touches carries (annotation `berth.dev/release`).
    #[schemars(length(min = 1, max = 128))]
    pub id: String,
    /// How far it is.
    pub phase: ReleasePhase,
    /// The revision that Pods had.
    #[schemars(length(max = 63))]
    pub from_revision: String,
    /// The revision that they get.
    #[schemars(length(max = 63))]
    pub to_revision: String,
    /// Since when.
    pub started_at: Timestamp,
    /// What it waits for, or why it is held.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub waits_for: String,
    /// Since when it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Pods under way, and those that failed; not all, where there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub pods: Vec<ReleasePod>,
}

/// How far a release is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReleasePhase {
    /// Pods are under way, or will be.
    Progressing,
    /// No further Pod is begun with, because the set is paused.
    Paused,
    /// It does not go on by itself.
    Held,
    /// As many Pods as were asked for are released.
    Succeeded,
}

/// One Pod of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleasePod {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// How far it is.
    #[schemars(length(min = 1, max = 63), pattern(r"^[A-Za-z][A-Za-z0-9]*$"))]
    pub state: String,
    /// What it waits for, or why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub waits_for: String,
    /// Since when it is there.
    pub since: Timestamp,
}
