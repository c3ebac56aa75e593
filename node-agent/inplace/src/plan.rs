//! The set: what is looked at of it, and everything that is to be done now.
//!
//! Always holds: a Pod gets at most one write of a plan. What costs service is granted within the budget, which counts every
//! Pod that is not available, whatever the cause.

mod confirm;
mod decide;
mod goals;
mod grant;
mod pulls;
mod roster;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto_crd::container_restart;
use proto_crd::in_place_set::{InPlaceSetSpec, InPlaceSetStatus};
use proto_crd::time::Timestamp;
use serde_json::Value;

use crate::operation::Operation;
use crate::pod::Endpoint;

pub use confirm::{Refusal, confirm};
pub use decide::plan;

/// A set as it is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct SetView {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub version: String,
    /// The generation of its spec.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether its Pods are to be nobody's when it is gone (`kubectl delete --cascade=orphan`).
    pub orphaning: bool,
    /// What is to be.
    pub spec: InPlaceSetSpec,
    /// What was told last.
    pub status: InPlaceSetStatus,
    /// Its revisions that are in the API, in any order.
    pub revisions: Vec<Revision>,
    /// Those that a set of its name left behind (`kubectl delete --cascade=orphan`): nobody's.
    pub orphans: Vec<Revision>,
}

/// A revision of a set: one of its `ControllerRevision`s.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// The object's name, `SET-HASH`.
    pub name: String,
    /// The object's UID.
    pub uid: String,
    /// The object's version.
    pub version: String,
    /// Its hash.
    pub hash: String,
    /// Its number: a later one is larger.
    pub number: i64,
    /// The template.
    pub template: Value,
}

/// What else is looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// The number of the leader's term that looks.
    pub term: u64,
    /// Nodes on which something can be done now: Ready, and their agent's Lease is fresh.
    pub nodes_well: BTreeSet<String>,
    /// Nodes whose kubelet does not replace a sidecar when its image changes: before 1.32.
    pub sidecars_stay: BTreeSet<String>,
    /// By the Pod's UID: since when no traffic is led to it, for those of the [`Plan::detached`] of this leader's look before.
    pub detached: BTreeMap<String, Duration>,
    /// What `EndpointSlice`s say, by the Pod's UID; of a Pod that is not here: it is in none.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// By node: what this set asked it for, and what has become of it.
    pub pulls: BTreeMap<String, NodePulls>,
    /// The set's `ContainerRestart`s, by name.
    pub restarts: BTreeMap<String, Restart>,
    /// Where the Pod of an ordinal was that is gone now, as far as that is remembered.
    pub last_nodes: BTreeMap<u32, String>,
    /// Why the API server did not take a Pod of the set when one was made last; nothing: it did.
    pub refused: Option<String>,
    /// Where Pods are better off that replace soft-evicted ones.
    pub racks: RackWish,
}

/// Where a Pod is better off: a wish for the scheduler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RackWish {
    /// The Nodes' label that names the rack.
    pub label: String,
    /// Not in these: they are dark.
    pub away_from: BTreeSet<String>,
    /// In these, where there are addresses for it; none: in any.
    pub with_addresses: BTreeSet<String>,
}

/// What this set asked one node for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePulls {
    /// For which release.
    pub requested_by: String,
    /// Since when, by the API server's clock.
    pub since: Option<Timestamp>,
    /// By image.
    pub images: BTreeMap<String, Pull>,
}

/// What has become of an image on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pull {
    /// It is on its way; how far, in words.
    Pending(String),
    /// The node has it.
    Present,
    /// It was given up; why, in words.
    Failed(String),
}

/// A request to restart containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// How far it is.
    pub phase: container_restart::Phase,
    /// What it says, with what kubelet's back-off means for it.
    pub message: String,
    /// Until when kubelet keeps a container down, at most.
    pub backoff_until: Option<Timestamp>,
}

/// Which Pod a write is for; it fails where the Pod was changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Basis {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub version: String,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// Makes a Pod of a revision, with owner, ordinal, gate, annotations and labels. One of that name that exists is not ours to
    /// replace.
    CreatePod {
        /// Its name.
        name: String,
        /// Its number.
        ordinal: u32,
        /// The hash of its revision.
        revision: String,
        /// The release it belongs to, if one is under way.
        release: Option<String>,
        /// Where it is to be preferred to run.
        near: Option<String>,
        /// The UID of the soft-evicted Pod that it is made for. It is better off where [`Surroundings::racks`] says.
        replaces: Option<String>,
    },
    /// Deletes a Pod.
    DeletePod {
        /// Which.
        pod: Basis,
        /// Whether it was led out of service first: its gate must be False at that moment.
        drained: bool,
    },
    /// Writes the annotations of a Pod: the operation, the release's id, and the finalizers expected.
    Stamp {
        /// Which.
        pod: Basis,
        /// What is done with it.
        operation: Operation,
        /// The finalizers expected, where they are to be others.
        protections: Option<Vec<String>>,
    },
    /// Enters the set as a holder of a Pod's gate and writes the operation, in one patch of its status.
    HoldGate {
        /// Which.
        pod: Basis,
        /// What is done with it.
        operation: Operation,
        /// The finalizers expected, where they are to be others.
        protections: Option<Vec<String>>,
    },
    /// Leaves a Pod's gate and writes the operation, in one patch of its status.
    ReleaseGate {
        /// Which.
        pod: Basis,
        /// What is done with it; nothing: no more.
        operation: Option<Operation>,
    },
    /// Images, labels and annotations, revision label and operation in one patch.
    PatchPod {
        /// Which.
        pod: Basis,
        /// What of it.
        patch: PodPatch,
        /// What is done with it; nothing: no more.
        operation: Option<Operation>,
        /// The release's id.
        release: String,
        /// A `ContainerRestart` of the target before it, which is deleted first: it must not stop what this replaces. Where it cannot be
        /// deleted, the Pod is not patched.
        instead_of: Option<String>,
    },
    /// Removes the operation from a Pod. The release's id stays.
    Finish {
        /// Which.
        pod: Basis,
    },
    /// Asks the agent of a Pod's node to restart containers. One of that name that exists is this very request.
    AskRestart {
        /// The request's name: the same however often it is asked.
        name: String,
        /// Which Pod.
        pod: Basis,
        /// Its node.
        node: String,
        /// Which containers.
        containers: Vec<String>,
        /// How long it may take.
        deadline: Duration,
    },
    /// Asks a node for exactly these images, instead of what this set asked it for before.
    AskPull {
        /// The node.
        node: String,
        /// The images.
        images: Vec<String>,
        /// For which release.
        requested_by: String,
    },
    /// Asks a node for nothing any more.
    EndPull {
        /// The node.
        node: String,
        /// Whether it has time: nothing is under way that it could be mistaken for.
        in_time: bool,
    },
    /// Makes a Pod that nobody owns the set's.
    Adopt {
        /// Which.
        pod: Basis,
    },
    /// Makes a Pod of the set nobody's.
    Orphan {
        /// Which.
        pod: Basis,
    },
    /// Makes a revision.
    CreateRevision {
        /// The object's name.
        name: String,
        /// Its hash.
        hash: String,
        /// Its number.
        number: i64,
        /// The template.
        template: Value,
    },
    /// Makes a revision that nobody owns the set's.
    AdoptRevision {
        /// The object's name.
        name: String,
        /// The object's UID.
        uid: String,
        /// The object's version.
        version: String,
    },
    /// Makes a revision the latest one again.
    NumberRevision {
        /// The object's name.
        name: String,
        /// The object's UID.
        uid: String,
        /// The object's version.
        version: String,
        /// Its new number.
        number: i64,
    },
    /// Deletes a revision that no Pod has.
    DeleteRevision {
        /// The object's name.
        name: String,
        /// The object's UID.
        uid: String,
        /// The object's version.
        version: String,
    },
    /// Writes the plan's status.
    WriteStatus,
    /// Tells people in an Event of the set.
    Tell {
        /// Whether it is bad.
        warning: bool,
        /// Why, for programs.
        reason: &'static str,
        /// Why, for people.
        message: String,
    },
}

/// What is changed of a Pod in place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodPatch {
    /// The hash of its new revision.
    pub revision: String,
    /// New images of containers, by name.
    pub images: BTreeMap<String, String>,
    /// New images of init containers, by name.
    pub init_images: BTreeMap<String, String>,
    /// Labels; nothing: the label goes.
    pub labels: BTreeMap<String, Option<String>>,
    /// Annotations; nothing: the annotation goes.
    pub annotations: BTreeMap<String, Option<String>>,
}

/// Everything that is to be done now.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Each write, in the order in which they are made. One that fails does not stop those of other Pods.
    pub deeds: Vec<Deed>,
    /// The Pods, by UID, that are held unready and that no traffic is led to: whoever drives it says at the next look for how long
    /// that has been so in all of his looks ([`Surroundings::detached`]).
    pub detached: BTreeSet<String>,
    /// What is to be told of the set; [`Deed::WriteStatus`] is there where it differs from what was told last.
    pub status: InPlaceSetStatus,
    /// When to plan again even if nothing happens.
    pub look_again: Option<Duration>,
}

#[cfg(test)]
pub(crate) mod tests;
