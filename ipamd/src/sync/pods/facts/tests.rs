use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff;

use super::*;

/// The metadata of Pod `prod/NAME` with these annotations.
fn pod(name: &str, annotations: &[(&str, &str)]) -> ObjectMeta {
    let pairs = annotations.iter();
    ObjectMeta {
        namespace: Some("prod".to_owned()),
        name: Some(name.to_owned()),
        uid: Some("u-1".to_owned()),
        annotations: Some(
            pairs
                .map(|&(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        ),
        ..ObjectMeta::default()
    }
}

fn owned_by(mut meta: ObjectMeta, api_version: &str, kind: &str, controller: bool) -> ObjectMeta {
    meta.owner_references = Some(vec![OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: "db".to_owned(),
        uid: "o-1".to_owned(),
        controller: Some(controller),
        ..OwnerReference::default()
    }]);
    meta
}

fn read(meta: &ObjectMeta) -> PodFacts {
    PodFacts::parse(meta).unwrap()
}

#[test]
fn pod_without_annotations_says_nothing_but_its_name() {
    for annotations in [
        &[][..],
        &[
            ("berth.dev/hold", ""),
            ("berth.dev/identity", " "),
            ("berth.dev/networks", ""),
            ("berth.dev/addresses", ""),
            ("berth.dev/rack-change", ""),
            ("other.example/hold", "x"),
        ],
    ] {
        let facts = read(&pod("web-5d8f-x2x4", annotations));
        assert_eq!(facts.identity.as_str(), "prod/web-5d8f-x2x4");
        assert!(facts.policy.is_empty() && facts.problems.is_empty());
        assert!(!facts.is_telling() && !facts.deleting);
    }
}

#[test]
fn annotations_are_read() {
    let facts = read(&pod(
        "db-0",
        &[
            ("berth.dev/identity", "vip"),
            ("berth.dev/networks", "internal, external"),
            ("berth.dev/hold", "30m"),
            ("berth.dev/addresses", "10.20.1.150, fd00:20:1::150"),
            ("berth.dev/rack-change", "wait"),
        ],
    ));
    assert_eq!((facts.identity.as_str(), facts.named), ("prod/vip", true));
    let networks: Vec<_> = facts
        .networks
        .iter()
        .flatten()
        .map(NetworkName::as_str)
        .collect();
    assert_eq!(networks, ["internal", "external"]);
    let half_an_hour = Hold::For(Duration::from_secs(1800));
    assert_eq!(facts.policy.hold, Some(half_an_hour));
    let addresses: Vec<_> = facts.addresses.iter().map(IpAddr::to_string).collect();
    assert_eq!(addresses, ["10.20.1.150", "fd00:20:1::150"]);
    assert_eq!(facts.rack_change, RackChange::Wait);
    assert_eq!(facts.problems, []);
    assert!(facts.is_telling());
}

#[test]
fn hold_follows_the_annotation_then_the_owner() {
    let apps = ("apps/v1", "StatefulSet", true);
    let ours = ("berth.dev/v1alpha1", "InPlaceSet", true);
    let none = ("", "", false);
    for (name, hold, owner, held, ordinal) in [
        ("db-3", "", apps, Some("forever"), Some(Some(3))),
        ("db-3", "", ours, Some("forever"), Some(Some(3))),
        // Who says it himself does not want his owner to decide.
        ("db-3", "none", apps, Some("none"), None),
        ("db-3", "1h", apps, Some("1h"), None),
        ("db-3", "forever", apps, Some("forever"), None),
        // A name that its owner would not give.
        ("db-03", "", apps, Some("forever"), Some(None)),
        ("dbx-3", "", apps, Some("forever"), Some(None)),
        ("db-99999999999", "", apps, Some("forever"), Some(None)),
        ("db-3", "", ("apps/v1", "StatefulSet", false), None, None),
        ("db-3", "", ("apps/v1", "ReplicaSet", true), None, None),
        (
            "db-3",
            "",
            ("example.com/v1", "StatefulSet", true),
            None,
            None,
        ),
        ("db-3", "", ("v1", "StatefulSet", true), None, None),
        ("db-3", "", none, None, None),
        ("web", "forever", none, Some("forever"), None),
        ("web", "0s", none, Some("none"), None),
    ] {
        let meta = pod(name, &[("berth.dev/hold", hold)]);
        let (api_version, kind, controller) = owner;
        let facts = read(&owned_by(meta, api_version, kind, controller));
        let case = format!("{name} {hold:?} {owner:?}");
        let said = facts.policy.hold.map(|hold| hold.to_string());
        assert_eq!(said.as_deref(), held, "{case}");
        let owner = facts.policy.owner.as_ref();
        assert_eq!(owner.map(|owner| owner.ordinal), ordinal, "{case}");
        assert_eq!(facts.is_telling(), held.is_some(), "{case}");
    }
}

#[test]
fn owner_is_kept_with_what_finds_it_again() {
    let facts = read(&owned_by(pod("db-0", &[]), "apps/v1", "StatefulSet", true));
    let owner = facts.policy.owner.unwrap();
    assert_eq!(
        [owner.api_version, owner.kind, owner.name, owner.uid],
        ["apps/v1", "StatefulSet", "db", "o-1"]
    );
}

#[test]
fn named_identity_outlives_the_workload() {
    let meta = pod("db-0", &[("berth.dev/identity", "prod/vip")]);
    let facts = read(&owned_by(meta, "apps/v1", "StatefulSet", true));
    assert_eq!(facts.identity.as_str(), "prod/vip");
    assert!(facts.policy.is_empty() && facts.is_telling());
}

/// Annotation, value, what is wrong with it, what is allowed.
const UNREADABLE: [[&str; 4]; 10] = [
    [
        "hold",
        "for a while",
        "neither a word of these nor",
        "\"30m\"",
    ],
    ["hold", "-1s", "neither a word of these nor", "\"forever\""],
    [
        "identity",
        "lab/vip",
        "not in the Pod's namespace prod",
        "own namespace",
    ],
    [
        "identity",
        "a b",
        "identity \"prod/a b\" is not allowed",
        "own namespace",
    ],
    [
        "addresses",
        "10.20.1.150/24",
        "\"10.20.1.150/24\" is not",
        "commas",
    ],
    [
        "addresses",
        "10.20.1.150,",
        "\"\" is not an address",
        "commas",
    ],
    [
        "addresses",
        "fd00::1,fd00:0::1",
        "\"fd00:0::1\" is there twice",
        "each once",
    ],
    ["networks", "a,a", "\"a\" is there twice", "each once"],
    [
        "networks",
        "Ex",
        "network \"Ex\" is not allowed",
        "names of networks",
    ],
    [
        "rack-change",
        "Wait",
        "neither of these",
        "\"new-address\" or \"wait\"",
    ],
];

#[track_caller]
fn is_told(key: &str, value: &str, cause: &str, allowed: &str) {
    let key = format!("berth.dev/{key}");
    let facts = read(&pod("db-0", &[(&key, value)]));
    let [problem] = &facts.problems[..] else {
        panic!("{key}={value}: {:?}", facts.problems);
    };
    let words = problem.to_string();
    let beginning: String = value.chars().take(SHOWN_LIMIT).collect();
    for part in [&key, &beginning, cause, allowed] {
        assert!(words.contains(part), "{part} in {words}");
    }
    assert!(words.len() < 400, "{words}");
    // Nothing else of the Pod is lost, and what is wrong is not followed.
    assert_eq!(facts.identity.as_str(), "prod/db-0");
    assert!(facts.policy.is_empty() && facts.addresses.is_empty());
    assert!(facts.is_telling());
}

#[test]
fn what_cannot_be_read_is_told_with_key_value_and_what_is_allowed() {
    for [key, value, cause, allowed] in UNREADABLE {
        is_told(key, value, cause, allowed);
    }
    let many: Vec<_> = (0..33).map(|n| format!("10.0.0.{n}")).collect();
    is_told("addresses", &many.join(","), "more than 32", "at most 32");
    is_told("hold", &"x".repeat(100_000), "neither", "\"none\"");
}

#[test]
fn every_problem_of_a_pod_is_told() {
    let facts = read(&pod(
        "db-0",
        &[
            ("berth.dev/hold", "x"),
            ("berth.dev/addresses", "x"),
            ("berth.dev/rack-change", "x"),
        ],
    ));
    assert_eq!(facts.problems.len(), 3);
}

#[test]
fn deleted_pods_and_static_pods_are_seen_as_the_runtime_sees_them() {
    let mut meta = pod("db-0", &[("kubernetes.io/config.mirror", "hash-1")]);
    meta.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    let facts = read(&meta);
    assert_eq!(facts.uid.as_str(), "hash-1");
    assert!(facts.deleting);
}

#[test]
fn what_is_no_pod_is_none() {
    for spoil in [
        (|meta: &mut ObjectMeta| meta.name = None) as fn(&mut ObjectMeta),
        |meta| meta.namespace = None,
        |meta| meta.uid = None,
        |meta| meta.name = Some("A/B".to_owned()),
    ] {
        let mut meta = pod("db-0", &[]);
        spoil(&mut meta);
        assert_eq!(PodFacts::parse(&meta), None);
    }
}

#[test]
fn facts_are_stored_and_read_back() {
    let meta = pod(
        "db-0",
        &[
            ("berth.dev/hold", "30m"),
            ("berth.dev/addresses", "10.20.1.150"),
            ("berth.dev/rack-change", "wait"),
            ("berth.dev/networks", "x y"),
        ],
    );
    let facts = read(&owned_by(meta, "apps/v1", "StatefulSet", true));
    let text = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<PodFacts>(&text).unwrap(), facts);
}
