//! What is to be done, as data. The caller does it; nothing here can.

use std::fmt;

use proto_ids::{NodeName, PodKey, PodUid};
use serde::{Deserialize, Serialize};

use crate::decision::DecisionId;
use crate::mode::Rule;
use crate::moment::Moment;
use crate::observation::Version;

/// One thing to do, with the decision that wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The decision.
    pub decision: DecisionId,
    /// When it was decided. [`crate::Core::confirm`] refuses what is too old.
    pub at: Moment,
    /// What.
    pub action: Action,
}

/// A Pod, as it was when it was decided about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodTarget {
    /// Namespace and name.
    pub pod: PodKey,
    /// Its UID: a precondition of the write.
    pub uid: PodUid,
    /// Its `resourceVersion`: a precondition of a delete.
    pub version: Version,
}

/// What to do. Each is idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Put our own `NoSchedule` taint on it. Never `spec.unschedulable`: that is people's.
    Cordon {
        /// The node.
        node: NodeName,
    },
    /// Take our own taint off.
    Uncordon {
        /// The node.
        node: NodeName,
    },
    /// Take its Pods out of the endpoints.
    WithdrawEndpoints {
        /// The node.
        node: NodeName,
    },
    /// Put them back.
    RestoreEndpoints {
        /// The node.
        node: NodeName,
    },
    /// Tell the node's agent to restart kubelet.
    RestartKubelet {
        /// The node.
        node: NodeName,
        /// The how manieth time, from 1.
        attempt: u32,
    },
    /// Let the Pod's owner make a replacement, and leave the Pod alone.
    SoftEvict {
        /// The node.
        node: NodeName,
        /// The Pod.
        target: PodTarget,
    },
    /// The Pod counts again: its owner ends what is too much.
    Readopt {
        /// The node.
        node: NodeName,
        /// The Pod.
        target: PodTarget,
    },
    /// Evict it by the Eviction API, which honours its disruption budget.
    Evict {
        /// The node.
        node: NodeName,
        /// The Pod.
        target: PodTarget,
    },
    /// The node is dead: mark its claims fenced, so that their addresses may be taken over, and taint it out-of-service.
    Fence {
        /// The node.
        node: NodeName,
    },
    /// The node is back: take both off.
    LiftFence {
        /// The node.
        node: NodeName,
    },
    /// Delete it, with UID and `resourceVersion` as preconditions. Its node is fenced.
    HardDelete {
        /// The node.
        node: NodeName,
        /// The Pod.
        target: PodTarget,
    },
    /// Delete it, with UID and `resourceVersion` as preconditions. Its node is back, and its replacement is ready.
    EndSuperseded {
        /// The node.
        node: NodeName,
        /// The Pod.
        target: PodTarget,
    },
}

impl Action {
    /// The node that it is about.
    pub const fn node(&self) -> &NodeName {
        match self {
            Self::Cordon { node }
            | Self::Uncordon { node }
            | Self::WithdrawEndpoints { node }
            | Self::RestoreEndpoints { node }
            | Self::RestartKubelet { node, .. }
            | Self::SoftEvict { node, .. }
            | Self::Readopt { node, .. }
            | Self::Evict { node, .. }
            | Self::Fence { node }
            | Self::LiftFence { node }
            | Self::HardDelete { node, .. }
            | Self::EndSuperseded { node, .. } => node,
        }
    }

    /// The Pod that it is about.
    pub const fn target(&self) -> Option<&PodTarget> {
        match self {
            Self::SoftEvict { target, .. }
            | Self::Readopt { target, .. }
            | Self::Evict { target, .. }
            | Self::HardDelete { target, .. }
            | Self::EndSuperseded { target, .. } => Some(target),
            _ => None,
        }
    }

    /// The rule that wants it, which has a mode.
    pub const fn rule(&self) -> Rule {
        match self {
            Self::Cordon { .. } | Self::Uncordon { .. } => Rule::Cordon,
            Self::WithdrawEndpoints { .. } | Self::RestoreEndpoints { .. } => Rule::Endpoints,
            Self::RestartKubelet { .. } => Rule::LocalRepair,
            Self::SoftEvict { .. } => Rule::SoftEvict,
            Self::Evict { .. } => Rule::Drain,
            Self::Fence { .. } | Self::LiftFence { .. } => Rule::Fence,
            Self::HardDelete { .. } => Rule::HardEvict,
            Self::EndSuperseded { .. } | Self::Readopt { .. } => Rule::RecoveryGuard,
        }
    }

    /// It takes something away, so that breakers and people's maintenance hold it. The others give back, or only keep new Pods away.
    pub const fn disturbs(&self) -> bool {
        matches!(
            self,
            Self::WithdrawEndpoints { .. }
                | Self::RestartKubelet { .. }
                | Self::SoftEvict { .. }
                | Self::Fence { .. }
        ) || self.ends_pod()
    }

    /// A Pod ends by it.
    pub const fn ends_pod(&self) -> bool {
        matches!(
            self,
            Self::Evict { .. } | Self::HardDelete { .. } | Self::EndSuperseded { .. }
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self {
            Self::Cordon { .. } => "cordon",
            Self::Uncordon { .. } => "uncordon",
            Self::WithdrawEndpoints { .. } => "withdraw the endpoints of",
            Self::RestoreEndpoints { .. } => "restore the endpoints of",
            Self::RestartKubelet { .. } => "restart the kubelet of",
            Self::SoftEvict { .. } => "replace without deleting",
            Self::Readopt { .. } => "count again",
            Self::Evict { .. } => "evict",
            Self::Fence { .. } => "fence",
            Self::LiftFence { .. } => "lift the fence of",
            Self::HardDelete { .. } => "delete, its node being fenced,",
            Self::EndSuperseded { .. } => "end, its replacement being ready,",
        };
        match self.target() {
            Some(target) => write!(f, "{verb} {} on {}", target.pod, self.node()),
            None => write!(f, "{verb} {}", self.node()),
        }
    }
}
