//! Whether the holder of a claim is dead, as its Node tells. Pure.
//!
//! What counts as a fenced node is said in one place, [`node_agent_lifecycle::fencing`]; here is what follows for a claim. **Always
//! holds:** only what is known counts. A Node that is not there is gone only after [`GONE_AFTER`], a claim that does not say of
//! which Node it is, is never of another one, and nothing is taken from a node that shows life.

use std::time::Duration;

use node_agent_lifecycle::fencing::{FenceMarks, Fencing, Life, fence_proof, fencing};
use proto_crd::names;

use super::view::ClaimView;
use crate::lean::NodeView;

/// A Node that somebody deletes and kubelet registers again at once was never gone: the same name, with another UID.
pub(super) const GONE_AFTER: Duration = Duration::from_secs(60);

/// What is seen of a claim's Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeSight<'a> {
    /// It is there; whether it lives is asked only where somebody says that it does not.
    There(&'a NodeView, Life),
    /// It has not been for so long.
    Missing(Duration),
}

/// Why a holder is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// There is no such Node any more.
    Deleted,
    /// There is another Node of that name.
    Recreated,
    /// The node lifecycle has decided that it is fenced.
    Decided,
    /// Somebody says by the taint that the node is shut down, and it shows no life.
    Tainted,
    /// Somebody says so by the annotation, and it shows no life.
    Annotated,
}

/// What is known of a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// It is dead.
    Dead(Cause),
    /// It is the Node that there is.
    Alive,
    /// Somebody says that it is dead, and whether it lives is not known yet: everything stays as it is.
    Pending,
    /// Nothing is known against it.
    Unknown,
}

impl Cause {
    /// Those that are over when the Node does not say so any more.
    const SAID: [Self; 3] = [Self::Decided, Self::Tainted, Self::Annotated];

    /// In words; the same each time, so that a mark can be told by them.
    pub(super) fn reason(self, node: &str) -> String {
        let (taint, annotation) = (names::OUT_OF_SERVICE_TAINT, names::FENCED_BY_ANNOTATION);
        match self {
            Self::Deleted => format!("Node {node} was deleted"),
            Self::Recreated => {
                format!("Node {node} was deleted and made anew: this is of the earlier one")
            }
            Self::Decided => format!(
                "the node lifecycle decided that Node {node} is fenced (taint {taint}={})",
                names::OUT_OF_SERVICE_BY_BERTH
            ),
            Self::Tainted => format!("Node {node} has the taint {taint}, and shows no life"),
            Self::Annotated => {
                format!("Node {node} has the annotation {annotation}, and shows no life")
            }
        }
    }

    /// Whether the node that held it does not come back: else it may, with everything it had.
    pub(super) const fn is_final(self) -> bool {
        matches!(self, Self::Deleted | Self::Recreated)
    }
}

/// Whether anybody says that the Node is fenced.
pub(super) fn is_said(marks: &FenceMarks) -> bool {
    marks.is_decided || fence_proof(marks).is_some()
}

/// What the Node says of the holder.
pub(super) fn judge(claim: &ClaimView, node: NodeSight<'_>) -> Holder {
    let (node, life) = match node {
        NodeSight::Missing(since) if since >= GONE_AFTER => return Holder::Dead(Cause::Deleted),
        NodeSight::Missing(_) => return Holder::Unknown,
        NodeSight::There(node, life) => (node, life),
    };
    if claim.node_uid.as_ref().is_some_and(|uid| *uid != node.uid) {
        return Holder::Dead(Cause::Recreated);
    }
    let marks = &node.marks.fence;
    match fencing(marks, life) {
        Fencing::Decided => Holder::Dead(Cause::Decided),
        Fencing::Proven(_) => {
            let annotation = FenceMarks {
                taint: None,
                ..marks.clone()
            };
            Holder::Dead(match fence_proof(&annotation) {
                Some(_) => Cause::Annotated,
                None => Cause::Tainted,
            })
        }
        Fencing::Pending => Holder::Pending,
        Fencing::Refused(_) | Fencing::Unfenced if claim.node_uid.is_some() => Holder::Alive,
        Fencing::Refused(_) | Fencing::Unfenced => Holder::Unknown,
    }
}

/// Whether a mark that the controllers set has lost its cause.
pub(super) fn is_over(claim: &ClaimView, holder: Holder) -> bool {
    let Some(mark) = claim.fenced.as_ref().filter(|mark| super::is_ours(mark)) else {
        return false;
    };
    match holder {
        Holder::Dead(_) | Holder::Pending => false,
        Holder::Alive => true,
        // Nobody says it any more of the Node that is there; other causes are not disproved by that. An earlier version said less.
        Holder::Unknown => {
            let said = Cause::SAID.map(|cause| cause.reason(&claim.node));
            let before = format!(
                "Node {} has the taint {}",
                claim.node,
                names::OUT_OF_SERVICE_TAINT
            );
            said.contains(&mark.reason) || mark.reason == before
        }
    }
}
