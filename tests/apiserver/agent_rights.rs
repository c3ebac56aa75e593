//! What an agent may write of Nodes, Leases and Events: of its own node, and of that no more than is its own. Judged by a real API server
//! by the shipped roles and policies, with tokens as kubelet gives them to the agents' Pods.

use std::time::Duration;

use serde_json::{Value, json};
use tests_testbed::{ApiServer, ControlPlane, Pending, wait_patiently};

use crate::shipped::{Caller, NAMESPACE, add_node, installed, kubectl};

/// New policies are in force within a second or two on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);

const UNBOUND: &str = "the token is not bound to a node";
const FORBIDDEN: &str = "orbidden";

/// The first word of what is no command of kubectl's.
const PATCH: &str = "PATCH";

/// What a row expects.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Yes,
    No(&'static str),
}

use Answer::{No, Yes};

/// A Node as its kubelet has written it.
fn join(api: &ApiServer, name: &str) {
    add_node(api, name);
    let status = json!({"status": {
        "capacity": {"cpu": "4"}, "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "posting"}],
    }});
    let patch = status.to_string();
    kubectl(
        api,
        &[
            "patch",
            "node",
            name,
            "--subresource=status",
            "--type=merge",
            "--patch",
            &patch,
        ],
    );
}

/// An API server on which the policies of this file are in force, with two nodes.
fn policed(name: &str) -> ApiServer {
    let api = installed(name);
    for node in ["n1", "n2"] {
        join(&api, node);
    }
    let unbound = Caller::with_token(&api, "berth-agent", &[]);
    let condition = condition("berth.dev/RuntimeProblem");
    let tries = [
        (patch_status("n1", &condition), String::new()),
        (create("-n", NAMESPACE), lease("n1").to_string()),
        (create("-n", "default"), event("Node", "n1").to_string()),
    ];
    for (words, input) in tries {
        let what = format!("the policy of {words:?} being in force");
        let waited = wait_patiently(&what, DEADLINE, || {
            let said = ask(&api, &unbound, &words, &input, true);
            if said.contains(UNBOUND) {
                return Ok(());
            }
            Err(Pending::because(said))
        });
        waited.unwrap();
    }
    api
}

fn ask(api: &ApiServer, caller: &Caller<'_>, words: &[String], input: &str, dry: bool) -> String {
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let [PATCH, kind, place, patch] = words[..] {
        return send(api, caller, kind, place, patch, dry);
    }
    if dry {
        words.push("--dry-run=server");
    }
    let said = caller.ask(&words, input);
    if said.success() {
        format!("allowed: {}", said.stdout)
    } else {
        said.stderr
    }
}

/// A patch as the agent sends it: kubectl reads before it patches, and the agent may not read.
fn send(
    api: &ApiServer,
    caller: &Caller<'_>,
    kind: &str,
    place: &str,
    patch: &str,
    dry: bool,
) -> String {
    let dry = if dry { "?dryRun=All" } else { "" };
    let url = format!("{}{place}{dry}", ControlPlane::server());
    let token = format!("Authorization: Bearer {}", caller.token());
    let kind = format!("Content-Type: application/{kind}-patch+json");
    let words = [
        "curl", "-sk", "-X", PATCH, "-H", &token, "-H", &kind, "--data", patch, &url,
    ];
    let said = api.machine().exec(&words).unwrap().ok().unwrap();
    let answer: Value = serde_json::from_str(&said).unwrap();
    if answer["kind"] == "Status" {
        answer["message"].as_str().unwrap_or_default().to_owned()
    } else {
        format!("allowed: {said}")
    }
}

/// Every row is asked for real, in this order.
#[track_caller]
fn judge(api: &ApiServer, caller: &Caller<'_>, rows: &[(&str, Vec<String>, Value, Answer)]) {
    for (case, words, input, answer) in rows {
        let said = ask(api, caller, words, &input.to_string(), false);
        match answer {
            Yes => assert!(said.starts_with("allowed: "), "{case}: {said}"),
            No(because) => assert!(said.contains(because), "{case}: {said}"),
        }
    }
}

fn condition(kind: &str) -> Value {
    json!({"status": {"conditions": [{
        "type": kind, "status": "True", "reason": "KubeletAway", "message": "it is away",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "lastHeartbeatTime": "2026-01-01T00:00:00Z",
    }]}})
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn patch_status(node: &str, patch: &Value) -> Vec<String> {
    let place = format!("/api/v1/nodes/{node}/status");
    words(&[PATCH, "strategic-merge", &place, &patch.to_string()])
}

fn patch_lease(name: &str, namespace: &str) -> Vec<String> {
    let place = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}");
    let patch = json!({"spec": {"renewTime": "2026-01-01T00:00:30.000000Z"}});
    words(&[PATCH, "merge", &place, &patch.to_string()])
}

fn create(flag: &str, namespace: &str) -> Vec<String> {
    words(&["create", flag, namespace, "-f", "-"])
}

fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 120, "renewTime": "2026-01-01T00:00:00.000000Z"},
    })
}

fn event(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": format!("{name}.{}.1", kind.to_lowercase()), "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Warning", "reason": "Tried", "action": "Trying", "note": "words",
        "reportingController": "berth.dev/agent", "reportingInstance": name,
        "regarding": {"apiVersion": "v1", "kind": kind, "name": name, "namespace": if kind == "Node" { "" } else { "default" }},
    })
}

const ONLY: Answer =
    No("of a Node's conditions an agent writes those whose type begins with berth.dev/");
const STATUS: Answer = No("of a Node's status an agent writes conditions, nothing else");
const META: Answer = No("an agent changes no label, annotation, finalizer or owner of its Node");

/// Patches of the status of its own Node.
const PATCHES: [(&str, &str, Answer); 9] = [
    (
        "another of ours",
        r#"{"status": {"conditions": [{"type": "berth.dev/NetworkProblem", "status": "Unknown"}]}}"#,
        Yes,
    ),
    (
        "readiness",
        r#"{"status": {"conditions": [{"type": "Ready", "status": "False"}]}}"#,
        ONLY,
    ),
    (
        "a new one of somebody's",
        r#"{"status": {"conditions": [{"type": "example.com/Broken", "status": "True"}]}}"#,
        ONLY,
    ),
    (
        "kubelet's taken away",
        r#"{"status": {"conditions": [{"$patch": "delete", "type": "Ready"}]}}"#,
        ONLY,
    ),
    (
        "all replaced",
        r#"{"status": {"conditions": [{"$patch": "replace"}, {"type": "berth.dev/RuntimeProblem", "status": "False"}]}}"#,
        ONLY,
    ),
    (
        "capacity",
        r#"{"status": {"capacity": {"cpu": "400"}}}"#,
        STATUS,
    ),
    (
        "a field that was not there",
        r#"{"status": {"volumesInUse": ["x"]}}"#,
        STATUS,
    ),
    (
        "a label",
        r#"{"metadata": {"labels": {"topology.berth.dev/rack": "b"}}}"#,
        META,
    ),
    (
        "an annotation",
        r#"{"metadata": {"annotations": {"a": "b"}}}"#,
        META,
    ),
];

#[test]
fn agent_marks_its_own_node_with_its_own_conditions_and_changes_nothing_else_of_any_node() {
    let api = policed("api_agent_node");
    let n1 = Caller::in_pod(&api, "berth-agent", "n1");
    let ours = condition("berth.dev/RuntimeProblem");
    let row = |case, words, answer| (case, words, Value::Null, answer);
    let again = || patch_status("n1", &ours);
    judge(
        &api,
        &n1,
        &[
            row("its own", again(), Yes),
            row("again, the same", again(), Yes),
        ],
    );
    for (case, patch, answer) in PATCHES {
        let patch = serde_json::from_str(patch).unwrap();
        judge(&api, &n1, &[row(case, patch_status("n1", &patch), answer)]);
    }
    let cordon = r#"{"spec":{"unschedulable":true}}"#;
    judge(
        &api,
        &n1,
        &[
            row(
                "another node",
                patch_status("n2", &ours),
                No("the agent of node n1 may mark Node n1 only, not n2"),
            ),
            row(
                "the Node itself",
                words(&[PATCH, "merge", "/api/v1/nodes/n1", cordon]),
                No(FORBIDDEN),
            ),
            row("a read", words(&["get", "node", "n1"]), No(FORBIDDEN)),
            row(
                "a deletion",
                words(&["delete", "node", "n1"]),
                No(FORBIDDEN),
            ),
        ],
    );
    let object = api.kubectl_json(&["get", "node", "n1"]).unwrap();
    let conditions = object["status"]["conditions"].as_array().unwrap();
    let types: Vec<_> = conditions.iter().map(|it| &it["type"]).collect();
    assert_eq!(types.len(), 3, "{types:?}");
    assert!(types.iter().any(|it| **it == "Ready"), "{types:?}");

    let n2 = Caller::in_pod(&api, "berth-agent", "n2");
    let words = No("the agent of node n2 may mark Node n2 only, not n1");
    judge(&api, &n2, &[row("n2 of n1", again(), words)]);
}

#[test]
fn agent_renews_the_lease_of_its_own_node_and_no_other() {
    let api = policed("api_agent_lease");
    let n1 = Caller::in_pod(&api, "berth-agent", "n1");
    let none = Value::Null;
    let other = No("the agent of node n1 may renew Lease n1 only, not n2");
    judge(
        &api,
        &n1,
        &[
            ("its own", create("-n", NAMESPACE), lease("n1"), Yes),
            ("a renewal", patch_lease("n1", NAMESPACE), none.clone(), Yes),
            ("another's", create("-n", NAMESPACE), lease("n2"), other),
            (
                "the leader's",
                create("-n", NAMESPACE),
                lease("berth-controllers"),
                No("may renew Lease n1 only, not berth-controllers"),
            ),
            (
                "elsewhere",
                create("-n", "default"),
                lease("n1"),
                No(FORBIDDEN),
            ),
            (
                "kubelet's",
                create("-n", "kube-node-lease"),
                lease("n1"),
                No(FORBIDDEN),
            ),
            (
                "a deletion",
                words(&["delete", "lease", "n1"]),
                none.clone(),
                No(FORBIDDEN),
            ),
            (
                "a list",
                words(&["get", "leases"]),
                none.clone(),
                No(FORBIDDEN),
            ),
            (
                "a list of kubelets'",
                words(&["get", "leases", "-n", "kube-node-lease"]),
                none,
                No(FORBIDDEN),
            ),
        ],
    );
}

#[test]
fn agent_reads_kubelets_lease_and_changes_no_lease_that_is_there_but_its_own() {
    let api = policed("api_agent_leases");
    let n1 = Caller::in_pod(&api, "berth-agent", "n1");
    // Made by somebody who is bound by no policy of ours.
    let made = |namespace: &str, name: &str| {
        let mut lease = lease(name);
        lease["metadata"]["namespace"] = namespace.into();
        api.apply(&lease.to_string()).unwrap();
    };
    made(NAMESPACE, "n2");
    made("kube-node-lease", "n1");
    judge(
        &api,
        &n1,
        &[
            (
                "another's",
                patch_lease("n2", NAMESPACE),
                Value::Null,
                No("the agent of node n1 may renew Lease n1 only, not n2"),
            ),
            (
                "kubelet's read",
                words(&["get", "lease", "n1", "-n", "kube-node-lease"]),
                Value::Null,
                Yes,
            ),
            (
                "kubelet's renewed",
                patch_lease("n1", "kube-node-lease"),
                Value::Null,
                No(FORBIDDEN),
            ),
        ],
    );
    // A node may be called as the leader's Lease is.
    add_node(&api, "berth-controllers");
    let namesake = Caller::in_pod(&api, "berth-agent", "berth-controllers");
    judge(
        &api,
        &namesake,
        &[(
            "the leader's by name",
            create("-n", NAMESPACE),
            lease("berth-controllers"),
            No("is that of the controllers' leader"),
        )],
    );
}

/// An Event in a namespace, of an object in a namespace, told by a node.
fn told(by: &str, namespace: &str, (version, kind, of): (&str, &str, &str)) -> Value {
    let mut event = event(kind, by);
    event["metadata"]["namespace"] = namespace.into();
    event["regarding"] =
        json!({"apiVersion": version, "kind": kind, "name": "shop-0", "namespace": of});
    event
}

#[test]
fn agent_tells_of_its_own_node_and_in_its_name_of_restarts_only() {
    let api = policed("api_agent_event");
    let n1 = Caller::in_pod(&api, "berth-agent", "n1");
    let other = No("the agent of node n1 may tell of that node only");
    let pod = ("v1", "Pod", "default");
    let request = ("berth.dev/v1alpha1", "ContainerRestart", "default");
    let namesake = ("example.com/v1", "ContainerRestart", "default");
    let elsewhere = ("v1", "Pod", "kube-system");
    let mut nameless = told("n1", "default", pod);
    nameless["reportingController"] = "example.com/other".into();
    let mut misplaced = event("Node", "n1");
    misplaced["metadata"]["namespace"] = "kube-system".into();
    let here = |case, event, answer| (case, create("-n", "default"), event, answer);
    let there = |case, event, answer| (case, create("-n", "kube-system"), event, answer);
    let secret = told("n1", "default", ("v1", "Secret", "default"));
    let rows = [
        here("its own", event("Node", "n1"), Yes),
        here("another's", event("Node", "n2"), other),
        here("a Pod", told("n1", "default", pod), Yes),
        here("a request", told("n1", "default", request), Yes),
        here("in another's name", told("n2", "default", pod), other),
        here("in nobody's name", nameless, other),
        here(
            "a Pod that is not here",
            told("n1", "default", elsewhere),
            other,
        ),
        there("a Pod there", told("n1", "kube-system", elsewhere), Yes),
        here("another kind", secret, other),
        here(
            "a kind of that name",
            told("n1", "default", namesake),
            other,
        ),
        there("its own, misplaced", misplaced, other),
    ];
    judge(&api, &n1, &rows);
    let read = words(&["get", "events", "-n", "default"]);
    judge(&api, &n1, &[("a read", read, Value::Null, No(FORBIDDEN))]);
}

#[test]
fn roles_alone_would_let_an_agent_write_of_any_node() {
    let api = policed("api_agent_unpoliced");
    for policy in [
        "berth-agent-marks-its-own-node",
        "berth-agent-renews-its-own-lease",
        "berth-agent-tells-of-its-own-node",
    ] {
        let binding = format!("validatingadmissionpolicybinding/{policy}");
        kubectl(&api, &["delete", &binding]);
    }
    // So it is the policies that refuse in the other tests.
    let n1 = Caller::in_pod(&api, "berth-agent", "n1");
    let ours = condition("berth.dev/RuntimeProblem");
    for (words, input) in [
        (patch_status("n2", &ours), Value::Null),
        (create("-n", NAMESPACE), lease("n2")),
        (create("-n", "default"), event("Node", "n2")),
    ] {
        let what = format!("{words:?} being allowed");
        let waited = wait_patiently(&what, DEADLINE, || {
            let said = ask(&api, &n1, &words, &input.to_string(), true);
            if said.starts_with("allowed: ") {
                return Ok(());
            }
            Err(Pending::because(said))
        });
        waited.unwrap();
    }
}
