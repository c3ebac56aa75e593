//! Whose Pods and revisions are whose, and what happens in the middle of releases: one API server, sets side by side.

use serde_json::{Value, json};

use super::judge::{
    ENDPOINTS, assert_never_patched_in_service, gate, image, is_ready, protections, restarts, state,
};
use super::record::Seen;
use super::rig::{Rig, set};
use super::{NEW, belonging, lossless, middle, soft};
use crate::shipped::kubectl;

/// The image that everything begins with.
pub(super) const OLD: &str = "localhost/app:v1";

/// Fake kubelets that replace no sidecar: nothing else of them is different.
const KUBELET: &str = "v1.31.9";

#[test]
fn sets_take_and_leave_what_is_theirs_and_releases_end_whatever_happens_in_the_middle() {
    let rig = Rig::start("api_inplaceset_life", 19_660);
    for number in 1..=6 {
        let status = json!({"status": {"nodeInfo": {"kubeletVersion": KUBELET}}}).to_string();
        let node = format!("n{number}");
        let words = [
            "patch",
            "node",
            &node,
            "--subresource=status",
            "-p",
            &status,
        ];
        kubectl(&rig.api, &words);
    }
    let orphan = belonging::make_pods_of_others(&rig);
    make(&rig);
    let before = middle::Before::new(&rig);
    belonging::all_serve(&rig);

    // What waits for a time of its own is begun first.
    belonging::begin(&rig);
    middle::begin(&rig);
    belonging::sets_are_deleted_in_the_middle(&rig);
    belonging::orphan_is_adopted_and_others_pods_are_not_touched(&rig, &orphan);
    belonging::pod_that_is_labelled_otherwise_is_let_go_and_another_comes(&rig);
    belonging::pod_that_is_held_for_nobody_is_given_back(&rig);
    belonging::pods_outlive_their_set_and_are_upgraded_by_the_next(&rig);
    belonging::name_of_a_revision_that_is_taken_gives_another(&rig);
    soft::soft_evicted_pods_are_replaced_left_alone_and_taken_back(&rig);
    middle::check(&rig, &before);
    belonging::sets_that_are_deleted_leave_nothing(&rig);
    belonging::pods_that_outlive_their_set_in_the_middle_serve(&rig);
    // The last: others' Pods are on that node too.
    middle::node_that_is_lost_in_the_middle_loses_nothing(&rig);
    let patched = assert_never_patched_in_service(
        &rig.record,
        &[
            "gone", "evicted", "failed", "unlisted", "grows", "changes", "pair", "held", "heir",
            "lost", "vanishes", "moves",
        ],
    );
    assert!(patched >= 12, "{patched}");
    assert_eq!(rig.nodes.trouble(), Vec::<String>::new());
}

fn make(rig: &Rig) {
    // In one call.
    let mut all = json!({"apiVersion": "v1", "kind": "List", "items": []});
    for (name, replicas, spec) in [
        ("adopts", 2, json!({"upgradePolicy": "InPlaceOnly"})),
        ("foreign", 2, json!({})),
        ("loses", 2, json!({"lossless": lossless(0)})),
        ("heir", 2, json!({"lossless": lossless(0)})),
        ("clash", 1, json!({})),
        ("vanishes", 2, json!({"lossless": lossless(600)})),
        ("restarted", 1, json!({})),
        ("gone", 2, json!({"lossless": lossless(3)})),
        ("evicted", 2, json!({"lossless": lossless(3)})),
        ("failed", 2, json!({"lossless": lossless(3)})),
        ("unlisted", 2, json!({"lossless": lossless(3)})),
        ("left", 2, json!({"lossless": lossless(600)})),
        ("grows", 2, json!({"lossless": lossless(2)})),
        ("changes", 3, json!({"lossless": lossless(2)})),
        ("pair", 1, of_containers(&super::two())),
        ("held", 1, json!({"lossless": lossless(0)})),
        ("anew", 2, json!({"lossless": lossless(0)})),
        ("mesh", 1, with_sidecar("localhost/mesh:v1")),
        ("lost", 3, json!({"lossless": lossless(3)})),
        ("moves", 3, json!({"lossless": lossless(0)})),
    ] {
        let made = set(name, replicas, &spec);
        let items = made["items"].as_array().unwrap();
        let all = all["items"].as_array_mut().unwrap();
        all.extend(items.iter().cloned());
    }
    rig.apply(&all);
}

fn of_containers(containers: &Value) -> Value {
    json!({"lossless": lossless(0), "template": {"spec": {"containers": containers}}})
}

pub(super) fn with_sidecar(image: &str) -> Value {
    let sidecar = json!([{"name": "mesh", "image": image, "restartPolicy": "Always"}]);
    json!({"lossless": lossless(0), "template": {"spec": {"initContainers": sidecar}}})
}

/// Until all Pods of a set are ready and protected.
pub(super) fn serve(rig: &Rig, set: &str, count: usize) -> Vec<std::sync::Arc<Value>> {
    rig.wait_pods("protected", (set, count), |pod| {
        is_ready(pod) && protections(pod) == [ENDPOINTS] && state(pod).is_none()
    })
}

/// Until a Pod of a set is out of service and has its old image.
pub(super) fn first_drained(rig: &Rig, set: &str) -> std::sync::Arc<Value> {
    rig.wait(&format!("{set}: a Pod out of service"), || {
        let pods = rig.record.pods(set);
        let mut states = pods
            .iter()
            .filter(|pod| gate(pod) == Some("False") && image(pod, 0) == OLD);
        let first = states.next().cloned();
        first.ok_or_else(|| {
            format!(
                "{:?}",
                pods.iter().map(|pod| state(pod)).collect::<Vec<_>>()
            )
        })
    })
}

pub(super) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

pub(super) fn uid_of(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// The UID of who controls an object.
pub(super) fn owner_of(object: &Value) -> Option<&str> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|it| it["controller"] == true)?;
    owner["uid"].as_str()
}

/// How often a Pod of this UID got another image.
pub(super) fn image_changes(row: &[Seen], uid: &str) -> u64 {
    let of_it = row.iter().filter(|seen| uid_of(&seen.object) == uid);
    let mut images: Vec<&str> = of_it.map(|seen| image(&seen.object, 0)).collect();
    images.dedup();
    images.len() as u64 - 1
}

/// Each container was restarted once a release that it went through.
#[track_caller]
pub(super) fn assert_one_restart_a_release(rig: &Rig, pods: &[std::sync::Arc<Value>]) {
    for pod in pods {
        let changes = image_changes(&rig.record.pod(name_of(pod)), uid_of(pod));
        assert_eq!(restarts(pod), [changes], "{pod}");
    }
}

/// The release that everything goes through.
pub(super) fn release(rig: &Rig, sets: &[&str]) {
    for set in sets {
        rig.release(set, NEW);
    }
}
