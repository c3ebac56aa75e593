use serde_json::{Value, json};

use super::*;

fn set() -> InPlaceSet {
    serde_json::from_value(json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet",
        "metadata": {"name": "shop", "namespace": "prod", "uid": "s1", "resourceVersion": "4", "generation": 2, "finalizers": ["orphan"]},
        "spec": {"selector": {"matchLabels": {"app": "shop"}}, "template": {"spec": {}}},
    }))
    .unwrap()
}

fn pod(change: impl FnOnce(&mut Value)) -> PodView {
    let mut pod = json!({
        "metadata": {
            "name": "shop-3", "namespace": "prod", "uid": "u", "resourceVersion": "9", "generation": 5,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "shop", "controller-revision-hash": "aa"},
            "annotations": {
                "berth.dev/release": "r1", "berth.dev/protections": r#"["protection.berth.dev/endpoints"]"#,
                "berth.dev/containers": r#"{"app":{"desired":"1","reported":"1","id":"c1"}}"#,
            },
            "finalizers": ["protection.berth.dev/endpoints"],
            "ownerReferences": [{"apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet", "name": "shop", "uid": "s1", "controller": true}],
        },
        "spec": {
            "nodeName": "n1", "readinessGates": [{"conditionType": "berth.dev/ServiceReady"}],
            "initContainers": [{"name": "once", "image": "once:1"}, {"name": "mesh", "image": "mesh:1", "restartPolicy": "Always"}],
            "containers": [{"name": "app", "image": "app:1"}],
        },
        "status": {
            "phase": "Running", "observedGeneration": 5, "podIPs": [{"ip": "10.0.0.3"}],
            "conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:01:00Z"},
                {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2026-01-01T00:00:30Z"},
                {"type": "berth.dev/ServiceReady", "status": "False", "message": "[]", "lastTransitionTime": null},
            ],
            "containerStatuses": [{
                "name": "app", "ready": true, "restartCount": 2, "containerID": "containerd://c1",
                "state": {"running": {"startedAt": "2026-01-01T00:00:20Z"}},
            }],
            "initContainerStatuses": [{
                "name": "mesh", "ready": false, "restartCount": 0, "containerID": "",
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}},
            }],
        },
    });
    change(&mut pod);
    pod_view(&serde_json::from_value(pod).unwrap(), &set())
}

#[test]
fn a_pod_is_seen_as_kubernetes_writes_it() {
    let view = pod(|_| {});
    assert_eq!((view.name.as_str(), view.ordinal), ("shop-3", Some(3)));
    assert_eq!((view.generation, view.observed_generation), (5, Some(5)));
    assert_eq!(view.created_at.to_string(), "2026-01-01T00:00:00Z");
    assert_eq!((view.owner, view.selected), (Owner::Ours, true));
    assert_eq!(view.revision.as_deref(), Some("aa"));
    assert_eq!(view.release.as_deref(), Some("r1"));
    assert_eq!(view.operation, Underway::Nothing);
    assert_eq!(view.protections.unwrap().len(), 1);
    assert_eq!(
        view.gate,
        Gate {
            declared: true,
            status: Some("False".to_owned()),
            message: "[]".to_owned(),
            since: None,
        }
    );
    assert!(!view.ready.is_true && view.containers_ready.is_true);
    assert_eq!(
        view.containers_ready.since.unwrap().to_string(),
        "2026-01-01T00:00:30Z"
    );
    let [mesh, app] = &view.containers[..] else {
        panic!("{:?}", view.containers);
    };
    assert_eq!(
        (mesh.name.as_str(), mesh.sidecar, mesh.id.as_deref()),
        ("mesh", true, None)
    );
    assert_eq!(mesh.waiting.as_ref().unwrap().0, "ImagePullBackOff");
    assert_eq!(
        (app.id.as_deref(), app.restart_count, app.ready),
        (Some("c1"), 2, true)
    );
    assert!(app.started_at.is_some());
    assert_eq!(view.reported["app"].id.as_deref(), Some("c1"));
    assert_eq!(view.ips, ["10.0.0.3"]);
}

#[test]
fn whose_a_pod_is_follows_from_its_controller_s_uid() {
    let owner = |uid: Option<&str>| {
        pod(|pod| match uid {
            Some(uid) => pod["metadata"]["ownerReferences"][0]["uid"] = uid.into(),
            None => pod["metadata"]["ownerReferences"] = Value::Null,
        })
        .owner
    };
    assert_eq!(owner(Some("s1")), Owner::Ours);
    // A set of the same name that was before.
    assert_eq!(owner(Some("s0")), Owner::Other);
    assert_eq!(owner(None), Owner::Nobody);
}

#[test]
fn ordinals_are_numbers_as_they_are_written() {
    for (name, expected) in [
        ("shop-0", Some(0)),
        ("shop-12", Some(12)),
        ("shop-012", None),
        ("shop-", None),
        ("shop-x", None),
        ("shop-2-1", None),
        ("other-1", None),
    ] {
        assert_eq!(ordinal(name, "shop"), expected, "{name}");
    }
}

#[test]
fn what_cannot_be_read_is_said_and_what_is_not_there_is_nothing() {
    let view = pod(|pod| {
        pod["metadata"]["annotations"] = json!({"berth.dev/lossless": "?", "berth.dev/protections": "?", "berth.dev/containers": "?"});
        pod["status"] = json!({});
        pod["spec"]["nodeName"] = "".into();
    });
    assert!(matches!(view.operation, Underway::Unreadable(_)));
    assert_eq!((view.protections, view.node), (None, None));
    assert!(view.reported.is_empty() && view.ips.is_empty());
    assert_eq!(view.gate.status, None);
    assert_eq!(view.phase, Phase::Pending);
    assert_eq!(view.containers.len(), 2);
}

#[test]
fn a_set_is_seen_with_its_revisions() {
    let revision = |name: &str, labels: Value| -> LeanRevision {
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": "r", "resourceVersion": "7", "labels": labels},
            "data": {"spec": {"template": {"spec": {"containers": []}}}}, "revision": 3,
        }))
        .unwrap()
    };
    let revisions = [
        revision("shop-aa", json!({"controller-revision-hash": "aa"})),
        revision("shop-bb", json!({})),
    ];
    let view = set_view(&set(), revisions.iter());
    assert!(view.orphaning && !view.deleting);
    assert_eq!((view.generation, view.version.as_str()), (2, "4"));
    let hashes: Vec<_> = view.revisions.iter().map(|it| it.hash.as_str()).collect();
    assert_eq!(hashes, ["aa", "bb"]);
    assert_eq!(
        view.revisions[0].template,
        json!({"spec": {"containers": []}})
    );
}
