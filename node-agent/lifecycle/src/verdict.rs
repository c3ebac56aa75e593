//! What a node is, by the evidence of this moment alone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::observation::Class;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Its Lease is fresh, and nothing that counts is wrong.
    Healthy,
    /// Its Lease is fresh, and something has been wrong for long enough.
    Degraded(Class),
    /// Its Lease is stale, it lives, and its own checks of kubelet or the runtime fail.
    KubeletDown,
    /// Its Lease is stale, and it lives.
    ControlPlaneCut,
    /// Its Lease is stale, and so are most of its rack's, at once; nobody elsewhere sees it.
    RackDark,
    /// Its Leases are stale, enough peers of its own and of other racks see it dead, and none alive.
    QuorumDead,
    /// One of the two before, and proven to run nothing any more.
    FencedDead,
    /// Anything else. Nothing is done.
    Unknown,
}

impl Verdict {
    /// It is taken for lost: capacity may be restored.
    pub const fn is_lost(self) -> bool {
        matches!(self, Self::RackDark | Self::QuorumDead | Self::FencedDead)
    }

    /// Its kubelet is in touch.
    pub const fn is_connected(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded(_))
    }

    /// It is in touch, and something asks for this or more.
    pub fn asks_for(self, wanted: Class) -> bool {
        matches!(self, Self::Degraded(class) if class >= wanted)
    }

    /// Something proves that it lives.
    pub const fn is_alive(self) -> bool {
        matches!(
            self,
            Self::Healthy | Self::Degraded(_) | Self::KubeletDown | Self::ControlPlaneCut
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Degraded(class) => write!(f, "Degraded({class:?})"),
            other => write!(f, "{other:?}"),
        }
    }
}
