//! What is seen of the world when a request is looked at. Every part may be older than the others, or not known at all.

use std::collections::BTreeSet;

use proto_crd::container_restart::{ContainerRestartSpec, ContainerRestartStatus};
use proto_crd::time::Timestamp;

use crate::backoff::{BackOff, Run};
use crate::prestop::StopSpec;
use crate::queue::Turn;

/// All that is known when a request is looked at.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What is asked for.
    pub spec: ContainerRestartSpec,
    /// What was last stored about it.
    pub status: ContainerRestartStatus,
    /// When the request was created.
    pub created_at: Timestamp,
    /// Whether somebody deleted the request.
    pub deleting: bool,
    /// Whether it is its turn.
    pub turn: Turn,
    /// The node this runs on.
    pub node: String,
    /// The Pod, by the API server or by kubelet.
    pub pod: PodView,
    /// The Pod's containers, by the runtime; none while it does not answer.
    pub runtime: Option<Runtime>,
    /// Containers whose stop this process has begun and that has not ended yet.
    pub stopping: BTreeSet<String>,
    /// When this process first saw the Pod since the last gap: what was ready before may not have been so in between. A
    /// start of this process is a gap, and a status that could not be stored.
    pub watching_since: Timestamp,
    /// kubelet's settings.
    pub back_off: BackOff,
    /// When kubelet started, where that is known: it has forgotten what was before.
    pub kubelet_started_at: Option<Timestamp>,
    /// The time.
    pub now: Timestamp,
}

/// The Pod of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodView {
    /// It cannot be known now.
    Unknown,
    /// There is none of that name.
    Gone,
    /// As it was last seen.
    Seen(PodFacts),
}

/// What a restart needs to know of a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent fact of the Pod"
)]
pub struct PodFacts {
    /// Its UID.
    pub uid: String,
    /// Where it runs.
    pub node: String,
    /// Whether it comes from a file of kubelet's.
    pub is_static: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it has ended: phase `Succeeded` or `Failed`.
    pub ended: bool,
    /// Whether it is on the host's network: it has no MAC address of its own.
    pub host_network: bool,
    /// `spec.restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// Its readiness gate.
    pub gate: Gate,
    /// `spec.containers`.
    pub containers: Vec<PodContainer>,
}

/// When kubelet starts a container again that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Always.
    Always,
    /// Not after exit code 0.
    OnFailure,
    /// Never.
    Never,
}

/// The readiness gate of a Pod and who holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Whether the Pod has it.
    pub present: bool,
    /// Whether this request holds the Pod unready.
    pub held: bool,
    /// Whether kubelet says that the Pod is ready.
    pub pod_ready: bool,
}

/// One container of a Pod, by the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodContainer {
    /// Its name.
    pub name: String,
    /// Its own restart policy, before the Pod's.
    pub restart_policy: Option<RestartPolicy>,
    /// Whether one of its restart rules restarts all containers of the Pod.
    pub restarts_all: bool,
    /// The container its status is about.
    pub id: String,
    /// Whether that one has passed its start-up probe and postStart.
    pub started: bool,
    /// Whether that one is ready.
    pub ready: bool,
    /// What kubelet waits for, such as `ImagePullBackOff`.
    pub waiting: Option<Waiting>,
}

/// Why kubelet does not start a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// For programs.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// What the runtime has of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runtime {
    /// The newest sandbox.
    pub sandbox: Option<Sandbox>,
    /// All containers it knows, also ended ones.
    pub containers: Vec<LiveContainer>,
}

/// A Pod's sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Its id.
    pub id: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Its addresses; empty while not known.
    pub ips: Vec<String>,
    /// Its MAC address, where known.
    pub mac: Option<String>,
}

/// A container, by the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveContainer {
    /// Its name in the Pod.
    pub name: String,
    /// Its id.
    pub id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// What it does.
    pub state: ContainerState,
    /// How it is to be stopped, or in words why that is not known.
    pub stop: Result<StopSpec, String>,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// It is created and not started.
    Created,
    /// It runs.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// It has ended.
    Exited {
        /// When it started.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Timestamp,
        /// With which code.
        exit_code: i32,
        /// Why, such as `OOMKilled`.
        reason: String,
    },
    /// The runtime does not know.
    Unknown,
}

impl Runtime {
    /// The newest container of that name.
    pub fn newest(&self, name: &str) -> Option<&LiveContainer> {
        self.containers
            .iter()
            .filter(|container| container.name == name)
            .max_by_key(|container| container.created_at)
    }

    /// The runs of a container that the runtime still knows, in order.
    pub fn runs(&self, name: &str) -> Vec<Run> {
        let mut runs: Vec<Run> = self
            .containers
            .iter()
            .filter(|container| container.name == name)
            .filter_map(LiveContainer::run)
            .collect();
        runs.sort_by_key(|run| run.started_at);
        runs
    }
}

impl LiveContainer {
    /// How often it had been restarted, where known.
    pub fn restart_count(&self) -> Option<u32> {
        self.stop.as_ref().ok().map(|stop| stop.restart_count)
    }

    fn run(&self) -> Option<Run> {
        let stop = self.stop.as_ref().ok()?;
        let (started_at, finished_at) = match self.state {
            ContainerState::Running { started_at } => (started_at, None),
            ContainerState::Exited {
                started_at,
                finished_at,
                ..
            } => (started_at, Some(finished_at)),
            ContainerState::Created | ContainerState::Unknown => return None,
        };
        Some(Run {
            hash: stop.hash,
            restart_count: stop.restart_count,
            started_at,
            finished_at,
        })
    }
}

impl PodFacts {
    /// What the API says of a container.
    pub fn container(&self, name: &str) -> Option<&PodContainer> {
        self.containers
            .iter()
            .find(|container| container.name == name)
    }
}
