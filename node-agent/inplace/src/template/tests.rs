use proptest::prelude::*;
use proto_crd::in_place_set::{InPlaceSetSpec, InPlaceSetStatus};
use proto_crd::names;

use super::*;
use crate::plan::{RackWish, Revision, SetView};

mod pods;
mod properties;

/// Two containers, a sidecar, an init container; of each kind of reader one.
fn template() -> Value {
    json!({
        "metadata": {
            "labels": {"app": "shop", "version": "1"},
            "annotations": {"contact": "ops", "rate": "5"},
        },
        "spec": {
            "initContainers": [
                {"name": "setup", "image": "setup:v1"},
                {"name": "mesh", "image": "mesh:v1", "restartPolicy": "Always"},
            ],
            "containers": [
                {
                    "name": "main", "image": "shop:v1",
                    "env": [
                        {"name": "MODE", "value": "fast"},
                        {"name": "VERSION", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['version']"}}},
                    ],
                    "ports": [{"containerPort": 8080}],
                    "volumeMounts": [{"name": "info", "mountPath": "/info"}],
                },
                {
                    "name": "side", "image": "side:v1",
                    "volumeMounts": [{"name": "info", "mountPath": "/rate", "subPath": "rate"}],
                },
                {"name": "plain", "image": "plain:v1"},
            ],
            "volumes": [
                {"name": "info", "downwardAPI": {"items": [
                    {"path": "rate", "fieldRef": {"fieldPath": "metadata.annotations['rate']"}},
                ]}},
                {"name": "data", "emptyDir": {}},
            ],
            "nodeSelector": {"zone": "a"},
        },
    })
}

/// The template with this field set; null: it goes.
fn with(pointer: &str, value: Value) -> Value {
    let mut template = template();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = template.pointer_mut(parent).unwrap();
    let field = field.replace("~1", "/");
    match parent {
        Value::Array(items) => {
            let place: usize = field.parse().unwrap();
            if place == items.len() {
                items.push(value);
            } else {
                items[place] = value;
            }
        }
        parent => {
            parent[field] = value;
        }
    }
    template
}

const IN_PLACE: UpgradePolicy = UpgradePolicy::InPlaceIfPossible;

fn in_place(to: &Value) -> InPlace {
    match change(&template(), to, IN_PLACE) {
        Change::InPlace(change) => change,
        other => panic!("{other:?}"),
    }
}

fn obstacle(to: &Value, rules: impl Into<Rules>) -> String {
    match change(&template(), to, rules) {
        Change::ReCreate { why } => why,
        other => panic!("{other:?}"),
    }
}

fn map<V: Clone>(entries: &[(&str, V)]) -> BTreeMap<String, V> {
    let owned = |(key, value): &(&str, V)| ((*key).to_owned(), value.clone());
    entries.iter().map(owned).collect()
}

#[test]
fn nothing_changes_where_the_same_is_said_in_other_words() {
    let mut same = template();
    same["metadata"]["creationTimestamp"] = Value::Null;
    same["metadata"]["name"] = "shop".into();
    same["spec"]["securityContext"] = Value::Null;
    same["spec"]["containers"][0]["command"] = Value::Null;
    for policy in [
        UpgradePolicy::InPlaceOnly,
        IN_PLACE,
        UpgradePolicy::ReCreate,
    ] {
        assert_eq!(change(&template(), &same, policy), Change::None);
    }
}

#[test]
fn images_change_in_place_and_containers_are_replaced_once() {
    let main = in_place(&with("/spec/containers/0/image", "shop:v2".into()));
    assert_eq!(main.images, map(&[("main", "shop:v2".to_owned())]));
    assert!(main.restart.is_empty());
    assert!(main.is_disruptive());

    // The same digest by another tag is another image: kubelet replaces the container for it.
    let digest = format!("sha256:{}", "a".repeat(64));
    let mut from = template();
    from["spec"]["containers"][0]["image"] = format!("shop:v1@{digest}").into();
    let mut to = from.clone();
    to["spec"]["containers"][0]["image"] = format!("shop:v2@{digest}").into();
    let Change::InPlace(tags) = change(&from, &to, IN_PLACE) else {
        panic!("not in place");
    };
    assert_eq!(tags.images.len(), 1);

    // Two at once, and one of them reads the label that changes: kubelet replaces both, the agent none.
    let mut two = template();
    two["spec"]["containers"][0]["image"] = "shop:v2".into();
    two["spec"]["containers"][2]["image"] = "plain:v2".into();
    two["metadata"]["labels"]["version"] = "2".into();
    let two = in_place(&two);
    let images = [
        ("main", "shop:v2".to_owned()),
        ("plain", "plain:v2".to_owned()),
    ];
    assert_eq!(two.images, map(&images));
    assert_eq!(two.labels, map(&[("version", Some("2".to_owned()))]));
    assert!(two.restart.is_empty(), "{two:?}");
}

#[test]
fn labels_and_annotations_change_in_place_and_only_who_reads_them_at_its_start_is_restarted() {
    let none: &[&str] = &[];
    for (pointer, value, restarted) in [
        ("/metadata/labels/tier", json!("gold"), none),
        ("/metadata/labels/version", json!("2"), &["main"]),
        ("/metadata/labels/version", Value::Null, &["main"]),
        ("/metadata/annotations/contact", json!("dev"), none),
        ("/metadata/annotations/contact", Value::Null, none),
        // A whole volume is renewed by kubelet; a file that is mounted by its own path is not.
        ("/metadata/annotations/rate", json!("9"), &["side"]),
    ] {
        let changed = in_place(&with(pointer, value.clone()));
        assert_eq!(changed.restart, restarted, "{pointer} {value}");
        assert_eq!(changed.is_disruptive(), !restarted.is_empty());
        let key = pointer.rsplit('/').next().unwrap();
        let marks = if pointer.contains("labels") {
            (&changed.labels, &changed.annotations)
        } else {
            (&changed.annotations, &changed.labels)
        };
        let value = value.as_str().map(str::to_owned);
        assert_eq!(marks, (&map(&[(key, value)]), &BTreeMap::new()));
    }
}

#[test]
fn whoever_reads_the_revision_or_all_labels_is_restarted_with_any_change() {
    for (pointer, value) in [
        (
            "/spec/containers/2/env",
            json!([{"name": "R", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['controller-revision-hash']"}}}]),
        ),
        (
            "/spec/containers/2/volumeMounts",
            json!([{"name": "all", "mountPath": "/l", "subPathExpr": "l"}]),
        ),
    ] {
        let mut from = with(pointer, value);
        let volumes = from["spec"]["volumes"].as_array_mut().unwrap();
        volumes.push(json!({"name": "all", "projected": {"sources": [
            {"configMap": {"name": "c"}},
            {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]}}));
        let mut to = from.clone();
        to["metadata"]["labels"]["tier"] = "gold".into();
        let Change::InPlace(changed) = change(&from, &to, IN_PLACE) else {
            panic!("not in place");
        };
        assert_eq!(changed.restart, ["plain"], "{pointer}");
    }
}

#[test]
fn restarted_at_restarts_every_container_once_and_its_end_restarts_none() {
    let key = names::RESTARTED_AT_ANNOTATION;
    let mut again = template();
    again["metadata"]["annotations"][key] = "2026-01-01T00:00:00Z".into();
    assert_eq!(in_place(&again).restart, ["main", "side", "plain"]);
    let Change::InPlace(back) = change(&again, &template(), UpgradePolicy::InPlaceOnly) else {
        panic!("not in place");
    };
    assert_eq!(back.annotations, map(&[(key, None)]));
    assert!(back.restart.is_empty());
    let mut later = again.clone();
    later["metadata"]["annotations"][key] = "2026-01-02T00:00:00Z".into();
    later["spec"]["containers"][1]["image"] = "side:v2".into();
    let Change::InPlace(both) = change(&again, &later, IN_PLACE) else {
        panic!("not in place");
    };
    assert_eq!(both.restart, ["main", "plain"]);
}

#[test]
fn a_container_that_kubelet_might_not_start_again_is_not_restarted() {
    for (field, value) in [
        ("restartPolicy", json!("OnFailure")),
        ("restartPolicyRules", json!([{"action": "Restart"}])),
    ] {
        let mut from = template();
        from["spec"]["containers"][2][field] = value;
        let mut to = from.clone();
        to["metadata"]["annotations"][names::RESTARTED_AT_ANNOTATION] = "now".into();
        let Change::ReCreate { why } = change(&from, &to, IN_PLACE) else {
            panic!("in place");
        };
        assert_eq!(
            why,
            "not in place: spec.containers[plain] would have to be restarted, and has a restartPolicy of its own"
        );
        // kubelet replaces it whatever its policy.
        to["spec"]["containers"][2]["image"] = "plain:v2".into();
        assert!(matches!(change(&from, &to, IN_PLACE), Change::InPlace(_)));
    }
}

#[test]
fn sidecars_change_in_place_where_kubelet_replaces_them_and_init_containers_never() {
    let sidecar = with("/spec/initContainers/1/image", "mesh:v2".into());
    let changed = in_place(&sidecar);
    assert_eq!(changed.init_images, map(&[("mesh", "mesh:v2".to_owned())]));
    assert!(changed.is_disruptive());
    let old = Rules {
        policy: IN_PLACE,
        sidecars: false,
    };
    let why = obstacle(&sidecar, old);
    assert!(
        why.contains("initContainers[mesh].image (kubelet replaces sidecars from 1.32 on)"),
        "{why}"
    );
    let why = obstacle(
        &with("/spec/initContainers/0/image", "setup:v2".into()),
        IN_PLACE,
    );
    assert!(
        why.contains("initContainers[setup].image (an init container does not run again"),
        "{why}"
    );
    // What no agent restarts must not be left with what it read.
    let mut reads = template();
    reads["spec"]["initContainers"][1]["env"] = json!([
        {"name": "V", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['version']"}}}
    ]);
    let mut to = reads.clone();
    to["metadata"]["labels"]["version"] = "2".into();
    let Change::ReCreate { why } = change(&reads, &to, IN_PLACE) else {
        panic!("in place");
    };
    assert!(
        why.contains("metadata.labels['version'], which spec.initContainers[mesh] reads"),
        "{why}"
    );
    // Unless kubelet replaces it anyhow.
    to["spec"]["initContainers"][1]["image"] = "mesh:v2".into();
    assert!(matches!(change(&reads, &to, IN_PLACE), Change::InPlace(_)));
}

/// What becomes of which field, and how it is named.
const ANEW: &[(&str, &str, &str)] = &[
    (
        "/spec/containers/3",
        r#"{"name": "new", "image": "i"}"#,
        "spec.containers[new] (is new)",
    ),
    (
        "/spec/initContainers/0/image",
        "\"v2\"",
        "spec.initContainers[setup].image",
    ),
    (
        "/spec/initContainers/0/restartPolicy",
        "\"Always\"",
        "spec.initContainers[setup].restartPolicy (is new)",
    ),
    (
        "/spec/containers/0/env/0/value",
        "\"slow\"",
        "spec.containers[main].env[MODE].value",
    ),
    (
        "/spec/containers/0/ports",
        "[9]",
        "spec.containers[main].ports",
    ),
    (
        "/spec/containers/0/ports",
        "null",
        "spec.containers[main].ports (is gone)",
    ),
    (
        "/spec/containers/0/resources",
        r#"{"limits": {"cpu": "1"}}"#,
        "spec.containers[main].resources (is new)",
    ),
    (
        "/spec/containers/0/image",
        "null",
        "spec.containers[main].image (is gone)",
    ),
    (
        "/spec/containers/0/name",
        "\"core\"",
        "spec.containers[main] (is gone); spec.containers[core] (is new)",
    ),
    (
        "/spec/volumes/1/emptyDir/medium",
        "\"Memory\"",
        "spec.volumes[data].emptyDir.medium (is new)",
    ),
    (
        "/spec/nodeSelector/zone",
        "\"b\"",
        "spec.nodeSelector[zone]",
    ),
    (
        "/spec/terminationGracePeriodSeconds",
        "5",
        "spec.terminationGracePeriodSeconds (is new)",
    ),
    (
        "/spec/fieldOfTheFuture",
        "1",
        "spec.fieldOfTheFuture (is new)",
    ),
    (
        "/metadata/annotations/berth.dev~1networks",
        "\"a\"",
        "metadata.annotations[berth.dev/networks] (read when a Pod is set up",
    ),
    (
        "/metadata/annotations/kubernetes.io~1egress-bandwidth",
        "\"1M\"",
        "annotations[kubernetes.io/egress-bandwidth]",
    ),
    (
        "/metadata/annotations/container.apparmor.security.beta.kubernetes.io~1main",
        "\"x\"",
        "apparmor",
    ),
];

#[test]
fn everything_else_makes_a_pod_anew_and_is_named() {
    for (pointer, value, named) in ANEW {
        let to = with(pointer, serde_json::from_str(value).unwrap());
        let why = obstacle(&to, IN_PLACE);
        assert!(why.starts_with("not in place: "), "{why}");
        assert!(why.contains(named), "{pointer} {value}: {why}");
        // Who allows only what is done in place is told the same.
        let refused = change(&template(), &to, UpgradePolicy::InPlaceOnly);
        assert_eq!(refused, Change::Refused { why });
    }
}

#[test]
fn order_of_containers_counts_and_many_fields_are_counted() {
    let mut other = template();
    other["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .swap(0, 1);
    assert_eq!(
        obstacle(&other, IN_PLACE),
        "not in place: spec.containers.order"
    );
    for field in ["a", "b", "c", "d", "e", "f"] {
        other["spec"][field] = 1.into();
    }
    let why = obstacle(&other, IN_PLACE);
    assert!(why.ends_with("spec.containers.order; and 3 more"), "{why}");
}

#[test]
fn who_wants_pods_anew_gets_them_for_any_change() {
    let to = with("/metadata/labels/tier", "gold".into());
    let why = obstacle(&to, UpgradePolicy::ReCreate);
    assert!(why.contains("upgradePolicy"), "{why}");
}

fn set(spec: Value) -> SetView {
    let mut spec = spec;
    spec["selector"] = json!({"matchLabels": {"app": "shop"}});
    spec["template"] = template();
    SetView {
        name: "shop".to_owned(),
        uid: "u-1".to_owned(),
        version: "7".to_owned(),
        generation: 1,
        deleting: false,
        orphaning: false,
        spec: serde_json::from_value::<InPlaceSetSpec>(spec).unwrap(),
        status: InPlaceSetStatus::default(),
        revisions: Vec::new(),
        orphans: Vec::new(),
    }
}

fn revision(hash: &str, template: &Value) -> Revision {
    Revision {
        name: format!("shop-{hash}"),
        uid: "r".to_owned(),
        version: "1".to_owned(),
        hash: hash.to_owned(),
        number: 1,
        template: template.clone(),
    }
}
