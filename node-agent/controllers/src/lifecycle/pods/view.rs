//! Pods and their owners as the core takes them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;
use kube::core::ObjectMeta;
use node_agent_lifecycle::decision::DecisionId;
use node_agent_lifecycle::observation::{
    AppName, AppObservation, Observations, Owner, PodObservation, Replacement, ReplacementState,
    Version,
};
use proto_crd::names;
use proto_ids::{NodeName, PodKey, PodUid, RackName};

use super::super::owner::{address_policy, owner, owner_name};
use super::super::replacement::{self, StandIn};
use super::super::soft::is_soft_evicted;
use super::{Book, OwnerView, Told};
use crate::fleet::{Fleet, LeanPod};
use crate::world::Key;

/// What owns Pods that something can be done about.
#[expect(clippy::enum_variant_names, reason = "the names of Kubernetes' kinds")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OwnerKind {
    InPlaceSet,
    ReplicaSet,
    StatefulSet,
}

/// An owner of Pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OwnerKey {
    pub(super) kind: OwnerKind,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl OwnerKey {
    /// Of this Pod.
    pub(super) fn of(pod: &ObjectMeta) -> Option<Self> {
        let kind = match owner(pod) {
            Owner::InPlaceSet => OwnerKind::InPlaceSet,
            Owner::ReplicaSet => OwnerKind::ReplicaSet,
            Owner::StatefulSet => OwnerKind::StatefulSet,
            Owner::DaemonSet | Owner::Other => return None,
        };
        Some(Self {
            kind,
            namespace: pod.namespace.clone()?,
            name: owner_name(pod)?.to_owned(),
        })
    }

    fn app(&self) -> AppName {
        AppName::new(&format!("{}/{}", self.namespace, self.name))
    }
}

/// What is decided by, of what was read, and of the Pods of sets, which are watched. `lost`: the nodes that were given up.
pub(in super::super) fn observe(
    book: &Book,
    fleet: &Fleet,
    seen: &Observations,
    lost: &BTreeSet<NodeName>,
) -> Told {
    let mut told = Told::default();
    let owners = |key: &OwnerKey| book.owners.get(key).map(|read| &read.value);
    let of_replica_sets = replaced_of_replica_sets(book, lost);
    for (node, read) in &book.nodes {
        let mut pods = Vec::new();
        for pod in read.value.iter().filter(|pod| is_there(pod)) {
            let Some((observed, made)) = view(pod, fleet, &of_replica_sets, lost) else {
                continue;
            };
            if let (Some(app), Some(state)) = (&observed.app, observed.replacement)
                && state != ReplacementState::Ready
            {
                let failed = || failing_node(pod, owners);
                let at = made.or_else(failed).and_then(|name| name.parse().ok());
                told.replacements.push(Replacement {
                    original: observed.uid.clone(),
                    app: Some(app.clone()),
                    rack: at.and_then(|name: NodeName| rack_of(seen, &name)),
                    state,
                });
            }
            pods.push(observed);
        }
        told.pods.insert(node.clone(), pods);
    }
    for (key, read) in &book.owners {
        let ready = match key.kind {
            OwnerKind::InPlaceSet => ready_of_set(fleet, key, lost),
            OwnerKind::ReplicaSet | OwnerKind::StatefulSet => read.value.ready,
        };
        let wanted = read.value.wanted;
        let observed = AppObservation {
            replicas: wanted,
            ready,
            // Its disruption budget is asked by the Eviction API; where it has none, one at a time.
            min_ready: wanted.saturating_sub(1),
        };
        told.apps.insert(key.app(), observed);
    }
    told
}

/// Not one that has ended, nor kubelet's own image of a file.
fn is_there(pod: &LeanPod) -> bool {
    let phase = pod.status.phase.as_deref();
    let is_over = matches!(phase, Some("Succeeded" | "Failed"));
    let mut owners = pod.metadata.owner_references.iter().flatten();
    let is_static = owners.any(|owner| owner.kind == "Node");
    !is_over && !is_static
}

/// The Pod, and the node of its replacement, where that is known.
fn view<'a>(
    pod: &LeanPod,
    fleet: &'a Fleet,
    of_replica_sets: &BTreeMap<&str, Option<ReplacementState>>,
    lost: &BTreeSet<NodeName>,
) -> Option<(PodObservation, Option<&'a str>)> {
    let metadata = &pod.metadata;
    let uid = metadata.uid.as_deref()?;
    let is_evicted = is_soft_evicted(metadata);
    let key = OwnerKey::of(metadata);
    let made_for_it = || {
        let set: Option<Key> = key
            .as_ref()
            .map(|key| (key.namespace.clone(), key.name.clone()));
        let pods = set
            .into_iter()
            .flat_map(|set| fleet.pods_of(&set).collect::<Vec<_>>());
        pods.filter(|pod| {
            pod.annotations()
                .get(names::REPLACES_ANNOTATION)
                .map(String::as_str)
                == Some(uid)
        })
    };
    let (replacement, at) = match (is_evicted, key.as_ref().map(|key| key.kind)) {
        (true, Some(OwnerKind::InPlaceSet)) => {
            let state = replacement::of_in_place_set(made_for_it().map(|pod| stand_in(pod, lost)));
            let at = made_for_it().find_map(|pod| pod.spec.node_name.as_deref());
            (state, at)
        }
        (true, Some(OwnerKind::ReplicaSet)) => (of_replica_sets.get(uid).copied().flatten(), None),
        _ => (None, None),
    };
    let observed = PodObservation {
        pod: PodKey::new(metadata.namespace.as_deref()?, metadata.name.as_deref()?).ok()?,
        uid: uid.parse::<PodUid>().ok()?,
        version: Version::new(metadata.resource_version.as_deref()?),
        app: key.as_ref().map(OwnerKey::app),
        owner: owner(metadata),
        address: address_policy(metadata),
        created_seconds: metadata
            .creation_timestamp
            .as_ref()
            .map_or(0, |time| time.0.as_second()),
        ready: is_ready(pod),
        terminating: metadata.deletion_timestamp.is_some(),
        soft_evicted: is_evicted,
        replacement,
    };
    Some((observed, at))
}

/// How far the replacements of soft-evicted Pods of `ReplicaSet`s are, by UID.
fn replaced_of_replica_sets<'a>(
    book: &'a Book,
    lost: &BTreeSet<NodeName>,
) -> BTreeMap<&'a str, Option<ReplacementState>> {
    let mut evicted: BTreeMap<OwnerKey, Vec<(DecisionId, &str)>> = BTreeMap::new();
    for pod in book.nodes.values().flat_map(|read| &read.value) {
        let (Some(key), Some(uid)) = (OwnerKey::of(&pod.metadata), pod.metadata.uid.as_deref())
        else {
            continue;
        };
        let is_counted = pod.metadata.deletion_timestamp.is_none() && is_there(pod);
        if key.kind == OwnerKind::ReplicaSet && is_counted && is_soft_evicted(&pod.metadata) {
            evicted.entry(key).or_default().push((decision(pod), uid));
        }
    }
    let mut states = BTreeMap::new();
    for (key, mut pods) in evicted {
        let Some(owner) = book.owners.get(&key).map(|read| &read.value) else {
            continue;
        };
        pods.sort_unstable();
        let counted: Vec<StandIn> = owner
            .counted
            .iter()
            .map(|pod| stand_in(pod, lost))
            .collect();
        let of = replacement::of_replica_set(owner.wanted, &counted, pods.len());
        states.extend(pods.into_iter().map(|(_, uid)| uid).zip(of));
    }
    states
}

/// The decision by which it was soft-evicted; what cannot be read comes last.
fn decision(pod: &LeanPod) -> DecisionId {
    let last = DecisionId {
        term: u64::MAX,
        sequence: u64::MAX,
    };
    let mark = pod.annotations().get(names::SOFT_EVICTED_ANNOTATION);
    let parts = mark.and_then(|mark| mark.split_once('-'));
    parts
        .and_then(|(term, sequence)| {
            Some(DecisionId {
                term: term.parse().ok()?,
                sequence: sequence.parse().ok()?,
            })
        })
        .unwrap_or(last)
}

fn failing_node<'a>(
    pod: &LeanPod,
    owners: impl Fn(&OwnerKey) -> Option<&'a OwnerView>,
) -> Option<&'a str> {
    let owner = owners(&OwnerKey::of(&pod.metadata)?)?;
    let mut failing = owner.counted.iter().filter(|pod| is_failing(pod));
    failing.find_map(|pod| pod.spec.node_name.as_deref())
}

fn rack_of(seen: &Observations, node: &NodeName) -> Option<RackName> {
    seen.nodes.get(node).map(|node| node.rack.clone())
}

fn ready_of_set(fleet: &Fleet, key: &OwnerKey, lost: &BTreeSet<NodeName>) -> u32 {
    let set = (key.namespace.clone(), key.name.clone());
    let ready = fleet.pods_of(&set).filter(|pod| {
        let stand_in = stand_in(pod, lost);
        stand_in.is_ready
            && !stand_in.is_over
            && !stand_in.is_lost
            && !is_soft_evicted(&pod.metadata)
    });
    u32::try_from(ready.count()).unwrap_or(u32::MAX)
}

fn stand_in(pod: &LeanPod, lost: &BTreeSet<NodeName>) -> StandIn {
    let node = pod.spec.node_name.as_deref();
    StandIn {
        is_ready: is_ready(pod),
        is_over: pod.metadata.deletion_timestamp.is_some() || !is_there(pod),
        is_failing: is_failing(pod),
        is_lost: node.is_some_and(|node| lost.iter().any(|lost| lost.as_str() == node)),
    }
}

fn is_ready(pod: &LeanPod) -> bool {
    pod.condition("Ready").is_some_and(|it| it.status == "True")
}

fn is_failing(pod: &LeanPod) -> bool {
    let statuses = [
        &pod.status.container_statuses,
        &pod.status.init_container_statuses,
    ];
    let mut waiting = statuses
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    waiting.any(replacement::is_failing)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;
    use crate::lifecycle::pods::Read;
    use crate::lifecycle::scene::nothing;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is written at the call is used once"
    )]
    fn pod(name: &str, node: &str, kind: &str, more: Value) -> LeanPod {
        let (group, owner) = match kind {
            "InPlaceSet" => ("berth.dev/v1alpha1", "shop"),
            _ => ("apps/v1", "web-5d8f"),
        };
        let mut pod = json!({
            "metadata": {
                "name": name, "namespace": "prod", "uid": format!("u-{name}"), "resourceVersion": "7",
                "generateName": "web-5d8f-", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"pod-template-hash": "5d8f"}, "annotations": {},
                "ownerReferences": [{"apiVersion": group, "kind": kind, "name": owner, "uid": "o", "controller": true}],
            },
            "spec": {"nodeName": node},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        for (key, value) in more.as_object().unwrap() {
            pod["metadata"]["annotations"][key] = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    fn book(pods: &[(&str, Vec<LeanPod>)]) -> Book {
        let mut book = Book::default();
        for (node, pods) in pods {
            let read = Read {
                at: Instant::now(),
                value: pods.clone(),
            };
            book.nodes.insert(node.parse().unwrap(), read);
        }
        book
    }

    fn owned(book: &mut Book, kind: OwnerKind, name: &str, view: OwnerView) {
        let key = OwnerKey {
            kind,
            namespace: "prod".to_owned(),
            name: name.to_owned(),
        };
        let read = Read {
            at: Instant::now(),
            value: view,
        };
        book.owners.insert(key, read);
    }

    #[test]
    fn pods_are_told_with_their_owner_and_without_those_that_have_ended_or_are_kubelets_own() {
        let mut ended = pod("done", "n1", "ReplicaSet", json!({}));
        ended.status.phase = Some("Succeeded".to_owned());
        let mut file = pod("etcd-n1", "n1", "ReplicaSet", json!({}));
        file.metadata.owner_references.as_mut().unwrap()[0].kind = "Node".to_owned();
        let mut book = book(&[(
            "n1",
            vec![pod("web-1", "n1", "ReplicaSet", json!({})), ended, file],
        )]);
        let view = OwnerView {
            wanted: 3,
            ready: 2,
            counted: Vec::new(),
        };
        owned(&mut book, OwnerKind::ReplicaSet, "web-5d8f", view);
        let told = observe(&book, &Fleet::default(), &nothing(), &BTreeSet::new());
        let pods = told.pods.values().next().unwrap();
        assert_eq!(pods.len(), 1);
        assert_eq!(pods[0].owner, Owner::ReplicaSet);
        let app = AppName::new("prod/web-5d8f");
        assert_eq!(pods[0].app.as_ref(), Some(&app));
        assert_eq!((told.apps[&app].replicas, told.apps[&app].ready), (3, 2));
        assert!(pods[0].ready && !pods[0].soft_evicted && told.replacements.is_empty());
    }

    #[test]
    fn a_set_says_which_pod_replaces_which_and_one_that_is_not_ready_is_under_way() {
        let evicted = pod(
            "shop-0",
            "n1",
            "InPlaceSet",
            json!({"berth.dev/soft-evicted": "3-4"}),
        );
        let mut made = pod(
            "shop-7",
            "n2",
            "InPlaceSet",
            json!({"berth.dev/replaces": "u-shop-0"}),
        );
        made.status.conditions = None;
        let mut fleet = Fleet::default();
        let listed = |pod: &LeanPod| Event::InitApply((pod.key(), Arc::new(pod.clone())));
        fleet.take_pod(Event::Init);
        fleet.take_pod(listed(&evicted));
        fleet.take_pod(listed(&made));
        fleet.take_pod(Event::InitDone);
        let mut book = book(&[("n1", vec![evicted])]);
        owned(
            &mut book,
            OwnerKind::InPlaceSet,
            "shop",
            OwnerView::default(),
        );
        let told = observe(&book, &fleet, &nothing(), &BTreeSet::new());
        let pods = told.pods.values().next().unwrap();
        assert!(pods[0].soft_evicted);
        assert_eq!(pods[0].replacement, Some(ReplacementState::Starting));
        assert_eq!(told.replacements.len(), 1);
        assert_eq!(told.replacements[0].original.as_str(), "u-shop-0");
    }

    #[test]
    fn of_a_replica_set_those_that_were_evicted_first_are_replaced_first() {
        let evicted = |name, decision| {
            let marks =
                json!({"berth.dev/soft-evicted": decision, "berth.dev/released-labels": "{}"});
            pod(name, "n1", "ReplicaSet", marks)
        };
        let mut book = book(&[(
            "n1",
            vec![evicted("web-a", "3-12"), evicted("web-b", "3-4")],
        )]);
        let view = OwnerView {
            wanted: 2,
            ready: 1,
            counted: vec![pod("web-c", "n2", "ReplicaSet", json!({}))],
        };
        owned(&mut book, OwnerKind::ReplicaSet, "web-5d8f", view);
        let told = observe(&book, &Fleet::default(), &nothing(), &BTreeSet::new());
        let states = told.pods.values().next().unwrap();
        let of = |name: &str| {
            let pod = states.iter().find(|pod| pod.pod.name() == name);
            pod.unwrap().replacement
        };
        assert_eq!(of("web-b"), Some(ReplacementState::Ready));
        assert_ne!(of("web-a"), Some(ReplacementState::Ready));
    }
}
