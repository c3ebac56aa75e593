//! The Event that tells of a verdict, where `kubectl describe pod` shows it: whoever looks after the Pod need not know the request.
//!
//! One for each request: its name is the request's UID, so that it can be made once, and an agent that was started anew makes none of what
//! ended long ago. Best effort: the request has the verdict itself.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff;
use kube::Resource as _;
use proto_crd::container_restart::{ContainerRestart, Phase, Reason};
use proto_crd::names;
use proto_crd::time::Timestamp;

use super::metrics::RestartResult;
use super::request::Request;

/// What ended longer ago was told, or is no news.
const NEWS: Duration = Duration::from_secs(300);

/// The longest note that the API server takes, in bytes.
const NOTE_LIMIT: usize = 1024;

/// Longest name of who tells, in bytes.
const INSTANCE_LIMIT: usize = 128;

/// How a request has ended; nothing, while it has not.
pub(super) fn result(request: &Request) -> Option<RestartResult> {
    let status = &request.status;
    match status.phase {
        Phase::Succeeded => Some(RestartResult::succeeded),
        Phase::Failed if status.containers.iter().all(|it| it.killed_at.is_none()) => {
            Some(RestartResult::refused)
        }
        Phase::Failed => Some(RestartResult::failed),
        Phase::Pending | Phase::Draining | Phase::Recreating => None,
    }
}

/// What is told of a request that has just ended.
pub(super) fn event(node: &str, request: &Request, now: Timestamp) -> Option<Event> {
    let result = result(request)?;
    let completed_at = request.status.completed_at?;
    if now.since(completed_at) > NEWS {
        return None;
    }
    let (kind, reason) = match result {
        RestartResult::succeeded => ("Normal", "RestartedInPlace"),
        RestartResult::failed => ("Warning", "RestartInPlaceFailed"),
        RestartResult::refused => ("Warning", "RestartInPlaceRefused"),
    };
    let of_request = ObjectReference {
        api_version: Some(ContainerRestart::api_version(&()).into_owned()),
        kind: Some(ContainerRestart::kind(&()).into_owned()),
        namespace: Some(request.namespace.clone()),
        name: Some(request.name.clone()),
        uid: Some(request.uid.clone()),
        ..ObjectReference::default()
    };
    let of_pod = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(request.namespace.clone()),
        name: Some(request.spec.pod_name.clone()),
        uid: Some(request.spec.pod_uid.clone()),
        ..ObjectReference::default()
    };
    let (regarding, related) = if is_of_this_nodes_pod(request) {
        (of_pod, Some(of_request))
    } else {
        (of_request, None)
    };
    Some(Event {
        metadata: ObjectMeta {
            name: Some(format!("restart.{}", request.uid)),
            namespace: Some(request.namespace.clone()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(jiff::Timestamp::now())),
        type_: Some(kind.to_owned()),
        reason: Some(reason.to_owned()),
        action: Some("Restart".to_owned()),
        note: Some(note(request)),
        reporting_controller: Some(names::AGENT_CONTROLLER.to_owned()),
        reporting_instance: Some(cut(node, INSTANCE_LIMIT).to_owned()),
        regarding: Some(regarding),
        related,
        ..Event::default()
    })
}

/// Whether the Pod that the request names is this node's: of another one this agent tells nothing.
fn is_of_this_nodes_pod(request: &Request) -> bool {
    !matches!(
        request.status.reason,
        Some(Reason::OtherNode | Reason::PodGone)
    )
}

fn note(request: &Request) -> String {
    let containers: Vec<&str> = request
        .spec
        .containers
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    let containers = containers.join(", ");
    let message = &request.status.message;
    let text = format!(
        "ContainerRestart {} ({containers}): {message}",
        request.name
    );
    cut(&text, NOTE_LIMIT).to_owned()
}

/// The beginning of a text, in whole characters.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(status: &serde_json::Value) -> Request {
        let object: ContainerRestart = serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "ContainerRestart",
            "metadata": {"name": "a", "namespace": "prod", "uid": "uid-a", "resourceVersion": "7"},
            "spec": {"nodeName": "n1", "podName": "shop", "podUID": "u", "containers": [{"name": "main"}, {"name": "side"}]},
            "status": status,
        }))
        .unwrap();
        Request::from(&object)
    }

    fn told(status: &serde_json::Value, now: &str) -> Option<Event> {
        event("n1", &request(status), now.parse().unwrap())
    }

    const ENDED: &str = "2026-01-01T00:00:00Z";
    const SOON: &str = "2026-01-01T00:01:00Z";

    #[test]
    fn verdict_is_told_of_the_pod_by_how_it_ended_and_is_named_by_the_request() {
        let killed = json!([{"name": "main", "killedAt": ENDED}]);
        for (phase, containers, kind, reason) in [
            ("Succeeded", killed.clone(), "Normal", "RestartedInPlace"),
            ("Failed", killed, "Warning", "RestartInPlaceFailed"),
            ("Failed", json!([]), "Warning", "RestartInPlaceRefused"),
        ] {
            let status = json!({"phase": phase, "message": "so it was", "completedAt": ENDED, "containers": containers});
            let event = told(&status, SOON).unwrap();
            assert_eq!(event.metadata.name.as_deref(), Some("restart.uid-a"));
            assert_eq!(event.metadata.namespace.as_deref(), Some("prod"));
            assert_eq!(
                (event.type_.as_deref(), event.reason.as_deref()),
                (Some(kind), Some(reason))
            );
            let note = "ContainerRestart a (main, side): so it was";
            assert_eq!(event.note.as_deref(), Some(note));
            let (of, by) = (event.regarding.unwrap(), event.related.unwrap());
            assert_eq!(of.kind.as_deref(), Some("Pod"));
            assert_eq!(of.uid.as_deref(), Some("u"));
            assert_eq!(by.uid.as_deref(), Some("uid-a"));
        }
    }

    #[test]
    fn what_has_not_ended_or_ended_long_ago_is_not_told() {
        let running = json!({"phase": "Recreating", "message": ""});
        assert_eq!(told(&running, SOON), None);
        let ended = json!({"phase": "Succeeded", "message": "", "completedAt": ENDED});
        assert!(told(&ended, "2026-01-01T00:05:00Z").is_some());
        assert_eq!(told(&ended, "2026-01-01T00:05:01Z"), None);
    }

    #[test]
    fn nothing_is_told_of_a_pod_that_is_another_nodes_or_gone() {
        for reason in ["OtherNode", "PodGone"] {
            let status =
                json!({"phase": "Failed", "reason": reason, "message": "", "completedAt": ENDED});
            let event = told(&status, SOON).unwrap();
            let of = event.regarding.unwrap();
            assert_eq!(of.kind.as_deref(), Some("ContainerRestart"));
            assert_eq!(of.name.as_deref(), Some("a"));
            assert_eq!(event.related, None);
        }
    }

    #[test]
    fn long_words_fit_into_a_note() {
        let status = json!({"phase": "Failed", "message": "ü".repeat(1024), "completedAt": ENDED});
        let note = told(&status, SOON).unwrap().note.unwrap();
        assert!(note.len() <= NOTE_LIMIT && note.ends_with('ü'), "{note}");
    }
}
