use serde_json::{Value, json};

use super::*;

fn pod(changes: &[(&str, Value)]) -> RunningPod {
    let mut object = json!({
        "metadata": {"name": "shop-0", "namespace": "prod", "uid": "u", "resourceVersion": "7", "annotations": {
            "berth.dev/report-containers": "true",
            "berth.dev/containers": "{\"test_container\":{\"desired\":\"8e45cbd0\",\"reported\":\"8e45cbd0\",\"id\":\"abc\",\"sandbox\":\"s\"}}",
        }},
        "spec": {
            "nodeName": "n1", "readinessGates": [{"conditionType": "berth.dev/ServiceReady"}],
            "containers": [{"name": "test_container", "image": "foo/image:v1", "imagePullPolicy": "Always"}],
        },
        "status": {
            "phase": "Running", "podIPs": [{"ip": "10.20.1.100"}],
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "berth.dev/ServiceReady", "status": "False", "message": "[{\"holder\":\"a/b\",\"since\":\"2026-01-01T00:00:00Z\"}]"},
            ],
            "containerStatuses": [{
                "name": "test_container", "image": "foo/image:v1", "imageID": "", "containerID": "containerd://abc", "ready": true,
                "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
            }],
        },
    });
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    RunningPod::of(&serde_json::from_value(object).unwrap())
}

#[test]
fn what_matters_is_read_from_a_pod() {
    let seen = pod(&[]);
    assert_eq!(seen.key(), "prod/shop-0");
    assert_eq!(seen.unfit, None);
    assert!(seen.ready && seen.reports);
    assert_eq!(seen.ips, ["10.20.1.100"]);
    let holders = seen.gate.as_ref().unwrap().holders().unwrap();
    assert!(holders.has("a/b"));
    let container = seen.container("test_container").unwrap();
    assert_eq!(container.id, "abc");
    assert!(container.pulls_always && container.ready);
    assert_eq!(container.waiting.as_ref().unwrap().0, "CrashLoopBackOff");
    let reported = &seen.reported().unwrap()["test_container"];
    assert!(reported.current);
    assert_eq!(
        (reported.id.as_str(), reported.sandbox.as_str()),
        ("abc", "s")
    );
}

#[test]
fn report_of_another_image_than_the_pods_says_nothing() {
    let changed = pod(&[("/spec/containers/0/image", "foo/image:v2".into())]);
    assert_eq!(changed.reported(), None);
    let none = pod(&[("/metadata/annotations", json!({}))]);
    assert_eq!((none.reported(), none.reports), (None, false));
    let broken = pod(&[(
        "/metadata/annotations",
        json!({"berth.dev/containers": "["}),
    )]);
    assert_eq!(broken.reported(), None);
}

#[test]
fn pods_that_kubelet_would_not_start_again_are_unfit() {
    for (pointer, value, words) in [
        (
            "/metadata/deletionTimestamp",
            json!("2026-01-01T00:00:00Z"),
            "being deleted",
        ),
        ("/status/phase", json!("Failed"), "has ended"),
        ("/spec/nodeName", Value::Null, "no node yet"),
        ("/spec/restartPolicy", json!("Never"), "restart policy"),
        ("/spec/restartPolicy", json!("OnFailure"), "restart policy"),
        (
            "/metadata/annotations",
            json!({"kubernetes.io/config.mirror": "x"}),
            "from a file",
        ),
    ] {
        let unfit = pod(&[(pointer, value)]).unfit.unwrap();
        assert!(unfit.contains(words), "{pointer}: {unfit}");
    }
    assert_eq!(pod(&[("/spec/restartPolicy", json!("Always"))]).unfit, None);
    assert_eq!(pod(&[("/spec/readinessGates", json!([]))]).gate, None);
}
