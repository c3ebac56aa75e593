//! The part of a node's agent (`berth-agent --role=node`): a Pod's gate from the start, and what is told of its containers.
//!
//! In the forms of `node-agent/restart` (`gate`) and `node-agent/src/containers`; holders of a gate are never touched here.

pub(crate) mod pull;
pub(crate) mod restart;

use proto_crd::names;
use proto_crd::pod_containers::{ContainerFacts, PodContainers, specification_hash};
use proto_crd::time::Timestamp;
use serde_json::{Value, json};

use crate::kubelet::{Held, items};

/// A gate that nobody holds becomes True: a strategic merge patch of the status, for the version that was read.
pub(crate) fn gate(pod: &Value, now: Timestamp) -> Option<Value> {
    let kind = names::SERVICE_READY_GATE;
    let mut gates = items(&pod["spec"]["readinessGates"]);
    if !gates.any(|gate| gate["conditionType"] == kind) || is_ending(pod) {
        return None;
    }
    let mut conditions = items(&pod["status"]["conditions"]);
    if let Some(condition) = conditions.find(|it| it["type"] == kind) {
        let message = condition["message"].as_str().unwrap_or_default();
        let is_held = !matches!(message, "" | "[]");
        if condition["status"] == "True" || is_held {
            return None;
        }
    }
    let metadata = &pod["metadata"];
    Some(json!({
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        "status": {"conditions": [{
            "type": kind, "status": "True", "reason": "Free", "message": "", "lastTransitionTime": now.to_string(),
        }]},
    }))
}

/// The annotation of a Pod that asks for it, when it is not as it is told: a merge patch.
pub(crate) fn report(pod: &Value, held: &Held) -> Option<Value> {
    let metadata = &pod["metadata"];
    let annotations = &metadata["annotations"];
    if annotations[names::REPORT_CONTAINERS_ANNOTATION] != "true" || is_ending(pod) {
        return None;
    }
    let facts: PodContainers = items(&pod["spec"]["containers"])
        .map(|container| {
            let text = |field: &str| container[field].as_str().unwrap_or_default();
            let name = text("name");
            let run = held.container(name).and_then(|it| it.run());
            let facts = ContainerFacts {
                desired: specification_hash(name, text("image")),
                reported: run.map(|run| specification_hash(name, &run.image)),
                id: run.map(|run| run.id.clone()),
                sandbox: run.map(|_| held.sandbox.clone()),
            };
            (name.to_owned(), facts)
        })
        .collect();
    let text = serde_json::to_string(&facts).unwrap_or_default();
    if annotations[names::CONTAINERS_ANNOTATION] == text.as_str() {
        return None;
    }
    let annotation = json!({names::CONTAINERS_ANNOTATION: text});
    Some(json!({"metadata": {"uid": metadata["uid"], "annotations": annotation}}))
}

fn is_ending(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::Place;

    fn pod(conditions: &Value, annotations: &Value) -> Value {
        json!({
            "metadata": {"name": "shop-0", "uid": "u", "resourceVersion": "7", "annotations": annotations},
            "spec": {
                "readinessGates": [{"conditionType": "berth.dev/ServiceReady"}],
                "containers": [{"name": "test_container", "image": "foo/image:v1"}],
            },
            "status": {"conditions": conditions},
        })
    }

    #[test]
    fn rows_of_gates() {
        let of = |status: &str, message: &str| json!([{"type": "berth.dev/ServiceReady", "status": status, "message": message}]);
        let held = r#"[{"holder":"InPlaceSet/shop","since":"2026-01-01T00:00:00Z"}]"#;
        for (conditions, is_made_true) in [
            (json!([]), true),
            (of("True", ""), false),
            (of("False", ""), true),
            (of("False", held), false),
            (of("False", "by hand"), false),
        ] {
            let pod = pod(&conditions, &json!({}));
            let patch = gate(&pod, Timestamp::default());
            assert_eq!(patch.is_some(), is_made_true, "{conditions}");
        }
        let mut without = pod(&json!([]), &json!({}));
        without["spec"]["readinessGates"] = json!([]);
        assert_eq!(gate(&without, Timestamp::default()), None);
    }

    #[test]
    fn containers_are_told_once_each_time_they_change() {
        let place = Place {
            sandbox: "box".to_owned(),
            ip: String::new(),
            host_ip: String::new(),
        };
        let asks = pod(&json!([]), &json!({"berth.dev/report-containers": "true"}));
        let held = Held::new(&asks, place, Timestamp::default());
        let patch = report(&asks, &held).unwrap();
        let text = &patch["metadata"]["annotations"]["berth.dev/containers"];
        assert_eq!(text, r#"{"test_container":{"desired":"8e45cbd0"}}"#);
        let told = json!({"berth.dev/report-containers": "true", "berth.dev/containers": text});
        assert_eq!(report(&pod(&json!([]), &told), &held), None);
        assert_eq!(report(&pod(&json!([]), &json!({})), &held), None);
    }
}
