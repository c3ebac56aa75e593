//! What the runtime has of a Pod: its newest sandbox, and the containers that a request is about.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use ipamd_daemon::chain;
use node_agent_cri::{
    CallRuntimeError, Container, ContainerFilter, ContainerState as Doing, ContainerStatus,
    Network, Runtime, SandboxFilter,
};
use node_agent_restart::observed::{self, ContainerState, LiveContainer};
use node_agent_restart::prestop::StopSpec;
use proto_crd::time::Timestamp;

/// A runtime that is well answers within milliseconds.
const DEADLINE: Duration = Duration::from_secs(2);

/// kubelet's label of sandboxes and containers.
const POD_UID_LABEL: &str = "io.kubernetes.pod.uid";
/// kubelet's label of containers: the name in the Pod.
const CONTAINER_LABEL: &str = "io.kubernetes.container.name";

/// Stands for the addresses of a Pod on the node's network.
pub(super) const NODE_ADDRESS: &str = "node";

/// Looks at a Pod's sandbox and at those of its containers that a request names.
///
/// # Errors
/// When the runtime does not answer everything: half a look could be taken for containers that are gone.
pub(super) async fn look(
    runtime: &Runtime,
    pod_uid: &str,
    is_named: impl Fn(&str) -> bool,
) -> Result<observed::Runtime, CallRuntimeError> {
    let labels = BTreeMap::from([(POD_UID_LABEL.to_owned(), pod_uid.to_owned())]);
    let filter = SandboxFilter {
        labels: labels.clone(),
        ..SandboxFilter::default()
    };
    let sandboxes = runtime.sandboxes(filter, DEADLINE).await?;
    let newest = sandboxes
        .iter()
        .max_by_key(|sandbox| (sandbox.attempt, sandbox.created_at));
    let sandbox = match newest {
        None => None,
        Some(newest) => present(runtime.sandbox_in_full(&newest.id, DEADLINE).await)?,
    };
    let filter = ContainerFilter {
        labels,
        ..ContainerFilter::default()
    };
    let mut containers = Vec::new();
    for container in runtime.containers(filter, DEADLINE).await? {
        let Some(name) = container.labels.get(CONTAINER_LABEL) else {
            continue;
        };
        if !is_named(name) {
            continue;
        }
        let name = name.clone();
        if let Some(status) = present(runtime.container(&container.id, DEADLINE).await)? {
            containers.push(live(name, &container, &status));
        }
    }
    Ok(observed::Runtime {
        sandbox: sandbox.map(|status| observed::Sandbox {
            id: status.sandbox.id,
            ready: status.sandbox.ready,
            ips: match status.network {
                Network::Pod => status.ips,
                // CRI tells no addresses there: they are the node's, and stay.
                Network::Node => vec![NODE_ADDRESS.to_owned()],
            },
            mac: status.mac,
        }),
        containers,
    })
}

/// kubelet removes what has ended, also between two questions.
fn present<T>(answer: Result<T, CallRuntimeError>) -> Result<Option<T>, CallRuntimeError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(CallRuntimeError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn live(name: String, container: &Container, status: &ContainerStatus) -> LiveContainer {
    let created_at = timestamp(container.created_at);
    // One that could not be started has no such time.
    let started_at = status
        .started_at
        .map_or(created_at, |at| timestamp(Some(at)));
    LiveContainer {
        name,
        id: container.id.clone(),
        created_at,
        state: match status.container.state {
            Doing::Created => ContainerState::Created,
            Doing::Running => ContainerState::Running { started_at },
            Doing::Exited => ContainerState::Exited {
                started_at,
                finished_at: timestamp(status.finished_at),
                exit_code: status.exit_code,
                reason: status.reason.clone(),
            },
            Doing::Unknown => ContainerState::Unknown,
        },
        stop: StopSpec::parse(&status.container.annotations).map_err(|error| chain(&error)),
    }
}

fn timestamp(at: Option<SystemTime>) -> Timestamp {
    let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    Timestamp::default().after(since.unwrap_or_default())
}
