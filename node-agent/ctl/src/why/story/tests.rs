use serde_json::{Value, json};

use super::*;
use crate::claims::fixture::{at, bound, claim, mark};
use crate::pools::PoolSeen;
use crate::seen::NodeSeen;

fn pool(name: &str, network: &str, rack: &str, claimed: Option<i64>) -> PoolSeen {
    let subnet = if rack == "a" {
        "10.20.1.0/24"
    } else {
        "10.20.2.0/24"
    };
    let status = claimed.map(|claimed| {
        json!({
            "observedGeneration": 1, "capacity": 10, "claimed": claimed, "bound": 0, "attached": 0, "updateTime": at(-60),
        })
    });
    PoolSeen {
        name: name.to_owned(),
        generation: 1,
        spec: serde_json::from_value(json!({"network": network, "rack": rack, "subnet": subnet}))
            .unwrap(),
        status: serde_json::from_value(json!(status)).unwrap(),
    }
}

fn node(name: &str, rack: &str, ready: Option<bool>) -> (String, NodeSeen) {
    let node = NodeSeen {
        name: name.to_owned(),
        rack: (!rack.is_empty()).then(|| rack.to_owned()),
        ready,
        readiness: format!("Ready={ready:?}"),
        out_of_service: false,
    };
    (name.to_owned(), node)
}

/// Pod prod/db-0 of a `StatefulSet` starts on n2 in rack a.
fn starting(claims: Vec<ClaimSeen>) -> Known {
    Known {
        identity: Some("prod/db-0".to_owned()),
        pod: Some(PodSeen {
            namespace: "prod".to_owned(),
            name: "db-0".to_owned(),
            node: Some("n2".to_owned()),
            phase: "Pending".to_owned(),
            owner: Some(("StatefulSet".to_owned(), "db".to_owned())),
            ..PodSeen::default()
        }),
        pools: vec![
            pool("external-a", "external", "a", None),
            pool("external-b", "external", "b", None),
        ],
        claims,
        nodes: [
            node("n1", "a", Some(true)),
            node("n2", "a", Some(true)),
            node("n3", "b", Some(true)),
        ]
        .into(),
        rack_label: names::RACK_LABEL.to_owned(),
        ..Known::default()
    }
}

fn held(more: &Value) -> Vec<ClaimSeen> {
    let mut spec = bound("prod/db-0", "10.20.1.100", false);
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    vec![claim("10.20.1.100", &spec)]
}

#[track_caller]
fn assert_told(known: &Known, words: &[&str]) {
    let told: Vec<_> = tell(known, at(0)).into_iter().map(|it| it.text).collect();
    let text = told.join("\n");
    for words in words {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
}

fn is_wrong(known: &Known) -> bool {
    tell(known, at(0))
        .iter()
        .any(|it| it.tone == Some(Tone::Wrong))
}

#[test]
fn pod_that_waits_for_a_hand_over_says_for_whom_and_what_to_do() {
    let table: [(Value, Option<bool>, &[&str]); 6] = [
        (
            json!({"handover": {"to": "n2"}}),
            Some(true),
            &["n2 has asked node n1 for 10.20.1.100"],
        ),
        (
            json!({"handover": {"to": "n4"}}),
            Some(true),
            &["Node n4 asks node n1"],
        ),
        (json!({}), Some(true), &["Node n2 has to ask node n1"]),
        (
            json!({"handover": {"to": "n2"}}),
            None,
            &[
                "n1 cannot consent while it does not run",
                "kubectl berth fence n1",
            ],
        ),
        (
            json!({"fenced": mark("smoke")}),
            None,
            &[
                "takes it from 2025-11-21T10:00:30Z on",
                "declared dead by jane",
            ],
        ),
        (
            json!({"binding": bound("prod/db-0", "10.20.1.100", true)["binding"]}),
            Some(true),
            &["consents when the Pod that has 10.20.1.100 there is gone"],
        ),
    ];
    for (spec, ready, words) in table {
        let mut known = starting(held(&spec));
        known.nodes.extend([node("n1", "a", ready)]);
        assert_told(&known, words);
        let to_do = ready.is_none() && spec.get("fenced").is_none();
        assert_eq!(is_wrong(&known), to_do, "{spec}");
    }
    let mut known = starting(held(&json!({})));
    known.nodes.remove("n1");
    assert_told(&known, &["There is no Node n1 any more"]);
    let old = json!({"fenced": {"reason": "x", "by": "y", "at": at(-31)}});
    assert_told(&starting(held(&old)), &["may take 10.20.1.100 over now"]);
}

#[test]
fn pod_in_another_rack_gets_new_addresses_or_waits() {
    let mut known = starting(held(&json!({})));
    known.pod.as_mut().unwrap().node = Some("n3".to_owned());
    assert_told(
        &known,
        &[
            "are of rack a, its node is in rack b: here it gets new ones",
            "n3 has no address of it",
        ],
    );
    assert!(!is_wrong(&known));
    let wait = [(names::RACK_CHANGE_ANNOTATION.to_owned(), "wait".to_owned())];
    known.pod.as_mut().unwrap().annotations.extend(wait);
    assert_told(&known, &["would rather wait"]);
    assert!(is_wrong(&known));
}

#[test]
fn pod_without_addresses_learns_where_they_will_come_from() {
    let mut known = starting(vec![]);
    assert_told(
        &known,
        &["n2 has no address of it in reserve and claims one"],
    );
    known.warm = vec![claim("10.20.1.120", &json!({"node": "n2"}))];
    assert_told(&known, &["n2 has 1 of it in reserve and gives it one"]);
    known.warm.clear();
    known.pools[0] = pool("external-a", "external", "a", Some(10));
    assert_told(
        &known,
        &["every address of rack a is claimed (so for 60s, by the Pool's status)"],
    );
    assert!(is_wrong(&known));
}

#[test]
fn pod_on_a_node_that_cannot_serve_it_says_what_is_missing() {
    let mut known = starting(vec![]);
    known.nodes.extend([node("n2", "", Some(true))]);
    assert_told(
        &known,
        &["kubectl label node n2 topology.berth.dev/rack=RACK"],
    );
    known.nodes.extend([node("n2", "c", Some(true))]);
    assert_told(&known, &["No Pool is of rack c"]);
    known.nodes.extend([node("n2", "a", Some(true))]);
    let networks = [(
        names::NETWORKS_ANNOTATION.to_owned(),
        "internal, external".to_owned(),
    )];
    known.pod.as_mut().unwrap().annotations.extend(networks);
    assert_told(
        &known,
        &[
            "No Pool of network internal is of rack a",
            "If it joins network external",
        ],
    );
    assert!(is_wrong(&known));
}

#[test]
fn pod_that_has_its_address_waits_for_nothing() {
    let mut spec = bound("prod/db-0", "10.20.1.100", true);
    spec["node"] = json!("n2");
    spec["binding"]["owner"] = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "ordinal": 0});
    let mut known = starting(vec![claim("10.20.1.100", &spec)]);
    known.pod.as_mut().unwrap().addresses = vec!["10.20.1.100".parse().unwrap()];
    assert_told(
        &known,
        &[
            "Pod prod/db-0 of StatefulSet db is on node n2 in rack a, Pending, and has 10.20.1.100.",
            "stick to its name",
            "held as long as StatefulSet db wants it",
            "is attached to prod/db-0 on node n2.",
        ],
    );
    let story = tell(&known, at(0));
    assert!(
        !story.iter().any(|it| it.text.contains("If it joins")),
        "{story:?}"
    );
    assert!(!is_wrong(&known));
    known.pod = None;
    assert_told(
        &known,
        &["let go when StatefulSet db does not want it any more (ordinal 0)"],
    );
}

#[test]
fn policy_is_told_with_where_it_stands() {
    let mut known = starting(vec![]);
    let annotations = [
        (names::IDENTITY_ANNOTATION, "vip"),
        (names::HOLD_ANNOTATION, "30m"),
        (names::ADDRESSES_ANNOTATION, "10.20.1.7"),
    ];
    let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned()));
    known.pod.as_mut().unwrap().annotations.extend(annotations);
    assert_told(
        &known,
        &[
            "stick to vip, which it names by the annotation berth.dev/identity",
            "held for 30m (annotation berth.dev/hold)",
            "must get the addresses 10.20.1.7",
        ],
    );
}

#[test]
fn address_without_a_pod_is_told_too() {
    let mut known = starting(held(&json!({"release": mark("scaled in")})));
    known.pod = None;
    known.address = Some("10.20.1.100".parse().unwrap());
    assert_told(
        &known,
        &[
            "10.20.1.100 is one of Pool external-a",
            "There is no Pod of prod/db-0 now.",
            "is held for prod/db-0 by node n1 until somebody lets it go",
            "It is to be let go, by jane",
        ],
    );
    let nobody = Known {
        address: Some("10.20.1.255".parse().unwrap()),
        pools: known.pools,
        ..Known::default()
    };
    assert_told(
        &nobody,
        &["never hands it out", "No node has claimed 10.20.1.255"],
    );
    let elsewhere = Known {
        address: Some("192.168.0.1".parse().unwrap()),
        ..Known::default()
    };
    assert_told(&elsewhere, &["is in no Pool"]);
}

#[test]
fn pod_that_a_release_has_touched_says_how_far_that_is() {
    let mut known = starting(Vec::new());
    let pod = known.pod.as_mut().unwrap();
    pod.owner = Some(("InPlaceSet".to_owned(), "db".to_owned()));
    let mut said = json!({"state": "Draining", "since": "2026-01-01T00:00:10Z"});
    for (wrong, words) in [
        (
            false,
            "A release is under way with it: Draining since 2026-01-01T00:00:10Z; what it waits for says kubectl berth rollout status \
             prod/db --watch=false",
        ),
        (
            true,
            "Its upgrade was given up since 2026-01-01T00:00:10Z (DrainTimeout): slb is still there",
        ),
    ] {
        if wrong {
            said["failure"] = json!({"reason": "DrainTimeout", "message": "slb is still there"});
        }
        let key = names::LOSSLESS_ANNOTATION.to_owned();
        let pod = known.pod.as_mut().unwrap();
        pod.annotations.insert(key, said.to_string());
        let told = tell(&known, at(0));
        let told = told.iter().find(|it| it.text.starts_with(words));
        let tone = if wrong { Tone::Wrong } else { Tone::Doubtful };
        assert_eq!(told.and_then(|it| it.tone), Some(tone), "{words}");
    }
}
