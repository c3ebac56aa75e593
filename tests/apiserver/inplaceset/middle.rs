//! What happens in the middle of a release: a Pod is deleted or evicted, its node is lost, there are to be more Pods, the template is
//! another one; somebody else holds a Pod; and what cannot be in place.

use std::sync::Arc;

use serde_json::{Value, json};

use super::NEW;
use super::judge::{gate, identity, image, is_ready, restarts};
use super::life::{
    OLD, assert_one_restart_a_release, first_drained, name_of, release, serve, uid_of, with_sidecar,
};
use super::rig::Rig;
use crate::shipped::kubectl;

/// Who holds a Pod besides, as an agent writes it.
const HOLDER: &str = "ContainerRestart/somebodys";

/// Pods as they were before anything began.
pub(super) struct Before {
    pair: Arc<Value>,
    anew: Vec<Arc<Value>>,
    mesh: Arc<Value>,
}

impl Before {
    /// When all serve.
    pub(super) fn new(rig: &Rig) -> Self {
        for (name, count) in [
            ("gone", 2),
            ("evicted", 2),
            ("failed", 2),
            ("unlisted", 2),
            ("grows", 2),
            ("changes", 3),
            ("held", 1),
            ("lost", 3),
        ] {
            serve(rig, name, count);
        }
        Self {
            pair: serve(rig, "pair", 1).remove(0),
            anew: serve(rig, "anew", 2),
            mesh: serve(rig, "mesh", 1).remove(0),
        }
    }
}

pub(super) fn begin(rig: &Rig) {
    hold(rig);
    let both = json!([
        {"name": "app", "image": NEW}, {"name": "side", "image": "localhost/side:v2"},
    ]);
    let template = json!({"spec": {"containers": both}});
    rig.patch("pair", &json!({"spec": {"template": template}}));
    let mut template = rig.record.set("anew").unwrap()["spec"]["template"].clone();
    template["spec"]["containers"][0]["env"] = json!([{"name": "MODE", "value": "2"}]);
    rig.patch("anew", &json!({"spec": {"template": template}}));
    let sidecar = with_sidecar("localhost/mesh:v2");
    rig.patch("mesh", &json!({"spec": {"template": sidecar["template"]}}));
}

pub(super) fn check(rig: &Rig, before: &Before) {
    // Each right after its release began.
    let gone = ["gone", "evicted", "failed"].map(|set| {
        release(rig, &[set]);
        (set, pod_goes_in_the_middle(rig, set))
    });
    release(rig, &["unlisted"]);
    let listed = node_object_goes_and_comes_back(rig);
    release(rig, &["grows"]);
    there_are_to_be_more_in_the_middle(rig);
    release(rig, &["changes"]);
    template_that_changes_in_the_middle_is_what_comes_out(rig);
    for (set, pod) in gone {
        pod_that_went_in_the_middle_came_back(rig, set, &pod);
    }
    pods_of_a_node_that_was_not_listed_stay(rig, &listed);
    more_pods_have_the_new_image_at_once(rig);
    two_containers_at_once_are_one_restart_each(rig, before);
    pod_that_somebody_else_holds_is_waited_for(rig);
    what_cannot_be_in_place_says_why(rig, before);
}

/// Somebody deletes the Node of a machine that runs on, and its kubelet makes it anew. The Pods as they were.
fn node_object_goes_and_comes_back(rig: &Rig) -> Vec<Arc<Value>> {
    let pods = rig.record.pods("unlisted");
    let pod = first_drained(rig, "unlisted");
    let name = pod["spec"]["nodeName"].as_str().unwrap();
    let node = rig.api.kubectl_json(&["get", "node", name]).unwrap();
    kubectl(&rig.api, &["delete", "node", name]);
    let labels = &node["metadata"]["labels"];
    rig.apply(&json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
    }));
    let status = json!({"status": node["status"]}).to_string();
    let words = [
        "patch",
        "node",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    kubectl(&rig.api, &words);
    pods
}

/// What runs there is what it was, and is released as always.
fn pods_of_a_node_that_was_not_listed_stay(rig: &Rig, before: &[Arc<Value>]) {
    let after = rig.wait_released(("unlisted", 2), NEW);
    for (pod, before) in after.iter().zip(before) {
        assert_eq!(identity(pod), identity(before));
        assert_eq!(restarts(pod), [1]);
    }
}

/// Deleted, or evicted by the API or by its kubelet, while its traffic is led away.
fn pod_goes_in_the_middle(rig: &Rig, set: &str) -> Arc<Value> {
    let pod = first_drained(rig, set);
    let name = name_of(&pod);
    if set == "evicted" {
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "shop"},
        });
        let path = format!("/api/v1/namespaces/shop/pods/{name}/eviction");
        let words = ["create", "--raw", &path, "-f", "-"];
        let said = rig.api.kubectl_with(&words, &eviction.to_string());
        said.unwrap().ok().unwrap();
    } else if set == "failed" {
        let failed =
            json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "memory"}});
        write_status(rig, name, &failed.to_string()).unwrap();
    } else {
        kubectl(
            &rig.api,
            &["delete", "pod", name, "-n", "shop", "--wait=false"],
        );
    }
    pod
}

/// The next one has the new image; the other is released as always.
fn pod_that_went_in_the_middle_came_back(rig: &Rig, set: &str, pod: &Value) {
    for after in rig.wait_released((set, 2), NEW) {
        let is_it = name_of(&after) == name_of(pod);
        assert_ne!(uid_of(&after), uid_of(pod));
        assert_eq!(restarts(&after), [u64::from(!is_it)], "{after}");
    }
}

fn there_are_to_be_more_in_the_middle(rig: &Rig) {
    first_drained(rig, "grows");
    let words = ["scale", "inplaceset", "grows", "-n", "shop", "--replicas=4"];
    kubectl(&rig.api, &words);
}

fn more_pods_have_the_new_image_at_once(rig: &Rig) {
    let pods = rig.wait_released(("grows", 4), NEW);
    assert_one_restart_a_release(rig, &pods);
    for pod in &pods[2..] {
        assert_eq!(restarts(pod), [0], "{pod}");
    }
}

fn template_that_changes_in_the_middle_is_what_comes_out(rig: &Rig) {
    const NEWER: &str = "localhost/app:v3";
    rig.wait("a Pod of the first of both", || {
        let pods = rig.record.pods("changes");
        let patched = pods.iter().any(|pod| image(pod, 0) == NEW);
        if patched {
            Ok(())
        } else {
            Err("none is patched".to_owned())
        }
    });
    rig.release("changes", NEWER);
    let pods = rig.wait_released(("changes", 3), NEWER);
    assert_one_restart_a_release(rig, &pods);
}

/// In one patch.
fn two_containers_at_once_are_one_restart_each(rig: &Rig, before: &Before) {
    let pod = rig.wait_released(("pair", 1), NEW).remove(0);
    assert_eq!(identity(&pod), identity(&before.pair));
    assert_eq!(restarts(&pod), [1, 1]);
    for seen in rig.record.pod("pair-0") {
        let images = (image(&seen.object, 0), image(&seen.object, 1));
        let is_whole = images == (OLD, "localhost/side:v1") || images == (NEW, "localhost/side:v2");
        assert!(is_whole, "{images:?}");
    }
}

fn hold(rig: &Rig) {
    let holder = json!([{"holder": HOLDER, "since": "2026-01-01T00:00:00Z"}]);
    let condition = json!({
        "type": "berth.dev/ServiceReady", "status": "False", "reason": "Held",
        "message": holder.to_string(), "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let patch = json!({"status": {"conditions": [condition]}}).to_string();
    write_status(rig, "held-0", &patch).unwrap();
    rig.wait_pods("unready", ("held", 1), |pod| !is_ready(pod));
    rig.release("held", NEW);
}

pub(super) fn write_status(rig: &Rig, pod: &str, patch: &str) -> Result<(), String> {
    let words = [
        "patch",
        "pod",
        pod,
        "-n",
        "shop",
        "--subresource=status",
        "-p",
        patch,
    ];
    let said = rig.api.kubectl(&words).map_err(|error| error.to_string())?;
    if said.success() {
        Ok(())
    } else {
        Err(said.stderr)
    }
}

/// 12, of two who hold one Pod: the release waits for the other, by name, and serves when both have left.
fn pod_that_somebody_else_holds_is_waited_for(rig: &Rig) {
    let object = rig.wait_status("who is waited for", "held", |status| {
        let text = status["release"]["waitsFor"].as_str().unwrap_or_default();
        text.contains(HOLDER)
    });
    let pod = rig.record.live("held-0").unwrap();
    assert_eq!(image(&pod, 0), OLD, "{object}");
    rig.wait("it leaving", || {
        let pod = rig.record.live("held-0").ok_or("no Pod")?;
        let conditions = pod["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let condition = conditions.find(|it| it["type"] == "berth.dev/ServiceReady");
        let mut condition = condition.ok_or("no gate")?.clone();
        let text = condition["message"].as_str().unwrap_or_default();
        let holders: Vec<Value> = serde_json::from_str(text).map_err(|it| it.to_string())?;
        let others: Vec<Value> = holders
            .into_iter()
            .filter(|it| it["holder"] != HOLDER)
            .collect();
        assert_eq!(others.len(), 1, "the set holds it too: {condition}");
        condition["message"] = json!(others).to_string().into();
        let version = &pod["metadata"]["resourceVersion"];
        let patch = json!({
            "metadata": {"resourceVersion": version}, "status": {"conditions": [condition]},
        });
        write_status(rig, "held-0", &patch.to_string())
    });
    let pod = rig.wait_released(("held", 1), NEW).remove(0);
    assert_eq!((gate(&pod), restarts(&pod)), (Some("True"), vec![1]));
}

/// In the status, and in an Event: a field of the template, and a sidecar where kubelet is too old for it.
fn what_cannot_be_in_place_says_why(rig: &Rig, before: &Before) {
    let why = "spec.containers[app].env";
    assert_made_anew(rig, ("anew", why), &before.anew);
    let mesh = [Arc::clone(&before.mesh)];
    assert_made_anew(
        rig,
        ("mesh", "kubelet replaces sidecars from 1.32 on"),
        &mesh,
    );
}

fn assert_made_anew(rig: &Rig, (set, why): (&str, &str), before: &[Arc<Value>]) {
    let pods = rig.wait_released((set, before.len()), OLD);
    for (pod, before) in pods.iter().zip(before) {
        let ([uid, node, ip], [old_uid, old_node, old_ip]) = (identity(pod), identity(before));
        assert_ne!(uid, old_uid);
        assert_eq!((node, ip), (old_node, old_ip));
    }
    let object = rig.record.set(set).unwrap();
    let conditions = object["status"]["conditions"].as_array().unwrap();
    let told = conditions.iter().find(|it| it["type"] == "InPlace");
    let told = told.unwrap_or_else(|| panic!("{conditions:?}"));
    assert_eq!(told["reason"], "MadeAnew");
    assert!(told["message"].as_str().unwrap().contains(why), "{told}");
    rig.wait(&format!("an Event of {set}"), || {
        let words = ["get", "events.events.k8s.io", "-n", "shop"];
        let events = rig.api.kubectl_json(&words);
        let events = events.map_err(|error| format!("{error:#}"))?;
        let of_set = |it: &&Value| it["regarding"]["name"] == set && it["reason"] == "PodsMadeAnew";
        let event = events["items"]
            .as_array()
            .into_iter()
            .flatten()
            .find(of_set);
        let note = event.and_then(|it| it["note"].as_str()).unwrap_or_default();
        if note.contains(why) {
            Ok(())
        } else {
            Err(format!("{note:?}"))
        }
    });
}

/// The Node and what was on it are gone: what is lost comes back elsewhere, and the release ends.
pub(super) fn node_that_is_lost_in_the_middle_loses_nothing(rig: &Rig) {
    release(rig, &["lost"]);
    let pod = first_drained(rig, "lost");
    let node = pod["spec"]["nodeName"].as_str().unwrap();
    rig.nodes.power_off(node);
    kubectl(&rig.api, &["delete", "node", node]);
    // As Kubernetes' own controllers do with Pods of a Node that is no more.
    for lost in rig.record.pods("lost") {
        if lost["spec"]["nodeName"] == node {
            let name = name_of(&lost);
            let words = [
                "delete",
                "pod",
                name,
                "-n",
                "shop",
                "--force",
                "--grace-period=0",
                "--wait=false",
            ];
            kubectl(&rig.api, &words);
        }
    }
    let pods = rig.wait_released(("lost", 3), NEW);
    assert_one_restart_a_release(rig, &pods);
    for pod in &pods {
        assert_ne!(pod["spec"]["nodeName"], node);
    }
    let again = pods.iter().find(|it| name_of(it) == name_of(&pod)).unwrap();
    assert_ne!(uid_of(again), uid_of(&pod));
}
