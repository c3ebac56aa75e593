//! What speaks against restarting containers of a Pod, at first and at any time later.

use std::collections::BTreeSet;

use proto_crd::container_restart::{ContainerRestartSpec, Reason};

use super::Failure;
use crate::observed::{PodContainer, PodFacts, RestartPolicy};

/// Whether the Pod is the one that is meant, is here, and comes back when it is stopped.
pub(super) fn judge(
    spec: &ContainerRestartSpec,
    pod: &PodFacts,
    node: &str,
) -> Result<(), Failure> {
    let name = &spec.pod_name;
    let refuse = |reason, message: String| Err(Failure::new(reason, message));
    if pod.uid != spec.pod_uid {
        return refuse(
            Reason::PodGone,
            format!(
                "Pod {name} is now another one, with UID {}; name that one",
                pod.uid
            ),
        );
    }
    if pod.node != node {
        return refuse(
            Reason::OtherNode,
            format!("Pod {name} is on node {:?}, not on {node}", pod.node),
        );
    }
    if pod.is_static {
        return refuse(
            Reason::StaticPod,
            format!(
                "Pod {name} is kubelet's own, from a file of the node; change the file to restart it"
            ),
        );
    }
    if pod.deleting || pod.ended {
        return refuse(
            Reason::PodGone,
            format!("Pod {name} ends; its containers do not come back"),
        );
    }
    if spec.strategy.unready_grace().is_some() && !pod.gate.present {
        return refuse(
            Reason::NoReadinessGate,
            format!(
                "Pod {name} lacks the readiness gate by which it is made unready; leave out unreadyGracePeriodSeconds, or create the Pod with the gate"
            ),
        );
    }
    containers(spec, pod)
}

fn containers(spec: &ContainerRestartSpec, pod: &PodFacts) -> Result<(), Failure> {
    let name = &spec.pod_name;
    let refuse = |message: String| Err(Failure::new(Reason::Invalid, message));
    let mut names = BTreeSet::new();
    for target in &spec.containers {
        let Some(container) = pod.container(&target.name) else {
            return refuse(format!(
                "Pod {name} has no container {:?} in spec.containers",
                target.name
            ));
        };
        if !names.insert(&target.name) {
            return refuse(format!("container {} is named twice", target.name));
        }
        comes_back(container, pod.restart_policy)?;
    }
    if names.is_empty() {
        return refuse("no container is named; name at least one".to_owned());
    }
    Ok(())
}

/// kubelet decides by the exit code, and a program that is told to end mostly ends with 0.
fn comes_back(container: &PodContainer, of_pod: RestartPolicy) -> Result<(), Failure> {
    let name = &container.name;
    let policy = match container.restart_policy.unwrap_or(of_pod) {
        RestartPolicy::Always => None,
        RestartPolicy::OnFailure => Some("OnFailure"),
        RestartPolicy::Never => Some("Never"),
    };
    if let Some(policy) = policy {
        return Err(Failure::new(
            Reason::RestartPolicy,
            format!(
                "container {name} has restart policy {policy}: kubelet would not start it again; delete the Pod instead"
            ),
        ));
    }
    if container.restarts_all {
        return Err(Failure::new(
            Reason::RestartPolicy,
            format!(
                "container {name} has a restart rule with RestartAllContainers: stopping it might restart containers that are not named"
            ),
        ));
    }
    Ok(())
}
