//! `NodeHealth`: what the agent of a node knows of its node's health. One object a node, named as the node.
//!
//! Written by that node's agent only, on change and every few minutes. What is not refreshed in time is unknown: a
//! signal after its `ttlSeconds`, which the agent itself reports, and the whole report after `expiryTime`, which every
//! reader must judge, since an agent that is dead reports nothing. It goes with its Node, which owns it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::peer::{Peer, PeerSight, Vote};

/// The longest text of a signal: what, impact, advice. The agent cuts what is longer.
pub const TEXT_LIMIT: usize = 512;

/// The longest value and threshold of a signal. The agent cuts what is longer.
pub const VALUE_LIMIT: usize = 128;

/// The most signals of one node.
pub const SIGNALS_LIMIT: usize = 64;

/// The node that is reported on.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "berth.dev",
    version = "v1alpha1",
    kind = "NodeHealth",
    plural = "nodehealths",
    shortname = "nh",
    category = "berth",
    namespaced,
    status = "NodeHealthStatus",
    derive = "PartialEq",
    doc = "What the Berth agent of a node knows of its node's health. Written by that agent only; named as the node.",
    label("app.kubernetes.io/part-of", "berth"),
    selectable = ".status.problems",
    validation = ("self.metadata.name == self.spec.nodeName", "the name must be the node's: metadata.name and spec.nodeName differ"),
    printcolumn(name = "Healthy", type_ = "string", json_path = ".status.conditions[?(@.type==\"Healthy\")].status", description = "False: something is wrong. Unknown: not everything could be looked at"),
    printcolumn(name = "Problems", type_ = "integer", json_path = ".status.problems", description = "Signals that are unhealthy"),
    printcolumn(name = "Unknown", type_ = "integer", json_path = ".status.unknowns", description = "Signals that nobody knows"),
    printcolumn(name = "Reported", type_ = "date", json_path = ".status.reportTime", description = "When the agent wrote this"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Healthy\")].message", priority = "1")
)]
#[serde(rename_all = "camelCase")]
pub struct NodeHealthSpec {
    /// The node's name.
    #[schemars(
        length(min = 1, max = 253),
        extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "the node of a report cannot be changed"}])
    )]
    pub node_name: String,
    /// Whom the agent looks at, over the underlay. Written by the controllers; none while they have not chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["node"])
    )]
    pub peers: Option<Vec<Peer>>,
}

/// What the agent reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.problems == self.signals.filter(s, s.state == 'Unhealthy').size()", "message": "problems is the number of unhealthy signals"},
    {"rule": "self.unknowns == self.signals.filter(s, s.state == 'Unknown').size()", "message": "unknowns is the number of unknown signals"},
    {"rule": "self.expiryTime > self.reportTime", "message": "a report expires after it was made"},
]))]
pub struct NodeHealthStatus {
    /// The boot it was seen in: another boot id than the Node's means that the report is of before a reboot.
    #[schemars(length(min = 1, max = 64), pattern(r"^[0-9A-Za-z-]+$"))]
    pub boot_id: String,
    /// Version of the agent.
    #[schemars(length(min = 1, max = 64))]
    pub agent_version: String,
    /// When this was written.
    pub report_time: Time,
    /// After it nothing in this report holds any more. The agent writes again before, unless it is dead or cut off.
    pub expiry_time: Time,
    /// Signals that are unhealthy.
    #[schemars(range(min = 0, max = 64))]
    pub problems: u32,
    /// Signals that nobody knows.
    #[schemars(range(min = 0, max = 64))]
    pub unknowns: u32,
    /// `Healthy`: False when a signal is unhealthy, else Unknown when one is unknown.
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// Everything that is looked at.
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub signals: Vec<Signal>,
    /// What it sees of its peers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["node"])
    )]
    pub peers: Vec<PeerSight>,
    /// Whether that is to be counted; none where it looks at no peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote: Option<Vote>,
    /// What runs waits for processors: whoever ends Pods here by choice waits until it does not. Nothing is wrong with the node by that. None: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processors_pressed: Option<bool>,
}

/// One thing that is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.state == 'Unknown' || has(self.observedTime)", "message": "a state other than Unknown needs an observation (observedTime)"},
    {"rule": "self.state != 'Unhealthy' || (has(self.message) && has(self.impact) && has(self.advice))", "message": "an unhealthy signal says what is wrong (message), what it means (impact) and what to do (advice)"},
    {"rule": "(self.state == 'Unhealthy') == has(self.decision)", "message": "an unhealthy signal, and no other, says which decision it supports"},
]))]
pub struct Signal {
    /// Which.
    #[schemars(length(min = 1, max = 40), pattern(r"^[a-z][a-z0-9-]*$"))]
    pub name: String,
    /// The part of the node it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub area: Option<Area>,
    /// How it is.
    pub state: SignalState,
    /// Since when it is so.
    pub since: Time,
    /// When it was last looked at, as of this report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_time: Option<Time>,
    /// Without a new observation for so long it is Unknown.
    #[schemars(range(min = 1, max = 86400))]
    pub ttl_seconds: u32,
    /// What was seen.
    #[schemars(length(max = 128))]
    pub value: String,
    /// What is healthy, and for how long it must be otherwise to count.
    #[schemars(length(max = 128))]
    pub threshold: String,
    /// The strongest decision that it supports by itself, as of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// What is wrong, or why it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub message: Option<String>,
    /// What it means for the Pods of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub impact: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub advice: Option<String>,
}

/// A part of a node. Each is a condition of `NodeHealth` and of the Node: `True` where something of it is wrong, as kubelet's own
/// pressure conditions and node-problem-detector's are.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Area {
    /// kubelet and the container runtime.
    Runtime,
    /// The address daemon and its addresses.
    Addresses,
    /// Links, gateways, names.
    Network,
    /// Disks and file systems.
    Storage,
    /// The kernel, its clock, its boots.
    Kernel,
    /// What processes need: memory, processes, files.
    Resources,
}

impl Area {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 6] = [
        Self::Runtime,
        Self::Addresses,
        Self::Network,
        Self::Storage,
        Self::Kernel,
        Self::Resources,
    ];

    /// The condition of `NodeHealth`.
    pub const fn condition(self) -> &'static str {
        match self {
            Self::Runtime => "RuntimeProblem",
            Self::Addresses => "AddressProblem",
            Self::Network => "NetworkProblem",
            Self::Storage => "StorageProblem",
            Self::Kernel => "KernelProblem",
            Self::Resources => "ResourceProblem",
        }
    }

    /// The condition of the Node.
    pub const fn node_condition(self) -> &'static str {
        match self {
            Self::Runtime => "berth.dev/RuntimeProblem",
            Self::Addresses => "berth.dev/AddressProblem",
            Self::Network => "berth.dev/NetworkProblem",
            Self::Storage => "berth.dev/StorageProblem",
            Self::Kernel => "berth.dev/KernelProblem",
            Self::Resources => "berth.dev/ResourceProblem",
        }
    }
}

/// How a signal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SignalState {
    /// As it should be.
    Healthy,
    /// Wrong for long enough to count.
    Unhealthy,
    /// Not seen for longer than its time to live, or not yet. Never to be taken for healthy.
    Unknown,
    /// This node has no such thing: seen to be so within the time to live.
    Absent,
}

/// What a signal is reason enough for, by itself. Each includes those before.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Decision {
    /// Tell people.
    Observe,
    /// No new Pods on the node.
    Cordon,
    /// Move Pods away by eviction.
    Drain,
    /// Move Pods away at once.
    Urgent,
}

#[cfg(test)]
mod tests;
