//! What the controllers' token may write, row by row, judged by a real API server by the shipped roles and policies; and that a node's
//! own tokens may do nothing of it. Rows are tried without being done (`dryRun=All` runs every check).

use std::time::Duration;

use serde_json::{Value, json};
use tests_testbed::{ApiServer, ControlPlane, Pending, wait_patiently};

use crate::shipped::{Caller, add_node, installed, kubectl};

/// New kinds, roles and policies are in force within a second or two on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);

const FORBIDDEN: &str = "forbidden";
const POLICED: &str = "ValidatingAdmissionPolicy";

const MAKE: &str = "the controllers make Pods whose controller (ownerReferences) is an InPlaceSet";
const DELETE: &str =
    "the controllers delete Pods whose controller (ownerReferences) is an InPlaceSet";
const SPEC: &str = "the controllers change the specification of Pods of InPlaceSets, of no others";
const OWNERS: &str = "the controllers make an InPlaceSet the controller of a Pod that has none";
const LABELS: &str =
    "the controllers change labels of Pods of InPlaceSets, and of others pod-template-hash alone";
const RELEASED: &str =
    "the controllers take pod-template-hash off a Pod while they write what it was";
const ANNOTATIONS: &str =
    "the controllers change annotations that begin with berth.dev/, no others";
const FINALIZERS: &str = "the controllers put on finalizers that it names";
const STATUS: &str =
    "the controllers write berth.dev/ServiceReady of Pods of InPlaceSets, of no others";
const CONDITIONS: &str = "of a Pod's status the controllers write conditions, nothing else";
const GATE_ONLY: &str =
    "of a Pod's conditions the controllers write berth.dev/ServiceReady, and Ready=False of one";
const WITH_STATUS: &str = "with a Pod's status the controllers change no label and no finalizer";
const NODE_SPEC: &str = "of a Node's specification the controllers write taints, nothing else";
const TAINTS: &str = "the controllers put on the taints berth.dev/cordon";
const TAKES: &str = "the controllers take off the taints that they put on";
const NODE_LABELS: &str = "the controllers change no label of a Node";
const NODE_NOTES: &str = "of a Node's annotations the controllers write those that begin with";
const OWNED: &str = "whose controller (ownerReferences) is an InPlaceSet, no others";

const NODE: &str = "/api/v1/nodes/n1";
/// An operator has taken it out of service.
const OFF: &str = "/api/v1/nodes/n2";
const PODS: &str = "/api/v1/namespaces/default/pods";
/// Of the set, on n2.
const OWN: &str = "/api/v1/namespaces/default/pods/shop-0";
/// Of a `ReplicaSet`; names its protections.
const FOREIGN: &str = "/api/v1/namespaces/default/pods/web-0";
/// Of nobody.
const LONE: &str = "/api/v1/namespaces/default/pods/lone-0";
const REVISIONS: &str = "/apis/apps/v1/namespaces/default/controllerrevisions";
const SETS: &str = "/apis/berth.dev/v1alpha1/namespaces/default/inplacesets";
const RESTARTS: &str = "/apis/berth.dev/v1alpha1/namespaces/default/containerrestarts";
const PULLS: &str = "/apis/berth.dev/v1alpha1/namespaces/berth-system/imagepulls";
const FREEZES: &str = "/apis/berth.dev/v1alpha1/namespaces/berth-system/lifecyclefreezes";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/berth-system/leases/berth-controllers";
const SECRETS: &str = "/api/v1/namespaces/berth-system/secrets";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

/// One request, and why it is refused to the controllers; nothing: it is not.
struct Row {
    case: &'static str,
    verb: &'static str,
    path: String,
    body: Value,
    because: Option<&'static str>,
}

fn row(
    case: &'static str,
    verb: &'static str,
    path: &str,
    body: Value,
    because: Option<&'static str>,
) -> Row {
    Row {
        case,
        verb,
        path: path.to_owned(),
        body,
        because,
    }
}

/// The answer: the code, and the words where it is no object.
fn ask(api: &ControlPlane, caller: &Caller<'_>, row: &Row) -> (u32, String) {
    let (method, kind) = match row.verb {
        "merge" => ("PATCH", "application/merge-patch+json"),
        "strategic" => ("PATCH", "application/strategic-merge-patch+json"),
        "apply" => ("PATCH", "application/apply-patch+yaml"),
        method => (method, "application/json"),
    };
    let owner = if row.verb == "apply" {
        "&fieldManager=berth-controllers"
    } else {
        ""
    };
    let url = if method == "GET" {
        format!("{}{}", ControlPlane::server(), row.path)
    } else {
        format!("{}{}?dryRun=All{owner}", ControlPlane::server(), row.path)
    };
    let token = format!("Authorization: Bearer {}", caller.token());
    let kind = format!("Content-Type: {kind}");
    let body = row.body.to_string();
    let mut words = vec![
        "curl",
        "-sk",
        "-w",
        "\n%{http_code}",
        "-X",
        method,
        "-H",
        &token,
    ];
    if !row.body.is_null() {
        words.extend(["-H", &kind, "--data", &body]);
    }
    words.push(&url);
    let said = api.machine().exec(&words).unwrap().ok().unwrap();
    let (text, code) = said.rsplit_once('\n').unwrap();
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let words = answer["message"].as_str().unwrap_or(text).to_owned();
    (code.parse().unwrap(), words)
}

#[track_caller]
fn judge(api: &ControlPlane, caller: &Caller<'_>, row: &Row) {
    let (code, words) = ask(api, caller, row);
    match row.because {
        None => assert!(code < 300, "{}: {code} {words}", row.case),
        Some(because) => assert!(
            code >= 400 && words.contains(because),
            "{}: {code} {words}",
            row.case
        ),
    }
}

fn owner(api_version: &str, kind: &str, controller: bool) -> Value {
    json!([{"apiVersion": api_version, "kind": kind, "name": "shop", "uid": "u-shop", "controller": controller}])
}

fn ours() -> Value {
    owner("berth.dev/v1alpha1", "InPlaceSet", true)
}

fn pod(name: &str, node: &str, owners: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default", "labels": {"app": "shop"}, "ownerReferences": owners,
            "annotations": {"example.com/note": "theirs"},
        },
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
            "readinessGates": [{"conditionType": "berth.dev/ServiceReady"}],
            "containers": [{"name": "main", "image": "localhost/app:1"}],
        },
    })
}

fn revision(name: &str, owners: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1, "data": {"a": 1},
        "metadata": {"name": name, "namespace": "default", "ownerReferences": owners},
    })
}

fn restart(name: &str, owners: &Value) -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "ContainerRestart",
        "metadata": {"name": name, "namespace": "default", "ownerReferences": owners},
        "spec": {"nodeName": "n2", "podName": "shop-0", "podUID": "u", "containers": [{"name": "main"}]},
    })
}

fn set(name: &str) -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "shop"}},
            "template": {
                "metadata": {"labels": {"app": "shop"}},
                "spec": {"containers": [{"name": "main", "image": "localhost/app:1"}]},
            },
        },
    })
}

fn pull() -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "ImagePull", "metadata": {"name": "n2"},
        "spec": {"nodeName": "n2", "images": [{"image": "localhost/app:2"}]},
    })
}

fn event() -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "shop.1", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Tried", "action": "Trying", "note": "words",
        "reportingController": "berth.dev/controllers", "reportingInstance": "c1",
        "regarding": {"apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet", "name": "shop", "namespace": "default"},
    })
}

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque"})
}

fn condition(kind: &str) -> Value {
    json!({"conditions": [{"type": kind, "status": "False", "message": "[]"}]})
}

fn metadata(metadata: &Value) -> Value {
    json!({ "metadata": metadata })
}

/// Pods as such: made, changed, deleted.
#[expect(clippy::too_many_lines, reason = "one table")]
fn pods() -> Vec<Row> {
    let set = ours();
    let image = || json!({"spec": {"containers": [{"name": "main", "image": "localhost/app:2"}]}});
    let named = json!([
        "example.com/keep",
        "protection.berth.dev/dns",
        "protection.berth.dev/endpoints"
    ]);
    let unnamed = json!([
        "example.com/keep",
        "protection.berth.dev/dns",
        "protection.berth.dev/slb"
    ]);
    let other = json!([
        "example.com/keep",
        "protection.berth.dev/dns",
        "example.com/more"
    ]);
    let replicas = owner("apps/v1", "ReplicaSet", true);
    vec![
        row(
            "a Pod of a set",
            "POST",
            PODS,
            pod("shop-1", "", &set),
            None,
        ),
        row(
            "a Pod of nobody",
            "POST",
            PODS,
            pod("x", "", &json!([])),
            Some(MAKE),
        ),
        row(
            "a Pod of a ReplicaSet",
            "POST",
            PODS,
            pod("x", "", &replicas),
            Some(MAKE),
        ),
        row(
            "of an InPlaceSet of somebody else's",
            "POST",
            PODS,
            pod("x", "", &owner("example.com/v1", "InPlaceSet", true)),
            Some(MAKE),
        ),
        row(
            "of a set that is not its controller",
            "POST",
            PODS,
            pod("x", "", &owner("berth.dev/v1alpha1", "InPlaceSet", false)),
            Some(MAKE),
        ),
        row("own image", "strategic", OWN, image(), None),
        row(
            "own labels, annotations, finalizers",
            "merge",
            OWN,
            metadata(&json!({
                "labels": {"controller-revision-hash": "b"}, "annotations": {"berth.dev/lossless": "{}", "of-the-template": "x"},
                "finalizers": ["protection.berth.dev/endpoints"],
            })),
            None,
        ),
        row(
            "own let go",
            "merge",
            OWN,
            metadata(&json!({"ownerReferences": null})),
            None,
        ),
        row(
            "own given to another kind",
            "merge",
            OWN,
            metadata(&json!({"ownerReferences": replicas})),
            Some(OWNERS),
        ),
        row(
            "own let go and changed",
            "strategic",
            OWN,
            json!({"metadata": {"ownerReferences": [{"$patch": "replace"}]}, "spec": image()["spec"]}),
            Some(SPEC),
        ),
        row("own deleted", "DELETE", OWN, Value::Null, None),
        row(
            "lone adopted",
            "merge",
            LONE,
            metadata(&json!({"ownerReferences": set})),
            None,
        ),
        row(
            "lone adopted and relabelled",
            "merge",
            LONE,
            metadata(&json!({"ownerReferences": set, "labels": {"app": "other"}})),
            Some(LABELS),
        ),
        row("lone deleted", "DELETE", LONE, Value::Null, Some(DELETE)),
        row("lone image", "strategic", LONE, image(), Some(SPEC)),
        row("foreign image", "strategic", FOREIGN, image(), Some(SPEC)),
        row(
            "foreign deleted",
            "DELETE",
            FOREIGN,
            Value::Null,
            Some(DELETE),
        ),
        row(
            "foreign taken",
            "merge",
            FOREIGN,
            metadata(&json!({"ownerReferences": set})),
            Some(OWNERS),
        ),
        row(
            "foreign label",
            "merge",
            FOREIGN,
            metadata(&json!({"labels": {"app": "other"}})),
            Some(LABELS),
        ),
        row(
            "foreign annotation",
            "merge",
            FOREIGN,
            metadata(&json!({"annotations": {"example.com/note": "ours"}})),
            Some(ANNOTATIONS),
        ),
        row(
            "what it names",
            "merge",
            FOREIGN,
            metadata(&json!({"annotations": {"berth.dev/protections": "[]"}})),
            Some(ANNOTATIONS),
        ),
        row(
            "a protection that it names, with the term",
            "merge",
            FOREIGN,
            metadata(&json!({"finalizers": named, "annotations": {"berth.dev/term": "1"}})),
            None,
        ),
        row(
            "one that it does not name",
            "merge",
            FOREIGN,
            metadata(&json!({"finalizers": unnamed})),
            Some(FINALIZERS),
        ),
        row(
            "no protection",
            "merge",
            FOREIGN,
            metadata(&json!({"finalizers": other})),
            Some(FINALIZERS),
        ),
        row(
            "a protection taken off",
            "merge",
            FOREIGN,
            metadata(&json!({"finalizers": ["example.com/keep"]})),
            None,
        ),
        row(
            "somebody's finalizer taken off",
            "merge",
            FOREIGN,
            metadata(&json!({"finalizers": ["protection.berth.dev/dns"]})),
            Some(FINALIZERS),
        ),
    ]
}

/// Parts of Pods.
#[expect(clippy::too_many_lines, reason = "one table")]
fn parts() -> Vec<Row> {
    let status = |path: &str| format!("{path}/status");
    let gate = || json!({"status": condition("berth.dev/ServiceReady")});
    let with = |metadata: Value| json!({"metadata": metadata, "status": condition("berth.dev/ServiceReady")});
    let evict =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "shop-0"}});
    let bind = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "shop-0"}, "target": {"kind": "Node", "name": "n1"}});
    vec![
        row("own gate", "strategic", &status(OWN), gate(), None),
        row(
            "own gate with the operation",
            "strategic",
            &status(OWN),
            with(
                json!({"annotations": {"berth.dev/lossless": "{}", "berth.dev/protections": "[]"}}),
            ),
            None,
        ),
        row(
            "own gate with another annotation",
            "strategic",
            &status(OWN),
            with(json!({"annotations": {"example.com/note": "ours"}})),
            Some(ANNOTATIONS),
        ),
        row(
            "own gate with a label",
            "strategic",
            &status(OWN),
            with(json!({"labels": {"app": "other"}})),
            Some(WITH_STATUS),
        ),
        row(
            "own readiness",
            "strategic",
            &status(OWN),
            json!({"status": condition("Ready")}),
            Some(GATE_ONLY),
        ),
        row(
            "another condition of ours",
            "strategic",
            &status(OWN),
            json!({"status": condition("berth.dev/Other")}),
            Some(GATE_ONLY),
        ),
        row(
            "own phase",
            "strategic",
            &status(OWN),
            json!({"status": {"phase": "Running"}}),
            Some(CONDITIONS),
        ),
        row(
            "foreign gate",
            "strategic",
            &status(FOREIGN),
            gate(),
            Some(STATUS),
        ),
        row(
            "lone gate",
            "strategic",
            &status(LONE),
            gate(),
            Some(STATUS),
        ),
        row("eviction", "POST", &format!("{OWN}/eviction"), evict, None),
        row(
            "binding",
            "POST",
            &format!("{OWN}/binding"),
            bind,
            Some(FORBIDDEN),
        ),
        row(
            "another container",
            "strategic",
            &format!("{OWN}/ephemeralcontainers"),
            json!({"spec": {"ephemeralContainers": [{"name": "x", "image": "x"}]}}),
            Some(FORBIDDEN),
        ),
        row(
            "its log",
            "GET",
            &format!("{OWN}/log"),
            Value::Null,
            Some(FORBIDDEN),
        ),
        row(
            "a command",
            "POST",
            &format!("{OWN}/exec"),
            Value::Null,
            Some(FORBIDDEN),
        ),
    ]
}

/// What else there is of a set, and what of others there is beside it.
#[expect(clippy::too_many_lines, reason = "one table")]
fn others() -> Vec<Row> {
    let set = ours();
    let stateful = owner("apps/v1", "StatefulSet", true);
    let (own, theirs) = (format!("{REVISIONS}/shop-a"), format!("{REVISIONS}/db-a"));
    let number = || json!({"revision": 2});
    let shop = format!("{SETS}/shop");
    let deployments = "/apis/apps/v1/namespaces/default/deployments/web";
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web-x";
    vec![
        row(
            "a revision of a set",
            "POST",
            REVISIONS,
            revision("shop-b", &set),
            None,
        ),
        row(
            "of a StatefulSet",
            "POST",
            REVISIONS,
            revision("db-b", &stateful),
            Some(OWNED),
        ),
        row(
            "of nobody",
            "POST",
            REVISIONS,
            revision("x", &json!([])),
            Some(OWNED),
        ),
        row("own revision", "merge", &own, number(), None),
        row(
            "another's revision",
            "merge",
            &theirs,
            number(),
            Some(OWNED),
        ),
        row(
            "another's revision taken",
            "merge",
            &theirs,
            metadata(&json!({"ownerReferences": set})),
            Some(OWNED),
        ),
        row("own revision deleted", "DELETE", &own, Value::Null, None),
        row(
            "another's revision deleted",
            "DELETE",
            &theirs,
            Value::Null,
            Some(OWNED),
        ),
        row(
            "a restart of a set",
            "POST",
            RESTARTS,
            restart("r-1", &set),
            None,
        ),
        row(
            "of nobody",
            "POST",
            RESTARTS,
            restart("r-1", &json!([])),
            Some(OWNED),
        ),
        row(
            "own restart deleted",
            "DELETE",
            &format!("{RESTARTS}/own"),
            Value::Null,
            None,
        ),
        row(
            "another's",
            "DELETE",
            &format!("{RESTARTS}/theirs"),
            Value::Null,
            Some(OWNED),
        ),
        row(
            "a set's status",
            "merge",
            &format!("{shop}/status"),
            json!({"status": {"replicas": 1}}),
            None,
        ),
        row(
            "a set",
            "merge",
            &shop,
            json!({"spec": {"replicas": 2}}),
            Some(FORBIDDEN),
        ),
        row("a new set", "POST", SETS, self::set("new"), Some(FORBIDDEN)),
        row(
            "a set deleted",
            "DELETE",
            &shop,
            Value::Null,
            Some(FORBIDDEN),
        ),
        row(
            "images for a node",
            "apply",
            &format!("{PULLS}/n2"),
            pull(),
            None,
        ),
        row(
            "how far a node is with them",
            "merge",
            &format!("{PULLS}/n1/status"),
            json!({"status": {}}),
            Some(FORBIDDEN),
        ),
        row("an Event", "POST", EVENTS, event(), None),
        row(
            "an Event changed",
            "merge",
            &format!("{EVENTS}/x"),
            json!({"note": "x"}),
            Some(FORBIDDEN),
        ),
        row(
            "where traffic goes",
            "merge",
            slices,
            json!({"endpoints": []}),
            Some(FORBIDDEN),
        ),
        row(
            "a Deployment",
            "merge",
            deployments,
            json!({"spec": {"replicas": 0}}),
            Some(FORBIDDEN),
        ),
        row(
            "a Node",
            "merge",
            NODE,
            json!({"spec": {"unschedulable": true}}),
            Some(NODE_SPEC),
        ),
        row(
            "leadership",
            "merge",
            LEASE,
            json!({"spec": {"holderIdentity": "x"}}),
            None,
        ),
        row(
            "another's Lease",
            "merge",
            &LEASE.replace("berth-controllers", "n1"),
            json!({}),
            Some(FORBIDDEN),
        ),
        row(
            "what peers sign with",
            "POST",
            SECRETS,
            secret("berth-peers"),
            None,
        ),
        row(
            "another Secret",
            "POST",
            SECRETS,
            secret("other"),
            Some("the controllers write the Secret berth-peers only"),
        ),
        row(
            "whom a node looks at",
            "merge",
            "/apis/berth.dev/v1alpha1/namespaces/berth-system/nodehealths/n2",
            json!({"spec": {"peers": []}}),
            None,
        ),
        row(
            "an account's token",
            "POST",
            "/api/v1/namespaces/berth-system/serviceaccounts/berth-agent/token",
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}),
            Some(FORBIDDEN),
        ),
    ]
}

/// What the node lifecycle writes.
#[expect(clippy::too_many_lines, reason = "one table")]
fn lifecycle() -> Vec<Row> {
    // The first is admission's, on every new Node.
    let taints = |key: &str, value: &str, effect: &str| {
        json!({"spec": {"taints": [
            {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
            {"key": key, "value": value, "effect": effect},
        ]}})
    };
    let released = |annotation: &str| {
        metadata(&json!({
            "labels": {"pod-template-hash": null}, "annotations": {"berth.dev/released-labels": annotation},
        }))
    };
    let lost = |status: &str, reason: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status, "reason": reason}]}});
    let status = format!("{FOREIGN}/status");
    let out = "node.kubernetes.io/out-of-service";
    vec![
        row(
            "our taint",
            "merge",
            NODE,
            taints("berth.dev/cordon", "", "NoSchedule"),
            None,
        ),
        row(
            "our taint as a sentence",
            "merge",
            NODE,
            taints("berth.dev/cordon", "", "NoExecute"),
            Some(TAINTS),
        ),
        row(
            "fenced by us",
            "merge",
            NODE,
            taints(out, "berth", "NoExecute"),
            None,
        ),
        row(
            "fenced in an operator's name",
            "merge",
            NODE,
            taints(out, "nodeshutdown", "NoExecute"),
            Some(TAINTS),
        ),
        row(
            "a sentence of upstream's",
            "merge",
            NODE,
            taints("node.kubernetes.io/unreachable", "", "NoExecute"),
            Some(TAINTS),
        ),
        row(
            "a state, without the rights of replace",
            "merge",
            NODE,
            taints("node.kubernetes.io/unreachable", "", "NoSchedule"),
            Some(TAINTS),
        ),
        row(
            "an operator's taint taken off",
            "merge",
            OFF,
            json!({"spec": {"taints": null}}),
            Some(TAKES),
        ),
        row(
            "a Node's label",
            "merge",
            NODE,
            metadata(&json!({"labels": {"topology.berth.dev/rack": "b"}})),
            Some(NODE_LABELS),
        ),
        row(
            "a note of ours",
            "merge",
            NODE,
            metadata(&json!({"annotations": {"berth.dev/term": "3"}})),
            None,
        ),
        row(
            "the proof that it is off",
            "merge",
            NODE,
            metadata(&json!({"annotations": {"berth.dev/fenced-by": "poweroff"}})),
            Some(NODE_NOTES),
        ),
        row(
            "somebody's note",
            "merge",
            NODE,
            metadata(&json!({"annotations": {"example.com/note": "x"}})),
            Some(NODE_NOTES),
        ),
        row("a Node gone", "DELETE", NODE, Value::Null, Some(FORBIDDEN)),
        row(
            "what kubelet says",
            "strategic",
            &format!("{NODE}/status"),
            lost("Unknown", "NodeStatusUnknown"),
            Some(FORBIDDEN),
        ),
        row(
            "a foreign Pod deleted, whichever it is by now",
            "DELETE",
            FOREIGN,
            json!({"apiVersion": "v1", "kind": "DeleteOptions"}),
            Some(DELETE),
        ),
        row(
            "a foreign Pod deleted that is another one by now",
            "DELETE",
            FOREIGN,
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "u", "resourceVersion": "1"}}),
            Some("does not match the UID"),
        ),
        row(
            "soft-evicted, and what was taken off is written",
            "merge",
            FOREIGN,
            released(r#"{"pod-template-hash":"h7"}"#),
            None,
        ),
        row(
            "soft-evicted, and it is not",
            "merge",
            FOREIGN,
            released("{}"),
            Some(RELEASED),
        ),
        row(
            "given another hash",
            "merge",
            FOREIGN,
            metadata(&json!({"labels": {"pod-template-hash": "h8"}})),
            Some(RELEASED),
        ),
        row(
            "no traffic",
            "strategic",
            &status,
            lost("False", "NodeLost"),
            None,
        ),
        row(
            "no traffic for another reason",
            "strategic",
            &status,
            lost("False", "Other"),
            Some(GATE_ONLY),
        ),
        row(
            "traffic",
            "strategic",
            &status,
            lost("True", "NodeLost"),
            Some(GATE_ONLY),
        ),
        row(
            "a freeze without an end taken away",
            "DELETE",
            &format!("{FREEZES}/for-ever"),
            Value::Null,
            Some("the controllers delete freezes that have an end"),
        ),
        row(
            "one that has an end",
            "DELETE",
            &format!("{FREEZES}/for-now"),
            Value::Null,
            None,
        ),
        row(
            "the nodes of a rack in a freeze's status",
            "merge",
            &format!("{FREEZES}/for-now/status"),
            json!({"status": {"nodes": ["n1"]}}),
            None,
        ),
        row(
            "a freeze made longer",
            "merge",
            &format!("{FREEZES}/for-now"),
            json!({"spec": {"expiryTime": null}}),
            Some(FORBIDDEN),
        ),
        row(
            "a policy",
            "POST",
            "/apis/berth.dev/v1alpha1/namespaces/berth-system/lifecyclepolicies",
            json!({"apiVersion": "berth.dev/v1alpha1", "kind": "LifecyclePolicy", "metadata": {"name": "default"}, "spec": {}}),
            Some(FORBIDDEN),
        ),
    ]
}

/// Reads that are the controllers' and no node's.
fn reads() -> Vec<Row> {
    let read = |case, path: &str| row(case, "GET", path, Value::Null, None);
    vec![
        read("sets", SETS),
        read("revisions", REVISIONS),
        read("traffic", "/apis/discovery.k8s.io/v1/endpointslices"),
        read("the leader's Lease", LEASE),
        read("what images a node is to have", &format!("{PULLS}/n2")),
    ]
}

/// Sets, Pods and revisions, made by somebody who is bound by no policy of ours.
#[expect(clippy::too_many_lines, reason = "what is there, one after the other")]
fn world() -> ApiServer {
    let api = installed("api_controllers_rights");
    for node in ["n1", "n2"] {
        add_node(&api, node);
    }
    // A Pod has an account, which a controller would make.
    kubectl(
        &api,
        &["create", "serviceaccount", "default", "-n", "default"],
    );
    kubectl(
        &api,
        &[
            "wait",
            "--for=condition=Established",
            "crd",
            "inplacesets.berth.dev",
        ],
    );
    let mut web = pod("web-0", "n2", &owner("apps/v1", "ReplicaSet", true));
    web["metadata"]["finalizers"] = json!(["example.com/keep", "protection.berth.dev/dns"]);
    web["metadata"]["labels"]["pod-template-hash"] = "h7".into();
    web["metadata"]["annotations"]["berth.dev/protections"] =
        r#"["protection.berth.dev/dns", "protection.berth.dev/endpoints"]"#.into();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "berth-controllers", "namespace": "berth-system"}, "spec": {},
    });
    let health = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "NodeHealth", "metadata": {"name": "n2", "namespace": "berth-system"},
        "spec": {"nodeName": "n2"},
    });
    let mut pull = pull();
    pull["metadata"]["namespace"] = "berth-system".into();
    let off = [
        "taint",
        "node",
        "n2",
        "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
    ];
    kubectl(&api, &off);
    let freeze = |name: &str, end: Value| {
        json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "LifecycleFreeze",
            "metadata": {"name": name, "namespace": "berth-system"},
            "spec": {"scope": {"application": {"namespace": "elsewhere", "name": "x"}}, "reason": "a test", "by": "ann", "expiryTime": end},
        })
    };
    for object in [
        pod("shop-0", "n2", &ours()),
        web,
        pod("lone-0", "n2", &json!([])),
        revision("shop-a", &ours()),
        revision("db-a", &owner("apps/v1", "StatefulSet", true)),
        set("shop"),
        restart("own", &ours()),
        restart("theirs", &json!([])),
        lease,
        health,
        pull,
        freeze("for-ever", Value::Null),
        freeze("for-now", "2027-01-01T00:00:00Z".into()),
    ] {
        let made = wait_patiently("an object being taken", DEADLINE, || {
            let made = api.apply(&object.to_string());
            made.map_err(|error| Pending::because(format!("{error:#}")))
        });
        made.unwrap();
    }
    api
}

/// Waits until it is so.
fn wait(what: &str, look: impl Fn() -> (bool, String)) {
    let waited = wait_patiently(what, DEADLINE, || match look() {
        (true, _) => Ok(()),
        (false, said) => Err(Pending(said)),
    });
    waited.unwrap();
}

#[test]
fn the_controllers_write_what_is_of_inplacesets_and_a_nodes_token_nothing_of_it() {
    let api = world();
    let controllers = Caller::with_token(&api, "berth-controllers", &[]);
    let (pods, parts, others) = (pods(), parts(), others());
    for row in [&pods[1], &others[1]] {
        wait("the policies being in force", || {
            let (_, words) = ask(&api, &controllers, row);
            (words.contains(POLICED), words)
        });
    }
    let writes = [pods, parts, others, lifecycle()];
    let writes: Vec<_> = writes.into_iter().flatten().collect();
    let reads = reads();
    for row in writes.iter().chain(&reads) {
        judge(&api, &controllers, row);
    }

    // Each that they may, with what the agent and the address daemon of a node have.
    let agent = Caller::in_pod(&api, "berth-agent", "n1");
    let ipamd = Caller::in_pod(&api, "berth-ipamd", "n1");
    let mays = writes.iter().filter(|row| row.because.is_none());
    for row in mays.chain(&reads) {
        for (name, caller) in [("agent", &agent), ("ipamd", &ipamd)] {
            let (code, words) = ask(&api, caller, row);
            let is_refused = code == 403 || words.contains(POLICED);
            assert!(is_refused, "{name} of n1: {}: {code} {words}", row.case);
        }
    }

    // It is the policies that refuse in the rows above: the roles alone would let the controllers through.
    for policy in [
        "berth-controllers-write-pods-of-inplacesets",
        "berth-controllers-write-what-inplacesets-own",
    ] {
        kubectl(
            &api,
            &["delete", "validatingadmissionpolicybinding", policy],
        );
    }
    for row in writes.iter().filter(|row| {
        let because = row.because.unwrap_or(FORBIDDEN);
        [MAKE, DELETE, STATUS, OWNED].contains(&because)
    }) {
        wait(
            &format!("{} being allowed without policies", row.case),
            || {
                let (code, words) = ask(&api, &controllers, row);
                (code < 300, words)
            },
        );
    }
}
