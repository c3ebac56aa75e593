//! The shipped roles and policies, tried with the tokens of two nodes' agents and of people. What is denied is denied with words
//! that say why. Rows are tried without being done (`--dry-run=server` runs every check).

use std::time::Duration;

use serde_json::{Value, json};
use tests_testbed::{ApiServer, ControlPlane, Output, Pending, wait_patiently};

use super::{KIND, object};
use crate::shipped::{Caller, add_node, installed, kubectl};

/// New roles and policies are in force within a second or two on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);

const UNBOUND: &str = "the token is not bound to a node";
const FORBIDDEN: &str = "orbidden";
const NOT_ITS_REQUEST: &str =
    "the agent of node n2 may write ContainerRestarts of that node only; this one is of node n1";
const NOT_ITS_POD: &str =
    "the agent of node n2 may mark Pods of that node only; this one is of node \"n1\"";
const STATUS_ONLY: &str = "of a ContainerRestart an agent changes the status and its own finalizer";
const NOT_ENDED: &str = "an agent deletes a ContainerRestart that has ended";
const CONDITIONS_ONLY: &str = "of a Pod's status an agent writes conditions, nothing else";
const OUR_CONDITIONS: &str =
    "of a Pod's conditions an agent writes those whose type begins with berth.dev/";
const OUR_ANNOTATION: &str =
    "of a Pod's annotations an agent writes berth.dev/containers, no other";
const NO_LABELS: &str = "an agent changes no label, finalizer or owner of a Pod";

/// Who tries something.
#[derive(Clone, Copy, Debug)]
enum Who {
    N1,
    N2,
    Unbound,
    /// Restarts and upgrades Pods of the namespace.
    Releaser,
    Operator,
}

struct People<'a> {
    n1: Caller<'a>,
    n2: Caller<'a>,
    unbound: Caller<'a>,
    releaser: Caller<'a>,
    operator: Caller<'a>,
}

impl<'a> People<'a> {
    fn get(&self, who: Who) -> &Caller<'a> {
        match who {
            Who::N1 => &self.n1,
            Who::N2 => &self.n2,
            Who::Unbound => &self.unbound,
            Who::Releaser => &self.releaser,
            Who::Operator => &self.operator,
        }
    }
}

/// Tried on: the object, or its status.
#[derive(Clone, Copy, Debug)]
enum On {
    Object,
    Status,
}

/// Who, on what, what is merged, and why not; nothing: it is allowed.
type Row = (Who, On, &'static str, Option<&'static str>);

const HOLD: &str = r#"{"metadata": {"finalizers": ["berth.dev/container-restart"]}}"#;
const ACCEPTED: &str = r#"{"status": {"phase": "Draining", "acceptedAt": "2026-01-01T00:00:00Z"}}"#;

/// A request for a Pod of n1 that has not ended.
const REQUEST: &[Row] = &[
    (Who::N1, On::Status, ACCEPTED, None),
    (Who::N1, On::Object, HOLD, None),
    (
        Who::N1,
        On::Object,
        r#"{"metadata": {"finalizers": []}}"#,
        None,
    ),
    (
        Who::N1,
        On::Object,
        r#"{"metadata": {"finalizers": ["berth.dev/container-restart", "n1.example/stuck"]}}"#,
        Some(STATUS_ONLY),
    ),
    (
        Who::N1,
        On::Object,
        r#"{"metadata": {"labels": {"a": "b"}}}"#,
        Some(STATUS_ONLY),
    ),
    (
        Who::N1,
        On::Object,
        r#"{"metadata": {"annotations": {"a": "b"}}}"#,
        Some(STATUS_ONLY),
    ),
    (
        Who::N1,
        On::Object,
        r#"{"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]}}"#,
        Some(STATUS_ONLY),
    ),
    // Nobody changes what is asked for.
    (
        Who::N1,
        On::Object,
        r#"{"spec": {"podName": "other"}}"#,
        Some("a request cannot be changed"),
    ),
    (Who::N2, On::Status, ACCEPTED, Some(NOT_ITS_REQUEST)),
    (Who::N2, On::Object, HOLD, Some(NOT_ITS_REQUEST)),
    (
        Who::N2,
        On::Object,
        r#"{"metadata": {"finalizers": []}}"#,
        Some(NOT_ITS_REQUEST),
    ),
    (
        Who::N2,
        On::Object,
        r#"{"spec": {"nodeName": "n2"}}"#,
        Some("a request cannot be changed"),
    ),
    (Who::Unbound, On::Status, ACCEPTED, Some(UNBOUND)),
    (Who::Unbound, On::Object, HOLD, Some(UNBOUND)),
    (Who::Releaser, On::Status, ACCEPTED, Some(FORBIDDEN)),
    (Who::Releaser, On::Object, HOLD, Some(FORBIDDEN)),
    (Who::Operator, On::Status, ACCEPTED, Some(FORBIDDEN)),
    (Who::Operator, On::Object, HOLD, Some(FORBIDDEN)),
];

const GATE: &str = r#"{"status": {"conditions": [{"type": "berth.dev/ServiceReady", "status": "False", "message": "[]"}]}}"#;
const READY: &str = r#"{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}"#;
const FACTS: &str = r#"{"metadata": {"annotations": {"berth.dev/containers": "{}"}}}"#;
const IMAGE: &str = r#"{"spec": {"containers": [{"name": "main", "image": "localhost/other:1"}]}}"#;

/// A Pod of n1.
const POD: &[Row] = &[
    (Who::N1, On::Status, GATE, None),
    (Who::N1, On::Status, FACTS, None),
    (
        Who::N1,
        On::Status,
        r#"{"metadata": {"annotations": {"berth.dev/containers": null}}, "status": {"conditions": [{"type": "berth.dev/ServiceReady", "status": "True"}, {"type": "berth.dev/Other", "status": "True"}]}}"#,
        None,
    ),
    (Who::N1, On::Status, READY, Some(OUR_CONDITIONS)),
    (
        Who::N1,
        On::Status,
        r#"{"status": {"conditions": [{"type": "elsewhere.example/Ready", "status": "True"}]}}"#,
        Some(OUR_CONDITIONS),
    ),
    // `$patch: replace` leaves out what is kubelet's.
    (
        Who::N1,
        On::Status,
        r#"{"status": {"conditions": [{"$patch": "replace"}, {"type": "berth.dev/ServiceReady", "status": "False"}]}}"#,
        Some(OUR_CONDITIONS),
    ),
    (
        Who::N1,
        On::Status,
        r#"{"status": {"phase": "Succeeded"}}"#,
        Some(CONDITIONS_ONLY),
    ),
    (
        Who::N1,
        On::Status,
        r#"{"status": {"podIP": "10.20.1.1", "podIPs": [{"ip": "10.20.1.1"}]}}"#,
        Some(CONDITIONS_ONLY),
    ),
    (
        Who::N1,
        On::Status,
        r#"{"status": {"reason": "Evicted"}}"#,
        Some(CONDITIONS_ONLY),
    ),
    (
        Who::N1,
        On::Status,
        r#"{"status": {"hostIP": null, "hostIPs": null}}"#,
        Some(CONDITIONS_ONLY),
    ),
    (
        Who::N1,
        On::Status,
        r#"{"metadata": {"annotations": {"berth.dev/networks": "other"}}}"#,
        Some(OUR_ANNOTATION),
    ),
    (
        Who::N1,
        On::Status,
        r#"{"metadata": {"annotations": {"berth.dev/hold": null}}}"#,
        Some(OUR_ANNOTATION),
    ),
    (
        Who::N1,
        On::Status,
        r#"{"metadata": {"annotations": {"a": "b"}}}"#,
        Some(OUR_ANNOTATION),
    ),
    (
        Who::N1,
        On::Status,
        r#"{"metadata": {"labels": {"app": "other"}}}"#,
        Some(NO_LABELS),
    ),
    (
        Who::N1,
        On::Status,
        r#"{"metadata": {"finalizers": ["n1.example/stuck"]}}"#,
        Some(NO_LABELS),
    ),
    (Who::N1, On::Object, IMAGE, Some(FORBIDDEN)),
    (Who::N1, On::Object, FACTS, Some(FORBIDDEN)),
    (Who::N2, On::Status, GATE, Some(NOT_ITS_POD)),
    (Who::N2, On::Status, FACTS, Some(NOT_ITS_POD)),
    (Who::N2, On::Status, READY, Some(NOT_ITS_POD)),
    (Who::N2, On::Object, IMAGE, Some(FORBIDDEN)),
    (Who::Unbound, On::Status, GATE, Some(UNBOUND)),
    (Who::Unbound, On::Status, FACTS, Some(UNBOUND)),
    (Who::Releaser, On::Status, GATE, None),
    (Who::Releaser, On::Object, IMAGE, None),
    (Who::Operator, On::Status, GATE, Some(FORBIDDEN)),
    (Who::Operator, On::Object, IMAGE, Some(FORBIDDEN)),
];

pub(super) fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default", "labels": {"app": "shop"}, "annotations": {"berth.dev/hold": "1h"},
        },
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
            "readinessGates": [{"conditionType": "berth.dev/ServiceReady"}],
            "containers": [{"name": "main", "image": "localhost/app:1"}],
        },
    })
}

fn merge(who: &Caller<'_>, kind: &str, name: &str, on: On, fields: &str) -> Output {
    // As the agent and kubelet do: conditions are merged by their type. Kinds of ours know no such merge.
    let how = if kind == "pod" {
        "--type=strategic"
    } else {
        "--type=merge"
    };
    let mut words = vec![
        "patch",
        kind,
        name,
        "-n",
        "default",
        "--dry-run=server",
        how,
        "--patch",
        fields,
    ];
    if matches!(on, On::Status) {
        words.push("--subresource=status");
    }
    who.ask(&words, "")
}

fn judge(case: &str, said: &Output, because: Option<&str>) {
    let Some(because) = because else {
        assert!(said.success(), "{case}: {}", said.stderr);
        return;
    };
    assert!(!said.success(), "{case} was allowed: {}", said.stdout);
    assert!(said.stderr.contains(because), "{case}: {}", said.stderr);
}

fn try_all(people: &People<'_>, kind: &str, name: &str, rows: &[Row]) {
    for (who, on, fields, because) in rows {
        let said = merge(people.get(*who), kind, name, *on, fields);
        judge(&format!("{kind} {who:?} {on:?} {fields}"), &said, *because);
    }
}

fn create(who: &Caller<'_>, object: &str) -> Output {
    who.ask(
        &["create", "-n", "default", "--dry-run=server", "-f", "-"],
        object,
    )
}

fn delete(who: &Caller<'_>, name: &str) -> Output {
    who.ask(
        &["delete", KIND, name, "-n", "default", "--dry-run=server"],
        "",
    )
}

fn wait_for(what: &str, holds: impl Fn() -> (bool, Output)) {
    let waited = wait_patiently(what, DEADLINE, || match holds() {
        (true, _) => Ok(()),
        (false, said) => Err(Pending::because(format!("{}{}", said.stdout, said.stderr))),
    });
    waited.unwrap();
}

fn world() -> ApiServer {
    let api = installed("api_restart_rights");
    for node in ["n1", "n2"] {
        add_node(&api, node);
    }
    for words in [
        // A Pod has an account, which a controller would make.
        "create serviceaccount default -n default",
        "create serviceaccount alice -n berth-system",
        "create serviceaccount bob -n berth-system",
        "create rolebinding releasers -n default --clusterrole=berth-releaser --serviceaccount=berth-system:bob",
        // kubectl reads a subresource before it patches it, which nobody but kubectl needs.
        "create clusterrole readers --verb=get --resource=pods/status,containerrestarts.berth.dev/status",
        "create clusterrolebinding readers --clusterrole=readers --group=system:serviceaccounts:berth-system",
        "create clusterrolebinding operators --clusterrole=berth-operator --serviceaccount=berth-system:alice",
    ] {
        kubectl(&api, &words.split(' ').collect::<Vec<_>>());
    }
    // kubelet has said that it runs.
    api.apply(&pod("shop-0", "n1").to_string()).unwrap();
    let running = r#"{"status": {"phase": "Running", "hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.1"}], "conditions": [{"type": "Ready", "status": "False"}]}}"#;
    kubectl(
        &api,
        &[
            "patch",
            "pod",
            "shop-0",
            "--subresource=status",
            "--patch",
            running,
        ],
    );
    api.apply(&object("going", &super::full())).unwrap();
    api.apply(&object("ended", &super::full())).unwrap();
    let ended = r#"{"status": {"phase": "Succeeded", "completedAt": "2026-01-01T00:00:00Z"}}"#;
    kubectl(
        &api,
        &[
            "patch",
            KIND,
            "ended",
            "--type=merge",
            "--subresource=status",
            "--patch",
            ended,
        ],
    );
    api
}

fn people(api: &ControlPlane) -> People<'_> {
    let people = People {
        n1: Caller::in_pod(api, "berth-agent", "n1"),
        n2: Caller::in_pod(api, "berth-agent", "n2"),
        unbound: Caller::with_token(api, "berth-agent", &[]),
        releaser: Caller::with_token(api, "bob", &[]),
        operator: Caller::with_token(api, "alice", &[]),
    };
    for (kind, name, fields) in [(KIND, "going", ACCEPTED), ("pod", "shop-0", GATE)] {
        wait_for("the policies being in force", || {
            let said = merge(&people.unbound, kind, name, On::Status, fields);
            (said.stderr.contains(UNBOUND), said)
        });
    }
    for who in [&people.releaser, &people.operator] {
        wait_for("the roles being in force", || {
            let said = who.ask(
                &[
                    "auth",
                    "can-i",
                    "create",
                    "containerrestarts.berth.dev",
                    "-n",
                    "default",
                ],
                "",
            );
            (said.stdout.trim() == "yes", said)
        });
    }
    people
}

#[test]
fn an_agent_writes_of_its_own_node_s_requests_and_pods_what_is_its_own_and_nothing_else() {
    let api = world();
    let people = people(&api);
    try_all(&people, KIND, "going", REQUEST);
    try_all(&people, "pod", "shop-0", POD);

    // Made by people, never by agents; deleted by agents when they have ended.
    let new = object("new", &super::full());
    for (who, because) in [
        (Who::N1, Some(FORBIDDEN)),
        (Who::N2, Some(FORBIDDEN)),
        (Who::Releaser, None),
        (Who::Operator, None),
    ] {
        judge(
            &format!("create {who:?}"),
            &create(people.get(who), &new),
            because,
        );
    }
    for (who, name, because) in [
        (Who::N1, "ended", None),
        (Who::N1, "going", Some(NOT_ENDED)),
        (Who::N2, "ended", Some(NOT_ITS_REQUEST)),
        (Who::Unbound, "ended", Some(UNBOUND)),
        (Who::Releaser, "going", None),
        (Who::Operator, "going", None),
    ] {
        judge(
            &format!("delete {who:?} {name}"),
            &delete(people.get(who), name),
            because,
        );
    }
    // A node's agent reads all, since a rule cannot say "of its node"; of Pods it deletes, binds and runs nothing.
    people.n1.may(&["get", "pods,containerrestarts", "-A"], "");
    for words in [
        &["delete", "pod", "shop-0", "-n", "default"][..],
        &["exec", "shop-0", "-n", "default", "--", "true"],
        &["create", "token", "berth-agent"],
        &["get", "secrets", "-n", "default"],
    ] {
        people.n1.may_not(words, "", FORBIDDEN);
    }

    // It is the policies that refuse in the rows above: the roles alone would let it through.
    for policy in [
        "berth-agent-does-its-own-containerrestarts",
        "berth-agent-marks-its-own-pods",
    ] {
        kubectl(
            &api,
            &["delete", "validatingadmissionpolicybinding", policy],
        );
    }
    for (kind, name, fields) in [(KIND, "going", ACCEPTED), ("pod", "shop-0", READY)] {
        wait_for("the policies being gone", || {
            let said = merge(&people.n2, kind, name, On::Status, fields);
            (said.success(), said)
        });
    }
}
