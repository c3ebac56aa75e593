//! What a request to restart containers says and what is said about it: the shapes of the Kind `ContainerRestart`.
//!
//! Field names are the object's. A status only ever goes forward: a phase that is final stays, a container id that was
//! noted to be stopped is never replaced by another.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How long a request may take that does not say so.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(600);

/// How long a container must be ready where the request does not say so.
pub const DEFAULT_MIN_STARTED: Duration = Duration::from_secs(5);

/// How long kubelet may keep a container down where the request does not say so: a second restart within ten minutes
/// (10 s, up to 16 s with kubelet's jitter) is let through, a third one (20 s) is not.
pub const DEFAULT_MAX_BACK_OFF: Duration = Duration::from_secs(20);

/// What is asked for; never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The Pod, in the request's namespace.
    pub pod_name: String,
    /// Which Pod of that name.
    #[serde(rename = "podUID")]
    pub pod_uid: String,
    /// Which containers of `spec.containers`, in the order in which they are restarted.
    pub containers: Vec<Target>,
    /// How.
    #[serde(default)]
    pub strategy: Strategy,
    /// How long after its creation the request is given up; nothing is stopped after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<u32>,
    /// How long after its end the request is kept; without it, until somebody deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<u32>,
}

/// One container to be restarted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
}

/// How containers are restarted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Strategy {
    /// One after the other, the next when the one before is ready for the minimum time.
    pub ordered: bool,
    /// What a container's failure means for the others.
    pub failure_policy: FailurePolicy,
    /// Instead of the Pod's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<u32>,
    /// How long the Pod is not ready before anything is stopped; without it, it is not made so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unready_grace_period_seconds: Option<u32>,
    /// How long a container must be ready to count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_started_seconds: Option<u32>,
    /// Stop containers also that are still starting.
    pub force: bool,
    /// How long kubelet's back-off may keep a container down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_back_off_seconds: Option<u32>,
    /// What is done where it would be longer.
    pub back_off_policy: BackOffPolicy,
}

/// What a container's failure means for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailurePolicy {
    /// They are left alone.
    #[default]
    Fail,
    /// They are restarted all the same; the request fails at the end.
    Ignore,
}

/// What is done where kubelet's back-off would be longer than allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackOffPolicy {
    /// Wait until it is over before anything is stopped, if the deadline allows.
    #[default]
    Wait,
    /// Refuse.
    Refuse,
}

/// What has become of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// How far it is.
    pub phase: Phase,
    /// Why it failed, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What it waits for, or how it ended, for people.
    pub message: String,
    /// How many requests for this Pod come first.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    pub containers: Vec<ContainerStatus>,
}

/// What must not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxBefore {
    /// The sandbox.
    pub id: String,
    /// Its addresses.
    pub ips: Vec<String>,
    /// Its MAC address; none of a Pod on the host's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// What has become of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub phase: ContainerPhase,
    /// What ran when the request was accepted: the only one that is ever stopped. Empty: none.
    #[serde(rename = "oldContainerID")]
    pub old_container_id: String,
    /// What kubelet started after it.
    #[serde(rename = "newContainerID")]
    pub new_container_id: String,
    /// How often it had been restarted when the request was accepted.
    pub restart_count: u32,
    /// How long at most kubelet would keep it down, as foreseen when it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    pub message: String,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl Spec {
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

impl Phase {
    /// Whether nothing changes any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

impl Status {
    /// Whether its turn had come.
    pub const fn has_begun(&self) -> bool {
        self.accepted_at.is_some()
    }
}

fn whole(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

fn seconds(asked: Option<u32>, default: Duration) -> Duration {
    asked.map_or(default, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_names_of_the_object() {
        let text = r#"{"podName":"shop-abc","podUID":"u","containers":[{"name":"main"}],
            "strategy":{"ordered":false,"failurePolicy":"Fail","terminationGracePeriodSeconds":30,
            "unreadyGracePeriodSeconds":3,"minStartedSeconds":5,"force":false,
            "maxBackOffSeconds":20,"backOffPolicy":"Wait"},
            "activeDeadlineSeconds":600,"ttlSecondsAfterFinished":3600}"#;
        let spec: Spec = serde_json::from_str(text).unwrap();
        let written = serde_json::to_value(&spec).unwrap();
        assert_eq!(
            written,
            serde_json::from_str::<serde_json::Value>(text).unwrap()
        );
        let least: Spec =
            serde_json::from_str(r#"{"podName":"p","podUID":"u","containers":[]}"#).unwrap();
        assert_eq!(least.deadline(), DEFAULT_DEADLINE);
        assert_eq!(least.strategy, Strategy::default());
    }

    #[test]
    fn a_status_names_ids_as_kubernetes_does() {
        let status = Status {
            containers: vec![ContainerStatus {
                killed_at: Some(Timestamp::from_unix_milliseconds(5_500)),
                ..ContainerStatus::default()
            }],
            ..Status::default()
        };
        let written = serde_json::to_value(&status).unwrap();
        assert_eq!(written["phase"], "Pending");
        assert_eq!(written["containers"][0]["killedAt"], "1970-01-01T00:00:05Z");
        assert_eq!(written["containers"][0]["oldContainerID"], "");
        assert_eq!(written["containers"][0]["newContainerID"], "");
        assert_eq!(
            serde_json::from_str::<Status>("{}").unwrap(),
            Status::default()
        );
    }
}
