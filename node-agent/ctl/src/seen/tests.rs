use k8s_openapi::api::core::v1::{Event, Node, Pod};
use serde_json::{Value, json};

use super::*;

fn pod(annotations: &Value) -> PodSeen {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "db-0", "namespace": "prod", "annotations": annotations, "ownerReferences": [
            {"apiVersion": "v1", "kind": "X", "name": "other", "uid": "1"},
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "2", "controller": true},
        ]},
        "spec": {"nodeName": "n1", "containers": []},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.20.1.100"}, {"ip": "fd00::1"}]},
    }))
    .unwrap();
    PodSeen::of(&pod)
}

#[test]
fn pod_has_its_own_identity_or_names_one() {
    let plain = pod(&json!({"other/key": "x"}));
    assert_eq!(plain.identity(), "prod/db-0");
    assert_eq!(
        plain.owner,
        Some(("StatefulSet".to_owned(), "db".to_owned()))
    );
    assert_eq!(plain.addresses.len(), 2);
    assert!(plain.annotations.is_empty());
    assert_eq!(pod(&json!({"berth.dev/identity": "vip"})).identity(), "vip");
    assert_eq!(
        pod(&json!({"berth.dev/identity": " "})).identity(),
        "prod/db-0"
    );
}

#[test]
fn node_is_ready_only_when_it_says_so() {
    let node = |conditions: Value| {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n1", "labels": {"topology.berth.dev/rack": "a", "empty": ""}},
            "status": {"conditions": conditions},
        }))
        .unwrap();
        NodeSeen::of(&node, "topology.berth.dev/rack")
    };
    let ready = |status: &str| json!([{"type": "Ready", "status": status, "message": "words"}]);
    for (conditions, expected) in [
        (ready("True"), Some(true)),
        (ready("False"), Some(false)),
        (ready("Unknown"), None),
        (json!([]), None),
    ] {
        let seen = node(conditions);
        assert_eq!((seen.ready, seen.rack.as_deref()), (expected, Some("a")));
    }
    assert_eq!(node(ready("Unknown")).readiness, "Ready=Unknown (words)");
}

#[test]
fn event_is_as_old_as_its_last_time() {
    let event = |value: Value| {
        let event: Event = serde_json::from_value(value).unwrap();
        EventSeen::of(&event)
    };
    let base = json!({"metadata": {}, "involvedObject": {}, "reason": "R", "eventTime": "2025-11-21T10:00:00.000000Z"});
    let mut series = base.clone();
    series["series"] = json!({"count": 2, "lastObservedTime": "2025-11-21T11:00:00.000000Z"});
    let old = json!({"metadata": {}, "involvedObject": {}, "lastTimestamp": "2025-11-21T09:00:00Z", "source": {"component": "kubelet"}});
    let times =
        [event(base), event(series), event(old.clone())].map(|it| it.time.unwrap().to_string());
    assert_eq!(
        times,
        [
            "2025-11-21T10:00:00Z",
            "2025-11-21T11:00:00Z",
            "2025-11-21T09:00:00Z"
        ]
    );
    assert_eq!(event(old).by, "kubelet");
}
