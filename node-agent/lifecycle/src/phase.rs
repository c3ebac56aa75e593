//! Where a node is in its life: verdicts with a memory.

use serde::{Deserialize, Serialize};

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing is done about it.
    Healthy,
    /// It gets no new Pods, because of a finding.
    Cordoned,
    /// Its Pods are evicted by the Eviction API; it is in touch.
    Draining,
    /// It is drained, and waits for people.
    Empty,
    /// Its Lease is stale, and nobody knows why. Nothing is done.
    Suspect,
    /// It lives, without its control plane: no new Pods, and nothing else.
    ControlPlaneCut,
    /// It lives, its kubelet does not: restarted, then no new Pods.
    KubeletDown,
    /// It is lost, with its rack; not yet admitted.
    RackDark,
    /// It is lost, alone; not yet admitted.
    QuorumDead,
    /// It is lost and admitted: its Pods are replaced, none is deleted.
    SoftEvicting,
    /// It is fenced: what is left of its Pods is deleted, one at a time.
    HardEvicting,
    /// It is fenced, and nothing of it is left to delete.
    Gone,
    /// It is back, and nobody relies on it yet.
    Recovering,
    /// It comes and goes: no new Pods until it has been there for long enough.
    Flapping,
}

impl Phase {
    /// It takes a place in the budgets of nodes in action.
    pub const fn is_in_action(self) -> bool {
        matches!(
            self,
            Self::Draining | Self::SoftEvicting | Self::HardEvicting
        )
    }

    /// It is taken for lost.
    pub const fn is_lost(self) -> bool {
        matches!(
            self,
            Self::RackDark
                | Self::QuorumDead
                | Self::SoftEvicting
                | Self::HardEvicting
                | Self::Gone
        )
    }
}
