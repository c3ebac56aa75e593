//! Whether the owner of a binding still wants it. Pure.
//!
//! **Always holds:** an owner that the controllers do not know wants everything that is its own.

use proto_crd::claim::Owner;

use crate::lean::SetView;
use crate::world::Key;

/// What an owner says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// It wants the binding, or cannot be asked.
    Wanted,
    /// It does not.
    Unwanted {
        /// In words.
        reason: String,
    },
}

/// Whether the owner is one that can be asked: a `StatefulSet`, of a Pod with an ordinal.
pub(super) fn ordinal(owner: &Owner) -> Option<i64> {
    let is_set = owner.kind == "StatefulSet" && owner.api_version.starts_with("apps/");
    owner.ordinal.filter(|_| is_set)
}

/// What the `StatefulSet` of this name says, whatever its UID: one that was made anew takes over.
pub(super) fn wish((namespace, name): &Key, ordinal: i64, set: Option<SetView>) -> Wish {
    let reason = match set {
        None => format!("StatefulSet {namespace}/{name} was deleted"),
        Some(set) if set.wants(ordinal) => return Wish::Wanted,
        Some(SetView { start: 0, replicas }) => {
            format!("StatefulSet {namespace}/{name} was scaled to {replicas}")
        }
        Some(SetView { start, replicas }) => {
            format!("StatefulSet {namespace}/{name} was scaled to {replicas}, from ordinal {start}")
        }
    };
    Wish::Unwanted { reason }
}
