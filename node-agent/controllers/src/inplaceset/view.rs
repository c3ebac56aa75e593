//! What is planned with, made of what is kept: Pods, sets, requests. Pure.

use std::collections::BTreeMap;

use k8s_openapi::jiff;
use kube::ResourceExt as _;
use node_agent_inplace::operation::{FORCE_DRAIN_ANNOTATION, Operation};
use node_agent_inplace::plan::{Restart, Revision, SetView};
use node_agent_inplace::pod::{
    Condition, Container, Endpoint, Gate, Owner, Phase, PodView, Underway,
};
use proto_crd::container_restart::ContainerRestart;
use proto_crd::in_place_set::InPlaceSet;
use proto_crd::names;
use proto_crd::time::Timestamp;

use super::lean::LeanRevision;
use crate::endpoints::Sight;
use crate::fleet::{LeanContainer, LeanContainerStatus, LeanPod};

/// As an owner of Pods orphans are left behind.
const ORPHAN_FINALIZER: &str = "orphan";

/// A point in time as Kubernetes' own types have it.
pub(super) fn time(time: jiff::Timestamp) -> Timestamp {
    let milliseconds = u64::try_from(time.as_millisecond()).unwrap_or_default();
    Timestamp::from_unix_milliseconds(milliseconds)
}

/// The set and its revisions.
pub(super) fn set_view<'a>(
    set: &InPlaceSet,
    revisions: impl Iterator<Item = &'a LeanRevision>,
) -> SetView {
    SetView {
        name: set.name_any(),
        uid: set.uid().unwrap_or_default(),
        version: set.resource_version().unwrap_or_default(),
        generation: set.metadata.generation.unwrap_or_default(),
        deleting: set.metadata.deletion_timestamp.is_some(),
        orphaning: set.finalizers().iter().any(|it| it == ORPHAN_FINALIZER),
        spec: set.spec.clone(),
        status: set.status.clone().unwrap_or_default(),
        revisions: revisions.map(revision_view).collect(),
        orphans: Vec::new(),
    }
}

/// A revision as it is planned with.
pub(super) fn revision_view(revision: &LeanRevision) -> Revision {
    let name = revision.name_any();
    let hash = revision.labels().get(names::REVISION_LABEL).cloned();
    let rest = || name.rsplit_once('-').map(|(_, hash)| hash.to_owned());
    Revision {
        uid: revision.uid().unwrap_or_default(),
        version: revision.resource_version().unwrap_or_default(),
        hash: hash.or_else(rest).unwrap_or_default(),
        number: revision.revision,
        template: revision.template().clone(),
        name,
    }
}

/// A Pod as its set looks at it.
pub(super) fn pod_view(pod: &LeanPod, set: &InPlaceSet) -> PodView {
    let annotation = |name: &str| pod.annotations().get(name).cloned();
    let parsed = |name: &str| annotation(name).map(|text| serde_json::from_str(&text));
    let metadata = &pod.metadata;
    let created = metadata.creation_timestamp.as_ref();
    let name = pod.name_any();
    PodView {
        ordinal: ordinal(&name, &set.name_any()),
        name,
        uid: pod.uid().unwrap_or_default(),
        version: pod.resource_version().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        observed_generation: pod.status.observed_generation,
        created_at: created.map(|it| time(it.0)).unwrap_or_default(),
        node: pod.spec.node_name.clone().filter(|node| !node.is_empty()),
        phase: match pod.status.phase.as_deref() {
            Some("Running") => Phase::Running,
            Some("Failed" | "Succeeded") => Phase::Ended,
            _ => Phase::Pending,
        },
        deleting: metadata.deletion_timestamp.is_some(),
        owner: owner(pod, set),
        selected: set.spec.selector.matches(pod.labels()),
        revision: pod.labels().get(names::REVISION_LABEL).cloned(),
        release: annotation(names::RELEASE_ANNOTATION),
        operation: match annotation(names::LOSSLESS_ANNOTATION) {
            None => Underway::Nothing,
            Some(text) => match Operation::parse(&text) {
                Ok(operation) => Underway::This(Box::new(operation)),
                Err(error) => Underway::Unreadable(error.to_string()),
            },
        },
        // A list that cannot be read is none: the set's own counts then.
        protections: parsed(names::PROTECTIONS_ANNOTATION).and_then(Result::ok),
        force_drain: annotation(FORCE_DRAIN_ANNOTATION),
        gate: gate(pod),
        ready: condition(pod, "Ready"),
        containers_ready: condition(pod, "ContainersReady"),
        containers: containers(pod),
        reported: annotation(names::CONTAINERS_ANNOTATION)
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
        finalizers: pod.finalizers().to_vec(),
        ips: pod.addresses().iter().map(ToString::to_string).collect(),
        soft_evicted: annotation(names::SOFT_EVICTED_ANNOTATION),
        replaces: annotation(names::REPLACES_ANNOTATION),
    }
}

/// The number of a Pod whose name is the set's, a hyphen and a number as it is written.
fn ordinal(pod: &str, set: &str) -> Option<u32> {
    let number = pod.strip_prefix(set)?.strip_prefix('-')?;
    let ordinal: u32 = number.parse().ok()?;
    (ordinal.to_string() == number).then_some(ordinal)
}

fn owner(pod: &LeanPod, set: &InPlaceSet) -> Owner {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    match owners.find(|owner| owner.controller == Some(true)) {
        None => Owner::Nobody,
        Some(owner) if set.metadata.uid.as_ref() == Some(&owner.uid) => Owner::Ours,
        Some(_) => Owner::Other,
    }
}

/// Its gate.
pub(super) fn gate(pod: &LeanPod) -> Gate {
    let mut gates = pod.spec.readiness_gates.iter().flatten();
    let condition = pod.condition(names::SERVICE_READY_GATE);
    Gate {
        declared: gates.any(|gate| gate.condition_type == names::SERVICE_READY_GATE),
        status: condition.map(|condition| condition.status.clone()),
        message: condition
            .and_then(|condition| condition.message.clone())
            .unwrap_or_default(),
        since: condition.and_then(|condition| condition.last_transition_time),
    }
}

fn condition(pod: &LeanPod, kind: &str) -> Condition {
    let condition = pod.condition(kind);
    Condition {
        is_true: condition.is_some_and(|condition| condition.status == "True"),
        since: condition.and_then(|condition| condition.last_transition_time),
    }
}

fn containers(pod: &LeanPod) -> Vec<Container> {
    let of = |specs: &Option<Vec<LeanContainer>>,
              statuses: &Option<Vec<LeanContainerStatus>>,
              sidecar: bool| {
        let specs = specs.iter().flatten();
        let wanted =
            specs.filter(|spec| !sidecar || spec.restart_policy.as_deref() == Some("Always"));
        let views = wanted.map(|spec| {
            let mut statuses = statuses.iter().flatten();
            let status = statuses.find(|status| status.name == spec.name);
            container(spec, status, sidecar)
        });
        views.collect::<Vec<_>>()
    };
    let (spec, status) = (&pod.spec, &pod.status);
    let mut all = of(&spec.init_containers, &status.init_container_statuses, true);
    all.extend(of(&spec.containers, &status.container_statuses, false));
    all
}

fn container(
    spec: &LeanContainer,
    status: Option<&LeanContainerStatus>,
    sidecar: bool,
) -> Container {
    let state = status.and_then(|status| status.state.as_ref());
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let id = status.and_then(|status| status.container_id.as_deref());
    let id = id.map(|id| id.split_once("://").map_or(id, |(_, id)| id));
    Container {
        name: spec.name.clone(),
        sidecar,
        image: spec.image.clone(),
        id: id.filter(|id| !id.is_empty()).map(ToOwned::to_owned),
        ready: status.is_some_and(|status| status.ready),
        started_at: state
            .and_then(|state| state.running.as_ref())
            .and_then(|running| running.started_at),
        waiting: waiting.map(|waiting| {
            let text = |it: &Option<String>| it.clone().unwrap_or_default();
            (text(&waiting.reason), text(&waiting.message))
        }),
        restart_count: status.map_or(0, |status| status.restart_count),
    }
}

/// What slices say of a Pod.
pub(super) const fn endpoint(sight: Sight) -> Endpoint {
    match sight {
        Sight::Nowhere => Endpoint::None,
        Sight::Listed => Endpoint::NotReady,
        Sight::Served => Endpoint::Ready,
    }
}

/// Requests to restart containers, by name.
pub(super) fn restart_views<'a>(
    restarts: impl Iterator<Item = &'a ContainerRestart>,
) -> BTreeMap<String, Restart> {
    restarts
        .map(|restart| {
            let status = restart.status.clone().unwrap_or_default();
            let containers = status.containers.iter();
            let view = Restart {
                phase: status.phase,
                message: status.message.clone(),
                backoff_until: containers.filter_map(|it| it.backoff_until).max(),
            };
            (restart.name_any(), view)
        })
        .collect()
}

#[cfg(test)]
mod tests;
