//! The custom resource definitions as a real API server enforces them: each rule and each bound refuses an object.

use serde_json::{Value, json};
use tests_testbed::{ApiServer, Output};

use crate::shipped::{defined, kubectl};

fn health(name: &str) -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "NodeHealth",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": name},
    })
}

/// A status with a signal of each state.
fn status() -> Value {
    json!({
        "bootId": "f00-1", "agentVersion": "0.1.0",
        "reportTime": "2026-01-01T00:00:00Z", "expiryTime": "2026-01-01T00:12:00Z",
        "problems": 1, "unknowns": 1,
        "conditions": [condition("Healthy")],
        "signals": [
            {
                "name": "kubelet", "state": "Healthy", "since": "2026-01-01T00:00:00Z",
                "observedTime": "2026-01-01T00:00:00Z", "ttlSeconds": 60, "value": "ok", "threshold": "ok",
            },
            {
                "name": "ipamd", "state": "Unhealthy", "since": "2026-01-01T00:00:00Z",
                "observedTime": "2026-01-01T00:00:00Z", "ttlSeconds": 60, "value": "away", "threshold": "answers",
                "decision": "Cordon", "message": "it is away", "impact": "no addresses", "advice": "look",
            },
            unknown("addresses"),
        ],
    })
}

fn unknown(name: &str) -> Value {
    json!({
        "name": name, "state": "Unknown", "since": "2026-01-01T00:00:00Z",
        "ttlSeconds": 60, "value": "", "threshold": "", "message": "not looked at",
    })
}

fn condition(kind: &str) -> Value {
    json!({
        "type": kind, "status": "False", "reason": "SignalsUnhealthy", "message": "wrong: ipamd",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

fn apply_status(api: &ApiServer, status: &Value) -> Output {
    let mut object = health("n1");
    object.as_object_mut().unwrap().remove("spec");
    object["status"] = status.clone();
    let words = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--subresource=status",
        "-f",
        "-",
    ];
    api.kubectl_with(&words, &object.to_string()).unwrap()
}

/// What is changed in a status, and a word of the answer.
type Refused = (&'static str, Change, &'static str);

enum Change {
    /// This field becomes this JSON.
    Set(&'static str, &'static str),
    /// This field becomes a text of so many characters.
    Long(&'static str, usize),
    /// This list has so many items.
    Many(&'static str, usize),
    /// This field is not there.
    Remove(&'static str),
}

use Change::{Long, Many, Remove, Set};

fn changed(change: &Change) -> Value {
    let mut status = status();
    match change {
        Set(pointer, value) => set(&mut status, pointer, serde_json::from_str(value).unwrap()),
        Long(pointer, length) => set(&mut status, pointer, "x".repeat(*length).into()),
        Many(pointer, count) => {
            let make = if pointer.contains("signals") {
                unknown
            } else {
                condition
            };
            let all: Vec<_> = (0..*count)
                .map(|index| make(&format!("s{index}")))
                .collect();
            set(&mut status, pointer, all.into());
        }
        Remove(pointer) => {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            let parent = status.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            parent.remove(field).unwrap();
        }
    }
    status
}

fn set(status: &mut Value, pointer: &str, value: Value) {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    status.pointer_mut(parent).unwrap()[field] = value;
}

const CONDITION_TWICE: &str = r#"[
    {"type": "A", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    {"type": "A", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
]"#;

const RULES: &[Refused] = &[
    (
        "problems that are not counted",
        Set("/problems", "0"),
        "problems is the number",
    ),
    (
        "unknowns that are not counted",
        Set("/unknowns", "2"),
        "unknowns is the number",
    ),
    (
        "a report that expires before it was made",
        Set("/expiryTime", r#""2026-01-01T00:00:00Z""#),
        "expires after",
    ),
    (
        "healthy without an observation",
        Remove("/signals/0/observedTime"),
        "needs an observation",
    ),
    (
        "unhealthy without an observation",
        Remove("/signals/1/observedTime"),
        "needs an observation",
    ),
    (
        "unhealthy without a message",
        Remove("/signals/1/message"),
        "says what is wrong",
    ),
    (
        "unhealthy without an impact",
        Remove("/signals/1/impact"),
        "says what is wrong",
    ),
    (
        "unhealthy without advice",
        Remove("/signals/1/advice"),
        "says what is wrong",
    ),
    (
        "unhealthy without a decision",
        Remove("/signals/1/decision"),
        "which decision",
    ),
    (
        "healthy with a decision",
        Set("/signals/0/decision", r#""Observe""#),
        "which decision",
    ),
    (
        "unknown with a decision",
        Set("/signals/2/decision", r#""Drain""#),
        "which decision",
    ),
    (
        "a signal twice",
        Set("/signals/0/name", r#""ipamd""#),
        "uplicate",
    ),
    (
        "a condition twice",
        Set("/conditions", CONDITION_TWICE),
        "uplicate",
    ),
];

const BOUNDS: &[Refused] = &[
    ("an empty boot id", Set("/bootId", r#""""#), "bootId"),
    ("a long boot id", Long("/bootId", 65), "bootId"),
    (
        "a boot id with a blank",
        Set("/bootId", r#""a b""#),
        "bootId",
    ),
    ("no boot id", Remove("/bootId"), "bootId"),
    ("a long version", Long("/agentVersion", 65), "agentVersion"),
    (
        "an empty version",
        Set("/agentVersion", r#""""#),
        "agentVersion",
    ),
    (
        "a time that is none",
        Set("/reportTime", r#""now""#),
        "reportTime",
    ),
    (
        "fewer problems than none",
        Set("/problems", "-1"),
        "problems",
    ),
    (
        "more problems than signals",
        Set("/problems", "65"),
        "problems",
    ),
    (
        "fewer unknowns than none",
        Set("/unknowns", "-1"),
        "unknowns",
    ),
    ("too many signals", Many("/signals", 65), "signals"),
    ("too many conditions", Many("/conditions", 9), "conditions"),
    (
        "a status that there is not",
        Set("/conditions/0/status", r#""Maybe""#),
        "status",
    ),
    (
        "a reason in words",
        Set("/conditions/0/reason", r#""it is wrong""#),
        "reason",
    ),
    ("a long reason", Long("/conditions/0/reason", 64), "reason"),
    ("a long type", Long("/conditions/0/type", 64), "type"),
    (
        "a type in words",
        Set("/conditions/0/type", r#""is well""#),
        "type",
    ),
    (
        "a long message of a condition",
        Long("/conditions/0/message", 1025),
        "message",
    ),
    (
        "a signal without a name",
        Set("/signals/0/name", r#""""#),
        "name",
    ),
    (
        "a signal with a long name",
        Long("/signals/0/name", 41),
        "name",
    ),
    (
        "a signal with a loud name",
        Set("/signals/0/name", r#""Kubelet""#),
        "name",
    ),
    (
        "a state that there is not",
        Set("/signals/0/state", r#""Fine""#),
        "state",
    ),
    (
        "a decision that there is not",
        Set("/signals/1/decision", r#""Reboot""#),
        "decision",
    ),
    (
        "no time to live",
        Set("/signals/0/ttlSeconds", "0"),
        "ttlSeconds",
    ),
    (
        "a time to live of days",
        Set("/signals/0/ttlSeconds", "86401"),
        "ttlSeconds",
    ),
    ("a long value", Long("/signals/0/value", 129), "value"),
    (
        "a long threshold",
        Long("/signals/0/threshold", 129),
        "threshold",
    ),
    ("a long message", Long("/signals/1/message", 513), "message"),
    (
        "an empty message",
        Set("/signals/1/message", r#""""#),
        "message",
    ),
    ("a long impact", Long("/signals/1/impact", 513), "impact"),
    (
        "an empty impact",
        Set("/signals/1/impact", r#""""#),
        "impact",
    ),
    ("long advice", Long("/signals/1/advice", 513), "advice"),
    ("empty advice", Set("/signals/1/advice", r#""""#), "advice"),
];

#[test]
fn every_rule_and_bound_of_a_nodes_health_refuses_a_report() {
    let api = defined("api_crds");
    api.apply(&health("n1").to_string()).unwrap();
    for (case, change, words) in RULES.iter().chain(BOUNDS) {
        let said = apply_status(&api, &changed(change));
        assert!(!said.success(), "{case} was taken");
        assert!(said.stderr.contains(words), "{case}: {}", said.stderr);
    }
    // And what they are changes of is taken, at the bounds too.
    apply_status(&api, &status()).ok().unwrap();
    for most in [
        Long("/signals/0/value", 128),
        Long("/signals/1/message", 512),
        Long("/bootId", 64),
    ] {
        apply_status(&api, &changed(&most)).ok().unwrap();
    }
    let mut most = changed(&Many("/signals", 64));
    most["problems"] = json!(0);
    most["unknowns"] = json!(64);
    apply_status(&api, &most).ok().unwrap();
}

#[test]
fn nodes_health_is_of_the_node_it_is_named_after_for_ever() {
    let api = defined("api_crd_spec");
    let create = |object: &Value| {
        let said = api.kubectl_with(&["create", "-f", "-"], &object.to_string());
        said.unwrap()
    };
    let mut other = health("n1");
    other["spec"]["nodeName"] = "n2".into();
    assert!(
        create(&other)
            .stderr
            .contains("the name must be the node's")
    );
    let mut nobody = health("n1");
    nobody["spec"]["nodeName"] = "".into();
    assert!(create(&nobody).stderr.contains("nodeName"));
    let mut none = health("n1");
    none["spec"] = json!({});
    assert!(create(&none).stderr.contains("nodeName"));
    create(&health("n1")).ok().unwrap();
    let patch = json!({"spec": {"nodeName": "n2"}}).to_string();
    let words = [
        "patch",
        "nodehealth",
        "n1",
        "--type=merge",
        "--patch",
        &patch,
    ];
    let said = api.kubectl(&words).unwrap();
    assert!(said.stderr.contains("cannot be changed"), "{}", said.stderr);
}

#[test]
fn kubectl_shows_health_and_selects_what_has_problems() {
    let api = defined("api_crd_columns");
    api.apply(&health("n1").to_string()).unwrap();
    api.apply(&health("n2").to_string()).unwrap();
    apply_status(&api, &status()).ok().unwrap();

    let shown = kubectl(&api, &["get", "nh"]);
    let heads: Vec<_> = shown.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        heads,
        ["NAME", "HEALTHY", "PROBLEMS", "UNKNOWN", "REPORTED", "AGE"]
    );
    let row: Vec<_> = shown.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["n1", "False", "1", "1"]);
    let wide = kubectl(&api, &["get", "berth", "-o", "wide"]);
    assert!(wide.contains("wrong: ipamd"), "{wide}");

    let select = |selector: &str| {
        let selector = format!("--field-selector={selector}");
        kubectl(&api, &["get", "nh", "-o", "name", &selector])
    };
    assert_eq!(
        select("status.problems=1").trim(),
        "nodehealth.berth.dev/n1"
    );
    assert!(!select("status.problems=0").contains("n1"));
    let waited = [
        "wait",
        "--for=condition=Healthy=false",
        "nodehealth/n1",
        "--timeout=10s",
    ];
    kubectl(&api, &waited);
}
