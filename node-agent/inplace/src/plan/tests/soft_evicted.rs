//! Pods that the node lifecycle has taken out of the count.

use super::*;

fn soft_evicted(ordinal: u32) -> PodView {
    PodView {
        soft_evicted: Some(format!("4-{ordinal}")),
        ..pod(ordinal)
    }
}

fn made_for(ordinal: u32, original: u32) -> PodView {
    PodView {
        replaces: Some(format!("u{original}")),
        ..pod(ordinal)
    }
}

fn unready(mut pod: PodView) -> PodView {
    pod.ready.is_true = false;
    pod.containers_ready.is_true = false;
    pod
}

fn deleting(mut pod: PodView) -> PodView {
    pod.deleting = true;
    pod
}

/// Nothing is released meanwhile: of three Pods.
fn quiet(spec: &Value) -> SetView {
    let mut all = json!({"template": template("app:1")});
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    let mut set = set(&all);
    set.revisions = vec![revision_of("app:1", 1)];
    set
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row a case")]
fn rows_of_who_is_made_and_who_goes() {
    let none = json!({});
    let rows: Vec<(&str, Value, Vec<PodView>, &[&str])> = vec![
        (
            "another is made beside it, under the next free ordinal",
            none.clone(),
            vec![pod(0), soft_evicted(1), pod(2)],
            &["create shop-3"],
        ),
        (
            "and it is left alone then",
            none.clone(),
            vec![pod(0), soft_evicted(1), pod(2), unready(made_for(3, 1))],
            &[],
        ),
        (
            "an old gap is filled first",
            none.clone(),
            vec![pod(1), soft_evicted(2), pod(3)],
            &["create shop-0"],
        ),
        (
            "one that is being ended on a node that is away blocks nothing",
            none.clone(),
            vec![pod(0), deleting(soft_evicted(1)), pod(2), made_for(3, 1)],
            &[],
        ),
        (
            "nor is its name anybody else's meanwhile",
            json!({"replicas": 4}),
            vec![pod(0), deleting(soft_evicted(1)), pod(2), made_for(3, 1)],
            &["create shop-4"],
        ),
        (
            "the replacement stays where it is when the original has gone",
            none.clone(),
            vec![pod(0), pod(2), made_for(3, 1)],
            &[],
        ),
        (
            "and the gap is filled by who is made next",
            json!({"replicas": 4}),
            vec![pod(0), pod(2), made_for(3, 1)],
            &["create shop-1"],
        ),
        (
            "the replacement's own node is lost too",
            none.clone(),
            vec![
                pod(0),
                soft_evicted(1),
                pod(2),
                PodView {
                    soft_evicted: Some("5-1".to_owned()),
                    ..made_for(3, 1)
                },
            ],
            &["create shop-4"],
        ),
        (
            "it counts again: of two that serve the replacement goes",
            none.clone(),
            vec![pod(0), pod(1), pod(2), made_for(3, 1)],
            &["hold shop-3"],
        ),
        (
            "though another has a higher ordinal",
            none.clone(),
            vec![pod(0), pod(1), made_for(2, 1), pod(3)],
            &["hold shop-2"],
        ),
        (
            "a replacement that does not serve goes",
            none.clone(),
            vec![pod(0), pod(1), pod(2), unready(made_for(3, 1))],
            &["hold shop-3"],
        ),
        (
            "never one that serves for one that does not",
            none.clone(),
            vec![pod(0), unready(pod(1)), pod(2), made_for(3, 1)],
            &["hold shop-1"],
        ),
        (
            "of two that do not serve the younger",
            none.clone(),
            vec![pod(0), unready(pod(1)), pod(2), unready(made_for(3, 1))],
            &["hold shop-3"],
        ),
        (
            "the replacement's replacement goes when both count again but one",
            none.clone(),
            vec![
                pod(0),
                pod(1),
                pod(2),
                PodView {
                    soft_evicted: Some("5-1".to_owned()),
                    ..made_for(3, 1)
                },
                made_for(4, 3),
            ],
            &["hold shop-4"],
        ),
        (
            "scaled out meanwhile both stay",
            json!({"replicas": 4}),
            vec![pod(0), pod(1), pod(2), made_for(3, 1)],
            &[],
        ),
        (
            "scaled in, the highest go as always",
            json!({"replicas": 2}),
            vec![pod(0), soft_evicted(1), pod(2), made_for(3, 1)],
            &["hold shop-3"],
        ),
        (
            "scaled to nothing it is left to who soft-evicted it",
            json!({"replicas": 0}),
            vec![soft_evicted(1)],
            &[],
        ),
        (
            "who is named to go and is soft-evicted has another in its place",
            json!({"replicas": 2, "podsToDelete": ["shop-1"]}),
            vec![pod(0), soft_evicted(1), made_for(2, 1), pod(3)],
            &["hold shop-2"],
        ),
        (
            "one that has ended is not deleted by the set",
            none,
            vec![
                pod(0),
                PodView {
                    phase: Phase::Ended,
                    ..soft_evicted(1)
                },
                pod(2),
                made_for(3, 1),
            ],
            &[],
        ),
    ];
    for (name, spec, pods, wanted) in rows {
        assert_eq!(planned(&quiet(&spec), &pods), wanted, "{name}");
    }
}

#[test]
fn a_replacement_is_made_for_whom_it_replaces_and_others_are_not() {
    let made = |pods: &[PodView]| -> Vec<(String, Option<String>)> {
        let plan = plan(&quiet(&json!({})), pods, &around(pods), at(100));
        let made = plan.deeds.into_iter().filter_map(|deed| match deed {
            Deed::CreatePod { name, replaces, .. } => Some((name, replaces)),
            _ => None,
        });
        made.collect()
    };
    let one = |name: &str, replaces: Option<&str>| (name.to_owned(), replaces.map(str::to_owned));
    assert_eq!(
        made(&[pod(0), soft_evicted(1), pod(2)]),
        [one("shop-3", Some("u1"))]
    );
    // shop-2 is gone besides: it comes back under its name.
    assert_eq!(
        made(&[pod(0), soft_evicted(1)]),
        [one("shop-2", None), one("shop-3", Some("u1"))]
    );
    assert_eq!(
        made(&[soft_evicted(0), soft_evicted(1), pod(2)]),
        [one("shop-3", Some("u1")), one("shop-4", Some("u0"))]
    );
    // It has one, which is gone again.
    assert!(made(&[pod(0), soft_evicted(1), pod(2), deleting(made_for(3, 1))]).is_empty());
}

#[test]
fn a_release_goes_round_it_and_counts_the_missing_one_once() {
    // One of three may be unavailable, and is: its replacement is not ready yet.
    let set = set(&json!({}));
    let starting = PodView {
        revision: Some(revision_of("app:2", 2).hash),
        ..unready(made_for(3, 1))
    };
    let pods = [pod(0), soft_evicted(1), pod(2), starting];
    let around = Surroundings {
        pulls: [("n0", present()), ("n2", present())]
            .map(|(node, pulls)| (node.to_owned(), pulls))
            .into(),
        ..around(&pods)
    };
    let first = plan(&set, &pods, &around, at(100));
    let touched = writes(&first);
    assert!(
        !touched.iter().any(|write| write.contains("hold")),
        "{touched:?}"
    );
    assert!(
        !touched.iter().any(|write| write.contains("shop-1")),
        "{touched:?}"
    );
    let told = &first.status;
    assert_eq!((told.replicas, told.available_replicas), (3, 2));

    // The replacement serves: the next may go, and the soft-evicted one still is not touched.
    let ready = PodView {
        revision: Some(revision_of("app:2", 2).hash),
        ..made_for(3, 1)
    };
    let pods = [pod(0), soft_evicted(1), pod(2), ready];
    let mut set = released();
    set.status.update_revision = revision_of("app:2", 2).hash;
    let around = Surroundings {
        endpoints: super::around(&pods).endpoints,
        ..around
    };
    let then = writes(&plan(&set, &pods, &around, at(100)));
    assert!(then.iter().any(|write| write == "hold shop-2"), "{then:?}");
    assert!(
        !then.iter().any(|write| write.contains("shop-1")),
        "{then:?}"
    );
}

#[test]
fn status_tells_who_does_not_count_and_who_is_there_instead() {
    let pods = [
        pod(0),
        soft_evicted(1),
        pod(2),
        made_for(3, 1),
        soft_evicted(4),
    ];
    let told = plan(&quiet(&json!({})), &pods, &around(&pods), at(100)).status;
    assert_eq!((told.replicas, told.soft_evicted_replicas), (3, 2));
    let who = told.soft_evicted.iter().map(|pod| {
        let replacement = pod.replacement.as_deref();
        (pod.name.as_str(), pod.decision.as_str(), replacement)
    });
    assert_eq!(
        who.collect::<Vec<_>>(),
        [("shop-1", "4-1", Some("shop-3")), ("shop-4", "4-4", None)]
    );
}
