use serde_json::{Value, json};

use super::super::fixture::{release, set};
use super::*;

fn words(standing: &Standing) -> (&'static str, &str) {
    match standing {
        Standing::UnderWay(text) => ("under way", text),
        Standing::Succeeded(text) => ("succeeded", text),
        Standing::Held(text) => ("held", text),
    }
}

const GENERATION: &str = "/metadata/generation";
const UPDATED_READY: &str = "/status/updatedReadyReplicas";

#[track_caller]
fn assert_stands(places: &[(&str, Value)], kind: &str, text: &str) {
    let set = set(|set| {
        for (place, value) in places {
            let (parent, field) = place.rsplit_once('/').unwrap();
            set.pointer_mut(parent).unwrap()[field] = value.clone();
        }
    });
    let standing = of(&set);
    let (is, said) = words(&standing);
    assert_eq!(is, kind, "{standing:?}, wanted {text}");
    assert!(said.contains(text), "{said}, wanted {text}");
}

#[test]
fn without_a_release_it_is_counted_whether_all_pods_serve() {
    for (places, kind, text) in [
        (
            vec![],
            "succeeded",
            "all 4 Pods are at revision bb and ready",
        ),
        (
            vec![("/status", Value::Null)],
            "under way",
            "the controllers to look",
        ),
        (
            vec![(GENERATION, json!(4))],
            "under way",
            "the controllers to look",
        ),
        (
            vec![("/status/readyReplicas", json!(2))],
            "under way",
            "4 Pods to be ready, of which 2 are",
        ),
        (
            vec![("/spec/replicas", json!(6))],
            "under way",
            "6 Pods to be there, of which 4 are",
        ),
        (
            vec![
                ("/spec/updatedReplicas", json!(2)),
                (UPDATED_READY, json!(2)),
            ],
            "succeeded",
            "2 of 4 Pods, as spec.updatedReplicas says, are at revision bb",
        ),
        (
            vec![("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))],
            "held",
            "is being deleted",
        ),
    ] {
        assert_stands(&places, kind, text);
    }
}

#[test]
fn release_stands_as_the_status_says_where_that_is_of_the_set_as_it_is() {
    let says = |phase: &str, text: &str| {
        (
            "/status/release",
            release(phase, &json!({"waitsFor": text})),
        )
    };
    let slb = "shop-2 waits for protection.berth.dev/slb";
    for (places, kind, text) in [
        (
            vec![says("Progressing", "shop-1: node n1")],
            "under way",
            "shop-1: node n1",
        ),
        (vec![says("Progressing", "")], "under way", "its Pods"),
        (
            vec![says("Paused", "2 Pods are left")],
            "under way",
            "kubectl berth rollout resume prod/shop (2 Pods are left)",
        ),
        (
            vec![says("Held", slb)],
            "held",
            "protection.berth.dev/slb. Remove the cause, or go back: kubectl berth rollout undo prod/shop",
        ),
        (
            vec![says("Held", slb), (GENERATION, json!(4))],
            "under way",
            "the controllers to look",
        ),
        (vec![says("Succeeded", "")], "succeeded", "all 4 Pods"),
        // It has succeeded, and then something broke.
        (
            vec![says("Succeeded", ""), (UPDATED_READY, json!(3))],
            "under way",
            "4 Pods to be ready at revision bb, of which 3 are",
        ),
    ] {
        assert_stands(&places, kind, text);
    }
}

#[test]
fn counts_say_only_what_there_is() {
    let now = "2026-01-01T00:01:00Z".parse().unwrap();
    let idle = set(|_| {});
    assert_eq!(counts(&idle), "4 of 4 Pods updated and ready");
    assert_eq!(title(&idle, now), "InPlaceSet prod/shop: no release yet");
    let busy = set(|set| {
        set["status"]["release"] = release("Progressing", &json!({}));
        set["status"]["updatedReadyReplicas"] = json!(1);
        set["status"]["draining"] = json!(1);
        set["status"]["upgrading"] = json!(2);
        set["status"]["availableReplicas"] = json!(3);
    });
    assert_eq!(
        counts(&busy),
        "1 of 4 Pods updated and ready, 1 draining, 2 upgrading, 1 unavailable"
    );
    assert_eq!(
        title(&busy, now),
        "InPlaceSet prod/shop: release R-3 from revision aa to bb, begun 60s ago"
    );
}

#[test]
fn pods_that_cannot_be_made_are_told() {
    let refused = set(|set| {
        set["status"]["conditions"] = json!([
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota",
             "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]);
    });
    let found = failure(refused.status.as_ref().unwrap());
    assert_eq!(found.map(|it| it.message.as_str()), Some("quota"));
    assert_eq!(failure(set(|_| {}).status.as_ref().unwrap()), None);
}
