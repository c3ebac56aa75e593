//! Whether a Pod's finalizer `protection.berth.dev/endpoints` is to come or to go. Pure.
//!
//! **Always holds:** it comes only where the Pod names it and traffic goes there, never to a Pod that is being deleted (the API
//! refuses that); it goes when no slice sends traffic there any more, or nobody asks for it.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use proto_crd::names;

use crate::endpoints::{Sight, Traffic};
use crate::fleet::{Fleet, LeanPod};
use crate::world::Key;

/// What is to be done about a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    /// Take the finalizer off: a release or a deletion may wait for that.
    Remove(Cause),
    /// Put it on.
    Add,
}

/// Why it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// Nothing sends traffic there: to be asked again before it is believed.
    Quiet,
    /// The Pod does not name it.
    Unasked,
}

/// What a Pod says of its protections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// It names this one.
    Named,
    /// It does not.
    Unnamed,
    /// What it says cannot be read.
    Unreadable,
}

impl Wish {
    fn of(pod: &LeanPod) -> Self {
        let Some(text) = pod.annotations().get(names::PROTECTIONS_ANNOTATION) else {
            return Self::Unnamed;
        };
        let Ok(all) = serde_json::from_str::<Vec<String>>(text) else {
            return Self::Unreadable;
        };
        if all.iter().any(|it| it == names::ENDPOINTS_PROTECTION) {
            Self::Named
        } else {
            Self::Unnamed
        }
    }
}

/// What is to be done about this Pod, by what the slices say of it.
pub(super) fn decide(pod: &LeanPod, traffic: &Traffic<'_>) -> Option<Deed> {
    let is_protected = is_protected(pod);
    let wish = Wish::of(pod);
    // Most Pods of a cluster: no slice need be asked.
    if !is_protected && wish != Wish::Named {
        return None;
    }
    let addresses = pod.addresses();
    let is_served = traffic.sight(pod.backend(&addresses)) == Sight::Served;
    let is_deleting = pod.metadata.deletion_timestamp.is_some();
    match (wish, is_protected) {
        (Wish::Unnamed, true) => Some(Deed::Remove(Cause::Unasked)),
        (Wish::Named | Wish::Unreadable, true) if !is_served => Some(Deed::Remove(Cause::Quiet)),
        (Wish::Named, false) if is_served && !is_deleting => Some(Deed::Add),
        _ => None,
    }
}

/// What is to be done about all Pods, removals first; nothing before both lists are known. `written`: the version at which a Pod was written last; while that is what the
/// view shows, the write is not to be seen in it yet.
pub(super) fn plan(fleet: &Fleet, written: &BTreeMap<Key, String>) -> Vec<(Key, Deed)> {
    if !fleet.is_complete() {
        return Vec::new();
    }
    let slices = fleet.slices().iter();
    let traffic = Traffic::of(slices.map(|(key, slice)| (key, slice.as_ref())));
    let mut deeds = Vec::new();
    for (key, pod) in fleet.pods() {
        let is_under_way = written.get(key).is_some() && written.get(key) == version(pod);
        if let Some(deed) = decide(pod, &traffic).filter(|_| !is_under_way) {
            deeds.push((key.clone(), deed));
        }
    }
    deeds.sort_by_key(|(_, deed)| *deed);
    deeds
}

/// The Services by whose slices the Pod is judged; none, where it is in no slice.
pub(super) fn services(fleet: &Fleet, pod: &LeanPod) -> Vec<String> {
    let addresses = pod.addresses();
    let backend = pod.backend(&addresses);
    let from = (backend.namespace.to_owned(), String::new());
    let here = fleet.slices().range(from..);
    let here = here.take_while(|((namespace, _), _)| namespace == backend.namespace);
    let naming = here.filter(|(_, slice)| slice.names(backend));
    let mut services: Vec<_> = naming.map(|(_, slice)| slice.service.clone()).collect();
    services.sort();
    services.dedup();
    // One that is of no Service can be found in a list of all only.
    services
        .into_iter()
        .collect::<Option<_>>()
        .unwrap_or_default()
}

/// The Pod's finalizers once it is done.
pub(super) fn finalizers(pod: &LeanPod, deed: Deed) -> Vec<String> {
    let others = pod.finalizers().iter();
    let others = others.filter(|it| *it != names::ENDPOINTS_PROTECTION);
    let mut all: Vec<_> = others.cloned().collect();
    if deed == Deed::Add {
        all.push(names::ENDPOINTS_PROTECTION.to_owned());
    }
    all
}

/// The Pod's version.
pub(super) const fn version(pod: &LeanPod) -> Option<&String> {
    pod.metadata.resource_version.as_ref()
}

fn is_protected(pod: &LeanPod) -> bool {
    let all = pod.finalizers();
    all.iter().any(|it| it == names::ENDPOINTS_PROTECTION)
}

#[cfg(test)]
mod tests;
