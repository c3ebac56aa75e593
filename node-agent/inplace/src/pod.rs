//! One Pod of a set: what is looked at of it ([`PodView`]), and the next step of its way out of service and back.
//!
//! Always holds: nothing is decided from memory, only from the Pod, its annotation and what is said of its endpoint, its
//! images and its restarts. Every Pod that waits says for whom.

mod attach;
mod drain;
mod signals;
mod step;
mod verify;
mod write;

use proto_crd::pod_containers::PodContainers;
use proto_crd::time::Timestamp;

use crate::operation::Operation;

pub(crate) use step::images;
pub use step::{Goal, Look, Next, Step, step};

/// A Pod as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub version: String,
    /// The generation of its spec.
    pub generation: i64,
    /// The generation of the spec that kubelet's status is of; nothing: kubelet does not say (before 1.34).
    pub observed_generation: Option<i64>,
    /// Its number, where its name is `SET-ORDINAL` of the set that looks at it.
    pub ordinal: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it runs; nothing: it is not scheduled.
    pub node: Option<String>,
    /// How far its life is.
    pub phase: Phase,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whose it is.
    pub owner: Owner,
    /// Whether the set's selector is true of its labels.
    pub selected: bool,
    /// The hash of its revision.
    pub revision: Option<String>,
    /// The release that touched it last.
    pub release: Option<String>,
    /// What is done with it.
    pub operation: Underway,
    /// The finalizers that those who send traffic to it are expected to put there, as the Pod says; nothing: it does not.
    pub protections: Option<Vec<String>>,
    /// The value of [`crate::operation::FORCE_DRAIN_ANNOTATION`].
    pub force_drain: Option<String>,
    /// Whether it can be held unready, and is.
    pub gate: Gate,
    /// Whether kubelet says that it is ready.
    pub ready: Condition,
    /// Whether kubelet says that its containers are.
    pub containers_ready: Condition,
    /// Its containers, and its init containers that run for as long as it does.
    pub containers: Vec<Container>,
    /// What its node's agent says of its containers.
    pub reported: PodContainers,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// Its addresses.
    pub ips: Vec<String>,
    /// It does not count any more, by this decision of the node lifecycle (`berth.dev/soft-evicted`): another is made beside it, and
    /// it is left alone.
    pub soft_evicted: Option<String>,
    /// The UID of the soft-evicted Pod that it was made for (`berth.dev/replaces`).
    pub replaces: Option<String>,
}

/// How far a Pod's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not everything has run yet.
    Pending,
    /// It runs.
    Running,
    /// It has ended, and stays so: `Failed` (also: evicted) or `Succeeded`.
    Ended,
}

/// Whose a Pod is: its controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This set's, by its UID.
    Ours,
    /// Nobody's.
    Nobody,
    /// Somebody else's.
    Other,
}

/// What is done with a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Underway {
    /// Nothing.
    Nothing,
    /// This.
    This(Box<Operation>),
    /// Something that cannot be read: why.
    Unreadable(String),
}

/// The readiness gate `berth.dev/ServiceReady` of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Whether the Pod has it: it cannot be added later.
    pub declared: bool,
    /// The status of its condition; nothing: there is none yet.
    pub status: Option<String>,
    /// The condition's message: who holds the Pod (`node_agent_restart::gate`).
    pub message: String,
    /// Since when its status is what it is.
    pub since: Option<Timestamp>,
}

/// A condition of a Pod that kubelet writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whether it is True.
    pub is_true: bool,
    /// Since when its status is what it is.
    pub since: Option<Timestamp>,
}

/// One container of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Whether it is one of `initContainers` that runs on: the agent says nothing of it.
    pub sidecar: bool,
    /// Its image, as the Pod's spec says.
    pub image: String,
    /// The id of what runs or ran last, without the runtime's name before it; nothing: none did.
    pub id: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
    /// Since when it runs; nothing: it does not.
    pub started_at: Option<Timestamp>,
    /// Why it does not run, as kubelet says: reason and message.
    pub waiting: Option<(String, String)>,
    /// How often it was restarted.
    pub restart_count: u32,
}

/// What `EndpointSlice`s say of a Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Endpoint {
    /// It is in none.
    #[default]
    None,
    /// It is in at least one, and in none is it both ready and serving. (Of Services that publish also what is not ready,
    /// `serving` is what says whether it is.)
    NotReady,
    /// In at least one it is ready and serving.
    Ready,
}

#[cfg(test)]
mod tests;
