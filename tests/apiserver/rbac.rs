//! What the shipped accounts may do: exactly what is listed here, judged by the API server with tokens as kubelet gives them.

use std::time::Duration;

use serde_json::{Value, json};
use tests_testbed::{ApiServer, Pending, wait_patiently};

use crate::shipped::{Caller, NAMESPACE, add_node, installed, kubectl};

/// New kinds and policies are in force within a second or two on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// What every account may do: ask who it is and what it may.
const EVERYBODY: [&str; 3] = [
    "selfsubjectaccessreviews.authorization.k8s.io: create",
    "selfsubjectreviews.authentication.k8s.io: create",
    "selfsubjectrulesreviews.authorization.k8s.io: create",
];

fn with_everybody(own: &[&str]) -> Vec<String> {
    let all = own.iter().chain(&EVERYBODY);
    let mut all: Vec<_> = all.map(|&right| right.to_owned()).collect();
    all.sort();
    all
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_process_has_the_rights_that_are_listed_and_no_other() {
    let api = installed("api_rights");
    add_node(&api, "n1");

    let ipamd = Caller::in_pod(&api, "berth-ipamd", "n1");
    let (nodes, pods) = ("nodes: list watch", "pods: list watch");
    let events = "events.events.k8s.io: create";
    let claims = "claims.berth.dev: get list watch create update patch delete";
    for (namespace, own) in [
        ("default", &[nodes, pods, events][..]),
        (
            NAMESPACE,
            &[nodes, pods, claims, "pools.berth.dev: list watch"],
        ),
        ("kube-system", &[nodes, pods]),
    ] {
        let rights = ipamd.rights(namespace);
        assert_eq!(rights, with_everybody(own), "{namespace}");
    }

    let controllers = Caller::with_token(&api, "berth-controllers", &[]);
    let everywhere = [
        "containerrestarts.berth.dev: get list watch create delete",
        "controllerrevisions.apps: get list watch create patch delete",
        "endpointslices.discovery.k8s.io: list watch",
        events,
        "inplacesets.berth.dev/finalizers: update",
        "inplacesets.berth.dev/status: patch",
        "inplacesets.berth.dev: get list watch",
        "nodes: get list watch patch",
        "pods/eviction: create",
        "pods/status: patch",
        "pods: get list watch create patch delete",
        "replicasets.apps: get list watch",
        "statefulsets.apps/scale: get",
        "statefulsets.apps: get list watch",
    ];
    let here = [
        "claims.berth.dev: get list watch update patch delete fence release",
        "imagepulls.berth.dev: get list watch create patch",
        "leases.coordination.k8s.io berth-controllers: get update patch",
        "leases.coordination.k8s.io: get list watch create",
        "lifecyclefreezes.berth.dev/status: patch",
        "lifecyclefreezes.berth.dev: get list watch delete",
        "lifecyclepolicies.berth.dev/status: patch",
        "lifecyclepolicies.berth.dev: get list watch",
        "nodedecisions.berth.dev: get list watch create delete",
        "nodehealths.berth.dev: list watch patch",
        "pools.berth.dev/status: update patch",
        "pools.berth.dev: list watch",
        "secrets berth-peers: get patch",
        "secrets: create",
    ];
    for (namespace, own) in [
        ("default", &[][..]),
        (NAMESPACE, &here[..]),
        (
            "kube-node-lease",
            &["leases.coordination.k8s.io: get list watch"],
        ),
        ("kube-system", &[]),
    ] {
        let all = [&everywhere[..], own].concat();
        let rights = controllers.rights(namespace);
        assert_eq!(rights, with_everybody(&all), "{namespace}");
    }

    // The installer's containers have no token; what they could do with one is nothing. A controller makes the account.
    kubectl(
        &api,
        &["create", "serviceaccount", "default", "-n", NAMESPACE],
    );
    let default = Caller::with_token(&api, "default", &[]);
    assert_eq!(default.rights(NAMESPACE), with_everybody(&[]));
}

#[test]
fn agent_has_the_rights_that_are_listed_and_no_other() {
    let api = installed("api_rights_agent");
    add_node(&api, "n1");
    let events = "events.events.k8s.io: create";
    let agent = Caller::in_pod(&api, "berth-agent", "n1");
    let everywhere = [
        "containerrestarts.berth.dev/status: patch",
        "containerrestarts.berth.dev: get list watch patch delete",
        events,
        "nodes/status: patch",
        "pods/status: patch",
        "pods: get list watch",
    ];
    let here = [
        "imagepulls.berth.dev/status: patch",
        "imagepulls.berth.dev: list watch",
        "leases.coordination.k8s.io: create patch",
        "nodehealths.berth.dev/status: patch",
        "nodehealths.berth.dev: get create patch",
    ];
    let leases = "leases.coordination.k8s.io: get";
    for (namespace, own) in [
        ("default", &[][..]),
        (NAMESPACE, &here[..]),
        ("kube-node-lease", &[leases]),
        ("berth-pull-secrets", &["secrets: get"]),
        ("kube-system", &[]),
    ] {
        let all = [&everywhere[..], own].concat();
        assert_eq!(agent.rights(namespace), with_everybody(&all), "{namespace}");
    }
}

#[test]
fn address_daemon_reads_nodes_tells_of_its_own_and_is_refused_the_rest() {
    let api = policed("api_ipamd", &["n1", "n2"]);
    let ipamd = Caller::in_pod(&api, "berth-ipamd", "n1");
    let own = ["get", "nodes", "--field-selector=metadata.name=n1"];
    let said = ipamd.may(&own, "");
    assert!(said.contains("n1"), "{said}");
    ipamd.may(&TELL, &event("n1").to_string());
    for (words, input, because) in [
        (
            &TELL[..],
            event("n2"),
            "the address daemon of node n1 may tell of that node only",
        ),
        (
            &TELL,
            event_of_pod("n1"),
            "the address daemon of node n1 may tell of that node only",
        ),
        (&["get", "events", "-n", "default"], Value::Null, "orbidden"),
        (
            &["label", "node", "n1", "topology.berth.dev/rack=b"],
            Value::Null,
            "orbidden",
        ),
        (
            &["get", "configmap", "berth-ipamd"],
            Value::Null,
            "orbidden",
        ),
        (
            &["delete", "pod", "berth-ipamd-n1"],
            Value::Null,
            "orbidden",
        ),
        (&["get", "secrets"], Value::Null, "orbidden"),
        (&["get", "nodehealths"], Value::Null, "orbidden"),
        (&["delete", "node", "n1"], Value::Null, "orbidden"),
        (&["create", "token", "berth-agent"], Value::Null, "orbidden"),
    ] {
        ipamd.may_not(words, &input.to_string(), because);
    }
    let unbound = Caller::with_token(&api, "berth-ipamd", &[]);
    unbound.may_not(&TELL, &event("n1").to_string(), UNBOUND);
}

const TELL: [&str; 5] = ["create", "-n", "default", "-f", "-"];

/// An Event as the address daemon makes it.
fn event(node: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": format!("{node}.1"), "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Warning", "reason": "Tried", "action": "Trying", "note": "words",
        "reportingController": "berth.dev/ipamd", "reportingInstance": node,
        "regarding": {"apiVersion": "v1", "kind": "Node", "name": node},
    })
}

fn event_of_pod(name: &str) -> Value {
    let mut event = event(name);
    event["regarding"] =
        json!({"apiVersion": "v1", "kind": "Pod", "name": name, "namespace": "default"});
    event
}

/// What an agent applies: the object, then its status.
fn node_health(node: &str) -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "NodeHealth",
        "metadata": {"name": node, "namespace": NAMESPACE},
        "spec": {"nodeName": node},
    })
}

fn report(node: &str) -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "NodeHealth",
        "metadata": {"name": node, "namespace": NAMESPACE},
        "status": {
            "bootId": "b", "agentVersion": "0.1.0", "problems": 0, "unknowns": 0, "signals": [], "conditions": [],
            "reportTime": "2026-01-01T00:00:00Z", "expiryTime": "2026-01-01T00:10:00Z",
        },
    })
}

/// An API server on which the shipped policies are in force, with these nodes.
fn policed(name: &str, nodes: &[&str]) -> ApiServer {
    let api = installed(name);
    for node in nodes {
        add_node(&api, node);
    }
    let health = node_health("nobody").to_string();
    let event = event("nobody").to_string();
    let tries = [
        ("berth-agent", NAMESPACE, health),
        ("berth-ipamd", "default", event),
    ];
    for (account, namespace, object) in tries {
        let unbound = Caller::with_token(&api, account, &[]);
        let words = ["create", "--dry-run=server", "-n", namespace, "-f", "-"];
        let what = format!("the policy of {account} being in force");
        let waited = wait_patiently(&what, DEADLINE, || {
            let said = unbound.ask(&words, &object);
            if said.stderr.contains(UNBOUND) {
                return Ok(());
            }
            Err(Pending::because(format!("{}{}", said.stdout, said.stderr)))
        });
        waited.unwrap();
    }
    api
}

const UNBOUND: &str = "the token is not bound to a node";
const APPLY: [&str; 4] = ["apply", "--server-side", "-f", "-"];
const APPLY_STATUS: [&str; 5] = ["apply", "--server-side", "--subresource=status", "-f", "-"];

#[test]
fn agent_writes_the_health_of_its_own_node_and_of_no_other() {
    let api = policed("api_agent", &["n1", "n2"]);
    let n1 = Caller::in_pod(&api, "berth-agent", "n1");
    let (mine, other) = (node_health("n1").to_string(), node_health("n2").to_string());
    let words = "the agent of node n1 may write NodeHealth n1 only, not n2";

    n1.may(&APPLY, &mine);
    n1.may(&APPLY_STATUS, &report("n1").to_string());
    n1.may(&["get", "nodehealth", "n1"], "");
    n1.may_not(&APPLY, &other, words);
    n1.may_not(&["create", "-f", "-"], &other, words);

    // The same where the other's is there already, made by who is bound by no policy of ours.
    api.apply(&other).unwrap();
    n1.may_not(&APPLY_STATUS, &report("n2").to_string(), words);
    n1.may_not(&["label", "nodehealth", "n2", "stolen=yes"], "", words);
    n1.may_not(&["delete", "nodehealth", "n1"], "", "orbidden");
    n1.may_not(&["get", "nodehealths"], "", "orbidden");
    n1.may_not(&["get", "node", "n1"], "", "orbidden");

    // Elsewhere it has no role.
    let mut elsewhere = node_health("n1");
    elsewhere["metadata"]["namespace"] = "default".into();
    let apply = ["apply", "--server-side", "-n", "default", "-f", "-"];
    n1.may_not(&apply, &elsewhere.to_string(), "orbidden");

    let n2 = Caller::in_pod(&api, "berth-agent", "n2");
    n2.may(&APPLY_STATUS, &report("n2").to_string());
    n2.may_not(
        &APPLY_STATUS,
        &report("n1").to_string(),
        "the agent of node n2 may write NodeHealth n2 only, not n1",
    );
}

#[test]
fn agents_token_without_a_node_writes_nothing() {
    let api = policed("api_unbound", &["n1"]);
    let unbound = Caller::with_token(&api, "berth-agent", &[]);
    let mine = node_health("n1").to_string();
    unbound.may_not(&APPLY, &mine, UNBOUND);
    // A token bound to the Node itself is the node's too.
    let bound = ["--bound-object-kind=Node", "--bound-object-name=n1"];
    Caller::with_token(&api, "berth-agent", &bound).may(&APPLY, &mine);
}

#[test]
fn role_alone_would_let_an_agent_write_of_any_node() {
    let api = policed("api_unpoliced", &["n1"]);
    let binding = "validatingadmissionpolicybinding/berth-agent-writes-its-own-nodehealth";
    kubectl(&api, &["delete", binding]);
    let n1 = Caller::in_pod(&api, "berth-agent", "n1");
    let other = node_health("n2").to_string();
    // So it is the policy that refuses in the other tests.
    let waited = wait_patiently("the policy being gone", DEADLINE, || {
        let said = n1.ask(&APPLY, &other);
        said.ok()
            .map_err(|error| Pending::because(format!("{error:#}")))
    });
    waited.unwrap();
}
