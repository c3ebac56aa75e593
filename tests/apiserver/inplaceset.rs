//! `InPlaceSet`s as whoever uses them sees them: real controllers with the shipped rights, a real API server with Kubernetes' own
//! `EndpointSlice` controller, and fake nodes. Judged by objects only, most of it by the record of everything the API server told.
//!
//! The scenarios are those of `inplace-release.md` 6, by their numbers there; sets that do not disturb each other run side by side.

mod balancer;
mod belonging;
pub(crate) mod judge;
pub(crate) mod leader;
mod life;
mod middle;
pub(crate) mod record;
pub(crate) mod rig;
mod soft;
mod stale;

use serde_json::{Value, json};
use tests_fake_node::{Fault, Of};

use self::balancer::{BALANCER, Mood, tend};
use self::judge::{
    ENDPOINTS, assert_never_patched_in_service, assert_order, gate, identity, ids, image, is_ready,
    protections, restarts, state,
};
use self::rig::{Rig, set};
use crate::shipped::kubectl;

const NEW: &str = "localhost/app:v2";

/// Led away and back by Berth's own protection controller alone.
fn lossless(quiet_seconds: u32) -> Value {
    json!({"quietSeconds": quiet_seconds, "protections": [ENDPOINTS]})
}

/// The same, and by a load balancer.
fn balanced(drain_timeout_seconds: u32) -> Value {
    json!({
        "quietSeconds": 0, "drainTimeoutSeconds": drain_timeout_seconds,
        "protections": [ENDPOINTS, BALANCER],
    })
}

/// Two containers.
fn two() -> Value {
    json!([
        {"name": "app", "image": "localhost/app:v1"}, {"name": "side", "image": "localhost/side:v1"},
    ])
}

#[test]
fn releases_in_place_lose_nothing_and_end_or_say_whom_they_wait_for() {
    let rig = Rig::start("api_inplaceset", 19_600);
    make(&rig);
    unregistered_pod_does_not_count(&rig);
    let begun = all_serve(&rig);

    // Everything that takes time by itself is begun first.
    for name in ["order", "paused", "rollback", "stuck", "scaled"] {
        rig.release(name, NEW);
    }
    rig.nodes.alias("localhost/app:one", "localhost/app:v1");
    rig.release("same", "localhost/app:one");
    rig.nodes
        .break_it(Of::Image("localhost/app:bad".to_owned()), Fault::NoImage);
    rig.release("bad", "localhost/app:bad");
    rig.nodes.break_it(
        Of::Image("localhost/app:hangs".to_owned()),
        Fault::NeverReady,
    );
    rig.release("exhausted", "localhost/app:hangs");

    paused_release_goes_no_further(&rig);
    image_and_label_are_one_restart(&rig);
    bad_image_drains_nobody(&rig);
    half_drained_pods_return(&rig);
    pod_that_cannot_be_drained_serves_again(&rig);
    scaled_in_pod_is_never_upgraded(&rig);
    bad_pods_use_the_budget_up(&rig);
    restarts_in_place(&rig);

    let after = rig.wait_released(("order", 3), NEW);
    for (pod, before) in after.iter().zip(&begun) {
        assert_eq!(identity(pod), identity(before));
        assert_eq!(restarts(pod), [1]);
        assert_ne!(ids(pod), ids(before));
        let name = pod["metadata"]["name"].as_str().unwrap();
        assert_order(&rig.record, name, version(before), 1.5);
    }
    // The same digest under another name is another container all the same.
    let same = rig.wait_released(("same", 1), "localhost/app:one");
    assert_eq!(restarts(&same[0]), [1]);

    paused_release_goes_on(&rig);
    deleted_pod_comes_back_at_its_revision(&rig);
    deleted_set_leaves_nothing(&rig);
    let patched = assert_never_patched_in_service(
        &rig.record,
        &[
            "order", "same", "both", "paused", "rollback", "stuck", "scaled", "bad",
        ],
    );
    assert!(patched >= 3 + 1 + 1 + 4, "{patched}");
    assert_eq!(rig.nodes.trouble(), Vec::<String>::new());
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

fn make(rig: &Rig) {
    let all = json!({"maxUnavailable": "100%"});
    let env = json!([{
        "name": "app", "image": "localhost/app:v1",
        "env": [{"name": "TIER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['tier']"}}}],
    }]);
    for (name, replicas, spec) in [
        ("order", 3, json!({"lossless": lossless(3)})),
        ("same", 1, json!({"lossless": lossless(0)})),
        (
            "both",
            1,
            json!({"lossless": lossless(0), "template": {
                "metadata": {"labels": {"tier": "gold"}}, "spec": {"containers": env},
            }}),
        ),
        ("twice", 1, json!({})),
        (
            "bad",
            3,
            json!({"lossless": lossless(0), "template": {"spec": {"containers": two()}}}),
        ),
        ("paused", 4, json!({"lossless": lossless(0)})),
        (
            "scaled",
            3,
            json!({"lossless": balanced(600), "maxUnavailable": all["maxUnavailable"]}),
        ),
        ("stuck", 3, json!({"lossless": balanced(2)})),
        (
            "unregistered",
            1,
            json!({"lossless": {"protections": ["protection.berth.dev/dns"]}}),
        ),
        (
            "rollback",
            4,
            json!({"lossless": balanced(600), "maxUnavailable": 2}),
        ),
        ("exhausted", 4, json!({"maxUnavailable": 2})),
    ] {
        rig.apply(&set(name, replicas, &spec));
    }
}

/// 7: whose protection was never put is not released.
fn unregistered_pod_does_not_count(rig: &Rig) {
    rig.wait_status("a ready Pod", "unregistered", |status| {
        status["readyReplicas"] == 1
    });
    let pod = rig
        .wait_pods("ready", ("unregistered", 1), is_ready)
        .remove(0);
    assert_eq!(protections(&pod), Vec::<&str>::new());
    let object = rig.record.set("unregistered").unwrap();
    assert_eq!(
        object["status"]["updatedReadyReplicas"], 0,
        "{}",
        object["status"]
    );
    let patch = json!({"metadata": {"finalizers": ["protection.berth.dev/dns"]}});
    rig.merge("pod", "unregistered-0", &patch);
    rig.wait_status("it counting", "unregistered", |status| {
        status["updatedReadyReplicas"] == 1
    });
}

/// Until every Pod serves: ready, with all its protections. The Pods of `order`.
fn all_serve(rig: &Rig) -> Vec<std::sync::Arc<Value>> {
    for (name, count) in [("scaled", 3), ("stuck", 3), ("rollback", 4)] {
        rig.wait(&format!("{name} served by the load balancer"), || {
            tend(rig, name, Mood::Clings);
            let pods = rig.record.pods(name);
            let done = pods
                .iter()
                .filter(|pod| protections(pod).len() == 2)
                .count();
            if done == count {
                Ok(())
            } else {
                Err(format!("{done} of {count}"))
            }
        });
    }
    for (name, count) in [("twice", 1), ("exhausted", 4)] {
        rig.wait_pods("ready", (name, count), is_ready);
    }
    for (name, count) in [("same", 1), ("both", 1), ("bad", 3), ("paused", 4)] {
        rig.wait_pods("protected", (name, count), |pod| {
            is_ready(pod) && protections(pod) == [ENDPOINTS]
        });
    }
    rig.wait_pods("protected", ("order", 3), |pod| {
        is_ready(pod) && protections(pod) == [ENDPOINTS]
    })
}

/// 5, first half: a Pod under way is finished, and no other is begun.
fn paused_release_goes_no_further(rig: &Rig) {
    rig.wait("one Pod patched", || {
        let pods = rig.record.pods("paused");
        let patched = pods.iter().any(|pod| image(pod, 0) == NEW);
        if patched {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    });
    rig.patch("paused", &json!({"spec": {"paused": true}}));
    rig.wait_status("nothing under way", "paused", |status| {
        status["release"]["phase"] == "Paused"
            && status["readyReplicas"] == 4
            && status["updatedReadyReplicas"] == status["updatedReplicas"]
    });
}

/// 5, second half: all the time that the others took, nothing was begun.
fn paused_release_goes_on(rig: &Rig) {
    let object = rig.record.set("paused").unwrap();
    let updated = object["status"]["updatedReplicas"].as_u64().unwrap();
    assert!((1..4).contains(&updated), "{updated}");
    let pods = rig.record.pods("paused");
    for pod in &pods {
        // Images of the next may have been asked for already: that touches nobody.
        let is_idle = state(pod).is_none_or(|state| state == "PrePull");
        assert!(is_ready(pod) && is_idle, "{pod}");
    }
    let new = pods.iter().filter(|pod| image(pod, 0) == NEW).count();
    assert_eq!(new as u64, updated);
    rig.patch("paused", &json!({"spec": {"paused": false}}));
    for pod in rig.wait_released(("paused", 4), NEW) {
        assert_eq!(restarts(&pod), [1]);
    }
}

/// 2: an image and a label that a container's environment has are one restart.
fn image_and_label_are_one_restart(rig: &Rig) {
    let object = rig.record.set("both").unwrap();
    let mut template = object["spec"]["template"].clone();
    template["spec"]["containers"][0]["image"] = NEW.into();
    template["metadata"]["labels"]["tier"] = "silver".into();
    rig.patch("both", &json!({"spec": {"template": template}}));
    let pod = rig.wait_released(("both", 1), NEW).remove(0);
    assert_eq!(restarts(&pod), [1]);
    assert_eq!(pod["metadata"]["labels"]["tier"], "silver");
}

/// 4: an image that nobody has stops the release before anything else is touched.
fn bad_image_drains_nobody(rig: &Rig) {
    let object = rig.wait_status("the release being held", "bad", |status| {
        status["release"]["phase"] == "Held"
    });
    let told = object["status"]["release"].to_string();
    assert!(told.contains("localhost/app:bad"), "{told}");
    for pod in rig.record.pods("bad") {
        let name = pod["metadata"]["name"].as_str().unwrap();
        assert_eq!(restarts(&pod), [0, 0]);
        let served = rig
            .record
            .pod(name)
            .iter()
            .all(|seen| gate(&seen.object) != Some("False"));
        assert!(served, "{name} was held unready");
    }
    rig.release("bad", "localhost/app:v1");
    rig.wait_pods("nothing left of it", ("bad", 3), |pod| {
        is_ready(pod) && state(pod).is_none() && restarts(pod) == [0, 0]
    });
}

/// 25: Pods that are being drained return to service when their own revision is wanted again.
fn half_drained_pods_return(rig: &Rig) {
    rig.wait("half of them draining", || {
        let pods = rig.record.pods("rollback");
        let draining = pods.iter().filter(|pod| gate(pod) == Some("False")).count();
        if draining == 2 {
            Ok(())
        } else {
            Err(format!("{draining} draining"))
        }
    });
    rig.release("rollback", "localhost/app:v1");
    let pods = rig.wait_pods("back in service", ("rollback", 4), |pod| {
        is_ready(pod) && state(pod).is_none() && protections(pod).len() == 2
    });
    for pod in pods {
        assert_eq!(
            (restarts(&pod), image(&pod, 0)),
            (vec![0], "localhost/app:v1")
        );
    }
}

/// 22: a protection that never goes: the Pod serves again, the object says who was awaited, and no other Pod is begun.
fn pod_that_cannot_be_drained_serves_again(rig: &Rig) {
    let object = rig.wait_status("the release being held", "stuck", |status| {
        status["release"]["phase"] == "Held"
    });
    let told = object["status"]["release"].to_string();
    assert!(told.contains(BALANCER), "{told}");
    let pods = rig.wait_pods("all in service", ("stuck", 3), |pod| {
        is_ready(pod) && gate(pod) == Some("True")
    });
    let mut drained = 0;
    for pod in pods {
        assert_eq!(restarts(&pod), [0]);
        let row = rig.record.pod(pod["metadata"]["name"].as_str().unwrap());
        let was_held = row.iter().any(|seen| gate(&seen.object) == Some("False"));
        drained += u32::from(was_held);
    }
    assert_eq!(drained, 1);
}

/// 6: fewer Pods in the middle: those that go are drained, and never get the new image.
fn scaled_in_pod_is_never_upgraded(rig: &Rig) {
    rig.wait("all draining", || {
        let pods = rig.record.pods("scaled");
        let draining = pods.iter().filter(|pod| gate(pod) == Some("False")).count();
        if draining == 3 {
            Ok(())
        } else {
            Err(format!("{draining} draining"))
        }
    });
    let words = [
        "scale",
        "inplaceset",
        "scaled",
        "-n",
        "shop",
        "--replicas=1",
    ];
    kubectl(&rig.api, &words);
    rig.wait_status("the smaller number", "scaled", |_| true);
    rig.wait("two Pods gone and one released", || {
        tend(rig, "scaled", Mood::Well);
        let pods = rig.record.pods("scaled");
        let is_done =
            pods.len() == 1 && image(&pods[0], 0) == NEW && protections(&pods[0]).len() == 2;
        if is_done {
            Ok(())
        } else {
            Err(format!("{pods:?}"))
        }
    });
    for (name, row) in rig.record.all_pods() {
        let last = row.last().unwrap();
        if name.starts_with("scaled-") && last.gone {
            let was_new = row.iter().any(|seen| image(&seen.object, 0) == NEW);
            assert!(!was_new, "{name}");
        }
    }
}

/// 28: Pods that never come up use the budget up; the way back is open for them.
fn bad_pods_use_the_budget_up(rig: &Rig) {
    let hangs = |pod: &&std::sync::Arc<Value>| image(pod, 0) == "localhost/app:hangs";
    rig.wait("two Pods hanging", || {
        let pods = rig.record.pods("exhausted");
        let hanging = pods.iter().filter(hangs).filter(|pod| restarts(pod) == [1]);
        if hanging.count() == 2 {
            Ok(())
        } else {
            Err(format!("{pods:?}"))
        }
    });
    let object = rig.wait_status("two ready ones", "exhausted", |status| {
        status["readyReplicas"] == 2
    });
    assert_eq!(
        object["status"]["updatedReadyReplicas"], 0,
        "{}",
        object["status"]
    );
    rig.release("exhausted", "localhost/app:v1");
    let pods = rig.wait_pods("all back", ("exhausted", 4), |pod| {
        is_ready(pod) && image(pod, 0) == "localhost/app:v1" && state(pod).is_none()
    });
    let mut all: Vec<u64> = pods.iter().flat_map(|pod| restarts(pod)).collect();
    all.sort_unstable();
    assert_eq!(all, [0, 0, 2, 2]);
}

/// 26: restarts of one image are held back by kubelet, and the request says until when; another image is not held back.
fn restarts_in_place(rig: &Rig) {
    for (count, word) in [(1, "one"), (2, "two")] {
        let annotations = json!({"berth.dev/restarted-at": word});
        rig.patch(
            "twice",
            &json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}),
        );
        rig.wait_status("the restart being over", "twice", |status| {
            status["release"]["phase"] == "Succeeded" && status["updatedReadyReplicas"] == 1
        });
        rig.wait_pods("restarted", ("twice", 1), |pod| {
            is_ready(pod) && restarts(pod) == [count]
        });
    }
    let held_back = |row: &[record::Seen]| {
        let reason = "/status/containerStatuses/0/state/waiting/reason";
        row.iter()
            .filter(|it| it.object.pointer(reason) == Some(&"CrashLoopBackOff".into()))
            .count()
    };
    let before = rig.record.pod("twice-0");
    assert!(held_back(&before) > 0);
    rig.release("twice", NEW);
    let pod = rig.wait_released(("twice", 1), NEW).remove(0);
    assert_eq!(restarts(&pod), [3]);
    assert_eq!(held_back(&rig.record.pod("twice-0")), held_back(&before));
}

/// A Pod that somebody deletes comes back under its name, at the revision that was released, with its address.
fn deleted_pod_comes_back_at_its_revision(rig: &Rig) {
    let before = rig.record.live("order-1").unwrap();
    kubectl(
        &rig.api,
        &["delete", "pod", "order-1", "-n", "shop", "--wait=false"],
    );
    let pod = rig.wait("another order-1", || {
        let pod = rig.record.live("order-1").ok_or("gone")?;
        let is_new = pod["metadata"]["uid"] != before["metadata"]["uid"];
        if is_new && is_ready(&pod) {
            Ok(pod)
        } else {
            Err(pod.to_string())
        }
    });
    assert_eq!(image(&pod, 0), NEW);
    assert_eq!(pod["status"]["podIP"], before["status"]["podIP"]);
}

/// Everything that was a set's goes with it.
fn deleted_set_leaves_nothing(rig: &Rig) {
    kubectl(
        &rig.api,
        &["delete", "inplaceset", "exhausted", "-n", "shop"],
    );
    rig.wait("nothing left of it", || {
        let pods = rig.record.pods("exhausted").len();
        let words = ["get", "controllerrevisions", "-n", "shop", "-o", "name"];
        let revisions = kubectl(&rig.api, &words);
        let left = revisions
            .lines()
            .filter(|line| line.contains("/exhausted-"))
            .count();
        if pods + left == 0 {
            Ok(())
        } else {
            Err(format!("{pods} Pods, {left} revisions"))
        }
    });
}
