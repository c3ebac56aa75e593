//! What is to be done about one claim, by what is known of its Node, its owner and its Pod. Pure.
//!
//! Asked twice: of the views, and, before anything is written, of live reads. **Always holds:** only marks that the controllers
//! set are taken off; nothing is taken from a node that may come back; a binding that somebody may still want is kept.

use std::time::Duration;

use ipamd_core::FENCE_SETTLES;
use k8s_openapi::jiff::Timestamp;
use proto_crd::names;

use super::fence::{self, Cause, Holder, NodeSight};
use super::owner::Wish;
use super::view::{BindingView, ClaimView, Stickiness};

/// An owner that is scaled in and out again at once wants everything it wanted.
pub(super) const UNWANTED_AFTER: Duration = Duration::from_secs(30);

/// What a Node left that was deleted and made anew becomes the new one's: not before every other node that waited for it had
/// its own [`FENCE_SETTLES`], counted from when it saw the mark.
pub(super) const ADOPT_AFTER: Duration = Duration::from_secs(60);

/// What is known about a claim.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    /// Its Node.
    pub(super) node: NodeSight<'a>,
    /// Its binding's owner, where there is one that can be asked.
    pub(super) owner: Option<OwnerFact>,
    /// Its binding's Pod.
    pub(super) pod: PodSight,
    /// For how long its fence mark is seen.
    pub(super) marked: Duration,
    /// How long an address of its pool rests after its use.
    pub(super) rest: Duration,
    /// The time, for what people were told.
    pub(super) wall: Timestamp,
}

/// What an owner says, and for how long it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnerFact {
    /// What.
    pub(super) wish: Wish,
    /// For how long the binding is unwanted.
    pub(super) unwanted: Duration,
}

/// Whether a binding's Pod exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PodSight {
    /// Nobody has looked.
    Unasked,
    /// It does, or one of its name.
    There,
    /// It does not.
    Gone,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Declare the holder dead.
    Fence {
        /// Why.
        reason: String,
    },
    /// Take the controllers' own mark away.
    Unfence,
    /// Say that it is the present Node's of that name, which is alive.
    Adopt {
        /// The Node's UID.
        uid: String,
    },
    /// Say that the binding is to be let go.
    Release {
        /// Why.
        reason: String,
    },
    /// Take the controllers' own mark away.
    Unrelease,
    /// Delete the claim in its dead holder's stead.
    Discard {
        /// Why.
        reason: String,
    },
}

/// What is to be done, if anything.
pub(super) fn decide(claim: &ClaimView, facts: &Facts<'_>) -> Option<Deed> {
    let holder = fence::judge(claim, facts.node);
    if fence::is_over(claim, holder) {
        return Some(Deed::Unfence);
    }
    match (holder, &claim.fenced) {
        (Holder::Dead(cause), None) => {
            let reason = cause.reason(&claim.node);
            Some(Deed::Fence { reason })
        }
        // Whoever set the mark: it has stood, and the node does not come back.
        (Holder::Dead(cause), Some(_)) if cause.is_final() => {
            adopt(claim, cause, facts).or_else(|| discard(claim, cause, facts))
        }
        _ => release(claim, facts),
    }
}

/// A binding that nobody else took belongs to whoever has the node's name now: mostly the same machine, which had lost its Node
/// object, and still has it in its book.
fn adopt(claim: &ClaimView, cause: Cause, facts: &Facts<'_>) -> Option<Deed> {
    let NodeSight::There(node, _) = facts.node else {
        return None;
    };
    let is_due = cause == Cause::Recreated
        && facts.marked >= ADOPT_AFTER
        && claim.fenced.as_ref().is_some_and(super::is_ours)
        && claim.binding.is_some()
        && !claim.is_deleting
        && !fence::is_said(&node.marks.fence);
    is_due.then(|| Deed::Adopt {
        uid: node.uid.clone(),
    })
}

/// A claim whose holder is gone for good: nobody else would ever let it go.
fn discard(claim: &ClaimView, cause: Cause, facts: &Facts<'_>) -> Option<Deed> {
    let finalizers = &claim.finalizers;
    let is_let_go = !finalizers.iter().any(|it| it == names::CLAIM_FINALIZER);
    if facts.marked < FENCE_SETTLES || (claim.is_deleting && is_let_go) {
        return None;
    }
    let gone = cause.reason(&claim.node);
    let why = match &claim.binding {
        None => "it belonged to nobody".to_owned(),
        Some(_) if claim.is_deleting => "it was deleted".to_owned(),
        // Neighbours that still send to the earlier Pod forget it meanwhile.
        Some(_) if facts.marked < facts.rest => return None,
        Some(binding) => garbage(binding, facts)?,
    };
    let reason = format!("{gone}; {why}");
    Some(Deed::Discard { reason })
}

/// Why nobody wants a binding of a node that is gone, if so.
fn garbage(binding: &BindingView, facts: &Facts<'_>) -> Option<String> {
    let has_pod = binding.is_attached && facts.pod == PodSight::There;
    if binding.is_reserved || has_pod {
        return None;
    }
    if let Some(owner) = &facts.owner {
        return unwanted(owner).map(str::to_owned);
    }
    if binding.owner.is_some() {
        return None;
    }
    let identity = &binding.identity;
    if binding.is_attached {
        return match binding.stickiness() {
            Stickiness::None => Some(format!("the Pod of {identity} is gone")),
            Stickiness::For(time) if facts.marked >= time => {
                Some(format!("the Pod of {identity} has been gone for {time:?}"))
            }
            Stickiness::For(_) | Stickiness::Forever => None,
        };
    }
    let until = binding.until.filter(|until| *until <= facts.wall)?;
    Some(format!("it was held for {identity} until {until}"))
}

/// Why the owner wants it no more, if it has not for long enough.
fn unwanted(owner: &OwnerFact) -> Option<&str> {
    match &owner.wish {
        Wish::Unwanted { reason } if owner.unwanted >= UNWANTED_AFTER => Some(reason),
        Wish::Unwanted { .. } | Wish::Wanted => None,
    }
}

/// A binding that is held as long as its owner wants it.
fn release(claim: &ClaimView, facts: &Facts<'_>) -> Option<Deed> {
    let binding = claim.binding.as_deref()?;
    let owner = facts.owner.as_ref()?;
    match &claim.release {
        Some(mark) => {
            let is_over = super::is_ours(mark) && owner.wish == Wish::Wanted;
            is_over.then_some(Deed::Unrelease)
        }
        // One that is held for a time ends by itself; an operator's own is the operator's; one that has a Pod waits for it to end.
        None if binding.is_attached || binding.is_reserved || binding.until.is_some() => None,
        None => {
            let reason = unwanted(owner)?.to_owned();
            Some(Deed::Release { reason })
        }
    }
}

#[cfg(test)]
mod tests;
