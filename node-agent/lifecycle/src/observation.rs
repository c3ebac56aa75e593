//! What the controller sees of the world, kept up to date in place by its watches and handed to each step.
//!
//! Holds facts only, none of them an age: ages are the core's, from when it saw a version change. What is missing here is not
//! known, and never taken for good news.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use proto_ids::{NodeName, PodKey, PodUid, RackName};
use serde::{Deserialize, Serialize};

use crate::freeze::Freezes;
use crate::moment::Moment;
use crate::window::MinuteOfWeek;

macro_rules! text {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $type(Box<str>);

        impl $type {
            /// As it is written.
            pub fn new(text: &str) -> Self {
                Self(text.into())
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text! {
    /// A `resourceVersion`, or anything else that is another one whenever the object was written. Compared for equality only.
    Version
}
text! {
    /// A zone or data centre: what fails together above the rack.
    ZoneName
}
text! {
    /// An application: what has replicas and a floor of ready ones. Usually `namespace/name` of the owner.
    AppName
}
text! {
    /// A rule of health: the name of the agent's signal.
    RuleName
}

/// Everything that a step looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observations {
    /// How the controller itself is.
    pub controller: ControllerHealth,
    /// What people have frozen.
    pub freezes: Freezes,
    /// The wall clock's place in the week, for business windows; none: not known, then every window counts as open for business.
    pub week: Option<MinuteOfWeek>,
    /// All nodes.
    pub nodes: BTreeMap<NodeName, NodeObservation>,
    /// The Pods of each node. Only looked at for nodes that something is done about ([`crate::Core::wants_pods`]) and for those that have
    /// Pods that were given up. No entry: they are not known, and nothing is done.
    pub pods: BTreeMap<NodeName, Vec<PodObservation>>,
    /// The applications of those Pods.
    pub apps: BTreeMap<AppName, AppObservation>,
    /// Replacements of ours that are not done with: not ready yet, or failed lately.
    pub replacements: Vec<Replacement>,
}

/// How the controller itself is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControllerHealth {
    /// The term that this process leads in; none: it does not lead.
    pub term: Option<u64>,
    /// How far its watches are behind the API server.
    pub watch_lag: Duration,
    /// How long its own lease writes take, 99th percentile.
    pub lease_write_p99: Duration,
}

/// One node.
#[expect(
    clippy::struct_excessive_bools,
    reason = "marks on four objects, each there or not, independent of each other"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeObservation {
    /// Its rack.
    pub rack: RackName,
    /// Its zone; the cluster's name where it has none.
    pub zone: ZoneName,
    /// Version of kubelet's Lease; none: it has none.
    pub kubelet_lease: Option<Version>,
    /// When that Lease was last read from the API server itself, not from the watch's cache (see `Step::reread`).
    pub kubelet_lease_read: Option<Moment>,
    /// Version of the agent's Lease; none: it has none.
    pub agent_lease: Option<Version>,
    /// What its agent says.
    pub report: Option<Report>,
    /// Proof that it runs nothing any more.
    pub fence: Option<FenceProof>,
    /// It has our own taint.
    pub cordoned: bool,
    /// Its Pods are out of the endpoints, by us.
    pub endpoints_withdrawn: bool,
    /// Its claims carry our fenced mark.
    pub fence_marked: bool,
    /// People have said that it goes down for a while: nothing is done about it.
    pub maintenance: bool,
}

/// What the agent of a node says (`NodeHealth`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Another one whenever the agent has written.
    pub version: Version,
    /// For how long it holds after it was written.
    pub ttl: Duration,
    /// Whether its view of others counts: it has its own gateway, does not lag, and sees most of its peers.
    pub vote: Standing,
    /// What it sees of its peers.
    pub sights: Vec<Sight>,
    /// What is wrong with the node.
    pub findings: Vec<Finding>,
    /// Its own checks of kubelet or the runtime fail.
    pub kubelet_failing: bool,
    /// Its processors are under pressure: PSI `cpu.some`, or the run queue where there is no PSI.
    pub under_pressure: bool,
}

/// Whether what an agent says of its peers is to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It is.
    Given,
    /// It is not: the agent itself says so, or cannot know.
    Withdrawn,
}

/// What an agent sees of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// The peer.
    pub target: NodeName,
    /// Whether it answers.
    pub state: SightState,
}

/// Whether a peer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SightState {
    /// Not asked often enough to say.
    Unknown,
    /// It answers.
    Alive,
    /// It does not.
    Dead,
}

/// Something that is wrong with a node, for as long as its rule demands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule that found it.
    pub rule: RuleName,
    /// What it is reason enough for.
    pub class: Class,
}

/// What a finding is reason enough for. Each includes those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Tell people.
    Observe,
    /// No new Pods on the node.
    Cordon,
    /// Move Pods away by eviction.
    Drain,
    /// Move Pods away by eviction, at once.
    Urgent,
}

/// Proof that a node runs nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceProof {
    /// What proves it.
    pub kind: FenceKind,
    /// Who says so.
    pub by: String,
    /// Another one for each time it was proven: a proof from before the node last returned proves nothing.
    pub version: Version,
}

/// What proves that a node runs nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FenceKind {
    /// BMC, hypervisor or switch: the node is off, or its port is.
    PowerOff,
    /// The time after which a node that is alone fences itself has passed.
    SelfFenceExpired,
    /// An operator has said so.
    Operator,
}

/// One Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodObservation {
    /// Namespace and name.
    pub pod: PodKey,
    /// Its UID.
    pub uid: PodUid,
    /// Its `resourceVersion`.
    pub version: Version,
    /// Its application; none: it belongs to none.
    pub app: Option<AppName>,
    /// What keeps it.
    pub owner: Owner,
    /// What becomes of its address elsewhere.
    pub address: AddressPolicy,
    /// When it was made, in seconds of the API server's clock. Only ever compared with another Pod's.
    pub created_seconds: i64,
    /// Its Ready condition, as kubelet last wrote it.
    pub ready: bool,
    /// It is being deleted.
    pub terminating: bool,
    /// It carries our mark: it does not count any more, and its replacement is wanted.
    pub soft_evicted: bool,
    /// Its replacement, once there is one.
    pub replacement: Option<ReplacementState>,
}

/// What keeps a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Owner {
    /// Our own `InPlaceSet`.
    InPlaceSet,
    /// A `ReplicaSet`.
    ReplicaSet,
    /// A `StatefulSet`: two Pods of one name must never be.
    StatefulSet,
    /// A `DaemonSet`: it belongs to its node.
    DaemonSet,
    /// Anything else, or nobody: kubelet's own file, a Job, a bare Pod.
    Other,
}

/// What becomes of a Pod's address on another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AddressPolicy {
    /// It has none of its own, or its policy lets it have a new one.
    New,
    /// It must keep it: only its own identity can, so nothing may run beside it.
    Keep,
}

/// How far the replacement of a Pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplacementState {
    /// Not ready yet.
    Starting,
    /// Ready.
    Ready,
    /// It does not become ready.
    Failed,
}

/// One application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppObservation {
    /// How many Pods are wanted.
    pub replicas: u32,
    /// How many are ready on nodes that are not given up, as far as the controller sees.
    pub ready: u32,
    /// How many must be ready.
    pub min_ready: u32,
}

/// One replacement that we caused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The Pod that it replaces.
    pub original: PodUid,
    /// Its application.
    pub app: Option<AppName>,
    /// The rack that it was scheduled to, once it was.
    pub rack: Option<RackName>,
    /// How far it is.
    pub state: ReplacementState,
}
