//! What has become of a request, as its node's agent writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use crate::time::Timestamp;

/// The longest message, in characters. Who writes it cuts what is longer.
pub const TEXT_LIMIT: usize = 1024;

/// What has become of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::status()))]
pub struct ContainerRestartStatus {
    /// How far it is.
    pub phase: Phase,
    /// Why it failed, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What it waits for, or how it ended, for people.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// How many requests for this Pod come first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub queue_position: Option<u32>,
    /// When its turn came and nothing spoke against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
    /// Since when the Pod is not ready for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unready_since: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// What the Pod was when it was accepted, and must be at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxBefore>,
    /// Each container, in the order of the request.
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub containers: Vec<ContainerStatus>,
}

/// What must not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SandboxBefore {
    /// The sandbox.
    #[schemars(length(min = 1, max = 256))]
    pub id: String,
    /// Its addresses.
    #[schemars(length(max = 16), inner(length(max = 45)))]
    pub ips: Vec<String>,
    /// Its MAC address; none of a Pod on the host's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub mac: Option<String>,
}

/// What has become of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// How far it is.
    pub phase: ContainerPhase,
    /// What ran when the request was accepted: the only one that is ever stopped. Empty: none.
    #[serde(rename = "oldContainerID")]
    #[schemars(length(max = 256))]
    pub old_container_id: String,
    /// What kubelet started after it.
    #[serde(rename = "newContainerID")]
    #[schemars(length(max = 256))]
    pub new_container_id: String,
    /// How often it had been restarted when the request was accepted.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub restart_count: u32,
    /// How long at most kubelet would keep it down, as foreseen when it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub foreseen_back_off_seconds: Option<u32>,
    /// When it was decided to stop it; stored before it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed_at: Option<Timestamp>,
    /// When a stop that was cut short was decided to be finished; stored before it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_resumed_at: Option<Timestamp>,
    /// When the new one started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Since when the new one is seen ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Timestamp>,
    /// Until when kubelet keeps it down, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_until: Option<Timestamp>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same for people.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Nothing is done yet.
    #[default]
    Pending,
    /// The Pod is being made unready.
    Draining,
    /// Containers are stopped and come back.
    Recreating,
    /// Every container runs anew and is ready.
    Succeeded,
    /// It is not so, and nothing more is done.
    Failed,
}

/// How far a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ContainerPhase {
    /// It is not stopped yet.
    #[default]
    Pending,
    /// It is being stopped, or kubelet brings it back.
    Recreating,
    /// It runs anew, ready for the minimum time.
    Succeeded,
    /// It does not.
    Failed,
}

/// Why a request, or a container of it, failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    /// The request contradicts itself or the Pod.
    Invalid,
    /// The Pod is gone, is being deleted, has ended, or is another one of that name.
    PodGone,
    /// The Pod runs on another node.
    OtherNode,
    /// The Pod comes from a file of kubelet's, not from the API.
    StaticPod,
    /// kubelet would not start the container again.
    RestartPolicy,
    /// The Pod cannot be made unready: it lacks the readiness gate.
    NoReadinessGate,
    /// What kubelet left on the container does not say how to stop it.
    StopSettings,
    /// A later request asks for the same containers.
    Superseded,
    /// kubelet would keep, or keeps, the container down for too long.
    BackOff,
    /// Its image cannot be had.
    Image,
    /// The new container ended.
    Crash,
    /// The stop did not take effect.
    NotStopped,
    /// The Pod got another sandbox.
    SandboxChanged,
    /// The Pod got another address.
    AddressChanged,
    /// It took too long.
    DeadlineExceeded,
    /// Containers failed, and that was to be ignored until the end.
    ContainersFailed,
}

impl Phase {
    /// Whether nothing changes any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

impl ContainerRestartStatus {
    /// Whether its turn had come.
    pub const fn has_begun(&self) -> bool {
        self.accepted_at.is_some()
    }
}
