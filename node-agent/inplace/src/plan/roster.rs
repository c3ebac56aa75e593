//! Which Pods the set is to have: who stays, who goes, and which ordinals are missing.
//!
//! Always holds: it depends on nothing but the number that is wanted and the Pods that there are. Who goes first is named in
//! `podsToDelete`, then comes who is there twice, then come the highest ordinals; who is made first has the lowest that is free. A
//! Pod that was let go, or soft-evicted, keeps its name; a soft-evicted one does not count and is left alone, whatever else is done.

use std::collections::{BTreeMap, BTreeSet};

use super::SetView;
use crate::operation::Kind;
use crate::pod::{Owner, PodView};

/// The Pods of a set, sorted.
#[derive(Debug, Default)]
pub(super) struct Roster<'a> {
    /// Those that stay.
    pub(super) kept: Vec<&'a PodView>,
    /// Those that go because there are too many, the first to go first.
    pub(super) surplus: Vec<&'a PodView>,
    /// Those that are being deleted.
    pub(super) deleting: Vec<&'a PodView>,
    /// Those that do not count any more, being deleted or not.
    pub(super) soft_evicted: Vec<&'a PodView>,
    /// Those of them that no Pod was made for.
    unreplaced: Vec<&'a PodView>,
    /// The ordinals that are wanted and not there.
    pub(super) missing: Vec<u32>,
    /// Those that nobody owns and the selector is true of.
    pub(super) adoptable: Vec<&'a PodView>,
    /// Ours, of which the selector is not true any more.
    pub(super) strays: Vec<&'a PodView>,
}

impl<'a> Roster<'a> {
    /// The Pod that was made for a soft-evicted one.
    pub(super) fn replacement(&self, of: &PodView) -> Option<&'a PodView> {
        let mut counted = self.kept.iter().chain(&self.surplus).copied();
        counted.find(|pod| pod.replaces.as_ref() == Some(&of.uid))
    }

    /// The soft-evicted Pod for which the Pod of this place among the missing ordinals is made: the last ones, as replacements get
    /// ordinals that were never used.
    pub(super) fn replaced_by(&self, place: usize) -> Option<&'a PodView> {
        let from_end = self.missing.len().checked_sub(place + 1)?;
        self.unreplaced.get(from_end).copied()
    }
}

/// Sorts the Pods of a set.
pub(super) fn roster<'a>(set: &SetView, pods: &'a [PodView]) -> Roster<'a> {
    let mut roster = Roster::default();
    let mut there = Vec::new();
    for pod in pods.iter().filter(|pod| pod.ordinal.is_some()) {
        match (pod.owner, pod.selected) {
            // Its place is another's, which does not wait until the node is back that is to end it.
            (Owner::Ours, true) if pod.soft_evicted.is_some() => roster.soft_evicted.push(pod),
            (Owner::Ours, _) if pod.deleting => roster.deleting.push(pod),
            (Owner::Ours, true) => there.push(pod),
            (Owner::Ours, false) => roster.strays.push(pod),
            (Owner::Nobody, true) if pod.is_living() => roster.adoptable.push(pod),
            _ => {}
        }
    }
    roster.soft_evicted.sort_by_key(|pod| pod.ordinal);
    let replaced: BTreeSet<&str> = there
        .iter()
        .filter_map(|pod| pod.replaces.as_deref())
        .collect();
    let unreplaced = roster.soft_evicted.iter().copied();
    let unreplaced = unreplaced.filter(|pod| !replaced.contains(pod.uid.as_str()));
    roster.unreplaced = unreplaced.collect();
    let marked: BTreeSet<&str> = set.spec.pods_to_delete.iter().map(String::as_str).collect();
    let is_named = |pod: &PodView| marked.contains(pod.name.as_str());
    let given_up = roster.soft_evicted.iter().filter(|pod| is_named(pod));
    let given_up: BTreeSet<&str> = given_up.map(|pod| pod.uid.as_str()).collect();
    // Who is to go has another in its place.
    let is_marked = |pod: &PodView| {
        let original = pod.replaces.as_deref();
        is_named(pod) || original.is_some_and(|uid| given_up.contains(uid))
    };
    let twice = twice(&there, &roster.soft_evicted);
    let wanted = usize::try_from(set.spec.replicas).unwrap_or(usize::MAX);
    // The last to go first.
    there.sort_by_key(|pod| {
        let is_twice = twice.contains(pod.uid.as_str());
        (is_marked(pod), is_twice, pod.ordinal)
    });
    roster.surplus = there.split_off(there.len().min(wanted));
    roster.surplus.reverse();
    roster.kept = there;
    let let_go = pods
        .iter()
        .filter(|pod| pod.owner == Owner::Nobody && !pod.selected && pod.is_living());
    let taken: BTreeSet<u32> = (roster.kept.iter().chain(&roster.surplus).copied())
        .chain(roster.soft_evicted.iter().copied())
        .chain(let_go)
        .filter_map(|pod| pod.ordinal)
        .collect();
    let is_free = |ordinal: &u32| {
        let name = format!("{}-{ordinal}", set.name);
        !taken.contains(ordinal) && !marked.contains(name.as_str())
    };
    let missing = wanted.saturating_sub(roster.kept.len());
    roster.missing = (0..u32::MAX).filter(is_free).take(missing).collect();
    roster
}

/// Of each Pod that counts again and the one that was made for it, the one that goes first, by UID.
fn twice<'a>(there: &[&'a PodView], soft_evicted: &[&'a PodView]) -> BTreeSet<&'a str> {
    let replacements = || there.iter().filter(|pod| pod.replaces.is_some());
    if replacements().next().is_none() {
        return BTreeSet::new();
    }
    let by_uid = |pods: &[&'a PodView]| -> BTreeMap<&'a str, &'a PodView> {
        pods.iter().map(|pod| (pod.uid.as_str(), *pod)).collect()
    };
    let (there, soft_evicted) = (by_uid(there), by_uid(soft_evicted));
    let pairs = replacements().filter_map(|replacement| {
        let original = original(replacement, &there, &soft_evicted)?;
        Some(goes_first(original, replacement).uid.as_str())
    });
    pairs.collect()
}

/// The Pod that counts and that another was made for: perhaps for one that was made for it, and was soft-evicted too.
fn original<'a>(
    replacement: &PodView,
    there: &BTreeMap<&'a str, &'a PodView>,
    soft_evicted: &BTreeMap<&'a str, &'a PodView>,
) -> Option<&'a PodView> {
    let mut uid = replacement.replaces.as_deref()?;
    // Each names one that was there before it: no circle, but anybody can have written an annotation.
    for _ in 0..=soft_evicted.len() {
        if let Some(original) = there.get(uid) {
            return (original.uid != replacement.uid).then_some(original);
        }
        uid = soft_evicted.get(uid)?.replaces.as_deref()?;
    }
    None
}

/// Never one that serves for one that does not; of two that are alike the younger.
fn goes_first<'a>(original: &'a PodView, replacement: &'a PodView) -> &'a PodView {
    let is_leaving = |pod: &PodView| {
        let operation = pod.operation();
        operation.is_some_and(|operation| operation.op == Kind::Remove)
    };
    let stays = |pod: &PodView| (!is_leaving(pod), pod.is_serving());
    if stays(replacement) > stays(original) {
        original
    } else {
        replacement
    }
}
