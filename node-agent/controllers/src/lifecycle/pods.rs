//! The Pods of nodes that something is done about, and their owners: read live, a node at a time, instead of watching all of a cluster.
//!
//! **Always holds:** what could not be read is not known, and nothing is done about its node; a Pod that has ended is left out.

mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use kube::ResourceExt;
use kube::api::ListParams;
use node_agent_lifecycle::observation::{
    AppName, AppObservation, Observations, PodObservation, Replacement,
};
use proto_ids::NodeName;

use super::soft::is_soft_evicted;
use crate::fleet::{FleetHandle, LeanPod};
use crate::read::{ReadError, Reader};
pub(super) use view::observe;
use view::{OwnerKey, OwnerKind};

/// What was read is read again after so long: what is done by it is asked once more anyway.
const REFRESH: Duration = Duration::from_secs(5);
/// Where one of them is ending: the next one waits for it.
const REFRESH_ENDING: Duration = Duration::from_secs(2);
/// And of owners.
const REFRESH_OWNERS: Duration = Duration::from_secs(10);

/// Something, when it was read.
#[derive(Debug)]
struct Read<T> {
    at: Instant,
    value: T,
}

/// An owner of Pods.
#[derive(Clone, Debug, Default)]
struct OwnerView {
    /// How many Pods it is to have; none, where it is gone.
    wanted: u32,
    /// How many of them it says are ready.
    ready: u32,
    /// Of a `ReplicaSet`: those that it counts, where some were soft-evicted.
    counted: Vec<LeanPod>,
}

/// What of Pods was read.
#[derive(Debug, Default)]
pub(super) struct Book {
    nodes: BTreeMap<NodeName, Read<Vec<LeanPod>>>,
    owners: BTreeMap<OwnerKey, Read<OwnerView>>,
}

/// Pods and applications, as a step takes them.
#[derive(Debug, Default)]
pub(super) struct Told {
    pods: BTreeMap<NodeName, Vec<PodObservation>>,
    apps: BTreeMap<AppName, AppObservation>,
    replacements: Vec<Replacement>,
}

impl Told {
    /// Into what is seen.
    pub(super) fn into_seen(self, seen: &mut Observations) {
        seen.pods = self.pods;
        seen.apps = self.apps;
        seen.replacements = self.replacements;
    }
}

impl Book {
    /// Reads what is due of these nodes, and forgets the others.
    ///
    /// # Errors
    /// The first that could not be asked; what was read before is kept.
    ///
    /// # Cancellation
    /// Safe.
    pub(super) async fn read(
        &mut self,
        reader: &Reader,
        wanted: &BTreeSet<NodeName>,
    ) -> Result<(), ReadError> {
        self.nodes.retain(|name, _| wanted.contains(name));
        for name in wanted {
            let read = self.nodes.get(name);
            let mut pods = read.into_iter().flat_map(|read| &read.value);
            let is_ending = pods.any(|pod| pod.metadata.deletion_timestamp.is_some());
            let refresh = if is_ending { REFRESH_ENDING } else { REFRESH };
            if is_fresh(read, refresh) {
                continue;
            }
            let at = Instant::now();
            let params = ListParams::default().fields(&format!("spec.nodeName={name}"));
            let pods = reader.list::<LeanPod>("Pods", None, params).await?;
            let value = pods.into_iter().map(trimmed).collect();
            self.nodes.insert(name.clone(), Read { at, value });
        }
        let owners = self.owners_of_pods();
        self.owners.retain(|key, _| owners.contains_key(key));
        for (key, has_evicted) in owners {
            if is_fresh(self.owners.get(&key), REFRESH_OWNERS) {
                continue;
            }
            let at = Instant::now();
            let value = read_owner(reader, &key, has_evicted).await?;
            self.owners.insert(key, Read { at, value });
        }
        Ok(())
    }

    /// Something was done to these nodes' Pods: they are read anew.
    pub(super) fn touch(&mut self, names: &BTreeSet<NodeName>) {
        self.nodes.retain(|name, _| !names.contains(name));
    }

    /// Owners of what was read, and whether Pods of theirs were soft-evicted.
    fn owners_of_pods(&self) -> BTreeMap<OwnerKey, bool> {
        let mut owners = BTreeMap::new();
        for pod in self.nodes.values().flat_map(|read| &read.value) {
            if let Some(key) = OwnerKey::of(&pod.metadata) {
                *owners.entry(key).or_default() |= is_soft_evicted(&pod.metadata);
            }
        }
        owners
    }
}

fn is_fresh<T>(read: Option<&Read<T>>, refresh: Duration) -> bool {
    read.is_some_and(|read| read.at.elapsed() < refresh)
}

/// Without what is large and not looked at.
fn trimmed(mut pod: LeanPod) -> LeanPod {
    pod.metadata.managed_fields = None;
    pod
}

async fn read_owner(
    reader: &Reader,
    key: &OwnerKey,
    has_evicted: bool,
) -> Result<OwnerView, ReadError> {
    let (namespace, name) = (&*key.namespace, &*key.name);
    let count = |number: Option<i32>| number.and_then(|it| u32::try_from(it).ok());
    match key.kind {
        OwnerKind::InPlaceSet => {
            let set = reader.in_place_set(namespace, name).await?;
            Ok(OwnerView {
                wanted: set.map_or(0, |set| u32::try_from(set.replicas).unwrap_or(0)),
                ..OwnerView::default()
            })
        }
        OwnerKind::StatefulSet => {
            let set: Option<StatefulSet> = reader.object("StatefulSet", namespace, name).await?;
            let (spec, status) = set.map_or((None, None), |set| (set.spec, set.status));
            Ok(OwnerView {
                wanted: spec.map_or(0, |spec| count(spec.replicas).unwrap_or(1)),
                ready: status.and_then(|it| count(it.ready_replicas)).unwrap_or(0),
                counted: Vec::new(),
            })
        }
        OwnerKind::ReplicaSet => {
            let set: Option<ReplicaSet> = reader.object("ReplicaSet", namespace, name).await?;
            let uid = set.as_ref().and_then(ResourceExt::uid);
            let (spec, status) = set.map_or((None, None), |set| (set.spec, set.status));
            let labels = spec
                .as_ref()
                .and_then(|spec| spec.selector.match_labels.clone());
            let counted = match labels {
                Some(labels) if has_evicted => {
                    let selector: Vec<String> = labels
                        .iter()
                        .map(|(key, value)| format!("{key}={value}"))
                        .collect();
                    let params = ListParams::default().labels(&selector.join(","));
                    let pods = reader.list::<LeanPod>("Pods", Some(namespace), params);
                    let is_its = |pod: &LeanPod| {
                        let mut owners = pod.metadata.owner_references.iter().flatten();
                        owners
                            .any(|it| it.controller == Some(true) && Some(&it.uid) == uid.as_ref())
                    };
                    let pods = pods.await?.into_iter().filter(is_its);
                    pods.map(trimmed).collect()
                }
                _ => Vec::new(),
            };
            Ok(OwnerView {
                wanted: spec.map_or(0, |spec| count(spec.replicas).unwrap_or(1)),
                ready: status.and_then(|it| count(it.ready_replicas)).unwrap_or(0),
                counted,
            })
        }
    }
}

/// The nodes with Pods that were soft-evicted: of sets and of nobody, which are watched.
pub(super) fn with_evicted(fleet: &FleetHandle) -> BTreeSet<NodeName> {
    let fleet = fleet.lock();
    let evicted = fleet
        .pods()
        .values()
        .filter(|pod| is_soft_evicted(&pod.metadata));
    evicted
        .filter_map(|pod| pod.spec.node_name.as_deref()?.parse().ok())
        .collect()
}
