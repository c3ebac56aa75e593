//! `ContainerRestart`s as a real API server takes them: what is refused before any agent sees it, how they are found and shown;
//! and, in `rights`, who may write what of them and of Pods.

use serde_json::{Value, json};
use tests_testbed::{ApiServer, Output};

use crate::shipped::{defined, kubectl, patch};

mod reports;
mod rights;

const KIND: &str = "containerrestart";

/// A request of everything that one can ask for.
fn full() -> Value {
    json!({
        "nodeName": "n1", "podName": "shop-0", "podUID": "6f1c0c1e-9d7b-4d5e-8b1a-2f3e4d5c6b7a",
        "containers": [{"name": "main"}, {"name": "side"}],
        "strategy": {
            "ordered": true, "failurePolicy": "Ignore", "terminationGracePeriodSeconds": 30, "unreadyGracePeriodSeconds": 3,
            "minStartedSeconds": 5, "force": true, "maxBackOffSeconds": 20, "backOffPolicy": "Refuse",
        },
        "activeDeadlineSeconds": 300, "ttlSecondsAfterFinished": 3600,
    })
}

/// The least that one can ask for.
fn least() -> Value {
    json!({"nodeName": "n1", "podName": "shop-0", "podUID": "u", "containers": [{"name": "main"}]})
}

fn object(name: &str, spec: &Value) -> String {
    let object = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "ContainerRestart",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    });
    object.to_string()
}

fn judge(api: &ApiServer, spec: &Value) -> Output {
    let words = ["create", "--dry-run=server", "-f", "-"];
    api.kubectl_with(&words, &object("r", spec)).unwrap()
}

enum Change {
    /// This field becomes this JSON.
    Set(&'static str, &'static str),
    /// This field becomes a text of so many characters.
    Long(&'static str, usize),
    /// There are so many containers.
    Many(usize),
    /// This field is not there.
    Remove(&'static str),
}

use Change::{Long, Many, Remove, Set};

fn changed(change: &Change) -> Value {
    let mut spec = full();
    let (pointer, value) = match change {
        Set(pointer, text) => (*pointer, Some(serde_json::from_str(text).unwrap())),
        Long(pointer, length) => (*pointer, Some("x".repeat(*length).into())),
        Many(count) => {
            let all = (0..*count).map(|number| json!({"name": format!("c{number}")}));
            ("/containers", Some(all.collect()))
        }
        Remove(pointer) => (*pointer, None),
    };
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = spec.pointer_mut(parent).unwrap();
    match value {
        Some(value) => parent[field] = value,
        None => {
            parent.as_object_mut().unwrap().remove(field).unwrap();
        }
    }
    spec
}

const NEVER: &str = "it could never end well";

/// What is changed in the full request, and words of the answer.
const REFUSED: &[(Change, &str)] = &[
    (Remove("/nodeName"), "spec.nodeName: Required"),
    (Remove("/podName"), "spec.podName: Required"),
    (Remove("/podUID"), "spec.podUID: Required"),
    (Remove("/containers"), "spec.containers: Required"),
    (Set("/nodeName", r#""""#), "spec.nodeName"),
    (Set("/nodeName", r#""N 1""#), "spec.nodeName"),
    (Long("/nodeName", 254), "spec.nodeName"),
    (Set("/podName", r#""""#), "spec.podName"),
    (Set("/podName", r#""prod/shop-0""#), "spec.podName"),
    (Long("/podName", 254), "spec.podName"),
    (Set("/podUID", r#""""#), "spec.podUID"),
    (Set("/podUID", r#""a b""#), "spec.podUID"),
    (Long("/podUID", 129), "spec.podUID"),
    (Many(0), "spec.containers"),
    (Many(33), "spec.containers: Too many"),
    (
        Set("/containers", r#"[{"name": "a"}, {"name": "a"}]"#),
        "spec.containers[1]: Duplicate",
    ),
    (Set("/containers", "[{}]"), "name: Required"),
    (
        Set("/containers", r#"[{"name": "A"}]"#),
        "spec.containers[0].name",
    ),
    (Long("/containers/0/name", 64), "spec.containers[0].name"),
    (
        Set("/strategy/failurePolicy", r#""Retry""#),
        "spec.strategy.failurePolicy",
    ),
    (
        Set("/strategy/backOffPolicy", r#""Skip""#),
        "spec.strategy.backOffPolicy",
    ),
    (
        Set("/strategy/ordered", r#""yes""#),
        "spec.strategy.ordered",
    ),
    // Seconds.
    (
        Set("/activeDeadlineSeconds", "0"),
        "spec.activeDeadlineSeconds",
    ),
    (
        Set("/activeDeadlineSeconds", "86401"),
        "spec.activeDeadlineSeconds",
    ),
    (
        Set("/activeDeadlineSeconds", "1.5"),
        "spec.activeDeadlineSeconds",
    ),
    (
        Set("/ttlSecondsAfterFinished", "-1"),
        "spec.ttlSecondsAfterFinished",
    ),
    (
        Set("/ttlSecondsAfterFinished", "2592001"),
        "spec.ttlSecondsAfterFinished",
    ),
    (
        Set("/strategy/terminationGracePeriodSeconds", "-1"),
        "spec.strategy.terminationGracePeriodSeconds",
    ),
    (
        Set("/strategy/unreadyGracePeriodSeconds", "-1"),
        "spec.strategy.unreadyGracePeriodSeconds",
    ),
    (
        Set("/strategy/minStartedSeconds", "-1"),
        "spec.strategy.minStartedSeconds",
    ),
    (
        Set("/strategy/maxBackOffSeconds", "-1"),
        "spec.strategy.maxBackOffSeconds",
    ),
    // What can never end well.
    (
        Set("/strategy/terminationGracePeriodSeconds", "301"),
        "terminationGracePeriodSeconds is longer than the request may take at all",
    ),
    (
        Set("/strategy/maxBackOffSeconds", "301"),
        "maxBackOffSeconds is longer than the request may take at all",
    ),
    (Set("/strategy/unreadyGracePeriodSeconds", "290"), NEVER),
    // One after the other: each needs its time.
    (Set("/strategy/minStartedSeconds", "149"), NEVER),
    // 600 where it does not say so.
    (Set("/strategy", r#"{"minStartedSeconds": 300}"#), NEVER),
    (
        Set("/strategy", r#"{"terminationGracePeriodSeconds": 301}"#),
        "is longer than the request may take at all",
    ),
    // 5 where it does not say so.
    (Set("/activeDeadlineSeconds", "5"), NEVER),
];

const TAKEN: &[Change] = &[
    Many(1),
    Many(32),
    Long("/nodeName", 253),
    Long("/podName", 253),
    Long("/podUID", 128),
    Long("/containers/0/name", 63),
    Remove("/strategy"),
    Remove("/activeDeadlineSeconds"),
    Remove("/ttlSecondsAfterFinished"),
    Set("/activeDeadlineSeconds", "null"),
    Set("/strategy", r#"{"minStartedSeconds": null}"#),
    Set("/strategy", "{}"),
    Set("/ttlSecondsAfterFinished", "0"),
    Set("/ttlSecondsAfterFinished", "2592000"),
    Set("/activeDeadlineSeconds", "86400"),
    Set("/strategy/terminationGracePeriodSeconds", "0"),
    Set("/strategy/terminationGracePeriodSeconds", "300"),
    Set("/strategy/unreadyGracePeriodSeconds", "0"),
    Set("/strategy/minStartedSeconds", "148"),
    Set("/strategy", r#"{"minStartedSeconds": 299}"#),
    Set("/strategy/maxBackOffSeconds", "300"),
];

/// What is merged into the spec of a request that is there.
const CHANGES: &[&str] = &[
    r#"{"nodeName": "n2"}"#,
    r#"{"podName": "shop-1"}"#,
    r#"{"podUID": "other"}"#,
    r#"{"containers": [{"name": "main"}]}"#,
    r#"{"containers": [{"name": "side"}, {"name": "main"}]}"#,
    r#"{"strategy": {"force": false}}"#,
    r#"{"strategy": {"unreadyGracePeriodSeconds": null}}"#,
    r#"{"activeDeadlineSeconds": 600}"#,
    r#"{"ttlSecondsAfterFinished": null}"#,
];

/// What becomes of a request that has ended well.
const STATUS_CHANGES: &[(&str, Option<&str>)] = &[
    (r#"{"phase": "Recreating"}"#, Some("a verdict stays")),
    (
        r#"{"phase": "Failed", "reason": "Crash"}"#,
        Some("a verdict stays"),
    ),
    (
        r#"{"reason": "Crash"}"#,
        Some("a failure, and nothing else, has a reason"),
    ),
    (r#"{"completedAt": null}"#, Some("says when it was reached")),
    (r#"{"phase": "Done"}"#, Some("status.phase")),
    (r#"{"message": "all is well"}"#, None),
];

#[test]
fn nonsense_is_refused_nothing_changes_afterwards_and_requests_are_found_and_shown() {
    let api = defined("api_restarts");
    for (change, words) in REFUSED {
        let spec = changed(change);
        let said = judge(&api, &spec);
        assert!(!said.success(), "{spec} was taken");
        assert!(said.stderr.contains(words), "{spec}: {}", said.stderr);
    }
    for change in TAKEN {
        judge(&api, &changed(change)).ok().unwrap();
    }
    judge(&api, &full()).ok().unwrap();
    judge(&api, &least()).ok().unwrap();

    api.apply(&object("one", &full())).unwrap();
    for fields in CHANGES {
        let fields = format!("{{\"spec\": {fields}}}");
        let said = api.kubectl(&patch(KIND, "one", &fields)).unwrap();
        assert!(!said.success(), "{fields} was taken");
        assert!(
            said.stderr.contains("a request cannot be changed"),
            "{fields}: {}",
            said.stderr
        );
    }
    // What is not said is said by the schema, so that nobody has to know it by heart.
    api.apply(&object("two", &least())).unwrap();
    let two = api.kubectl_json(&["get", KIND, "two"]).unwrap();
    let strategy =
        json!({"ordered": false, "failurePolicy": "Fail", "force": false, "backOffPolicy": "Wait"});
    assert_eq!(two["spec"]["strategy"], strategy);

    verdicts_stay(&api);
    found_and_shown(&api);
}

fn status(api: &ApiServer, name: &str, fields: &str) -> Output {
    let fields = format!("{{\"status\": {fields}}}");
    let mut words = patch(KIND, name, &fields).to_vec();
    words.push("--subresource=status");
    api.kubectl(&words).unwrap()
}

fn verdicts_stay(api: &ApiServer) {
    let failed = r#"{"phase": "Failed"}"#;
    let said = status(api, "one", failed);
    assert!(said.stderr.contains("has a reason"), "{}", said.stderr);
    let ended =
        r#"{"phase": "Succeeded", "message": "it runs", "completedAt": "2026-01-01T00:00:00Z"}"#;
    status(api, "one", ended).ok().unwrap();
    for (fields, words) in STATUS_CHANGES {
        let said = status(api, "one", fields);
        match words {
            None => drop(said.ok().unwrap()),
            Some(words) => {
                assert!(!said.success(), "{fields} was taken");
                assert!(said.stderr.contains(words), "{fields}: {}", said.stderr);
            }
        }
    }
    let refused = r#"{"phase": "Failed", "reason": "StaticPod", "message": "it is kubelet's own", "completedAt": "2026-01-01T00:00:00Z"}"#;
    status(api, "two", refused).ok().unwrap();
}

fn found_and_shown(api: &ApiServer) {
    let mut other = least();
    other["nodeName"] = "n2".into();
    other["podName"] = "shop-1".into();
    api.apply(&object("three", &other)).unwrap();
    for (selector, found) in [
        ("spec.nodeName=n1", "one two"),
        ("spec.nodeName=n2", "three"),
        ("spec.podName=shop-1", "three"),
        ("spec.podName=shop-0,spec.nodeName=n2", ""),
    ] {
        let names = [
            "get",
            KIND,
            "--field-selector",
            selector,
            "-o",
            "jsonpath={.items[*].metadata.name}",
        ];
        assert_eq!(kubectl(api, &names), found, "{selector}");
    }

    let shown = kubectl(api, &["get", "crst", "two"]);
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let lines: Vec<_> = shown.lines().map(words).collect();
    assert_eq!(lines[0], ["NAME", "POD", "PHASE", "REASON", "AGE"]);
    assert_eq!(lines[1][..4], ["two", "shop-0", "Failed", "StaticPod"]);
    let wide = kubectl(api, &["get", "crst", "two", "-o", "wide"]);
    assert!(
        wide.contains("MESSAGE") && wide.contains("it is kubelet's own"),
        "{wide}"
    );
    let all = kubectl(api, &["get", "berth", "-o", "name"]);
    assert!(all.contains("containerrestart.berth.dev/one"), "{all}");
}
