//! `ContainerRestart`: containers of one Pod are to be restarted in place. In the Pod's namespace.
//!
//! The spec never changes. The status is the node's agent's, and only ever goes forward: a phase that is final stays, a
//! container id that was noted to be stopped is never replaced by another. While the Pod is held unready for it, it has
//! the finalizer [`crate::names::CONTAINER_RESTART_FINALIZER`]. Who may write what is decided by the API server
//! (`install/manifests/policy/containerrestart.yaml`), what becomes of it by `node-agent/restart`.

use std::time::Duration;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod rules;
mod status;

pub use status::{
    ContainerPhase, ContainerRestartStatus, ContainerStatus, Phase, Reason, SandboxBefore,
    TEXT_LIMIT,
};

/// How long a request may take that does not say so.
pub const DEFAULT_DEADLINE: Duration = Duration::from_mins(10);

/// How long a container must be ready where the request does not say so.
pub const DEFAULT_MIN_STARTED: Duration = Duration::from_secs(5);

/// How long kubelet may keep a container down where the request does not say so: a second restart within ten minutes
/// (10 s, up to 16 s with kubelet's jitter) is let through, a third one (20 s) is not.
pub const DEFAULT_MAX_BACK_OFF: Duration = Duration::from_secs(20);

/// What is asked for; never changed.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "berth.dev",
    version = "v1alpha1",
    kind = "ContainerRestart",
    plural = "containerrestarts",
    shortname = "crst",
    category = "berth",
    namespaced,
    status = "ContainerRestartStatus",
    derive = "PartialEq",
    doc = "Containers of one Pod are to be restarted in place. Its end says whether they run again.",
    label("app.kubernetes.io/part-of", "berth"),
    selectable = ".spec.nodeName",
    selectable = ".spec.podName",
    printcolumn(name = "Pod", type_ = "string", json_path = ".spec.podName"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.reason",
        description = "Why it failed"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Node",
        type_ = "string",
        json_path = ".spec.nodeName",
        priority = "1"
    ),
    printcolumn(
        name = "Queue",
        type_ = "integer",
        json_path = ".status.queuePosition",
        description = "How many requests for the Pod come first",
        priority = "1"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        description = "What it waits for, or how it ended",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::spec()))]
#[expect(
    clippy::duplicated_attributes,
    reason = "each column has a type and a priority of its own"
)]
pub struct ContainerRestartSpec {
    /// The node that the Pod runs on: its agent does it.
    #[schemars(
        length(min = 1, max = 253),
        pattern(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub node_name: String,
    /// The Pod, in the request's namespace.
    #[schemars(
        length(min = 1, max = 253),
        pattern(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub pod_name: String,
    /// Which Pod of that name.
    #[serde(rename = "podUID")]
    #[schemars(length(min = 1, max = 128), pattern(r"^[0-9A-Za-z-]+$"))]
    pub pod_uid: String,
    /// Which containers of `spec.containers`, in the order in which they are restarted.
    #[schemars(
        length(min = 1, max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub containers: Vec<Target>,
    /// How.
    #[serde(default)]
    pub strategy: Strategy,
    /// How long after its creation the request is given up; nothing is stopped after it. 600 where it does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub active_deadline_seconds: Option<u32>,
    /// How long after its end the request is kept; without it, until somebody deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub ttl_seconds_after_finished: Option<u32>,
}

/// One container to be restarted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Its name.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
}

/// How containers are restarted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Strategy {
    /// One after the other, the next when the one before is ready for the minimum time.
    pub ordered: bool,
    /// What a container's failure means for the others.
    pub failure_policy: FailurePolicy,
    /// Instead of the Pod's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub termination_grace_period_seconds: Option<u32>,
    /// How long the Pod is not ready before anything is stopped; without it, it is not made so. Needs the readiness gate
    /// `berth.dev/ServiceReady`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub unready_grace_period_seconds: Option<u32>,
    /// How long a container must be ready to count. 5 where it does not say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub min_started_seconds: Option<u32>,
    /// Stop containers also that are still starting.
    pub force: bool,
    /// How long kubelet's back-off may keep a container down. 20 where it does not say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub max_back_off_seconds: Option<u32>,
    /// What is done where it would be longer.
    pub back_off_policy: BackOffPolicy,
}

/// What a container's failure means for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailurePolicy {
    /// They are left alone.
    #[default]
    Fail,
    /// They are restarted all the same; the request fails at the end.
    Ignore,
}

/// What is done where kubelet's back-off would be longer than allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackOffPolicy {
    /// Wait until it is over before anything is stopped, if the deadline allows.
    #[default]
    Wait,
    /// Refuse.
    Refuse,
}

impl ContainerRestartSpec {
    /// How long after its creation the request is given up.
    pub fn deadline(&self) -> Duration {
        seconds(self.active_deadline_seconds, DEFAULT_DEADLINE)
    }
}

impl Strategy {
    /// How long a container must be ready to count.
    pub fn min_started(&self) -> Duration {
        seconds(self.min_started_seconds, DEFAULT_MIN_STARTED)
    }

    /// How long kubelet's back-off may keep a container down.
    pub fn max_back_off(&self) -> Duration {
        seconds(self.max_back_off_seconds, DEFAULT_MAX_BACK_OFF)
    }

    /// The grace period asked for.
    pub fn grace(&self) -> Option<Duration> {
        self.termination_grace_period_seconds.map(whole)
    }

    /// How long the Pod is unready before anything is stopped.
    pub fn unready_grace(&self) -> Option<Duration> {
        self.unready_grace_period_seconds.map(whole)
    }
}

fn whole(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

fn seconds(given: Option<u32>, or: Duration) -> Duration {
    given.map_or(or, whole)
}

#[cfg(test)]
mod tests;
