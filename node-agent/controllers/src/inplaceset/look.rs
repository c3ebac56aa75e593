//! Everything that is looked at for one set, gathered at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff;
use kube::ResourceExt as _;
use node_agent_inplace::plan::{NodePulls, RackWish, SetView, Surroundings};
use node_agent_inplace::pod::{PodView, Underway};
use proto_crd::in_place_set::InPlaceSet;
use proto_crd::time::Timestamp;

use super::stock::Stock;
use super::{Work, lock, racks, view};
use crate::fleet::LeanPod;
use crate::world::Key;

/// The time.
pub(super) fn now() -> Timestamp {
    view::time(jiff::Timestamp::now())
}

/// What is looked at for one set.
pub(super) struct Look {
    /// The set as it is kept.
    pub(super) object: Arc<InPlaceSet>,
    /// The set as it is planned with.
    pub(super) set: SetView,
    /// Its Pods as they are kept, by name.
    pub(super) kept: BTreeMap<String, Arc<LeanPod>>,
    /// Its Pods as they are planned with.
    pub(super) pods: Vec<PodView>,
    /// What else there is; without what nodes are asked.
    pub(super) surroundings: Surroundings,
    /// The nodes of which it matters now whether they are well.
    pub(super) nodes_to_ask: BTreeSet<String>,
}

/// What is remembered between looks. A leader that begins anew does without.
#[derive(Debug, Default)]
pub(super) struct Memory {
    sets: BTreeMap<Key, Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    uid: String,
    /// Where the Pod of an ordinal was seen last.
    nodes: BTreeMap<u32, String>,
    /// Why the last Pod that was made was not taken.
    refused: Option<String>,
    /// By UID: since when no traffic is led to Pods that are held unready, in every look.
    detached: BTreeMap<String, Instant>,
}

impl Memory {
    /// Whether anything is remembered of a set.
    pub(super) fn knows(&self, set: &Key) -> bool {
        self.sets.contains_key(set)
    }

    /// The set is gone.
    pub(super) fn forget(&mut self, set: &Key) {
        self.sets.remove(set);
    }

    /// A Pod was made, or was not: why.
    pub(super) fn refused(&mut self, set: &Key, why: Option<String>) {
        if let Some(remembered) = self.sets.get_mut(set) {
            remembered.refused = why;
        }
    }

    /// What a look found of traffic. Of every other Pod it is forgotten.
    pub(super) fn detached(&mut self, set: &Key, pods: &BTreeSet<String>, now: Instant) {
        if let Some(remembered) = self.sets.get_mut(set) {
            let before = std::mem::take(&mut remembered.detached);
            let since = |uid: &String| before.get(uid).copied().unwrap_or(now);
            let pods = pods.iter().map(|uid| (uid.clone(), since(uid)));
            remembered.detached = pods.collect();
        }
    }

    /// What is remembered of this very set, after its Pods were seen.
    fn seen(&mut self, key: &Key, set: &SetView, pods: &[PodView]) -> &Remembered {
        let remembered = self.sets.entry(key.clone()).or_default();
        if remembered.uid != set.uid {
            *remembered = Remembered {
                uid: set.uid.clone(),
                ..Remembered::default()
            };
        }
        for pod in pods {
            if let (Some(ordinal), Some(node)) = (pod.ordinal, &pod.node) {
                remembered.nodes.insert(ordinal, node.clone());
            }
        }
        // What is scaled away and comes back later may be anywhere.
        let replicas = set.spec.replicas;
        let present: BTreeSet<u32> = pods.iter().filter_map(|pod| pod.ordinal).collect();
        remembered
            .nodes
            .retain(|ordinal, _| *ordinal < replicas || present.contains(ordinal));
        remembered
    }
}

impl Work {
    /// Gathers it; nothing: there is no such set.
    pub(super) fn look(&self, key: &Key) -> Option<Look> {
        let (kept, endpoints) = {
            let fleet = self.fleet.lock();
            let kept: BTreeMap<_, _> = fleet
                .pods_of(key)
                .map(|pod| (pod.name_any(), Arc::clone(pod)))
                .collect();
            let endpoints = kept.values().map(|pod| {
                let endpoint = view::endpoint(fleet.sight(pod));
                (pod.uid().unwrap_or_default(), endpoint)
            });
            let endpoints = endpoints.collect();
            (kept, endpoints)
        };
        let stock = self.stock.lock();
        let object = Arc::clone(stock.sets().get(key)?);
        let mut set = view::set_view(&object, stock.revisions_of(&object).map(|it| &**it));
        let orphans = stock.orphans_of(&object);
        set.orphans = orphans.map(|it| view::revision_view(it)).collect();
        let restarts = view::restart_views(stock.restarts_of(&object).map(|it| &**it));
        let pods: Vec<_> = kept
            .values()
            .map(|pod| view::pod_view(pod, &object))
            .collect();
        let mut memory = lock(&self.memory);
        let remembered = memory.seen(key, &set, &pods);
        let surroundings = Surroundings {
            term: self.reign.term().number(),
            nodes_well: BTreeSet::new(),
            sidecars_stay: BTreeSet::new(),
            detached: passed(&remembered.detached, Instant::now()),
            endpoints,
            pulls: pulls(&stock, &self.namespace, &set.uid),
            restarts,
            last_nodes: remembered.nodes.clone(),
            refused: remembered.refused.clone(),
            racks: self.racks(&object, &pods),
        };
        let nodes_to_ask = nodes_to_ask(&set, &pods);
        Some(Look {
            object,
            set,
            kept,
            pods,
            surroundings,
            nodes_to_ask,
        })
    }
}

impl Work {
    /// Most sets have none that is soft-evicted: then nothing is waited for.
    fn racks(&self, set: &InPlaceSet, pods: &[PodView]) -> RackWish {
        if pods.iter().all(|pod| pod.soft_evicted.is_none()) {
            return RackWish::default();
        }
        racks::wish(&self.rack_label, set, pods, &self.world.lock())
    }
}

/// How long ago that was. By the monotonic clock: nobody's clock that is set makes a quiet time shorter.
fn passed(since: &BTreeMap<String, Instant>, now: Instant) -> BTreeMap<String, Duration> {
    let passed = since
        .iter()
        .map(|(uid, since)| (uid.clone(), now.saturating_duration_since(*since)));
    passed.collect()
}

/// What nodes were asked for.
fn pulls(stock: &Stock, namespace: &str, uid: &str) -> BTreeMap<String, NodePulls> {
    let nodes = stock.nodes_asked_by(uid);
    nodes
        .filter_map(|node| {
            let pull = stock.pull(namespace, node)?;
            let pulls = NodePulls {
                requested_by: pull.requested_by(uid).cloned().unwrap_or_default(),
                since: pull.since(uid),
                images: pull.images(uid),
            };
            Some((node.clone(), pulls))
        })
        .collect()
}

/// The nodes of Pods with which something is done or will be: most of the time none.
fn nodes_to_ask(set: &SetView, pods: &[PodView]) -> BTreeSet<String> {
    let is_told = set.status.observed_generation == set.generation;
    let update = Some(set.status.update_revision.as_str()).filter(|_| is_told);
    let concerned = pods.iter().filter(|pod| {
        let is_at_update = pod.revision.is_some() && pod.revision.as_deref() == update;
        pod.operation != Underway::Nothing || !is_at_update
    });
    concerned.filter_map(|pod| pod.node.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fleet::LeanPod;

    fn set(uid: &str, replicas: u32, revision: &str) -> SetView {
        let object: InPlaceSet = serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet",
            "metadata": {"name": "shop", "namespace": "prod", "uid": uid, "generation": 2},
            "spec": {"replicas": replicas, "selector": {}, "template": {}},
            "status": {"observedGeneration": 2, "updateRevision": revision},
        }))
        .unwrap();
        view::set_view(&object, std::iter::empty())
    }

    fn pod(ordinal: u32, node: &str, revision: &str, annotations: &serde_json::Value) -> PodView {
        let pod: LeanPod = serde_json::from_value(json!({
            "metadata": {
                "name": format!("shop-{ordinal}"), "namespace": "prod", "uid": "u",
                "labels": {"controller-revision-hash": revision}, "annotations": annotations,
            },
            "spec": {"nodeName": node},
        }))
        .unwrap();
        let object: InPlaceSet = serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet",
            "metadata": {"name": "shop"}, "spec": {"selector": {}, "template": {}},
        }))
        .unwrap();
        view::pod_view(&pod, &object)
    }

    #[test]
    fn nodes_are_asked_only_for_pods_with_which_something_is_done() {
        let pods = [
            pod(0, "n0", "bb", &json!({})),
            pod(1, "n1", "aa", &json!({})),
            pod(2, "n2", "bb", &json!({"berth.dev/lossless": "?"})),
        ];
        let asked =
            |set: &SetView| -> Vec<String> { nodes_to_ask(set, &pods).into_iter().collect() };
        assert_eq!(asked(&set("s", 3, "bb")), ["n1", "n2"]);
        // Of a set that was changed since it was told of nothing is known.
        let changed = SetView {
            generation: 3,
            ..set("s", 3, "bb")
        };
        assert_eq!(asked(&changed), ["n0", "n1", "n2"]);
    }

    #[test]
    fn since_when_a_pod_is_detached_is_remembered_for_as_long_as_every_look_says_so() {
        let key = ("prod".to_owned(), "shop".to_owned());
        let mut memory = Memory::default();
        let start = Instant::now();
        let seconds = Duration::from_secs;
        let seen = |memory: &mut Memory, at: u64| {
            let all = memory.seen(&key, &set("s1", 3, "aa"), &[]);
            passed(&all.detached, start + seconds(at))
        };
        seen(&mut memory, 0);
        memory.detached(&key, &["a".to_owned()].into(), start);
        memory.detached(
            &key,
            &["a".to_owned(), "b".to_owned()].into(),
            start + seconds(2),
        );
        let both = [("a".to_owned(), seconds(3)), ("b".to_owned(), seconds(1))];
        assert_eq!(seen(&mut memory, 3), both.into());
        // Traffic that comes back is the end of it.
        memory.detached(&key, &["b".to_owned()].into(), start + seconds(4));
        memory.detached(&key, &["a".to_owned()].into(), start + seconds(5));
        assert_eq!(seen(&mut memory, 5), [("a".to_owned(), seconds(0))].into());
    }

    #[test]
    fn where_a_pod_was_is_remembered_for_as_long_as_it_is_wanted() {
        let key = ("prod".to_owned(), "shop".to_owned());
        let mut memory = Memory::default();
        let pods = [
            pod(0, "n0", "aa", &json!({})),
            pod(4, "n4", "aa", &json!({})),
        ];
        let seen = memory.seen(&key, &set("s1", 3, "aa"), &pods);
        assert_eq!(seen.nodes.keys().copied().collect::<Vec<_>>(), [0, 4]);
        let seen = memory.seen(&key, &set("s1", 3, "aa"), &[]);
        assert_eq!(seen.nodes, [(0, "n0".to_owned())].into());
        // Another one of that name.
        let seen = memory.seen(&key, &set("s2", 3, "aa"), &[]);
        assert!(seen.nodes.is_empty());
        assert!(memory.knows(&key));
        memory.forget(&key);
        assert!(!memory.knows(&key));
    }
}
