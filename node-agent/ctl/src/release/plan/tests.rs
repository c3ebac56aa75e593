use serde_json::{Value, json};

use super::*;
use crate::claims::fixture::{bound, claim, mark};

fn owned(more: &Value) -> Value {
    let mut spec = bound("prod/db-0", "10.20.1.100", false);
    spec["binding"]["owner"] = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "ordinal": 0,
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

fn observed(spec: &Value, wanted: Wanted, pod: Option<PodSeen>) -> Observed {
    Observed {
        claim: claim("10.20.1.100", spec),
        wanted,
        pod,
    }
}

fn pod(phase: &str) -> PodSeen {
    PodSeen {
        namespace: "prod".into(),
        name: "db-0".into(),
        node: Some("n2".into()),
        phase: phase.into(),
        ..PodSeen::default()
    }
}

#[test]
fn nothing_that_a_pod_has_is_released() {
    let attached = observed(
        &bound("prod/db-0", "10.20.1.100", true),
        Wanted::Nobody,
        None,
    );
    let verdict = judge(&attached);
    assert!(!verdict.is_to_be_marked());
    let Verdict::Refused { because } = verdict else {
        panic!("{verdict:?}")
    };
    assert!(
        because.contains("attached to prod/db-0 on node n1"),
        "{because}"
    );
}

#[test]
fn what_would_break_is_said() {
    let table = [
        (observed(&owned(&json!({})), Wanted::Nobody, None), vec![]),
        (
            observed(&owned(&json!({})), Wanted::Nobody, Some(pod("Succeeded"))),
            vec![],
        ),
        (
            observed(&owned(&json!({})), Wanted::Yes, None),
            vec!["StatefulSet db still wants prod/db-0"],
        ),
        (
            observed(&owned(&json!({})), Wanted::Yes, Some(pod("Pending"))),
            vec!["still wants", "Pod prod/db-0 exists on node n2"],
        ),
        (
            observed(
                &owned(&json!({})),
                Wanted::Unknown("forbidden".into()),
                None,
            ),
            vec!["forbidden"],
        ),
        (
            observed(
                &owned(&json!({"handover": {"to": "n2"}})),
                Wanted::Nobody,
                None,
            ),
            vec!["node n2 asks for it"],
        ),
    ];
    for (observed, expected) in table {
        let verdict = judge(&observed);
        assert!(verdict.is_to_be_marked(), "{verdict:?}");
        match verdict {
            Verdict::Fine => assert!(expected.is_empty(), "{expected:?}"),
            Verdict::Warned { because } => {
                assert_eq!(because.len(), expected.len(), "{because:?}");
                for (because, words) in because.iter().zip(expected) {
                    assert!(because.contains(words), "{because}");
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn nothing_is_marked_where_there_is_nothing_to_let_go() {
    for (spec, words) in [
        (json!({}), "belongs to nobody"),
        (
            owned(&json!({"release": mark("scaled in")})),
            "released by jane",
        ),
    ] {
        let verdict = judge(&observed(&spec, Wanted::Nobody, None));
        let Verdict::Nothing { because } = &verdict else {
            panic!("{verdict:?}")
        };
        assert!(because.contains(words), "{because}");
        assert!(!verdict.is_to_be_marked());
    }
}

#[test]
fn stateful_set_wants_the_ordinals_it_has() {
    let set = |first, replicas, deleting| {
        Some(StatefulSetSeen {
            first,
            replicas,
            deleting,
        })
    };
    for (set, ordinal, wanted) in [
        (set(0, 3, false), Some(2), Wanted::Yes),
        (set(0, 3, false), Some(3), Wanted::Nobody),
        (set(5, 3, false), Some(2), Wanted::Nobody),
        (set(5, 3, false), Some(7), Wanted::Yes),
        (set(0, 3, true), Some(0), Wanted::Nobody),
        (set(0, 3, false), None, Wanted::Yes),
        (None, Some(0), Wanted::Nobody),
    ] {
        assert_eq!(Wanted::by(set, ordinal), wanted, "{set:?} {ordinal:?}");
    }
}

#[test]
fn people_see_each_address_with_what_breaks() {
    let all = [
        observed(&owned(&json!({"fenced": mark("smoke")})), Wanted::Yes, None),
        observed(&json!({}), Wanted::Nobody, None),
    ];
    let verdicts: Vec<_> = all.iter().map(judge).collect();
    let text = text(&all, &verdicts, Paint::NONE);
    for words in [
        "10.20.1.100 of network external, held, fenced for prod/db-0, held by node n1\n  breaks   StatefulSet db",
        "note     its node was fenced by jane",
        "warm for nobody, held by node n1\n  nothing  it belongs to nobody",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
}
