//! Whether the holder of a claim is dead, as its Node tells. Pure.
//!
//! **Always holds:** only what is known counts. A Node that is not there is gone only after [`GONE_AFTER`], and a claim that does
//! not say of which Node it is, is never of another one.

use std::time::Duration;

use super::view::ClaimView;
use crate::lean::NodeView;

/// A Node that somebody deletes and kubelet registers again at once was never gone: the same name, with another UID.
pub(super) const GONE_AFTER: Duration = Duration::from_secs(60);

/// What is seen of a claim's Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeSight<'a> {
    /// It is there.
    There(&'a NodeView),
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
    /// Somebody says that the node is shut down.
    OutOfService,
}

/// What is known of a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// It is dead.
    Dead(Cause),
    /// It is the Node that there is.
    Alive,
    /// Nothing is known against it.
    Unknown,
}

impl Cause {
    /// In words; the same each time, so that a mark can be told by them.
    pub(super) fn reason(self, node: &str) -> String {
        match self {
            Self::Deleted => format!("Node {node} was deleted"),
            Self::Recreated => {
                format!("Node {node} was deleted and made anew: this is of the earlier one")
            }
            Self::OutOfService => format!(
                "Node {node} has the taint {}",
                proto_crd::names::OUT_OF_SERVICE_TAINT
            ),
        }
    }

    /// Whether the node that held it does not come back: else it may, with everything it had.
    pub(super) const fn is_final(self) -> bool {
        matches!(self, Self::Deleted | Self::Recreated)
    }
}

/// What the Node says of the holder.
pub(super) fn judge(claim: &ClaimView, node: NodeSight<'_>) -> Holder {
    match node {
        NodeSight::Missing(since) if since >= GONE_AFTER => Holder::Dead(Cause::Deleted),
        NodeSight::Missing(_) => Holder::Unknown,
        NodeSight::There(node) => match claim.node_uid.as_deref() {
            Some(uid) if uid != node.uid => Holder::Dead(Cause::Recreated),
            _ if node.is_out_of_service => Holder::Dead(Cause::OutOfService),
            Some(_) => Holder::Alive,
            None => Holder::Unknown,
        },
    }
}

/// Whether a mark that the controllers set has lost its cause.
pub(super) fn is_over(claim: &ClaimView, holder: Holder) -> bool {
    let Some(mark) = claim.fenced.as_ref().filter(|mark| super::is_ours(mark)) else {
        return false;
    };
    match holder {
        Holder::Dead(_) => false,
        Holder::Alive => true,
        // The taint is gone from the Node that is there; other causes are not disproved by that.
        Holder::Unknown => mark.reason == Cause::OutOfService.reason(&claim.node),
    }
}
