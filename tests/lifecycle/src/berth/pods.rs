//! What the controller sees of Pods, applications and replacements.
//!
//! Pods are as their objects are: of a node that nobody hears, what its kubelet wrote last.

use node_agent_lifecycle::Observations;
use node_agent_lifecycle::observation::{
    AddressPolicy, AppName, AppObservation, Owner, PodObservation, Replacement, ReplacementState,
    Version,
};
use proto_ids::{NodeName, ParseNameError, PodKey, PodUid};

use crate::workload::{self, Pod, PodId, State, Workload};
use crate::world::World;

/// Of an application's Pods so many hundredths must be ready.
const FLOOR_PERCENT: u32 = 75;

/// What the controller sees of Pods.
#[derive(Debug)]
pub(super) struct PodView {
    /// By node: its Pods are looked at.
    watched: Vec<bool>,
    /// By node: the count of its Pods' changes that was copied.
    copied: Vec<u64>,
    /// What was soft-evicted, while its replacement is not ready.
    evicted: Vec<PodId>,
    /// The sum of all nodes' counts of changes when the applications were counted.
    counted: u64,
}

impl PodView {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            watched: vec![false; nodes],
            copied: vec![0; nodes],
            evicted: Vec::new(),
            counted: 0,
        }
    }

    /// From now on this node's Pods are looked at.
    pub(super) fn watch(&mut self, node: usize) {
        self.watched[node] = true;
    }

    /// A replacement of this Pod is on its way.
    pub(super) fn await_replacement(&mut self, id: PodId) {
        self.evicted.push(id);
    }

    pub(super) fn refresh(
        &mut self,
        seen: &mut Observations,
        world: &World,
        names: &[NodeName],
    ) -> Result<(), ParseNameError> {
        let workload = &world.workload;
        for (index, node) in world.nodes.iter().enumerate() {
            if !self.watched[index] {
                continue;
            }
            // A replacement's progress changes another node's count: those with one are looked at each time.
            let has_released = node.pods.iter().any(|&id| workload.pod(id).is_released);
            if self.copied[index] == node.changes && !has_released {
                continue;
            }
            self.copied[index] = node.changes;
            let pods = node.pods.iter().map(|&id| translate(workload, id));
            let pods = pods.collect::<Result<_, _>>()?;
            seen.pods.insert(names[index].clone(), pods);
        }
        self.evicted.retain(|&id| {
            workload.pod(id).is_released && progress(workload, id) != ReplacementState::Ready
        });
        seen.replacements.clear();
        for &id in &self.evicted {
            seen.replacements.push(replacement(world, id)?);
        }
        let changes = world.nodes.iter().map(|node| node.changes).sum();
        if self.counted != changes {
            self.counted = changes;
            count(seen, world);
        }
        Ok(())
    }
}

/// The UID of a Pod is its number.
fn uid(id: PodId) -> Result<PodUid, ParseNameError> {
    id.to_string().parse()
}

/// The number of a UID.
pub(super) fn number(uid: &PodUid) -> Option<PodId> {
    uid.as_str().parse().ok()
}

fn app(number: usize) -> AppName {
    AppName::new(&format!("app-{number:06}"))
}

fn translate(workload: &Workload, id: PodId) -> Result<PodObservation, ParseNameError> {
    let pod = workload.pod(id);
    Ok(PodObservation {
        pod: PodKey::new("default", &format!("p{id}"))?,
        uid: uid(id)?,
        version: version(pod),
        app: Some(app(pod.app)),
        owner: match pod.owner {
            workload::Owner::ReplicaSet => Owner::ReplicaSet,
            workload::Owner::InPlaceSet => Owner::InPlaceSet,
            workload::Owner::Placed => Owner::StatefulSet,
        },
        address: match pod.owner {
            workload::Owner::Placed => AddressPolicy::Keep,
            _ => AddressPolicy::New,
        },
        created_seconds: i64::from(pod.created),
        ready: pod.is_ready,
        terminating: pod.is_deleted,
        soft_evicted: pod.is_released,
        replacement: pod.is_released.then(|| progress(workload, id)),
    })
}

/// Another one whenever something of the object is another.
fn version(pod: &Pod) -> Version {
    let flags = [pod.is_ready, pod.is_deleted, pod.is_released];
    let bits = flags
        .iter()
        .fold(0, |bits, &flag| bits * 2 + u8::from(flag));
    Version::new(&format!("{bits}"))
}

/// How far the last of those who were made in its place is.
fn progress(workload: &Workload, id: PodId) -> ReplacementState {
    let mut last = None;
    let mut next = workload.pod(id).successor;
    while let Some(id) = next {
        let pod = workload.pod(id);
        last = Some(pod);
        next = pod.successor;
    }
    match last {
        Some(pod) if pod.is_ready && !pod.is_deleted => ReplacementState::Ready,
        Some(pod) if pod.state == State::Failing => ReplacementState::Failed,
        _ => ReplacementState::Starting,
    }
}

fn replacement(world: &World, id: PodId) -> Result<Replacement, ParseNameError> {
    let pod = world.workload.pod(id);
    let successor = pod.successor.map(|id| world.workload.pod(id));
    let rack = successor
        .filter(|successor| successor.state != State::Waiting)
        .map(|successor| world.network.place(successor.node).rack);
    Ok(Replacement {
        original: uid(id)?,
        app: Some(app(pod.app)),
        rack: rack
            .map(|rack| format!("rack-{rack:04}").parse())
            .transpose()?,
        state: progress(&world.workload, id),
    })
}

/// The applications' counts.
fn count(seen: &mut Observations, world: &World) {
    let apps = (world.size.all_nodes() * world.size.pods).div_ceil(crate::REPLICAS);
    let mut ready = vec![0_u32; apps];
    let mut replicas = vec![0_u32; apps];
    for node in &world.nodes {
        for &id in &node.pods {
            let pod = world.workload.pod(id);
            if pod.is_released || pod.is_deleted {
                continue;
            }
            replicas[pod.app] += 1;
            ready[pod.app] += u32::from(pod.is_ready && !node.is_withdrawn);
        }
    }
    if seen.apps.is_empty() {
        for (number, &replicas) in replicas.iter().enumerate() {
            let observation = AppObservation {
                replicas,
                ready: replicas,
                min_ready: replicas * FLOOR_PERCENT / 100,
            };
            seen.apps.insert(app(number), observation);
        }
    }
    for (app, ready) in seen.apps.values_mut().zip(ready) {
        app.ready = ready;
    }
}
