//! `ImagePull`: the images that a node is to have before anything needs them. One object a node, named as the node, in
//! Berth's own namespace.
//!
//! Several writers share the list by server-side apply, each with a field manager of its own; what nobody applies any more
//! goes. The status is that node's agent's. An entry's status only goes forward: [`PullPhase::Succeeded`] and
//! [`PullPhase::Failed`] stay until the entry itself is changed, and an entry that is changed starts anew. Who waits for an
//! image waits until `status.observedGeneration` is at least the generation of its own write and the entry is final.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod rules;

/// How many images one node is asked for.
pub const IMAGES_LIMIT: usize = 64;

/// The longest message of an image. The agent cuts what is longer.
pub const MESSAGE_LIMIT: usize = 512;

/// How many images are pulled at once where nothing is written.
pub const DEFAULT_PARALLELISM: u32 = 2;

/// How long one attempt may take where nothing is written, in seconds.
pub const DEFAULT_TIMEOUT_SECONDS: u32 = 600;

/// How often a failed attempt is repeated where nothing is written.
pub const DEFAULT_BACK_OFF_LIMIT: u32 = 3;

/// What a node is to have.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "berth.dev",
    version = "v1alpha1",
    kind = "ImagePull",
    plural = "imagepulls",
    shortname = "impull",
    category = "berth",
    namespaced,
    status = "ImagePullStatus",
    derive = "PartialEq",
    doc = "The images that a node is to have before anything needs them, and how far its Berth agent is with them. Named as the node.",
    label("app.kubernetes.io/part-of", "berth"),
    validation = ("self.metadata.name == self.spec.nodeName", "the name must be the node's: metadata.name and spec.nodeName differ"),
    printcolumn(name = "Images", type_ = "integer", json_path = ".status.wanted", description = "Images that are asked for"),
    printcolumn(name = "Pulled", type_ = "integer", json_path = ".status.succeeded", description = "Images that the node has"),
    printcolumn(name = "Pulling", type_ = "integer", json_path = ".status.pulling", description = "Images that are on their way"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failed", description = "Images that were given up"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Parallelism", type_ = "integer", json_path = ".spec.parallelism", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.images[?(@.phase==\"Failed\")].message", description = "Why the first of those that failed did", priority = "1")
)]
#[serde(rename_all = "camelCase")]
pub struct ImagePullSpec {
    /// The node's name.
    #[schemars(
        length(min = 1, max = 253),
        extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "the node of an ImagePull cannot be changed; make one for the other node"}])
    )]
    pub node_name: String,
    /// What it is to have, in the order in which it is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["image"])
    )]
    pub images: Vec<WantedImage>,
    /// How many are pulled at once. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8), extend("default" = DEFAULT_PARALLELISM))]
    pub parallelism: Option<u32>,
}

/// One image. A change of any field is a new request: the image is pulled again as if it had not been asked for before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WantedImage {
    /// Which, as Pods name it, with a tag, a digest or both: `registry.example/app:v2`, `registry.example/app@sha256:…`.
    #[schemars(
        length(min = 3, max = 512),
        extend("x-kubernetes-validations" = rules::image())
    )]
    pub image: String,
    /// Whether the registry is asked where the node has it already. Default: `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "IfNotPresent"))]
    pub pull_policy: Option<PullPolicy>,
    /// Secrets of type `kubernetes.io/dockerconfigjson` in the namespace of pull secrets (`berth-pull-secrets`), by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 4),
        inner(length(min = 1, max = 253), pattern(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub pull_secrets: Vec<String>,
    /// How long one attempt may take. Default: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400), extend("default" = DEFAULT_TIMEOUT_SECONDS))]
    pub timeout_seconds: Option<u32>,
    /// How often a failed attempt is repeated. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 64), extend("default" = DEFAULT_BACK_OFF_LIMIT))]
    pub back_off_limit: Option<u32>,
    /// Who asks, or for what. Another text is another request, also for an image that was pulled or given up before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub requested_by: Option<String>,
}

/// Whether the registry is asked where the node has the image already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// No.
    #[default]
    IfNotPresent,
    /// Yes: a tag may have moved. What has not changed is not transferred again.
    Always,
}

/// How far the node's agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::status()))]
pub struct ImagePullStatus {
    /// The generation of the object that this is about.
    #[schemars(range(min = 0))]
    pub observed_generation: i64,
    /// Images that are asked for.
    #[schemars(range(min = 0, max = 64))]
    pub wanted: u32,
    /// Images that are on their way.
    #[schemars(range(min = 0, max = 64))]
    pub pulling: u32,
    /// Images that the node has.
    #[schemars(range(min = 0, max = 64))]
    pub succeeded: u32,
    /// Images that were given up.
    #[schemars(range(min = 0, max = 64))]
    pub failed: u32,
    /// Every image that is asked for, in the order of the request.
    #[serde(default)]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["image"])
    )]
    pub images: Vec<ImageStatus>,
}

/// How far the agent is with one image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::image_status()))]
pub struct ImageStatus {
    /// Which, as it was asked for.
    #[schemars(length(min = 3, max = 512))]
    pub image: String,
    /// A number of the entry that this is about: an entry that was changed has another one.
    #[schemars(length(min = 1, max = 32), pattern(r"^[0-9a-f]+$"))]
    pub request: String,
    /// How far.
    pub phase: PullPhase,
    /// Why the last attempt failed, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<PullReason>,
    /// How it went or why it did not, and what to do; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub message: Option<String>,
    /// What the name stands for: the digest of the manifest, or of the list of manifests. Nothing: the runtime does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), pattern(r"^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// Attempts that were begun.
    #[schemars(range(min = 0, max = 65))]
    pub attempts: u32,
    /// When the first attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// When the next attempt begins, if there is room for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Time>,
    /// How much of it has arrived, while it is on its way. Nothing: the runtime does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<PullProgress>,
}

/// How far a request for an image is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PullPhase {
    /// It waits for its turn.
    #[default]
    Pending,
    /// An attempt is under way.
    Pulling,
    /// The last attempt failed; there will be another.
    BackOff,
    /// The node had it when this was written. Final.
    Succeeded,
    /// It was given up. Final.
    Failed,
}

impl PullPhase {
    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PullReason {
    /// The registry has no such image.
    NotFound,
    /// The registry wants credentials, or others.
    Unauthorized,
    /// The registry knows who asks, and refuses.
    Forbidden,
    /// What came is not what was asked for.
    WrongDigest,
    /// A pull secret is missing or cannot be used.
    Secret,
    /// The attempt took longer than it may.
    Timeout,
    /// The registry, or what stands before it, has a failure of its own, or is asked too much.
    Registry,
    /// The registry cannot be reached, or the connection broke off.
    Network,
    /// The node has no room for it.
    Space,
    /// The runtime is away or does not answer.
    Runtime,
    /// Something else; the message says what the runtime said.
    Other,
}

/// How much of an image has arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullProgress {
    /// Bytes that have arrived, of those that are being transferred.
    #[schemars(range(min = 0))]
    pub received_bytes: i64,
    /// Bytes that are being transferred, as far as that is known by now.
    #[schemars(range(min = 0))]
    pub known_bytes: i64,
}

#[cfg(test)]
mod tests;
