//! A freeze, as an operator makes it and as the API server holds by it: whom it stops, in which scope, from when on; decisions that
//! nobody changes; and tolerations that the guard overlay raises. One API server for all of it, with the shipped rights and policies.
//!
//! Requests are tried in the name of the accounts that would make them (dry run).

use std::fs;
use std::io::{Write as _, stderr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests_testbed::{ApiServer, Output, Pending, binary, wait_patiently};

use crate::shipped::{Caller, NAMESPACE, add_node, installed, kubectl, overlay};

/// A machine that does other things too. An API server learns of new kinds half a minute after they are made.
const DEADLINE: Duration = Duration::from_secs(120);

const NODE_CONTROLLER: &str = "system:serviceaccount:kube-system:node-controller";
const POD_COLLECTOR: &str = "system:serviceaccount:kube-system:pod-garbage-collector";
const CONTROLLERS: &str = "system:serviceaccount:berth-system:berth-controllers";
const REPLICA_SETS: &str = "system:serviceaccount:kube-system:replicaset-controller";

struct World {
    api: ApiServer,
    folder: tempfile::TempDir,
}

fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default", "labels": {"pod-template-hash": "h7"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-h7", "uid": "u", "controller": true}],
        },
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "localhost/app:1"}]},
    })
}

fn freeze(spec: &Value) -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "LifecycleFreeze",
        "metadata": {"name": "typed", "namespace": NAMESPACE}, "spec": spec,
    })
}

impl World {
    fn new() -> Self {
        let api = installed("api_freeze");
        for node in ["n1", "n2"] {
            add_node(&api, node);
        }
        kubectl(&api, &["label", "node", "n1", "topology.berth.dev/rack=a"]);
        let account = ["create", "serviceaccount", "default", "-n", "default"];
        kubectl(&api, &account);
        let jane = ["create", "serviceaccount", "jane", "-n", NAMESPACE];
        kubectl(&api, &jane);
        for (kind, role) in [
            ("clusterrolebinding", "--clusterrole=berth-operator"),
            ("rolebinding", "--role=berth-operator"),
        ] {
            let who = format!("--serviceaccount={NAMESPACE}:jane");
            kubectl(
                &api,
                &["create", kind, "operators", "-n", NAMESPACE, role, &who],
            );
        }
        let world = Self {
            api,
            folder: tempfile::tempdir().unwrap(),
        };
        let caller = Caller::with_token(&world.api, "jane", &[]);
        let view = world
            .api
            .kubectl_json(&["config", "view", "--raw"])
            .unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": view["clusters"][0]["cluster"]}],
            "users": [{"name": "c", "user": {"token": caller.token()}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c", "namespace": "default"}}],
        });
        fs::write(world.kubeconfig(), config.to_string()).unwrap();
        for object in [pod("p1", "n1"), pod("p2", "n2")] {
            world.api.apply(&object.to_string()).unwrap();
        }
        world
    }

    fn kubeconfig(&self) -> String {
        let path = self.folder.path().join("jane");
        path.to_string_lossy().into_owned()
    }

    /// What the operator is told.
    fn berth(&self, words: &[&str]) -> Output {
        let program = binary("kubectl-berth").unwrap();
        let (program, kubeconfig) = (program.to_string_lossy(), self.kubeconfig());
        let mut all = vec![&*program, "--kubeconfig", &kubeconfig];
        all.extend(words);
        self.api.machine().exec(&all).unwrap()
    }

    /// The same, which must end with this code.
    #[track_caller]
    fn said(&self, code: i32, words: &[&str]) -> String {
        let said = self.berth(words);
        let all = format!("{}{}", said.stdout, said.stderr);
        assert_eq!(said.status.code(), Some(code), "{words:?}: {all}");
        all
    }

    /// What this account is told when it would do this.
    fn tries(&self, account: &str, words: &[&str]) -> Result<(), String> {
        let account = format!("--as={account}");
        let all = [words, &[&account, "--dry-run=server"]].concat();
        let said = self.api.kubectl(&all).unwrap();
        said.success().then_some(()).ok_or(said.stderr)
    }

    fn evicts(&self, pod: &str, node: Option<&str>) -> Result<(), String> {
        let annotations = node.map_or_else(|| json!({}), |node| json!({"berth.dev/node": node}));
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod, "namespace": "default", "annotations": annotations},
        });
        let path = format!("/api/v1/namespaces/default/pods/{pod}/eviction?dryRun=All");
        let account = format!("--as={CONTROLLERS}");
        let words = ["create", "--raw", &path, "-f", "-", &account];
        let said = self.api.kubectl_with(&words, &eviction.to_string());
        let said = said.unwrap();
        said.success().then_some(()).ok_or(said.stderr)
    }

    /// Makes a freeze as an operator does, and returns its name and what was said.
    #[track_caller]
    fn freeze(&self, scope: &[&str]) -> (String, String) {
        let words = [&["freeze", "--reason", "works on the switch"], scope].concat();
        let said = self.said(0, &words);
        let name = said.lines().find_map(|line| line.split_once(": "));
        (name.unwrap().0.to_owned(), said)
    }

    #[track_caller]
    fn unfreeze_all(&self) {
        let said = self.said(0, &["unfreeze", "--all"]);
        assert!(said.contains("not frozen by it any more"), "{said}");
    }
}

/// Whether they are stopped, and by a freeze.
#[track_caller]
fn judge(case: &str, said: Result<(), String>, is_stopped: bool) {
    match said {
        Ok(()) => assert!(!is_stopped, "{case}: it was let through"),
        Err(said) if is_stopped => {
            assert!(said.contains("frozen by LifecycleFreeze"), "{case}: {said}");
        }
        Err(said) => panic!("{case}: {said}"),
    }
}

const SENTENCE: [&str; 4] = ["taint", "node", "n1", "example.com/x=:NoExecute"];
const DELETE_ONE: [&str; 3] = ["delete", "pod", "p1"];
const DELETE_TWO: [&str; 3] = ["delete", "pod", "p2"];

#[test]
fn a_freeze_stops_controllers_of_nodes_in_its_scope_and_nobody_else() {
    let world = World::new();
    mistakes_are_refused_with_what_to_do(&world);
    wait_until_held_by_freezes(&world);
    scopes(&world);
    others_are_free(&world);
    unknown_rack_and_what_is_listed(&world);
    decisions_are_the_controllers_and_never_changed(&world);
    tolerations_are_raised_where_a_pod_says_nothing(&world);
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn mistakes_are_refused_with_what_to_do(world: &World) {
    for (spec, because) in [
        (
            json!({"scope": {"cluster": true, "node": "n1"}, "reason": "r", "by": "b"}),
            "say exactly one of",
        ),
        (
            json!({"scope": {}, "reason": "r", "by": "b"}),
            "say exactly one of",
        ),
        (
            json!({"scope": {"cluster": false}, "reason": "r", "by": "b"}),
            "cluster is true or is not said",
        ),
        (
            json!({"scope": {"node": "n1"}, "by": "b"}),
            "reason: Required",
        ),
        (
            json!({"scope": {"node": "n1"}, "reason": "  ", "by": "b"}),
            "spec.reason",
        ),
        (
            json!({"scope": {"node": "n1"}, "reason": "r"}),
            "by: Required",
        ),
    ] {
        let error = world.api.apply(&freeze(&spec).to_string()).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(because), "{spec}: {error}");
    }
    for (words, because) in [
        (&["--cluster"][..], "--reason"),
        (
            &["--cluster", "--node", "n1", "--reason", "r"],
            "cannot be used with",
        ),
        (&["--reason", "r"], "--cluster"),
        (
            &[
                "--cluster",
                "--reason",
                "r",
                "--until",
                "2020-01-01T00:00:00Z",
            ],
            "has passed",
        ),
        (&["--app", "shop", "--reason", "r"], "NAMESPACE/NAME"),
    ] {
        let said = world.said(2, &[&["freeze"], words].concat());
        assert!(said.contains(because), "{words:?}: {said}");
    }
    let said = world.said(2, &["unfreeze", "elsewhere"]);
    assert!(said.contains("nothing is frozen"), "{said}");

    let typed = json!({"scope": {"node": "elsewhere"}, "reason": "r", "by": "b"});
    world.api.apply(&freeze(&typed).to_string()).unwrap();
    for (patch, because) in [
        (json!({"reason": "other"}), "only expiryTime can be changed"),
        (json!({"ticket": "T-1"}), "only expiryTime can be changed"),
        (
            json!({"scope": {"node": "n1"}}),
            "the scope of a freeze cannot be changed",
        ),
    ] {
        let patch = json!({"spec": patch}).to_string();
        let words = [
            "patch",
            "lf",
            "typed",
            "-n",
            NAMESPACE,
            "--type=merge",
            "-p",
            &patch,
        ];
        let said = world.api.kubectl(&words).unwrap();
        assert!(
            !said.success() && said.stderr.contains(because),
            "{patch}: {}",
            said.stderr
        );
    }
    let longer = r#"{"spec": {"expiryTime": "2027-01-01T00:00:00Z"}}"#;
    let words = [
        "patch",
        "lf",
        "typed",
        "-n",
        NAMESPACE,
        "--type=merge",
        "-p",
        longer,
    ];
    kubectl(&world.api, &words);
    kubectl(&world.api, &["delete", "lf", "typed", "-n", NAMESPACE]);
}

/// An API server looks for new kinds every half minute.
fn wait_until_held_by_freezes(world: &World) {
    let waited = wait_patiently("a freeze being in force", DEADLINE, || {
        let said = world.berth(&["freeze", "--cluster", "--reason", "a test"]);
        let all = format!("{}{}", said.stdout, said.stderr);
        said.success().then_some(()).ok_or(Pending(all))
    });
    waited.unwrap();
    world.unfreeze_all();
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn scopes(world: &World) {
    // Whether these are stopped: p1 deleted, p2 deleted, a sentence on n1.
    for (scope, stopped) in [
        (&["--cluster"][..], [true, true, true]),
        (&["--node", "n1"], [true, false, true]),
        (&["--node", "n2"], [false, true, false]),
        (&["--app", "default/shop"], [true, true, false]),
        (&["--app", "default/shop-h7"], [true, true, false]),
        (&["--app", "other/shop"], [false, false, false]),
        // Nobody leads here who would write down which nodes are the rack's.
        (&["--rack", "a"], [true, true, true]),
    ] {
        let (_, said) = world.freeze(scope);
        let returned = Instant::now();
        // At once: the command has waited until the API server held by it.
        judge(
            &format!("{scope:?}: p1"),
            world.tries(NODE_CONTROLLER, &DELETE_ONE),
            stopped[0],
        );
        let asked = returned.elapsed();
        let _ = writeln!(stderr(), "{scope:?}: {said}asked {asked:?} after that");
        for account in [NODE_CONTROLLER, POD_COLLECTOR] {
            let case = format!("{scope:?}: {account}");
            judge(&case, world.tries(account, &DELETE_TWO), stopped[1]);
        }
        judge(
            &format!("{scope:?}: NoExecute"),
            world.tries(NODE_CONTROLLER, &SENTENCE),
            stopped[2],
        );
        world.unfreeze_all();
        judge("unfrozen", world.tries(NODE_CONTROLLER, &DELETE_ONE), false);
    }

    // The leader has written which nodes are the rack's.
    let (name, _) = world.freeze(&["--rack", "a"]);
    let status = r#"{"status": {"observedTime": "2026-01-01T00:00:00Z", "nodes": ["n1"]}}"#;
    let words = [
        "patch",
        "lf",
        &name,
        "-n",
        NAMESPACE,
        "--subresource=status",
    ];
    kubectl(
        &world.api,
        &[&words[..], &["--type=merge", "-p", status]].concat(),
    );
    let waited = wait_patiently("the rack's nodes being known", DEADLINE, || {
        world.tries(NODE_CONTROLLER, &DELETE_TWO).map_err(Pending)
    });
    waited.unwrap();
    judge(
        "of the rack",
        world.tries(NODE_CONTROLLER, &DELETE_ONE),
        true,
    );
    judge("of the rack", world.tries(NODE_CONTROLLER, &SENTENCE), true);
    // An eviction is held unless it says where the Pod is, and that is elsewhere.
    for (node, is_stopped) in [(None, true), (Some("n1"), true), (Some("n2"), false)] {
        judge(
            &format!("evicted on {node:?}"),
            world.evicts("p2", node),
            is_stopped,
        );
    }
    world.unfreeze_all();
    judge("evicted", world.evicts("p2", None), false);
}

fn others_are_free(world: &World) {
    world.freeze(&["--cluster"]);
    judge("ReplicaSets", world.tries(REPLICA_SETS, &DELETE_ONE), false);
    // The administrator.
    let words = ["delete", "pod", "p1", "--dry-run=server"];
    kubectl(&world.api, &words);
    let words = [&SENTENCE[..], &["--dry-run=server"]].concat();
    kubectl(&world.api, &words);
    // What ends nothing.
    let taint = ["taint", "node", "n1", "example.com/x=:NoSchedule"];
    judge("NoSchedule", world.tries(NODE_CONTROLLER, &taint), false);
    let ours = ["taint", "node", "n1", "berth.dev/cordon=:NoSchedule"];
    judge("our taint", world.tries(CONTROLLERS, &ours), false);
    world.unfreeze_all();
}

fn unknown_rack_and_what_is_listed(world: &World) {
    assert!(world.said(0, &["freezes"]).contains("nothing is frozen"));
    let (rack, said) = world.freeze(&["--rack", "z", "--for", "2h", "--ticket", "T-7"]);
    assert!(said.contains("no node has the label"), "{said}");
    assert!(said.contains("No leader of Berth's controllers"), "{said}");
    let (node, said) = world.freeze(&["--node", "n9"]);
    assert!(said.contains("there is no node \"n9\""), "{said}");
    // One whose end has passed stays where nobody leads, and that is told.
    let past = json!({"scope": {"node": "n1"}, "reason": "r", "by": "b", "expiryTime": "2020-01-01T00:00:00Z"});
    world.api.apply(&freeze(&past).to_string()).unwrap();
    let said = world.said(0, &["freezes", "-o", "wide"]);
    for part in [
        &*rack,
        &node,
        "T-7",
        "works on the switch",
        "it still holds",
        "No leader",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = world.said(0, &["why", "node/n1"]);
    assert!(said.contains("Frozen by typed"), "{said}");
    let said = world.said(0, &["unfreeze", &node]);
    assert!(said.contains("Still in force:"), "{said}");
    world.unfreeze_all();
}

#[expect(clippy::too_many_lines, reason = "one story")]
fn decisions_are_the_controllers_and_never_changed(world: &World) {
    let said = world.said(0, &["decisions"]);
    assert!(said.contains("no decision is kept"), "{said}");
    let zero = "0".repeat(64);
    let none = json!({"used": 0, "limit": 0});
    let decision = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "NodeDecision",
        "metadata": {"name": "3-1", "namespace": NAMESPACE, "labels": {"berth.dev/node": "n1"}},
        "spec": {
            "id": "3-1", "term": 3, "sequence": 1, "time": "2026-01-01T00:00:00Z", "leader": "n0", "policyHash": zero,
            "subject": {"kind": "Node", "name": "n1"}, "node": "n1",
            "change": {"type": "Verdict", "text": "Healthy -> Unknown", "from": "Healthy", "to": "Unknown"},
            "budget": {"cluster": none, "rack": none, "darkRacks": none, "pods": 0},
            "outcome": {"type": "Recorded"}, "previous": zero, "hash": zero,
            "record": "{\"forged\": true}",
        },
    });
    let text = decision.to_string();
    let refused = |words: &[&str], input: &str, because: &str| {
        let said = world.api.kubectl_with(words, input).unwrap();
        assert!(!said.success(), "{words:?}: {}", said.stdout);
        assert!(said.stderr.contains(because), "{words:?}: {}", said.stderr);
    };
    refused(
        &["create", "-f", "-"],
        &text,
        "made by the controllers' leader",
    );
    let ours = format!("--as={CONTROLLERS}");
    for (from, to, because) in [
        (
            "\"sequence\":1",
            "\"sequence\":2",
            "the id of a decision is TERM-SEQUENCE",
        ),
        (
            "\"name\":\"3-1\"",
            "\"name\":\"3-9\"",
            "the name of a decision is its id",
        ),
        (
            "\"Verdict\"",
            "\"Outcome\"",
            "an outcome, and nothing else, is of another",
        ),
        (
            "\"Recorded\"",
            "\"Failed\"",
            "a failure, and nothing else, has a message",
        ),
        (
            "\"node\":\"n1\"",
            "\"node\":\"n2\"",
            "node is the node that it is about",
        ),
    ] {
        refused(
            &["create", "-f", "-", &ours],
            &text.replace(from, to),
            because,
        );
    }
    let made = world.api.kubectl_with(&["create", "-f", "-", &ours], &text);
    made.unwrap().ok().unwrap();
    let patch = ["patch", "nd", "3-1", "-n", NAMESPACE, "--type=merge", "-p"];
    let leader = r#"{"spec": {"leader": "n9"}}"#;
    refused(
        &[&patch[..], &[leader]].concat(),
        "",
        "a decision is never changed",
    );
    let label = r#"{"metadata": {"labels": {"berth.dev/node": "n2"}}}"#;
    refused(
        &[&patch[..], &[label]].concat(),
        "",
        "a decision is never changed",
    );
    refused(
        &["delete", "nd", "3-1", "-n", NAMESPACE],
        "",
        "oldest first",
    );

    // What people are told of one whose record is not what was decided.
    let said = world.said(1, &["decisions", "n1"]);
    assert!(said.contains("Healthy -> Unknown"), "{said}");
    assert!(said.contains("does not hold together"), "{said}");
    let said = world.said(0, &["decisions", "n2"]);
    assert!(said.contains("no decision about node n2"), "{said}");
    let said = world.said(0, &["why", "n1"]);
    assert!(said.contains("takes it for Unknown"), "{said}");
    assert!(said.contains("No leader of Berth's controllers"), "{said}");
    let words = ["delete", "nd", "3-1", "-n", NAMESPACE, &ours];
    kubectl(&world.api, &words);
}

fn tolerations_are_raised_where_a_pod_says_nothing(world: &World) {
    kubectl(&world.api, &["apply", "-k", &overlay("guard")]);
    let (not_ready, unreachable) = (
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    );
    let says = |key: &str, seconds: i64| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
    let made = |tolerations: &Value| {
        let mut pod = pod("p3", "n1");
        pod["spec"]["tolerations"] = tolerations.clone();
        let words = ["create", "-f", "-", "--dry-run=server", "-o", "json"];
        let said = world.api.kubectl_with(&words, &pod.to_string()).unwrap();
        let pod: Value = serde_json::from_str(&said.ok().unwrap()).unwrap();
        let seconds = |key: &str| {
            let all = pod["spec"]["tolerations"].as_array().into_iter().flatten();
            let mut all = all.filter(|it| it["key"] == key);
            all.next().and_then(|it| it["tolerationSeconds"].as_i64())
        };
        (seconds(not_ready), seconds(unreachable))
    };
    let waited = wait_patiently("tolerations being raised", DEADLINE, || {
        let seconds = made(&json!([]));
        let raised = seconds == (Some(21_600), Some(21_600));
        raised
            .then_some(())
            .ok_or_else(|| Pending(format!("{seconds:?}")))
    });
    waited.unwrap();
    for (tolerations, expected) in [
        (json!([says(not_ready, 60)]), (Some(60), Some(21_600))),
        (json!([says(unreachable, 299)]), (Some(21_600), Some(299))),
        (
            json!([{"key": "other", "operator": "Exists"}, says(unreachable, 30)]),
            (Some(21_600), Some(30)),
        ),
        // Five minutes, said or not, are one to the API server.
        (json!([says(not_ready, 300)]), (Some(21_600), Some(21_600))),
        (
            json!([{"key": not_ready, "operator": "Exists", "effect": "NoExecute"}]),
            (None, Some(21_600)),
        ),
        // It tolerates everything: the API server adds nothing.
        (json!([{"operator": "Exists"}]), (None, None)),
    ] {
        assert_eq!(made(&tolerations), expected, "{tolerations}");
    }
}
