//! `InPlaceSet`s as a real API server takes them: what is refused before any controller sees it, how they are scaled, filled up
//! with what is not said, and shown.

use serde_json::{Value, json};
use tests_testbed::{ApiServer, Output};

use crate::shipped::{defined, kubectl, patch};

const KIND: &str = "inplaceset";

/// A set of everything that one can ask for.
fn full() -> Value {
    json!({
        "replicas": 4, "updatedReplicas": 2, "revision": "bcdfghjklm", "minReadySeconds": 5, "upgradePolicy": "InPlaceOnly",
        "maxUnavailable": "25%", "paused": true, "revisionHistoryLimit": 3, "progressDeadlineSeconds": 60, "prePullTimeoutSeconds": 60,
        "selector": {
            "matchLabels": {"app": "shop"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["gold", "silver"]},
                {"key": "app", "operator": "Exists"},
                {"key": "canary", "operator": "DoesNotExist"},
                {"key": "cell", "operator": "NotIn", "values": ["b"]},
            ],
        },
        "lossless": {
            "quietSeconds": 1, "drainTimeoutSeconds": 30, "attachTimeoutSeconds": 30, "onDrainTimeout": "Proceed",
            "protections": ["protection.berth.dev/endpoints", "protection.berth.dev/lb.example"],
        },
        "podsToDelete": ["s-0", "s-17"],
        "template": {
            "metadata": {
                "labels": {"app": "shop", "tier": "gold"},
                "annotations": {"berth.dev/restarted-at": "2026-01-01T00:00:00Z", "contact": "ops"},
            },
            "spec": {
                "hostNetwork": true, "restartPolicy": "Always", "fieldOfTheFuture": {"a": [1]},
                "initContainers": [{"name": "mesh", "image": "mesh:v1", "restartPolicy": "Always"}],
                "containers": [{"name": "main", "image": "shop:v1", "ports": [{"containerPort": 80}]}],
            },
        },
    })
}

/// The least that one can ask for.
fn least() -> Value {
    json!({
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {
            "metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [{"name": "main", "image": "shop:v1"}]},
        },
    })
}

fn object(name: &str, spec: &Value) -> String {
    let object = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    });
    object.to_string()
}

fn judge(api: &ApiServer, name: &str, spec: &Value) -> Output {
    let words = ["create", "--dry-run=server", "-f", "-"];
    api.kubectl_with(&words, &object(name, spec)).unwrap()
}

/// The full set with this field set to this JSON; null: it goes.
fn changed(pointer: &str, text: &str) -> Value {
    let mut spec = full();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = spec.pointer_mut(parent).unwrap();
    let field = field.replace("~1", "/");
    match (parent, serde_json::from_str(text).unwrap()) {
        (Value::Object(fields), Value::Null) => drop(fields.remove(&field).unwrap()),
        (Value::Object(fields), value) => drop(fields.insert(field, value)),
        (items, value) => items[field.parse::<usize>().unwrap()] = value,
    }
    spec
}

const LABELS: &str = "template.metadata.labels must have each of these labels";
const EXPRESSIONS: &str = "template.metadata.labels must match them";
const PROTECTIONS: &str = "protections are finalizers with the prefix protection.berth.dev/";
const CONTROLLERS: &str = "are set by the controllers";

/// What is changed in the full set, and words of the answer.
const REFUSED: &[(&str, &str, &str)] = &[
    // Numbers.
    ("/replicas", "-1", "spec.replicas"),
    ("/replicas", "10001", "spec.replicas"),
    ("/replicas", "\"3\"", "spec.replicas"),
    ("/updatedReplicas", "-1", "spec.updatedReplicas"),
    ("/updatedReplicas", "10001", "spec.updatedReplicas"),
    ("/minReadySeconds", "-1", "spec.minReadySeconds"),
    ("/minReadySeconds", "86401", "spec.minReadySeconds"),
    ("/revisionHistoryLimit", "-1", "spec.revisionHistoryLimit"),
    ("/revisionHistoryLimit", "101", "spec.revisionHistoryLimit"),
    (
        "/progressDeadlineSeconds",
        "0",
        "spec.progressDeadlineSeconds",
    ),
    ("/prePullTimeoutSeconds", "0", "spec.prePullTimeoutSeconds"),
    ("/maxUnavailable", "0", "spec.maxUnavailable"),
    ("/maxUnavailable", "-1", "spec.maxUnavailable"),
    ("/maxUnavailable", "10001", "spec.maxUnavailable"),
    ("/maxUnavailable", "\"0%\"", "spec.maxUnavailable"),
    ("/maxUnavailable", "\"101%\"", "spec.maxUnavailable"),
    ("/maxUnavailable", "\"3\"", "spec.maxUnavailable"),
    ("/maxUnavailable", "\"a third\"", "spec.maxUnavailable"),
    (
        "/lossless/quietSeconds",
        "3601",
        "spec.lossless.quietSeconds",
    ),
    (
        "/lossless/drainTimeoutSeconds",
        "0",
        "spec.lossless.drainTimeoutSeconds",
    ),
    (
        "/lossless/attachTimeoutSeconds",
        "0",
        "spec.lossless.attachTimeoutSeconds",
    ),
    // Words.
    ("/upgradePolicy", "\"Recreate\"", "spec.upgradePolicy"),
    ("/paused", "\"yes\"", "spec.paused"),
    ("/revision", "\"\"", "spec.revision"),
    ("/revision", "\"s-bcdfghjklm\"", "spec.revision"),
    (
        "/lossless/onDrainTimeout",
        "\"Fail\"",
        "spec.lossless.onDrainTimeout",
    ),
    (
        "/lossless/protections",
        r#"["service.example/lb"]"#,
        PROTECTIONS,
    ),
    (
        "/lossless/protections",
        r#"["protection.berth.dev/"]"#,
        PROTECTIONS,
    ),
    (
        "/lossless/protections",
        r#"["protectionxberth.dev/a"]"#,
        PROTECTIONS,
    ),
    (
        "/lossless/protections",
        r#"["protection.berth.dev/a", "protection.berth.dev/a"]"#,
        "Duplicate",
    ),
    (
        "/lossless/protections",
        r#"["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17"]"#,
        "Too many",
    ),
    (
        "/podsToDelete",
        r#"["other-0"]"#,
        "podsToDelete names Pods of this set",
    ),
    (
        "/podsToDelete",
        r#"["s-x-0"]"#,
        "podsToDelete names Pods of this set",
    ),
    ("/podsToDelete", r#"["s-01"]"#, "spec.podsToDelete[0]"),
    ("/podsToDelete", r#"["s"]"#, "spec.podsToDelete[0]"),
    ("/podsToDelete", r#"["s-0", "s-0"]"#, "Duplicate"),
    // The selector.
    ("/selector", "null", "spec.selector: Required"),
    ("/selector", "{}", "would select every Pod of the namespace"),
    (
        "/selector",
        r#"{"matchLabels": {}}"#,
        "would select every Pod of the namespace",
    ),
    ("/selector/matchLabels/app", "\"other\"", LABELS),
    ("/selector/matchLabels/none", "\"\"", LABELS),
    (
        "/selector/matchExpressions/0/values",
        r#"["bronze"]"#,
        EXPRESSIONS,
    ),
    ("/selector/matchExpressions/0/key", "\"none\"", EXPRESSIONS),
    ("/selector/matchExpressions/1/key", "\"none\"", EXPRESSIONS),
    ("/selector/matchExpressions/2/key", "\"app\"", EXPRESSIONS),
    (
        "/selector/matchExpressions/3",
        r#"{"key": "tier", "operator": "NotIn", "values": ["gold"]}"#,
        EXPRESSIONS,
    ),
    (
        "/selector/matchExpressions/0/values",
        "[]",
        "In and NotIn need values",
    ),
    (
        "/selector/matchExpressions/1/values",
        r#"["shop"]"#,
        "In and NotIn need values",
    ),
    (
        "/selector/matchExpressions/0/operator",
        "\"Gt\"",
        "operator",
    ),
    // The template.
    ("/template", "null", "spec.template: Required"),
    ("/template/metadata", "null", LABELS),
    ("/template/metadata/labels", "null", LABELS),
    ("/template/metadata/labels/app", "\"other\"", LABELS),
    (
        "/template/metadata/labels/controller-revision-hash",
        "\"x\"",
        CONTROLLERS,
    ),
    (
        "/template/metadata/labels/apps.kubernetes.io~1pod-index",
        "\"0\"",
        CONTROLLERS,
    ),
    (
        "/template/metadata/annotations/berth.dev~1lossless",
        "\"{}\"",
        CONTROLLERS,
    ),
    (
        "/template/metadata/annotations/berth.dev~1release",
        "\"x\"",
        CONTROLLERS,
    ),
    (
        "/template/metadata/annotations/berth.dev~1protections",
        "\"[]\"",
        CONTROLLERS,
    ),
    (
        "/template/metadata/annotations/berth.dev~1report-containers",
        "\"false\"",
        CONTROLLERS,
    ),
    (
        "/template/metadata/annotations/berth.dev~1containers",
        "\"{}\"",
        CONTROLLERS,
    ),
    ("/template/spec", "null", "spec.template.spec: Required"),
    (
        "/template/spec/restartPolicy",
        "\"Never\"",
        "restartPolicy must be Always",
    ),
    (
        "/template/spec/restartPolicy",
        "\"OnFailure\"",
        "restartPolicy must be Always",
    ),
    (
        "/template/spec/activeDeadlineSeconds",
        "60",
        "activeDeadlineSeconds must not be set",
    ),
    (
        "/template/spec/containers",
        "null",
        "spec.template.spec.containers: Required",
    ),
    (
        "/template/spec/containers",
        "[]",
        "spec.template.spec.containers",
    ),
    (
        "/template/spec/containers",
        r#"[{"name": "main"}]"#,
        "image: Required",
    ),
    (
        "/template/spec/containers",
        r#"[{"image": "shop:v1"}]"#,
        "name: Required",
    ),
    (
        "/template/spec/containers",
        r#"[{"name": "Main", "image": "shop:v1"}]"#,
        "containers[0].name",
    ),
    (
        "/template/spec/containers",
        r#"[{"name": "main", "image": "shop:v1"}, {"name": "main", "image": "shop:v2"}]"#,
        "Duplicate",
    ),
];

/// What is changed in the full set, and taken.
const TAKEN: &[(&str, &str)] = &[
    ("/replicas", "0"),
    ("/replicas", "10000"),
    // `kubectl scale` writes the one and not the other.
    ("/updatedReplicas", "9"),
    ("/updatedReplicas", "0"),
    ("/updatedReplicas", "null"),
    ("/revision", "null"),
    ("/maxUnavailable", "1"),
    ("/maxUnavailable", "10000"),
    ("/maxUnavailable", "\"1%\""),
    ("/maxUnavailable", "\"100%\""),
    ("/maxUnavailable", "null"),
    ("/lossless", "null"),
    ("/lossless", "{}"),
    ("/lossless/quietSeconds", "0"),
    ("/lossless/protections", "[]"),
    ("/podsToDelete", "null"),
    ("/selector/matchExpressions", "null"),
    ("/selector/matchLabels", "null"),
    ("/template/metadata/annotations", "null"),
    ("/template/spec/restartPolicy", "null"),
    ("/template/spec/hostNetwork", "false"),
    ("/template/spec/initContainers", "[]"),
];

#[test]
fn nonsense_is_refused_and_sets_are_filled_up_scaled_and_shown() {
    let api = defined("api_sets");
    for (pointer, text, words) in REFUSED {
        let said = judge(&api, "s", &changed(pointer, text));
        assert!(!said.success(), "{pointer} {text} was taken");
        assert!(
            said.stderr.contains(words),
            "{pointer} {text}: {}",
            said.stderr
        );
    }
    for (pointer, text) in TAKEN {
        let said = judge(&api, "s", &changed(pointer, text));
        assert!(said.success(), "{pointer} {text}: {}", said.stderr);
    }
    judge(&api, "s", &full()).ok().unwrap();
    for (name, taken) in [
        ("x".repeat(52), true),
        ("x".repeat(53), false),
        ("a.b".to_owned(), false),
    ] {
        let said = judge(&api, &name, &least());
        assert_eq!(said.success(), taken, "{name}: {}", said.stderr);
        assert!(
            taken || said.stderr.contains("at most 52 characters and no dot"),
            "{}",
            said.stderr
        );
    }

    api.apply(&object("s", &full())).unwrap();
    api.apply(&object("two", &least())).unwrap();
    the_selector_stays(&api);
    filled_up_and_kept(&api);
    scaled(&api);
    shown(&api);
}

fn the_selector_stays(api: &ApiServer) {
    for fields in [
        r#"{"spec": {"selector": {"matchLabels": {"tier": "gold"}}}}"#,
        r#"{"spec": {"selector": {"matchExpressions": null}}}"#,
    ] {
        let said = api.kubectl(&patch(KIND, "s", fields)).unwrap();
        assert!(!said.success(), "{fields} was taken");
        assert!(
            said.stderr
                .contains("the selector of a set cannot be changed"),
            "{fields}: {}",
            said.stderr
        );
    }
}

/// What is not said is said by the schema; of the template nothing is lost that is not known.
fn filled_up_and_kept(api: &ApiServer) {
    let whole = api.kubectl_json(&["get", KIND, "s"]).unwrap();
    assert_eq!(whole["spec"], full());
    let two = api.kubectl_json(&["get", KIND, "two"]).unwrap();
    let mut expected = least();
    for (field, value) in [
        ("replicas", json!(1)),
        ("minReadySeconds", json!(0)),
        ("upgradePolicy", json!("InPlaceIfPossible")),
        ("maxUnavailable", json!(1)),
        ("paused", json!(false)),
        ("revisionHistoryLimit", json!(10)),
        ("progressDeadlineSeconds", json!(600)),
        ("prePullTimeoutSeconds", json!(600)),
    ] {
        expected[field] = value;
    }
    assert_eq!(two["spec"], expected);
    kubectl(api, &patch(KIND, "two", r#"{"spec": {"lossless": {}}}"#));
    let two = api.kubectl_json(&["get", KIND, "two"]).unwrap();
    assert_eq!(
        two["spec"]["lossless"],
        json!({"quietSeconds": 3, "drainTimeoutSeconds": 300, "attachTimeoutSeconds": 300, "onDrainTimeout": "Hold"})
    );
}

fn scaled(api: &ApiServer) {
    // Fewer than `updatedReplicas`.
    kubectl(api, &["scale", "ips/s", "--replicas=1"]);
    let said = api
        .kubectl(&["scale", "ips/s", "--replicas=10001"])
        .unwrap();
    assert!(said.stderr.contains("spec.replicas"), "{}", said.stderr);
    let status =
        r#"{"status": {"replicas": 1, "labelSelector": "app=shop,tier in (gold,silver)"}}"#;
    write_status(api, status);
    let scale = kubectl(
        api,
        &[
            "get",
            "--raw",
            "/apis/berth.dev/v1alpha1/namespaces/default/inplacesets/s/scale",
        ],
    );
    let scale: Value = serde_json::from_str(&scale).unwrap();
    assert_eq!(scale["spec"], json!({"replicas": 1}));
    // What an autoscaler counts, and looks for.
    assert_eq!(
        scale["status"],
        json!({"replicas": 1, "selector": "app=shop,tier in (gold,silver)"})
    );
}

fn write_status(api: &ApiServer, status: &str) {
    let mut words = patch(KIND, "s", status).to_vec();
    words.push("--subresource=status");
    api.kubectl(&words).unwrap().ok().unwrap();
}

/// How far, what it waits for, since when.
fn shown(api: &ApiServer) {
    let status = json!({"status": {
        "observedGeneration": 2, "replicas": 4, "readyReplicas": 3, "availableReplicas": 3, "updatedReplicas": 2, "updatedReadyReplicas": 1,
        "draining": 1, "upgrading": 0, "attaching": 0, "currentRevision": "old", "updateRevision": "new", "collisionCount": 0,
        "release": {
            "id": "new-7", "phase": "Progressing", "fromRevision": "old", "toRevision": "new", "startedAt": "2026-01-01T00:00:00Z",
            "waitsFor": "s-1: protection.berth.dev/lb.example", "since": "2026-01-01T00:00:00Z",
            "pods": [{"name": "s-1", "state": "Draining", "waitsFor": "protection.berth.dev/lb.example", "since": "2026-01-01T00:00:00Z"}],
        },
        "conditions": [{"type": "Progressing", "status": "True", "reason": "Released", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }});
    write_status(api, &status.to_string());
    let text = kubectl(api, &["get", "ips", "s"]);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let head = [
        "NAME",
        "DESIRED",
        "READY",
        "UPDATED",
        "RELEASE",
        "WAITS-FOR",
        "SINCE",
        "AGE",
    ];
    assert_eq!(lines[0], head);
    let waits = [
        "s",
        "1",
        "3",
        "1",
        "Progressing",
        "s-1:",
        "protection.berth.dev/lb.example",
    ];
    assert_eq!(lines[1][..7], waits);
    let since = lines[1][7];
    assert!(since.ends_with('d'), "an age: {since}");
    let wide = kubectl(api, &["get", "ips", "s", "-o", "wide"]);
    for word in [
        "AVAILABLE",
        "DRAINING",
        "UPGRADING",
        "ATTACHING",
        "CURRENT",
        "UPDATE",
        "SELECTOR",
        "tier in (gold,silver)",
    ] {
        assert!(wide.contains(word), "{word}: {wide}");
    }
    for category in ["berth", "all"] {
        let all = kubectl(api, &["get", category, "-o", "name"]);
        assert!(all.contains("inplaceset.berth.dev/s"), "{category}: {all}");
    }
}
