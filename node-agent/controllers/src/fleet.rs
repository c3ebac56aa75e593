//! The Pods that controllers have to do with, and where traffic goes: one watch of each for all of them.
//!
//! Kept are Pods of an `InPlaceSet`, Pods without a controller (a set may adopt them) and Pods that name their protections; of each
//! what the decisions need. **Always holds:** as in the [world](crate::world): nothing is decided before both lists have been read to
//! their end, and a view may be old. Apart from the world, so that nothing else waits for all Pods of a cluster.

mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::core::ObjectMeta;
use kube::runtime::watcher::{Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use proto_crd::names;
use proto_crd::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::cache::Cache;
use crate::endpoints::{Backend, LeanSlice, Sight, SliceView, Traffic};
use crate::follow::{config, follow, kept};
use crate::metrics::ControllersMetrics;
use crate::mirror::{Mirror, Mirrored, version_of};
use crate::world::Key;
use index::{SetIndex, SliceIndex};

/// A Pod as it is read and kept. Fields are added as they are needed.
#[derive(Resource, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[resource(inherit = Pod)]
pub(crate) struct LeanPod {
    /// Without managed fields, and of the annotations those of Berth's.
    pub(crate) metadata: ObjectMeta,
    /// Of its specification.
    #[serde(default)]
    pub(crate) spec: LeanPodSpec,
    /// Of its status.
    #[serde(default)]
    pub(crate) status: LeanPodStatus,
}

/// Of a Pod's specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeanPodSpec {
    /// Where it runs.
    pub(crate) node_name: Option<String>,
    /// Its readiness gates.
    pub(crate) readiness_gates: Option<Vec<LeanGate>>,
    /// Its containers.
    pub(crate) containers: Option<Vec<LeanContainer>>,
    /// Its init containers.
    pub(crate) init_containers: Option<Vec<LeanContainer>>,
}

/// A readiness gate of a Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeanGate {
    /// The type of its condition.
    pub(crate) condition_type: String,
}

/// A container of a Pod, as it is specified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeanContainer {
    /// Its name.
    pub(crate) name: String,
    /// Its image.
    #[serde(default)]
    pub(crate) image: String,
    /// Of an init container `Always`, where it runs for as long as the Pod.
    #[serde(default)]
    pub(crate) restart_policy: Option<String>,
}

/// Of a Pod's status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeanPodStatus {
    /// How far its life is.
    pub(crate) phase: Option<String>,
    /// The generation of the specification that kubelet looked at.
    pub(crate) observed_generation: Option<i64>,
    /// Its conditions.
    pub(crate) conditions: Option<Vec<LeanCondition>>,
    /// How its containers are.
    pub(crate) container_statuses: Option<Vec<LeanContainerStatus>>,
    /// How its init containers are.
    pub(crate) init_container_statuses: Option<Vec<LeanContainerStatus>>,
    /// Its addresses.
    #[serde(rename = "podIPs", skip_serializing_if = "Option::is_none")]
    pod_ips: Option<Vec<LeanPodIp>>,
}

/// A condition of a Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeanCondition {
    /// Which.
    pub(crate) r#type: String,
    /// Whether it holds.
    pub(crate) status: String,
    /// Why, for people; of a gate, who holds the Pod.
    #[serde(default)]
    pub(crate) message: Option<String>,
    /// Since when.
    #[serde(default)]
    pub(crate) last_transition_time: Option<Timestamp>,
}

/// How a container is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeanContainerStatus {
    /// Its name.
    pub(crate) name: String,
    /// Its id, with the runtime's name before it.
    #[serde(rename = "containerID")]
    pub(crate) container_id: Option<String>,
    /// Whether it is ready.
    pub(crate) ready: bool,
    /// How often it was restarted.
    pub(crate) restart_count: u32,
    /// What it does.
    pub(crate) state: Option<LeanContainerState>,
}

/// What a container does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LeanContainerState {
    /// It runs.
    pub(crate) running: Option<LeanRunning>,
    /// It does not yet, or not again yet.
    pub(crate) waiting: Option<LeanWaiting>,
}

/// A container runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeanRunning {
    /// Since when.
    pub(crate) started_at: Option<Timestamp>,
}

/// A container waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LeanWaiting {
    /// Why, for programs.
    pub(crate) reason: Option<String>,
    /// Why, for people.
    pub(crate) message: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LeanPodIp {
    #[serde(default)]
    ip: String,
}

impl Mirrored for LeanPod {
    fn key(&self) -> Key {
        (self.namespace().unwrap_or_default(), self.name_any())
    }

    fn id(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    fn version(&self) -> u64 {
        version_of(self)
    }
}

impl LeanPod {
    /// Namespace and name.
    pub(crate) fn key(&self) -> Key {
        (self.namespace().unwrap_or_default(), self.name_any())
    }

    /// Its addresses.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let ips = self.status.pod_ips.iter().flatten();
        ips.filter_map(|it| it.ip.parse().ok()).collect()
    }

    /// A condition of it.
    pub(crate) fn condition(&self, kind: &str) -> Option<&LeanCondition> {
        let mut conditions = self.status.conditions.iter().flatten();
        conditions.find(|condition| condition.r#type == kind)
    }

    /// As endpoints tell it, with these addresses of its.
    pub(crate) fn backend<'a>(&'a self, addresses: &'a [IpAddr]) -> Backend<'a> {
        let metadata = &self.metadata;
        Backend {
            namespace: metadata.namespace.as_deref().unwrap_or_default(),
            name: metadata.name.as_deref().unwrap_or_default(),
            uid: metadata.uid.as_deref().unwrap_or_default(),
            addresses,
        }
    }

    /// Whether controllers may have to do with it.
    fn is_of_interest(&self) -> bool {
        let owners = self.metadata.owner_references.iter().flatten();
        let controller = owners
            .into_iter()
            .find(|owner| owner.controller == Some(true));
        let is_ours = controller.is_none_or(|owner| {
            let group = owner.api_version.split_once('/').map(|(group, _)| group);
            owner.kind == "InPlaceSet" && group == Some(names::GROUP)
        });
        let annotations = self.metadata.annotations.as_ref();
        let names_protections =
            annotations.is_some_and(|all| all.contains_key(names::PROTECTIONS_ANNOTATION));
        // One that names them no more may have one left.
        let is_protected = self
            .finalizers()
            .iter()
            .any(|it| it.starts_with(names::PROTECTION_PREFIX));
        is_ours || names_protections || is_protected
    }

    /// As it is kept.
    fn trimmed(&self) -> Self {
        let mut pod = self.clone();
        pod.metadata.managed_fields = None;
        if let Some(annotations) = &mut pod.metadata.annotations {
            annotations.retain(|key, _| key.starts_with("berth.dev/"));
        }
        pod
    }
}

/// What is known of Pods and endpoints.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    pods: Mirror<LeanPod>,
    slices: Cache<Key, Arc<SliceView>>,
    by_set: SetIndex,
    by_pod: SliceIndex,
}

impl Fleet {
    /// Whether both lists have been read to their end.
    pub(crate) const fn is_complete(&self) -> bool {
        self.pods.is_complete() && self.slices.is_complete()
    }

    /// The Pods, by namespace and name.
    pub(crate) const fn pods(&self) -> &BTreeMap<Key, Arc<LeanPod>> {
        self.pods.items()
    }

    /// The `EndpointSlice`s, by namespace and name.
    pub(crate) const fn slices(&self) -> &BTreeMap<Key, Arc<SliceView>> {
        self.slices.items()
    }

    /// The Pods of a set, and those of its name that nobody controls.
    pub(crate) fn pods_of(&self, set: &Key) -> impl Iterator<Item = &Arc<LeanPod>> {
        let names = self.by_set.pods(set);
        names.filter_map(|name| self.pods.get(&set.0, name))
    }

    /// What slices say of a Pod.
    pub(crate) fn sight(&self, pod: &LeanPod) -> Sight {
        let (key, addresses) = (pod.key(), pod.addresses());
        let slices = self.by_pod.slices(&key);
        let slices = slices.filter_map(|name| {
            let key = (key.0.clone(), name.clone());
            self.slices.items().get_key_value(&key)
        });
        let traffic = Traffic::of(slices.map(|(key, slice)| (key, &**slice)));
        traffic.sight(pod.backend(&addresses))
    }

    /// The sets of whose Pods something is different since this was last asked.
    pub(crate) fn take_changed_sets(&mut self) -> BTreeSet<Key> {
        self.by_set.take_changed()
    }

    /// Takes what a watch says. Answers whether anything that is kept is different now.
    pub(crate) fn take_pod(&mut self, event: Event<(Key, Arc<LeanPod>)>) -> bool {
        let index = &mut self.by_set;
        self.pods.take(event, |(was, is)| {
            index.note(was.map(|it| &**it), is.map(|it| &**it));
        })
    }

    /// Takes what a watch says. Answers whether anything that is kept is different now.
    pub(crate) fn take_slice(&mut self, event: Event<(Key, Arc<SliceView>)>) -> bool {
        let (index, sets, pods) = (&mut self.by_pod, &mut self.by_set, self.pods.items());
        self.slices.apply_noting(event, |key, was, is| {
            let named = index.note(key, was.map(|it| &**it), is.map(|it| &**it));
            for pod in named.iter().filter_map(|pod| pods.get(pod)) {
                sets.touch(pod);
            }
        })
    }

    /// Takes what the answer to a write or a read said of a Pod.
    pub(crate) fn saw(&mut self, pod: &LeanPod) {
        if !pod.is_of_interest() {
            return self.forget(&pod.key(), pod.id());
        }
        let index = &mut self.by_set;
        self.pods.saw(pod.trimmed(), |(was, is)| {
            index.note(was.map(|it| &**it), is.map(|it| &**it));
        });
    }

    /// The API server says that a Pod is gone.
    pub(crate) fn forget(&mut self, key: &Key, uid: &str) {
        let index = &mut self.by_set;
        self.pods.forget(key, uid, |(was, is)| {
            index.note(was.map(|it| &**it), is.map(|it| &**it));
        });
    }
}

/// A fleet that is kept up to date by [`FleetWatch::run`]. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct FleetHandle {
    fleet: Arc<Mutex<Fleet>>,
    changes: watch::Receiver<u64>,
}

impl FleetHandle {
    /// The fleet now. Never held across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what was different.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

/// Keeps a fleet up to date.
pub(crate) struct FleetWatch {
    client: Client,
    fleet: Arc<Mutex<Fleet>>,
    changes: watch::Sender<u64>,
    metrics: ControllersMetrics,
}

impl FleetWatch {
    /// A fleet of which nothing is known yet.
    pub(crate) fn new(client: Client, metrics: ControllersMetrics) -> (Self, FleetHandle) {
        let fleet = Arc::new(Mutex::new(Fleet::default()));
        let (changes, seen) = watch::channel(0);
        let handle = FleetHandle {
            fleet: Arc::clone(&fleet),
            changes: seen,
        };
        let watch = Self {
            client,
            fleet,
            changes,
            metrics,
        };
        (watch, handle)
    }

    /// Watches; has no end of its own.
    ///
    /// # Cancellation
    /// Ends the watches; what was seen stays.
    pub(crate) async fn run(&self) {
        let pods = watcher(Api::<LeanPod>::all(self.client.clone()), config());
        let slices = watcher(Api::<LeanSlice>::all(self.client.clone()), config());
        let take_pod = |event: Event<LeanPod>| {
            let event = kept(&event, |pod| (pod.key(), Arc::new(pod.trimmed())));
            if let Some(event) = sifted(event, |pod| pod.is_of_interest()) {
                self.note(|fleet| fleet.take_pod(event));
            }
        };
        let take_slice = |event: Event<LeanSlice>| {
            let event = kept(&event, |slice| {
                let key = (slice.namespace().unwrap_or_default(), slice.name_any());
                (key, Arc::new(slice.into()))
            });
            self.note(|fleet| fleet.take_slice(event));
        };
        tokio::join!(
            follow("pods", pods, &self.metrics, take_pod),
            follow("endpointslices", slices, &self.metrics, take_slice),
        );
    }

    fn note(&self, change: impl FnOnce(&mut Fleet) -> bool) {
        let is_news = {
            let mut fleet = self.fleet.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut fleet)
        };
        if is_news {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

/// Leaves out what is of no interest; what is no more is as good as deleted.
fn sifted<K, V>(event: Event<(K, V)>, keep: impl Fn(&V) -> bool) -> Option<Event<(K, V)>> {
    match event {
        Event::InitApply((_, value)) if !keep(&value) => None,
        Event::Apply((key, value)) if !keep(&value) => Some(Event::Delete((key, value))),
        event => Some(event),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(metadata: &Value) -> LeanPod {
        let mut pod = json!({
            "metadata": {"name": "shop-0", "namespace": "prod", "uid": "u1"},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"podIPs": [{"ip": "10.0.0.5"}, {"ip": "fd00::5"}]},
        });
        for (key, value) in metadata.as_object().unwrap() {
            pod["metadata"][key] = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    fn owner(api_version: &str, kind: &str) -> Value {
        json!([{"apiVersion": api_version, "kind": kind, "name": "shop", "uid": "s", "controller": true}])
    }

    #[test]
    fn pods_are_kept_that_a_set_owns_or_may_adopt_or_that_are_protected() {
        let replicas = owner("apps/v1", "ReplicaSet");
        for (metadata, is_kept) in [
            (json!({}), true),
            (
                json!({"ownerReferences": owner("berth.dev/v1alpha1", "InPlaceSet")}),
                true,
            ),
            (
                json!({"ownerReferences": owner("example.com/v1", "InPlaceSet")}),
                false,
            ),
            (json!({"ownerReferences": replicas}), false),
            (
                json!({"ownerReferences": replicas, "annotations": {"berth.dev/protections": "[]"}}),
                true,
            ),
            (
                json!({"ownerReferences": replicas, "finalizers": ["protection.berth.dev/endpoints"]}),
                true,
            ),
            (
                json!({"ownerReferences": replicas, "finalizers": ["example.com/slow"]}),
                false,
            ),
        ] {
            assert_eq!(pod(&metadata).is_of_interest(), is_kept, "{metadata}");
        }
    }

    #[test]
    fn a_pod_that_is_of_no_interest_any_more_is_forgotten() {
        let event = |event| sifted(event, |value: &u8| *value > 0);
        assert!(event(Event::InitApply(("a", 0))).is_none());
        assert!(matches!(
            event(Event::Apply(("a", 0))),
            Some(Event::Delete(("a", 0)))
        ));
        assert!(matches!(
            event(Event::Apply(("a", 1))),
            Some(Event::Apply(("a", 1)))
        ));
        assert!(matches!(event(Event::InitDone), Some(Event::InitDone)));
    }

    #[test]
    fn of_a_pod_little_is_kept() {
        let pod = pod(&json!({
            "managedFields": [{"manager": "kubelet"}],
            "annotations": {"berth.dev/protections": "[]", "example.com/long": "text"},
        }));
        let pod = pod.trimmed();
        assert_eq!(pod.metadata.managed_fields, None);
        assert_eq!(pod.annotations().len(), 1);
        assert_eq!(pod.addresses().len(), 2);
        assert_eq!(pod.key(), ("prod".to_owned(), "shop-0".to_owned()));
    }
}
