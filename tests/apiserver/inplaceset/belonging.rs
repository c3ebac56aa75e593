//! Whose a Pod, a revision, a request is: what nobody has is taken, what has other labels is let go, what is somebody else's is not
//! touched, and what was a set's goes with it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::NEW;
use super::judge::{gate as gate_of, identity, is_ready, restarts, state};
use super::life::{OLD, first_drained, name_of, owner_of, serve, uid_of};
use super::middle::write_status;
use super::rig::{Rig, set};
use crate::shipped::{NAMESPACE, kubectl};

/// A Pod that no set made.
fn pod(name: &str, app: &str, owners: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "labels": {"app": app}, "ownerReferences": owners,
        },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "app", "image": OLD}],
        },
    })
}

/// An orphan with the labels of a set, and a Pod with those of another that is somebody's. The orphan.
pub(super) fn make_pods_of_others(rig: &Rig) -> Arc<Value> {
    rig.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "boss", "namespace": "shop"},
    }));
    let words = ["get", "configmap", "boss", "-n", "shop"];
    let boss = rig.api.kubectl_json(&words).unwrap();
    let owner = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "boss", "uid": uid_of(&boss), "controller": true,
    }]);
    rig.apply(&pod("foreign-1", "foreign", &owner));
    rig.apply(&pod("adopts-0", "adopts", &json!([])));
    let mut nobodys = pod("nobodys-0", "nobodys", &json!([]));
    nobodys["spec"]["readinessGates"] = json!([{"conditionType": "berth.dev/ServiceReady"}]);
    rig.apply(&nobodys);
    rig.wait_pods("running", ("foreign", 1), is_ready);
    rig.wait_pods("running", ("adopts", 1), is_ready).remove(0)
}

pub(super) fn all_serve(rig: &Rig) {
    for (name, count) in [("loses", 2), ("heir", 2), ("vanishes", 2), ("left", 2)] {
        serve(rig, name, count);
    }
    for name in ["clash", "restarted"] {
        rig.wait_pods("ready", (name, 1), is_ready);
    }
}

/// What takes time by itself.
pub(super) fn begin(rig: &Rig) {
    rig.release("vanishes", "localhost/app:vanishes");
    rig.release("left", NEW);
    hold_for_nobody(rig);
    let annotations = json!({"berth.dev/restarted-at": "now"});
    let template = json!({"metadata": {"annotations": annotations}});
    rig.patch("restarted", &json!({"spec": {"template": template}}));
}

/// Nothing of the controllers is in any version of it.
#[track_caller]
fn assert_never_touched(rig: &Rig, name: &str) {
    for seen in rig.record.pod(name) {
        let managers = seen.object["metadata"]["managedFields"].as_array();
        let by_us = managers.into_iter().flatten().any(|entry| {
            let manager = entry["manager"].as_str().unwrap_or_default();
            manager.starts_with("berth-")
        });
        assert!(!by_us && !seen.gone, "{name}: {}", seen.object);
    }
}

pub(super) fn orphan_is_adopted_and_others_pods_are_not_touched(rig: &Rig, orphan: &Value) {
    let adopts = rig.record.set("adopts").unwrap();
    let pods = rig.wait_pods("of the set", ("adopts", 2), |pod| {
        is_ready(pod) && owner_of(pod) == Some(uid_of(&adopts))
    });
    assert_eq!(identity(&pods[0]), identity(orphan));
    assert_eq!(restarts(&pods[0]), [0]);

    // A name that is taken is said, with whose it is.
    rig.wait_status("whose the Pod is", "foreign", |status| {
        let conditions = status["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let told = conditions.find(|it| it["type"] == "ReplicaFailure");
        told.is_some_and(|it| {
            let text = it["message"].as_str().unwrap_or_default();
            it["status"] == "True" && text.contains("foreign-1") && text.contains("ConfigMap boss")
        })
    });
    let foreign = rig.record.set("foreign").unwrap();
    let first = rig.record.live("foreign-0").unwrap();
    assert_eq!(owner_of(&first), Some(uid_of(&foreign)));
    // Nor when the set goes.
    kubectl(&rig.api, &["delete", "inplaceset", "foreign", "-n", "shop"]);
    rig.wait_pods("the set's own gone", ("foreign", 1), is_ready);
    assert_never_touched(rig, "foreign-1");
}

pub(super) fn pod_that_is_labelled_otherwise_is_let_go_and_another_comes(rig: &Rig) {
    let before = rig.record.live("loses-0").unwrap();
    let words = [
        "label",
        "pod",
        "loses-0",
        "-n",
        "shop",
        "app=elsewhere",
        "--overwrite",
    ];
    kubectl(&rig.api, &words);
    // Its name is still taken: the next number comes.
    let pods = serve(rig, "loses", 2);
    let names: Vec<&str> = pods.iter().map(|pod| name_of(pod)).collect();
    assert_eq!(names, ["loses-1", "loses-2"]);
    kubectl(&rig.api, &["delete", "inplaceset", "loses", "-n", "shop"]);
    rig.wait_pods("its Pods gone", ("loses", 0), |_| true);
    let after = rig.record.live("loses-0").unwrap();
    assert_eq!(identity(&after), identity(&before));
    assert_eq!((owner_of(&after), state(&after)), (None, None));
    assert_eq!((gate_of(&after), restarts(&after)), (Some("True"), vec![0]));
}

/// By `--cascade=orphan` and a set of the same name and another image: no Pod is made anew for it.
pub(super) fn pods_outlive_their_set_and_are_upgraded_by_the_next(rig: &Rig) {
    let before = rig.record.pods("heir");
    let former = rig.record.set("heir").unwrap();
    let words = [
        "delete",
        "inplaceset",
        "heir",
        "-n",
        "shop",
        "--cascade=orphan",
    ];
    kubectl(&rig.api, &words);
    rig.wait_pods("nobody's", ("heir", 2), |pod| owner_of(pod).is_none());
    let mut spec = json!({"lossless": super::lossless(0)});
    spec["template"] = former["spec"]["template"].clone();
    spec["template"]["spec"]["containers"][0]["image"] = NEW.into();
    rig.apply(&set("heir", 2, &spec));
    let after = rig.wait_released(("heir", 2), NEW);
    let heir = rig.record.set("heir").unwrap();
    assert_ne!(uid_of(&heir), uid_of(&former));
    for (pod, before) in after.iter().zip(&before) {
        assert_eq!(identity(pod), identity(before));
        assert_eq!(owner_of(pod), Some(uid_of(&heir)));
        assert_eq!(restarts(pod), [1]);
    }
    let revisions = revisions(rig, "heir");
    assert_eq!(revisions.len(), 2);
    for revision in revisions {
        assert_eq!(owner_of(&revision), Some(uid_of(&heir)), "{revision}");
    }
}

fn revisions(rig: &Rig, set: &str) -> Vec<Value> {
    let words = ["get", "controllerrevisions", "-n", "shop"];
    let all = rig.api.kubectl_json(&words).unwrap();
    let all = all["items"].as_array().cloned().unwrap_or_default();
    let stem = format!("{set}-");
    let of_set = all.into_iter();
    of_set.filter(|it| name_of(it).starts_with(&stem)).collect()
}

/// Somebody else's object has the name that a revision would have.
pub(super) fn name_of_a_revision_that_is_taken_gives_another(rig: &Rig) {
    let first = revisions(rig, "clash").remove(0);
    kubectl(&rig.api, &["delete", "inplaceset", "clash", "-n", "shop"]);
    rig.wait("nothing left of clash", || {
        let left = (
            rig.record.pods("clash").len(),
            revisions(rig, "clash").len(),
        );
        if left == (0, 0) {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
    let name = name_of(&first).to_owned();
    rig.apply(&json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {"name": name, "namespace": "shop"}, "data": {"of": "somebody"}, "revision": 7,
    }));
    rig.apply(&set("clash", 1, &json!({})));
    let told = rig.wait_status("another name", "clash", |status| {
        status["collisionCount"] == 1 && status["readyReplicas"] == 1
    });
    let hash = told["status"]["updateRevision"].as_str().unwrap();
    assert_ne!(format!("clash-{hash}"), name);
    let all = revisions(rig, "clash");
    let of_others = all.iter().find(|it| name_of(it) == name).unwrap();
    assert_eq!(of_others["data"], json!({"of": "somebody"}));
    assert_eq!((owner_of(of_others), all.len()), (None, 2));
}

/// As a set that is gone left it: out of service, for a set that is not there.
fn hold_for_nobody(rig: &Rig) {
    rig.wait_pods("ready", ("nobodys", 1), is_ready);
    let holders = json!([{"holder": "InPlaceSet/gone-for-good", "since": "2026-01-01T00:00:00Z"}]);
    let gate = json!({"type": "berth.dev/ServiceReady", "status": "False", "message": holders.to_string()});
    let annotations = json!({"berth.dev/lossless": "{}"});
    let patch = json!({"metadata": {"annotations": annotations}, "status": {"conditions": [gate]}});
    write_status(rig, "nobodys-0", &patch.to_string()).unwrap();
    rig.wait("it being held", || {
        let row = rig.record.pod("nobodys-0");
        let is_held = row
            .iter()
            .any(|seen| gate_of(&seen.object) == Some("False"));
        if is_held {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    });
}

pub(super) fn pod_that_is_held_for_nobody_is_given_back(rig: &Rig) {
    let pod = rig.wait_pods("given back", ("nobodys", 1), |pod| {
        is_ready(pod) && gate_of(pod) == Some("True")
    });
    let said = &pod[0]["metadata"]["annotations"]["berth.dev/lossless"];
    assert_eq!((said, owner_of(&pod[0])), (&Value::Null, None));
}

/// Their set was deleted in the middle of a drain, without them.
pub(super) fn pods_that_outlive_their_set_in_the_middle_serve(rig: &Rig) {
    let pods = rig.wait_pods("in service", ("left", 2), |pod| {
        owner_of(pod).is_none() && is_ready(pod) && state(pod).is_none()
    });
    for pod in pods {
        assert_eq!(restarts(&pod), [0]);
    }
}

/// Requests to restart containers of a set.
fn requests(rig: &Rig) -> usize {
    let words = ["get", "containerrestarts", "-n", "shop", "-o", "name"];
    let all = kubectl(&rig.api, &words);
    let of_set = all.lines().filter(|line| line.contains("/restarted-"));
    of_set.count()
}

/// Whether any node is asked for the image of a set.
fn is_asked(rig: &Rig) -> bool {
    let words = ["get", "imagepulls", "-n", NAMESPACE];
    let all = rig.api.kubectl_json(&words).unwrap();
    let mut all = all["items"].as_array().into_iter().flatten();
    all.any(|pull| {
        let images = pull["spec"]["images"].to_string();
        images.contains("localhost/app:vanishes")
    })
}

/// One with a Pod out of service, one with a request that is done.
pub(super) fn sets_are_deleted_in_the_middle(rig: &Rig) {
    rig.wait_pods("restarted", ("restarted", 1), |pod| {
        is_ready(pod) && restarts(pod) == [1]
    });
    first_drained(rig, "vanishes");
    first_drained(rig, "left");
    let orphaning = [
        "delete",
        "inplaceset",
        "left",
        "-n",
        "shop",
        "--cascade=orphan",
    ];
    kubectl(&rig.api, &orphaning);
    assert_eq!((requests(rig), is_asked(rig)), (1, true));
    for name in ["vanishes", "restarted"] {
        kubectl(&rig.api, &["delete", "inplaceset", name, "-n", "shop"]);
    }
}

/// Pods, revisions, requests, and what nodes were asked for.
pub(super) fn sets_that_are_deleted_leave_nothing(rig: &Rig) {
    rig.wait("nothing left of both", || {
        let sets = ["vanishes", "restarted"];
        let pods = sets.map(|set| rig.record.pods(set).len());
        let kept = sets.map(|set| revisions(rig, set).len());
        let left = (pods, kept, requests(rig), is_asked(rig));
        if left == ([0, 0], [0, 0], 0, false) {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
}
