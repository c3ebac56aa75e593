//! Whether the owner of a binding still wants it. Pure.
//!
//! **Always holds:** an owner that the controllers do not know wants everything that is its own.

use proto_crd::claim::Owner;
use proto_crd::names;

use crate::lean::SetView;
use crate::world::{Key, World};

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

/// A kind of owner that can be asked: its Pods have ordinals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OwnerKind {
    /// Kubernetes' own.
    StatefulSet,
    /// Berth's.
    InPlaceSet,
}

/// An owner that can be asked.
pub(super) type Asked = (OwnerKind, Key);

/// What is known of an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nobody has told yet.
    Unknown,
    /// What it wants; nothing: it is not there.
    Known(Option<SetView>),
}

impl OwnerKind {
    const fn name(self) -> &'static str {
        match self {
            Self::StatefulSet => "StatefulSet",
            Self::InPlaceSet => "InPlaceSet",
        }
    }
}

/// Whether the owner is one that can be asked, of a Pod with an ordinal.
pub(super) fn ordinal(owner: &Owner) -> Option<(OwnerKind, i64)> {
    let group = owner.api_version.split_once('/').map(|(group, _)| group);
    let kind = match (group, owner.kind.as_str()) {
        (Some("apps"), "StatefulSet") => OwnerKind::StatefulSet,
        (Some(names::GROUP), "InPlaceSet") => OwnerKind::InPlaceSet,
        _ => return None,
    };
    Some((kind, owner.ordinal?))
}

/// What the watches show of an owner.
pub(super) fn sight(world: &World, (kind, key): &Asked) -> Sight {
    match kind {
        OwnerKind::StatefulSet => Sight::Known(world.sets.items().get(key).cloned()),
        // Claims do not wait for this list: where the kind is not served yet, it never comes.
        OwnerKind::InPlaceSet if !world.in_place_sets.is_complete() => Sight::Unknown,
        OwnerKind::InPlaceSet => Sight::Known(world.in_place_sets.items().get(key).cloned()),
    }
}

/// What the owner of this name says, whatever its UID: one that was made anew takes over.
pub(super) fn wish((kind, (namespace, name)): &Asked, ordinal: i64, set: Sight) -> Wish {
    let Sight::Known(set) = set else {
        return Wish::Wanted;
    };
    let owner = format!("{} {namespace}/{name}", kind.name());
    let reason = match set {
        None => format!("{owner} was deleted"),
        Some(set) if set.wants(ordinal) => return Wish::Wanted,
        Some(set) => {
            let SetView {
                start,
                replicas,
                without,
            } = set;
            let from = if start == 0 {
                String::new()
            } else {
                format!(", from ordinal {start}")
            };
            let chosen = if without.contains(&ordinal) {
                format!(", without ordinal {ordinal}")
            } else {
                String::new()
            };
            format!("{owner} was scaled to {replicas}{from}{chosen}")
        }
    };
    Wish::Unwanted { reason }
}
