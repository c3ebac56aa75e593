//! A Pod as it runs: its containers, their ids and readiness, and its readiness gate. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use node_agent_restart::gate;
use proto_crd::names;
use proto_crd::pod_containers::{PodContainers, specification_hash};

/// Annotation of a Pod that comes from a file of kubelet's.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunningPod {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Its UID.
    pub(crate) uid: String,
    /// The version that was read.
    pub(crate) version: String,
    /// The node that it is bound to.
    pub(crate) node: Option<String>,
    /// Why it cannot be restarted in place, whatever is asked for.
    pub(crate) unfit: Option<&'static str>,
    /// Its addresses.
    pub(crate) ips: Vec<String>,
    /// `spec.containers`, in their order.
    pub(crate) containers: Vec<RunningContainer>,
    /// Whether kubelet says that it is ready.
    pub(crate) ready: bool,
    /// Its gate; nothing: it has none.
    pub(crate) gate: Option<GateSeen>,
    /// Whether its node's agent was asked to report its containers.
    pub(crate) reports: bool,
    /// What its node's agent reports of its containers; nothing: nothing, or what cannot be read.
    pub(crate) facts: Option<PodContainers>,
}

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunningContainer {
    /// Its name.
    pub(crate) name: String,
    /// Its image, as the Pod names it.
    pub(crate) image: String,
    /// kubelet asks the registry at every start.
    pub(crate) pulls_always: bool,
    /// Its id, as kubelet tells it, without the runtime's name.
    pub(crate) id: String,
    /// How often it was restarted.
    pub(crate) restarts: i32,
    /// Whether it is ready.
    pub(crate) ready: bool,
    /// Why it does not run: reason and message.
    pub(crate) waiting: Option<(String, String)>,
}

/// The readiness gate of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GateSeen {
    /// Its condition's status and message; nothing: it has none yet.
    pub(crate) condition: Option<(String, String)>,
}

impl GateSeen {
    /// Who holds the Pod unready.
    pub(crate) fn holders(&self) -> Result<gate::Holders, gate::HoldError> {
        gate::Holders::of(
            self.condition
                .as_ref()
                .map(|(status, message)| gate::Condition { status, message }),
        )
    }
}

impl RunningPod {
    /// What of it matters here.
    pub(crate) fn of(pod: &Pod) -> Self {
        let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
        let conditions = || {
            status
                .and_then(|it| it.conditions.as_ref())
                .into_iter()
                .flatten()
        };
        let condition = |kind: &str| conditions().find(|it| it.type_ == kind);
        let gates = spec.and_then(|it| it.readiness_gates.as_ref());
        let has_gate = gates
            .into_iter()
            .flatten()
            .any(|it| it.condition_type == names::SERVICE_READY_GATE);
        let ips = status.and_then(|it| it.pod_ips.as_ref());
        let annotation = |key| pod.annotations().get(key);
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            version: pod.resource_version().unwrap_or_default(),
            node: spec.and_then(|it| it.node_name.clone()),
            unfit: unfit(pod),
            ips: ips.into_iter().flatten().map(|it| it.ip.clone()).collect(),
            containers: containers(pod),
            ready: condition("Ready").is_some_and(|it| it.status == "True"),
            gate: has_gate.then(|| GateSeen {
                condition: condition(names::SERVICE_READY_GATE)
                    .map(|it| (it.status.clone(), it.message.clone().unwrap_or_default())),
            }),
            reports: annotation(names::REPORT_CONTAINERS_ANNOTATION).is_some_and(|it| it == "true"),
            facts: annotation(names::CONTAINERS_ANNOTATION)
                .and_then(|it| serde_json::from_str(it).ok()),
        }
    }

    /// `namespace/name`.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// One of its containers.
    pub(crate) fn container(&self, name: &str) -> Option<&RunningContainer> {
        self.containers.iter().find(|it| it.name == name)
    }

    /// The names of its containers, for people.
    pub(crate) fn container_names(&self) -> String {
        let names: Vec<_> = self.containers.iter().map(|it| it.name.as_str()).collect();
        names.join(", ")
    }

    /// What runs, by the agent's report, if that is of the Pod as it is: id and sandbox of each container.
    pub(crate) fn reported(&self) -> Option<BTreeMap<String, Reported>> {
        let facts = self.facts.as_ref()?;
        self.containers
            .iter()
            .map(|container| {
                let it = facts.get(&container.name)?;
                let of_now = it.desired == specification_hash(&container.name, &container.image);
                of_now.then(|| {
                    let reported = Reported {
                        current: it.is_current(),
                        id: it.id.clone().unwrap_or_default(),
                        sandbox: it.sandbox.clone().unwrap_or_default(),
                    };
                    (container.name.clone(), reported)
                })
            })
            .collect()
    }
}

/// What runs of a container, by the agent's report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    /// What runs is what the Pod says.
    pub(crate) current: bool,
    /// Its id; empty: nothing runs.
    pub(crate) id: String,
    /// Its sandbox.
    pub(crate) sandbox: String,
}

fn unfit(pod: &Pod) -> Option<&'static str> {
    let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
    let phase = status.and_then(|it| it.phase.as_deref());
    let policy = spec.and_then(|it| it.restart_policy.as_deref());
    if pod.metadata.deletion_timestamp.is_some() {
        Some("it is being deleted")
    } else if matches!(phase, Some("Succeeded" | "Failed")) {
        Some("it has ended")
    } else if pod.annotations().contains_key(MIRROR) {
        Some("it is kubelet's own, from a file of its node; change that file")
    } else if spec.is_none_or(|it| it.node_name.is_none()) {
        Some("it has no node yet")
    } else if !matches!(policy, None | Some("Always")) {
        Some(
            "its restart policy is not Always: kubelet might not start what was stopped; delete the Pod instead",
        )
    } else {
        None
    }
}

fn containers(pod: &Pod) -> Vec<RunningContainer> {
    let statuses = pod.status.as_ref();
    let statuses = statuses.and_then(|it| it.container_statuses.as_deref());
    let status = |name: &str| -> Option<&ContainerStatus> {
        statuses
            .unwrap_or_default()
            .iter()
            .find(|it| it.name == name)
    };
    let all = pod.spec.as_ref().map(|it| it.containers.as_slice());
    all.unwrap_or_default()
        .iter()
        .map(|container| {
            let status = status(&container.name);
            let id = status.and_then(|it| it.container_id.as_deref());
            let waiting = status
                .and_then(|it| it.state.as_ref())
                .and_then(|it| it.waiting.as_ref());
            RunningContainer {
                name: container.name.clone(),
                image: container.image.clone().unwrap_or_default(),
                pulls_always: container.image_pull_policy.as_deref() == Some("Always"),
                id: id.map(bare).unwrap_or_default().to_owned(),
                restarts: status.map_or(0, |it| it.restart_count),
                ready: status.is_some_and(|it| it.ready),
                waiting: waiting.map(|it| {
                    (
                        it.reason.clone().unwrap_or_default(),
                        it.message.clone().unwrap_or_default(),
                    )
                }),
            }
        })
        .collect()
}

/// `containerd://ID` is `ID`.
fn bare(id: &str) -> &str {
    id.split_once("://").map_or(id, |(_, id)| id)
}

#[cfg(test)]
mod tests;
