//! Containers, as the runtime tells them, and commands run in them.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::message::container as message;
use crate::runtime::point;

/// Which containers are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFilter {
    /// Only this one.
    pub id: Option<String>,
    /// Only those in this sandbox.
    pub sandbox: Option<String>,
    /// Only those in this state.
    pub state: Option<ContainerState>,
    /// Only those with these labels, such as `io.kubernetes.pod.uid`.
    pub labels: BTreeMap<String, String>,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// It is created and not started.
    Created,
    /// It runs.
    Running,
    /// It has ended.
    Exited,
    /// The runtime does not know.
    Unknown,
}

/// A container in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// The sandbox it is in; empty in [`ContainerStatus`], which does not tell.
    pub sandbox: String,
    /// Its name in the Pod.
    pub name: String,
    /// How often it had been restarted.
    pub attempt: u32,
    /// The image as it was asked for.
    pub image: String,
    /// The image as it was found: an id or a digest.
    pub image_ref: String,
    /// What it does.
    pub state: ContainerState,
    /// When it was created.
    pub created_at: Option<SystemTime>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// More about one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    /// What a list has of it, but for the sandbox.
    pub container: Container,
    /// When it started.
    pub started_at: Option<SystemTime>,
    /// When it ended.
    pub finished_at: Option<SystemTime>,
    /// With which code.
    pub exit_code: i32,
    /// Why, such as `OOMKilled`.
    pub reason: String,
    /// The same in words.
    pub message: String,
}

/// How a command in a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutcome {
    /// With which code.
    pub code: i32,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it complained about.
    pub stderr: Vec<u8>,
}

impl From<ContainerFilter> for message::Filter {
    fn from(filter: ContainerFilter) -> Self {
        Self {
            id: filter.id.unwrap_or_default(),
            state: filter.state.map(|state| message::StateValue {
                state: message::State::from(state).into(),
            }),
            pod_sandbox_id: filter.sandbox.unwrap_or_default(),
            label_selector: filter.labels,
        }
    }
}

impl From<ContainerState> for message::State {
    fn from(state: ContainerState) -> Self {
        match state {
            ContainerState::Created => Self::Created,
            ContainerState::Running => Self::Running,
            ContainerState::Exited => Self::Exited,
            ContainerState::Unknown => Self::Unknown,
        }
    }
}

impl From<message::State> for ContainerState {
    fn from(state: message::State) -> Self {
        match state {
            message::State::Created => Self::Created,
            message::State::Running => Self::Running,
            message::State::Exited => Self::Exited,
            message::State::Unknown => Self::Unknown,
        }
    }
}

impl From<message::Container> for Container {
    fn from(item: message::Container) -> Self {
        // A state of a later version is none that is known: 0 would be "created".
        let state = message::State::try_from(item.state).unwrap_or(message::State::Unknown);
        let metadata = item.metadata.unwrap_or_default();
        Self {
            id: item.id,
            sandbox: item.pod_sandbox_id,
            name: metadata.name,
            attempt: metadata.attempt,
            image: item.image.unwrap_or_default().image,
            image_ref: item.image_ref,
            state: state.into(),
            created_at: point(item.created_at),
            labels: item.labels,
            annotations: item.annotations,
        }
    }
}

impl From<message::Status> for ContainerStatus {
    fn from(status: message::Status) -> Self {
        Self {
            started_at: point(status.started_at),
            finished_at: point(status.finished_at),
            exit_code: status.exit_code,
            reason: status.reason,
            message: status.message,
            container: message::Container {
                id: status.id,
                pod_sandbox_id: String::new(),
                metadata: status.metadata,
                image: status.image,
                image_ref: status.image_ref,
                state: status.state,
                created_at: status.created_at,
                labels: status.labels,
                annotations: status.annotations,
            }
            .into(),
        }
    }
}

impl From<message::ExecResponse> for ExecOutcome {
    fn from(answer: message::ExecResponse) -> Self {
        Self {
            code: answer.exit_code,
            stdout: answer.stdout,
            stderr: answer.stderr,
        }
    }
}
