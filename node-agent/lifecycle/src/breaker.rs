//! Breakers: what stops everything in a domain while something larger than a node is wrong.
//!
//! **Always holds:** a breaker is open exactly while its cause holds and a quiet time after; it then closes by itself, and admits
//! slowly for a while. None needs anybody to reset it.

use proto_ids::RackName;
use serde::{Deserialize, Serialize};

use crate::observation::{RuleName, ZoneName};

/// Why nothing is admitted, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// Too much of the cluster is stale.
    StaleCluster,
    /// Too much of a zone is stale.
    StaleZone(ZoneName),
    /// Several zones have dark racks: it is not the racks.
    DarkZones,
    /// The controller's watches are behind.
    WatchLag,
    /// The controller's own writes are slow.
    LeaseWrite,
    /// It has only just begun to lead.
    WarmUp,
    /// One rule finds something on many nodes at once: it is the rule, or what was rolled out.
    RuleWave(RuleName),
    /// Our own replacements fail in a rack.
    FailedReplacements(RackName),
}
