//! Peers in a `NodeHealth`: whom a node's agent looks at (written by the controllers) and what it sees (written by the agent).
//!
//! Nothing acts on it. A reader counts what an agent says of its peers only while its vote is given.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most peers of one node.
pub const PEERS_LIMIT: usize = 8;

/// The longest explanation of a vote.
pub const MESSAGE_LIMIT: usize = 256;

/// The longest time to an answer that is told.
pub const RTT_LIMIT_MICROSECONDS: u32 = 10_000_000;

/// The largest difference of clocks that is told, either way: ten years.
pub const CLOCK_LIMIT_MILLISECONDS: i64 = 315_360_000_000;

/// A node that the agent is to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub node: String,
    /// Its rack.
    #[schemars(length(min = 1, max = 63))]
    pub rack: String,
    /// Where its agent answers.
    #[schemars(
        length(min = 2, max = 45),
        extend("x-kubernetes-validations" = [{"rule": "isIP(self) && ip.isCanonical(self)", "message": "an IP address as it is usually written: 10.0.0.1, fd00::1"}])
    )]
    pub address: String,
}

/// What the agent sees of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerSight {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub node: String,
    /// Its rack.
    #[schemars(length(min = 1, max = 63))]
    pub rack: String,
    /// Whether it answers.
    pub state: PeerState,
    /// Since when it is so.
    pub since: Time,
    /// Of the last minute's probes, how many had no answer, in hundredths.
    #[schemars(range(min = 0, max = 100))]
    pub lost_percent: u32,
    /// How long an answer takes, smoothed; none, where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub rtt_microseconds: Option<u32>,
    /// How far its wall clock is ahead of this node's, by its last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -315_360_000_000_i64, max = 315_360_000_000_i64))]
    pub clock_ahead_milliseconds: Option<i64>,
}

/// Whether a peer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PeerState {
    /// It was not asked often enough to say.
    Unknown,
    /// It answered one of the last five probes, a second apart.
    Alive,
    /// It did not.
    Dead,
}

/// Whether what this agent says of its peers is to be counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vote {
    /// Whether it is.
    pub state: VoteState,
    /// Why, for programs.
    pub reason: VoteReason,
    /// Why, for people.
    #[schemars(length(max = 256))]
    pub message: String,
    /// Since when it is so, for this reason.
    pub since: Time,
}

/// Whether a vote is to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum VoteState {
    /// It is.
    Given,
    /// Something speaks against the node itself, or it cannot know.
    Withdrawn,
}

/// Why a vote is given or withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum VoteReason {
    /// Given: peers were seen, and so were the node's gateways.
    Seeing,
    /// Given, but nobody looks at the node's gateways: worth less.
    GatewayNotWatched,
    /// Withdrawn: there is no key, so nobody is asked.
    NoKey,
    /// Withdrawn: nobody said whom to ask.
    NoRoster,
    /// Withdrawn: whom to ask was said too long ago.
    RosterOld,
    /// Withdrawn: the agent stood still.
    Lagging,
    /// Withdrawn: more arrives than is read.
    Flooded,
    /// Withdrawn: a gateway of the node does not answer.
    GatewaySilent,
    /// Withdrawn: nobody knows whether it does.
    GatewayUnknown,
    /// Withdrawn: the gateways were not looked at since peers went silent.
    GatewayUnconfirmed,
    /// Withdrawn: no peer was judged yet.
    Starting,
    /// Withdrawn: most peers do not answer.
    Isolated,
}
