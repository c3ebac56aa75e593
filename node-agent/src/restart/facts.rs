//! What a restart needs to know of a Pod, from the Pod as the API server tells it.

use node_agent_restart::gate::{Condition, Holders};
use node_agent_restart::observed::{Gate, PodContainer, PodFacts, RestartPolicy, Waiting};
use proto_crd::names;

use crate::pods::{LeanContainer, LeanPod};

/// kubelet writes it on the Pods that it makes of its files.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// The action of a restart rule that restarts all containers of a Pod.
const RESTART_ALL: &str = "RestartAllContainers";

/// Who holds a Pod, where its condition says so.
pub(super) fn condition(pod: &LeanPod) -> Option<Condition<'_>> {
    let condition = pod.condition(names::SERVICE_READY_GATE)?;
    Some(Condition {
        status: &condition.status,
        message: condition.message.as_deref().unwrap_or_default(),
    })
}

/// The Pod's facts for a request that holds it, if it does, under this name.
pub(super) fn facts(pod: &LeanPod, holder: &str) -> PodFacts {
    let annotations = pod.metadata.annotations.as_ref();
    let ready = pod.condition("Ready");
    PodFacts {
        uid: pod.uid().to_owned(),
        node: pod.spec.node_name.clone(),
        is_static: annotations.is_some_and(|all| all.contains_key(MIRROR_ANNOTATION)),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        ended: ["Succeeded", "Failed"].contains(&pod.status.phase.as_str()),
        host_network: pod.spec.host_network,
        restart_policy: policy(&pod.spec.restart_policy).unwrap_or(RestartPolicy::Always),
        gate: Gate {
            present: pod.has_gate(names::SERVICE_READY_GATE),
            held: Holders::of(condition(pod)).is_ok_and(|holders| holders.has(holder)),
            pod_ready: ready.is_some_and(|ready| ready.status == "True"),
        },
        containers: pod
            .spec
            .containers
            .iter()
            .map(|spec| container(pod, spec))
            .collect(),
    }
}

fn container(pod: &LeanPod, spec: &LeanContainer) -> PodContainer {
    let mut statuses = pod.status.container_statuses.iter();
    let status = statuses.find(|status| status.name == spec.name);
    let waiting = status.and_then(|status| status.state.waiting.as_ref());
    PodContainer {
        name: spec.name.clone(),
        restart_policy: spec.restart_policy.as_deref().and_then(policy),
        restarts_all: spec
            .restart_policy_rules
            .iter()
            .any(|rule| rule.action == RESTART_ALL),
        id: status.map_or("", |status| status.runtime_id()).to_owned(),
        started: status.is_some_and(|status| status.started == Some(true)),
        ready: status.is_some_and(|status| status.ready),
        waiting: waiting.map(|waiting| Waiting {
            reason: waiting.reason.clone().unwrap_or_default(),
            message: waiting.message.clone().unwrap_or_default(),
        }),
    }
}

fn policy(text: &str) -> Option<RestartPolicy> {
    match text {
        "Always" => Some(RestartPolicy::Always),
        "OnFailure" => Some(RestartPolicy::OnFailure),
        "Never" => Some(RestartPolicy::Never),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(change: impl FnOnce(&mut Value)) -> PodFacts {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "shop", "namespace": "prod", "uid": "u1"},
            "spec": {
                "nodeName": "n1", "restartPolicy": "Always",
                "readinessGates": [{"conditionType": "berth.dev/ServiceReady"}],
                "containers": [{"name": "main"}, {"name": "side"}],
            },
            "status": {
                "phase": "Running",
                "conditions": [
                    {"type": "Ready", "status": "True"},
                    {"type": "berth.dev/ServiceReady", "status": "False",
                     "message": "[{\"holder\":\"ContainerRestart/a\",\"since\":\"2026-01-01T00:00:00Z\"}]"},
                ],
                "containerStatuses": [{
                    "name": "main", "ready": true, "started": true, "containerID": "containerd://c1",
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                }],
            },
        });
        change(&mut pod);
        facts(&serde_json::from_value(pod).unwrap(), "ContainerRestart/a")
    }

    #[test]
    fn a_pods_facts_are_those_of_its_object() {
        let seen = pod(|_| ());
        assert_eq!((seen.uid.as_str(), seen.node.as_str()), ("u1", "n1"));
        assert!(seen.gate.present && seen.gate.held && seen.gate.pod_ready);
        assert!(!(seen.is_static || seen.deleting || seen.ended || seen.host_network));
        let main = seen.container("main").unwrap();
        assert_eq!(main.id, "c1");
        assert!(main.ready && main.started);
        assert_eq!(main.waiting.as_ref().unwrap().reason, "CrashLoopBackOff");
        // Without a status: not started yet.
        let side = seen.container("side").unwrap();
        assert!(side.id.is_empty() && !side.ready && !side.started);
    }

    #[test]
    fn rows_of_what_speaks_against_a_restart() {
        assert!(
            pod(|pod| pod["metadata"]["annotations"] = json!({MIRROR_ANNOTATION: "x"})).is_static
        );
        assert!(
            pod(|pod| pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into())
                .deleting
        );
        assert!(pod(|pod| pod["status"]["phase"] = "Failed".into()).ended);
        assert!(
            !pod(|pod| pod["spec"]["readinessGates"] = json!([]))
                .gate
                .present
        );
        assert_eq!(
            pod(|pod| pod["spec"]["restartPolicy"] = "Never".into()).restart_policy,
            RestartPolicy::Never
        );
        let rules = json!([{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}]);
        let seen = pod(|pod| {
            pod["spec"]["containers"][0]["restartPolicyRules"] = rules;
            pod["spec"]["containers"][0]["restartPolicy"] = "OnFailure".into();
        });
        assert!(seen.containers[0].restarts_all);
        assert_eq!(
            seen.containers[0].restart_policy,
            Some(RestartPolicy::OnFailure)
        );
    }

    #[test]
    fn another_holder_is_not_this_request() {
        let seen = pod(|pod| pod["status"]["conditions"][1]["message"] = "by hand".into());
        assert!(!seen.gate.held);
    }
}
