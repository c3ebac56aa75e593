//! What a decision rests on, as it is written down.

use std::fmt;
use std::time::Duration;

use proto_ids::NodeName;
use serde::{Deserialize, Serialize};

use crate::observation::{Class, FenceKind, RuleName, SightState};

/// One thing that a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// kubelet's Lease did not change for so long.
    KubeletLease {
        /// For how long.
        age: Duration,
        /// From when on it is stale.
        stale_after: Duration,
    },
    /// The agent's Lease did not change for so long.
    AgentLease {
        /// For how long; none: never seen.
        age: Option<Duration>,
        /// From when on it is stale.
        stale_after: Duration,
    },
    /// A peer says so.
    Vote {
        /// Who.
        observer: NodeName,
        /// It is in the same rack.
        same_rack: bool,
        /// What it sees.
        sees: SightState,
        /// It is counted.
        counts: bool,
    },
    /// How many of the rack went silent at once.
    Rack {
        /// So many,
        stale: usize,
        /// of so many.
        nodes: usize,
        /// So many observers in other racks see it dead.
        observers: usize,
    },
    /// The nodes that a decision about several is about.
    Members(Vec<NodeName>),
    /// The rule that speaks worst of them.
    Rule(RuleName),
    /// Something is wrong with the node.
    Finding {
        /// By which rule.
        rule: RuleName,
        /// What it is reason enough for.
        class: Class,
        /// For how long.
        held: Duration,
    },
    /// The agent's report is older than it holds.
    ReportExpired,
    /// It is proven to run nothing any more.
    Fence {
        /// How.
        kind: FenceKind,
        /// By whom.
        by: String,
    },
    /// It has come and gone: the penalty for it.
    Flaps {
        /// Now.
        penalty: u32,
    },
    /// It has been in its phase for so long.
    InPhase(Duration),
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KubeletLease { age, stale_after } => write!(
                f,
                "kubelet's Lease unchanged for {} s (stale after {} s)",
                age.as_secs(),
                stale_after.as_secs()
            ),
            Self::AgentLease {
                age: Some(age),
                stale_after,
            } => write!(
                f,
                "the agent's Lease unchanged for {} s (stale after {} s)",
                age.as_secs(),
                stale_after.as_secs()
            ),
            Self::AgentLease { age: None, .. } => f.write_str("the agent has no Lease"),
            Self::Vote {
                observer,
                same_rack,
                sees,
                counts,
            } => {
                let place = if *same_rack {
                    "same rack"
                } else {
                    "other rack"
                };
                let counted = if *counts { "" } else { ", not counted" };
                write!(f, "{observer} ({place}) sees it {sees:?}{counted}")
            }
            Self::Rack {
                stale,
                nodes,
                observers,
            } => write!(
                f,
                "{stale} of the rack's {nodes} nodes silent at once, seen dead by {observers} in other racks"
            ),
            Self::Members(nodes) => write!(f, "{} nodes", nodes.len()),
            Self::Rule(rule) => write!(f, "by {rule}"),
            Self::Finding { rule, class, held } => {
                write!(f, "{rule} ({class:?}) for {} s", held.as_secs())
            }
            Self::ReportExpired => f.write_str("its report has expired"),
            Self::Fence { kind, by } => write!(f, "fenced: {kind:?}, says {by}"),
            Self::Flaps { penalty } => write!(f, "flap penalty {penalty}"),
            Self::InPhase(age) => write!(f, "for {} s so far", age.as_secs()),
        }
    }
}
