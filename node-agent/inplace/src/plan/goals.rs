//! What is wanted of each Pod that stays: whether it is to be at the update revision, and how it gets there.
//!
//! Always holds: as many as are asked for, those first that are under way, then those that are down, then the highest ordinals.
//! A Pod that has the update revision is never taken back from it because fewer are asked for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use proto_crd::in_place_set::UpgradePolicy;
use serde_json::Value;

use super::{PodPatch, SetView};
use crate::operation::{Kind, State};
use crate::pod::{Goal, PodView};
use crate::template::{Change, Rules, change};

/// The release that Pods go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The release's id.
    pub(super) release: String,
    /// The update revision, by its hash.
    pub(super) revision: String,
}

/// How a Pod of one revision gets to the update revision.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Way {
    /// In place.
    InPlace {
        patch: PodPatch,
        restart: Vec<String>,
    },
    /// By being made anew: why.
    ReCreate(String),
    /// Not at all: why.
    Refused(String),
}

/// The ways to one revision, worked out once for each that Pods have.
#[derive(Debug)]
pub(super) struct Ways<'a> {
    from: BTreeMap<String, Way>,
    /// The same on nodes whose kubelet does not replace sidecars.
    where_sidecars_stay: BTreeMap<String, Way>,
    /// These nodes.
    sidecars_stay: &'a BTreeSet<String>,
    unknown: Way,
    without_gate: Way,
}

impl<'a> Ways<'a> {
    pub(super) fn new(
        set: &SetView,
        to: &str,
        pods: &[&PodView],
        sidecars_stay: &'a BTreeSet<String>,
    ) -> Self {
        let of = |hash: &str| {
            let known = set.revisions.iter().find(|revision| revision.hash == hash);
            known.map(|revision| &revision.template)
        };
        let policy = set.spec.upgrade_policy;
        let not_in_place = |why: &str| {
            if policy == UpgradePolicy::InPlaceOnly {
                Way::Refused(why.to_owned())
            } else {
                Way::ReCreate(why.to_owned())
            }
        };
        let ways = |pods: &mut dyn Iterator<Item = &&PodView>, sidecars| {
            let hashes: BTreeSet<&str> = pods.filter_map(|pod| pod.revision.as_deref()).collect();
            let rules = Rules { policy, sidecars };
            let ways = hashes
                .into_iter()
                .filter_map(|hash| Some((hash.to_owned(), way(of(hash)?, of(to)?, to, rules))));
            ways.collect()
        };
        let stay = |pod: &&&PodView| has_old_kubelet(pod, sidecars_stay);
        Self {
            from: ways(&mut pods.iter(), true),
            where_sidecars_stay: ways(&mut pods.iter().filter(stay), false),
            sidecars_stay,
            unknown: not_in_place("the Pod's revision is not in the set's history"),
            without_gate: not_in_place(
                "the Pod lacks the readiness gate berth.dev/ServiceReady, which cannot be added, so that its traffic cannot be led away",
            ),
        }
    }

    /// How this Pod gets there.
    pub(super) fn of(&self, pod: &PodView, lossless: bool) -> &Way {
        let from = if has_old_kubelet(pod, self.sidecars_stay) {
            &self.where_sidecars_stay
        } else {
            &self.from
        };
        let known = pod.revision.as_ref().and_then(|hash| from.get(hash));
        match known.unwrap_or(&self.unknown) {
            Way::InPlace { patch, restart }
                if lossless && !pod.gate.declared && is_disruptive(patch, restart) =>
            {
                &self.without_gate
            }
            way => way,
        }
    }
}

fn is_disruptive(patch: &PodPatch, restart: &[String]) -> bool {
    !(patch.images.is_empty() && patch.init_images.is_empty() && restart.is_empty())
}

fn has_old_kubelet(pod: &PodView, sidecars_stay: &BTreeSet<String>) -> bool {
    let node = pod.node.as_ref();
    node.is_some_and(|node| sidecars_stay.contains(node))
}

fn way(from: &Value, to: &Value, hash: &str, rules: Rules) -> Way {
    match change(from, to, rules) {
        Change::None => Way::InPlace {
            patch: PodPatch {
                revision: hash.to_owned(),
                ..PodPatch::default()
            },
            restart: Vec::new(),
        },
        Change::InPlace(in_place) => Way::InPlace {
            patch: in_place.patch(hash),
            restart: in_place.restart,
        },
        Change::ReCreate { why } => Way::ReCreate(why),
        Change::Refused { why } => Way::Refused(why),
    }
}

impl Way {
    /// What is wanted of a Pod that is to go this way.
    pub(super) fn goal<'a>(&'a self, target: &'a Target) -> Goal<'a> {
        match self {
            Self::InPlace { patch, restart } => Goal::Upgrade {
                release: &target.release,
                patch,
                restart,
            },
            Self::ReCreate(_) => Goal::Leave {
                kind: Kind::Recreate,
                release: &target.release,
            },
            Self::Refused(_) => Goal::Stay,
        }
    }
}

/// Whether a Pod has the update revision, or gets it for sure.
pub(super) fn is_updated(pod: &PodView, target: &str) -> bool {
    pod.revision.as_deref() == Some(target)
}

/// Who comes first: the smaller, the sooner.
pub(super) fn rank(pod: &PodView, target: &str) -> (u8, Reverse<Option<u32>>) {
    let order = match pod.operation() {
        Some(operation) if operation.state >= State::Upgrading => 0,
        Some(operation) if operation.to_revision == target || operation.op == Kind::Recreate => 1,
        Some(_) => 2,
        None if !pod.is_serving() => 3,
        None => 4,
    };
    (order, Reverse(pod.ordinal))
}

/// The Pods, by UID, that are to get the update revision: so many that `lacking` more have it in the end.
pub(super) fn chosen<'a>(kept: &[&'a PodView], target: &str, lacking: usize) -> BTreeSet<&'a str> {
    let mut others: Vec<&PodView> = kept
        .iter()
        .copied()
        .filter(|pod| !is_updated(pod, target))
        .collect();
    others.sort_by_cached_key(|pod| rank(pod, target));
    others
        .into_iter()
        .take(lacking)
        .map(|pod| pod.uid.as_str())
        .collect()
}
