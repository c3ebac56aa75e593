//! Which Pods the set is to have: who stays, who goes, and which ordinals are missing.
//!
//! Always holds: it depends on nothing but the number that is wanted and the Pods that there are. Who goes first is named in
//! `podsToDelete`, then come the highest ordinals; who is made first has the lowest that is free. A Pod that was let go keeps its name.

use std::collections::BTreeSet;

use super::SetView;
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
    /// The ordinals that are wanted and not there.
    pub(super) missing: Vec<u32>,
    /// Those that nobody owns and the selector is true of.
    pub(super) adoptable: Vec<&'a PodView>,
    /// Ours, of which the selector is not true any more.
    pub(super) strays: Vec<&'a PodView>,
}

/// Sorts the Pods of a set.
pub(super) fn roster<'a>(set: &SetView, pods: &'a [PodView]) -> Roster<'a> {
    let mut roster = Roster::default();
    let mut there = Vec::new();
    for pod in pods.iter().filter(|pod| pod.ordinal.is_some()) {
        match (pod.owner, pod.selected) {
            (Owner::Ours, _) if pod.deleting => roster.deleting.push(pod),
            (Owner::Ours, true) => there.push(pod),
            (Owner::Ours, false) => roster.strays.push(pod),
            (Owner::Nobody, true) if pod.is_living() => roster.adoptable.push(pod),
            _ => {}
        }
    }
    let marked: BTreeSet<&str> = set.spec.pods_to_delete.iter().map(String::as_str).collect();
    let is_marked = |pod: &PodView| marked.contains(pod.name.as_str());
    let wanted = usize::try_from(set.spec.replicas).unwrap_or(usize::MAX);
    // The last to go first.
    there.sort_by_key(|pod| (is_marked(pod), pod.ordinal));
    roster.surplus = there.split_off(there.len().min(wanted));
    roster.surplus.reverse();
    roster.kept = there;
    let taken: BTreeSet<u32> = roster.kept.iter().filter_map(|pod| pod.ordinal).collect();
    let leaving: BTreeSet<u32> = roster
        .surplus
        .iter()
        .filter_map(|pod| pod.ordinal)
        .collect();
    let let_go: BTreeSet<u32> = pods
        .iter()
        .filter(|pod| pod.owner == Owner::Nobody && !pod.selected && pod.is_living())
        .filter_map(|pod| pod.ordinal)
        .collect();
    let is_free = |ordinal: &u32| {
        let name = format!("{}-{ordinal}", set.name);
        let has_pod = [&taken, &leaving, &let_go]
            .iter()
            .any(|ordinals| ordinals.contains(ordinal));
        !has_pod && !marked.contains(name.as_str())
    };
    let missing = wanted.saturating_sub(roster.kept.len());
    roster.missing = (0..u32::MAX).filter(is_free).take(missing).collect();
    roster
}
