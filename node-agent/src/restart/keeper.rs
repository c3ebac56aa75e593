//! The readiness gates of this node's Pods while nobody holds them: True from the start, and again when a request is gone that held one
//! and could not give it back.
//!
//! Holders that are no requests are others' business: they stay.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ipamd_daemon::{Tasks, chain};
use node_agent_restart::gate::{Holders, request_of};
use proto_crd::names;
use tracing::{debug, info, warn};

use super::api::Api;
use super::facts::condition;
use super::gate::{PodRef, change};
use super::requests::Requests;
use super::stop::now;
use crate::pods::{LeanPod, Pods};

/// When what failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What is to be done about a Pod's gate.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Care {
    /// Nothing.
    Nothing,
    /// It is made True.
    Free,
    /// These requests are entered. Those that are gone leave.
    Ask(Vec<String>),
}

/// By the Pod as it was last told, and the requests there are.
fn care(pod: &LeanPod, requests: &BTreeSet<(String, String)>) -> Care {
    if !pod.has_gate(names::SERVICE_READY_GATE) || pod.metadata.deletion_timestamp.is_some() {
        return Care::Nothing;
    }
    let Some(condition) = condition(pod) else {
        return Care::Free;
    };
    let Ok(holders) = Holders::of(Some(condition)) else {
        return Care::Nothing;
    };
    if holders.is_free() {
        return if condition.status == "True" {
            Care::Nothing
        } else {
            Care::Free
        };
    }
    let gone: Vec<String> = holders
        .iter()
        .filter_map(|holder| request_of(&holder.holder))
        .filter(|name| !requests.contains(&(pod.namespace().to_owned(), (*name).to_owned())))
        .map(str::to_owned)
        .collect();
    if gone.is_empty() {
        Care::Nothing
    } else {
        Care::Ask(gone)
    }
}

/// Keeps the gates of this node's Pods.
pub(super) fn spawn_keeper(tasks: &Tasks, api: Api, pods: Pods, requests: Requests) {
    let token = tasks.token();
    tasks.spawn("readiness gates", async move {
        let (mut of_pods, mut of_requests) = (pods.changes(), requests.changes());
        loop {
            let done = pass(&api, &pods, &requests).await;
            let again = async {
                if done {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(AGAIN).await;
            };
            tokio::select! {
                () = token.cancelled() => return,
                _ = of_pods.changed() => {}
                _ = of_requests.changed() => {}
                () = again => {}
            }
        }
    });
}

/// Answers whether everything is as it should be.
async fn pass(api: &Api, pods: &Pods, requests: &Requests) -> bool {
    if !(requests.is_complete() && pods.is_complete()) {
        return true;
    }
    let known: BTreeSet<(String, String)> = requests
        .all()
        .into_values()
        .map(|request| (request.namespace, request.name))
        .collect();
    let mut done = true;
    for pod in pods.all() {
        let gone = match care(&pod, &known) {
            Care::Nothing => continue,
            Care::Free => Vec::new(),
            Care::Ask(names) => match really_gone(api, &pod, names).await {
                Ok(gone) => gone,
                Err(error) => {
                    debug!(pod = pod.name(), error = %chain(&error), "a holder cannot be asked for");
                    done = false;
                    continue;
                }
            },
        };
        done &= free(api, &pod, &gone).await;
    }
    done
}

/// A view may be old: a request is gone when the API server says so now.
async fn really_gone(
    api: &Api,
    pod: &Arc<LeanPod>,
    names: Vec<String>,
) -> Result<Vec<String>, super::api::AskApiError> {
    let mut gone = Vec::new();
    for name in names {
        if api.request(pod.namespace(), &name).await?.is_none() {
            gone.push(name);
        }
    }
    Ok(gone)
}

async fn free(api: &Api, pod: &Arc<LeanPod>, gone: &[String]) -> bool {
    let of = PodRef {
        namespace: pod.namespace(),
        name: pod.name(),
        uid: pod.uid(),
    };
    let leave = |holders: Holders| {
        Ok(gone.iter().fold(holders, |holders, name| {
            holders.leave(&node_agent_restart::gate::holder_of(name))
        }))
    };
    let pod = format!("{}/{}", of.namespace, of.name);
    match change(api, of, now(), leave).await {
        Ok(()) => {
            info!(pod, ?gone, "readiness gate kept");
            true
        }
        Err(error) => {
            warn!(pod, error = %chain(&error), "the readiness gate of a Pod is not kept; trying again");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn caring(conditions: &Value, gates: &Value) -> Care {
        let pod = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "shop", "namespace": "prod", "uid": "u1"},
            "spec": {"readinessGates": gates},
            "status": {"conditions": conditions},
        }));
        let known = BTreeSet::from([("prod".to_owned(), "here".to_owned())]);
        care(&pod.unwrap(), &known)
    }

    #[test]
    fn rows_of_what_is_done_about_a_gate() {
        let ours = json!([{"conditionType": "berth.dev/ServiceReady"}]);
        let held = |holders: &[&str]| {
            let list: Vec<Value> = holders
                .iter()
                .map(|holder| json!({"holder": holder, "since": "2026-01-01T00:00:00Z"}))
                .collect();
            let message = Value::from(list).to_string();
            json!([{"type": "berth.dev/ServiceReady", "status": "False", "message": message}])
        };
        let of = |status: &str, message: &str| json!([{"type": "berth.dev/ServiceReady", "status": status, "message": message}]);
        let rows = [
            (json!([]), json!([]), Care::Nothing),
            (json!([]), ours.clone(), Care::Free),
            (of("True", ""), ours.clone(), Care::Nothing),
            (of("False", ""), ours.clone(), Care::Free),
            (of("False", "by hand"), ours.clone(), Care::Nothing),
            (
                held(&["ContainerRestart/here"]),
                ours.clone(),
                Care::Nothing,
            ),
            (held(&["release/x"]), ours.clone(), Care::Nothing),
            (
                held(&[
                    "ContainerRestart/here",
                    "ContainerRestart/gone",
                    "release/x",
                ]),
                ours.clone(),
                Care::Ask(vec!["gone".to_owned()]),
            ),
        ];
        for (conditions, gates, wanted) in rows {
            assert_eq!(caring(&conditions, &gates), wanted, "{conditions}");
        }
    }
}
