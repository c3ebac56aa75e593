//! Pods that the node lifecycle takes out of the count, as it would write it: another one is made, a release goes round them, and
//! they count again, or end.

use serde_json::{Value, json};

use super::NEW;
use super::judge::{image, is_ready, restarts};
use super::life::{OLD, name_of, serve, uid_of};
use super::rig::Rig;
use crate::shipped::kubectl;

const SET: &str = "moves";

/// The mark, or its end.
fn mark(rig: &Rig, pod: &str, decision: Option<&str>) {
    let annotations = json!({"berth.dev/soft-evicted": decision});
    rig.merge(
        "pod",
        pod,
        &json!({"metadata": {"annotations": annotations}}),
    );
}

fn names(rig: &Rig) -> Vec<String> {
    let pods = rig.record.pods(SET);
    pods.iter().map(|pod| name_of(pod).to_owned()).collect()
}

fn pod(rig: &Rig, name: &str) -> std::sync::Arc<Value> {
    let pods = rig.record.pods(SET);
    let found = pods.into_iter().find(|pod| name_of(pod) == name);
    found.unwrap_or_else(|| panic!("no {name}: {:?}", names(rig)))
}

pub(super) fn soft_evicted_pods_are_replaced_left_alone_and_taken_back(rig: &Rig) {
    let before = serve(rig, SET, 3);
    let original = before[1].clone();
    mark(rig, "moves-1", Some("3-7"));
    rig.wait_pods("another beside it", (SET, 4), is_ready);
    let replacement = pod(rig, "moves-3");
    let replaces = &replacement["metadata"]["annotations"]["berth.dev/replaces"];
    assert_eq!(*replaces, uid_of(&original));
    let told = rig.wait_status("who does not count", SET, |status| {
        status["softEvicted"][0]["replacement"] == "moves-3" && status["availableReplicas"] == 3
    });
    let status = &told["status"];
    assert_eq!(status["softEvictedReplicas"], 1, "{status}");
    assert_eq!(status["softEvicted"][0]["name"], "moves-1", "{status}");
    assert_eq!(status["softEvicted"][0]["decision"], "3-7", "{status}");
    assert_eq!(status["replicas"], 3, "{status}");

    // A release of all that count goes round it.
    rig.release(SET, NEW);
    rig.wait_status("the release succeeding", SET, |status| {
        status["release"]["phase"] == "Succeeded" && status["updatedReadyReplicas"] == 3
    });
    let left_alone = pod(rig, "moves-1");
    assert_eq!(uid_of(&left_alone), uid_of(&original));
    assert_eq!(
        (image(&left_alone, 0), restarts(&left_alone)),
        (OLD, vec![0])
    );
    assert!(is_ready(&left_alone), "{left_alone}");

    // It counts again: the one in its place goes, though that one has the new image already.
    mark(rig, "moves-1", None);
    let back = rig.wait_released((SET, 3), NEW);
    let back: Vec<_> = back.iter().map(|pod| (name_of(pod), uid_of(pod))).collect();
    let was: Vec<_> = before
        .iter()
        .map(|pod| (name_of(pod), uid_of(pod)))
        .collect();
    assert_eq!(back, was);

    // Another is ended when its replacement serves, which stays where it is.
    mark(rig, "moves-0", Some("3-9"));
    rig.wait_pods("another beside it", (SET, 4), is_ready);
    kubectl(
        &rig.api,
        &["delete", "pod", "moves-0", "-n", "shop", "--wait=false"],
    );
    rig.wait_pods("ended", (SET, 3), is_ready);
    rig.wait_status("nobody who does not count", SET, |status| {
        status["softEvictedReplicas"].is_null() && status["availableReplicas"] == 3
    });
    assert_eq!(names(rig), ["moves-1", "moves-2", "moves-3"]);
}
