//! `kubectl berth` about addresses, as it is typed, with the shipped rights of an operator and no others. Pools and claims are the
//! test's own. No kubelet runs here: what nodes themselves say, the cluster tier shows.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tests_testbed::{ApiServer, ControlPlane, Output, Pending, binary, wait_patiently};

use crate::shipped::{Caller, NAMESPACE, add_node, installed, kubectl, pod_of};

/// Kinds and roles are in force within a second or two on an idle machine.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);

/// More than a page of a list.
const MANY: u32 = 510;

/// An API server with an operator.
struct World {
    api: ApiServer,
    folder: tempfile::TempDir,
}

impl World {
    /// Three Nodes, of which n1 and n2 are in rack a, and n3 in rack b; a Pool for each rack.
    fn new(name: &str) -> Self {
        let api = installed(name);
        for (node, rack) in [("n1", "a"), ("n2", "a"), ("n3", "b")] {
            add_node(&api, node);
            let label = format!("topology.berth.dev/rack={rack}");
            kubectl(&api, &["label", "node", node, &label]);
            set_ready(&api, node, "True");
        }
        let world = Self {
            api,
            folder: tempfile::tempdir().unwrap(),
        };
        for account in ["jane", "nobody"] {
            let words = ["create", "serviceaccount", account, "-n", NAMESPACE];
            kubectl(&world.api, &words);
            world.write_kubeconfig(account);
        }
        let jane = format!("--serviceaccount={NAMESPACE}:jane");
        for (kind, role) in [
            ("clusterrolebinding", "--clusterrole=berth-operator"),
            ("rolebinding", "--role=berth-operator"),
        ] {
            let words = ["create", kind, "operators", "-n", NAMESPACE, role, &jane];
            kubectl(&world.api, &words);
        }
        for rack in [("a", 1), ("b", 2)] {
            world.apply(&pool(rack));
        }
        let waited = wait_patiently("the operator's rights", DEADLINE, || {
            let said = world.berth(&["ips"]);
            said.success().then_some(()).ok_or(Pending(said.stderr))
        });
        waited.unwrap();
        world
    }

    fn path(&self, account: &str) -> PathBuf {
        self.folder.path().join(account)
    }

    fn write_kubeconfig(&self, account: &str) {
        let caller = Caller::with_token(&self.api, account, &[]);
        let view = self.api.kubectl_json(&["config", "view", "--raw"]).unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": view["clusters"][0]["cluster"]}],
            "users": [{"name": "c", "user": {"token": caller.token()}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c", "namespace": "prod"}}],
        });
        fs::write(self.path(account), config.to_string()).unwrap();
    }

    fn apply(&self, object: &Value) {
        let waited = wait_patiently("the object being taken", DEADLINE, || {
            let applied = self.api.apply(&object.to_string());
            applied.map_err(|error| Pending(format!("{error:#}")))
        });
        waited.unwrap();
    }

    /// What the operator is told.
    fn berth(&self, words: &[&str]) -> Output {
        berth(&self.api, &self.path("jane").to_string_lossy(), words)
    }

    /// The same, which must end with this code.
    #[track_caller]
    fn said(&self, code: i32, words: &[&str]) -> String {
        let said = self.berth(words);
        let all = format!("{}{}", said.stdout, said.stderr);
        assert_eq!(said.status.code(), Some(code), "{words:?}: {all}");
        all
    }

    #[track_caller]
    fn json(&self, words: &[&str]) -> Value {
        let said = self.berth(&[words, &["-o", "json"]].concat());
        serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", said.stdout, said.stderr))
    }

    fn claim(&self, last: u32) -> Value {
        let name = format!("external-a.10.20.1.{last}");
        let words = ["get", "claim", &name, "-n", NAMESPACE];
        self.api.kubectl_json(&words).unwrap()
    }
}

fn berth(api: &ControlPlane, kubeconfig: &str, words: &[&str]) -> Output {
    let program = binary("kubectl-berth").unwrap();
    let kubeconfig = format!("KUBECONFIG={kubeconfig}");
    let mut all = vec!["env", &kubeconfig, program.to_str().unwrap()];
    all.extend(words);
    api.machine().exec(&all).unwrap()
}

fn set_ready(api: &ControlPlane, node: &str, status: &str) {
    let status = json!({"status": {"conditions": [
        {"type": "Ready", "status": status, "reason": "Test", "message": "says the test"},
    ]}});
    let patch = status.to_string();
    let words = [
        "patch",
        "node",
        node,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    kubectl(api, &words);
}

fn pool((rack, third): (&str, u8)) -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Pool",
        "metadata": {"name": format!("external-{rack}"), "namespace": NAMESPACE},
        "spec": {
            "network": "external", "rack": rack, "subnet": format!("10.20.{third}.0/24"),
            "ranges": [format!("10.20.{third}.100-10.20.{third}.199")], "gateway": format!("10.20.{third}.1"),
        },
    })
}

/// A claim of node n1 in rack a, and what else is in its spec.
fn claim(last: u32, fields: &Value) -> Value {
    claim_of("external-a", "a", &format!("10.20.1.{last}"), fields)
}

fn claim_of(pool: &str, rack: &str, address: &str, fields: &Value) -> Value {
    let mut spec = json!({
        "pool": pool, "network": "external", "rack": rack, "address": address, "node": "n1", "epoch": 1,
    });
    for (key, value) in fields.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Claim",
        "metadata": {
            "name": format!("{pool}.{address}"), "namespace": NAMESPACE, "finalizers": ["berth.dev/claim"],
        },
        "spec": spec,
    })
}

fn bound(pod: &str, last: u32, attached: bool) -> Value {
    json!({"binding": {
        "identity": pod, "mac": "b6:e7:0a:14:01:64", "addresses": [format!("10.20.1.{last}")],
        "origin": {"kind": "Pod", "pod": pod}, "attached": attached,
    }})
}

/// A Pod on a node, with the address that kubelet would tell.
fn add_pod(api: &ControlPlane, name: &str, node: &str, address: Option<&str>) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "prod"},
        "spec": {
            "nodeName": node, "automountServiceAccountToken": false,
            "containers": [{"name": "app", "image": "localhost/app:v1"}],
        },
    });
    api.apply(&pod.to_string()).unwrap();
    if let Some(address) = address {
        let status =
            json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
        let patch = status.to_string();
        let words = [
            "patch",
            "pod",
            name,
            "-n",
            "prod",
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        kubectl(api, &words);
    }
}

fn add_namespace(api: &ControlPlane) {
    kubectl(api, &["create", "namespace", "prod"]);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "prod"}});
    // The controller that makes it does not run here.
    api.apply(&account.to_string()).unwrap();
}

#[track_caller]
fn assert_has(text: &str, all: &[&str]) {
    for words in all {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
}

/// Numbers and a Lease as a leader would write them.
fn lead(world: &World, soon: &str) {
    let status = json!({"status": {
        "observedGeneration": 1, "capacity": 100, "claimed": 100, "bound": 90, "attached": 80, "exhaustedAt": soon,
        "updateTime": "2026-01-01T00:00:00Z",
    }});
    let patch = status.to_string();
    kubectl(
        &world.api,
        &[
            "patch",
            "pool",
            "external-a",
            "-n",
            NAMESPACE,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ],
    );
    let now = world
        .api
        .machine()
        .script("date -u +%Y-%m-%dT%H:%M:%S.000000Z")
        .unwrap();
    world.apply(&json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "berth-controllers", "namespace": NAMESPACE},
        "spec": {"holderIdentity": "leader", "leaseDurationSeconds": 15, "renewTime": now.trim()},
    }));
}

#[test]
fn pools_are_told_by_the_leaders_numbers_or_else_counted() {
    let world = World::new("api_kb_pools");
    world.apply(&claim(100, &bound("prod/db-0", 100, true)));
    world.apply(&claim(101, &bound("prod/db-1", 101, false)));
    world.apply(&claim(102, &json!({})));
    let counted = world.json(&["pools", "--rack", "a"]);
    assert_eq!(counted.as_array().unwrap().len(), 1);
    for (field, value) in [
        ("capacity", 100),
        ("claimed", 3),
        ("bound", 2),
        ("attached", 1),
        ("free", 97),
    ] {
        assert_eq!(counted[0][field], value, "{field}: {counted}");
    }
    assert_eq!(counted[0]["source"], "claims");
    let text = world.said(0, &["pools"]);
    assert_has(
        &text,
        &[
            "external-b",
            "Counted from the claims now: external-a, external-b",
        ],
    );
    assert!(
        !text.contains('\u{1b}'),
        "colours without a terminal: {text}"
    );

    let soon = "2100-01-01T00:00:00Z";
    lead(&world, soon);
    let text = world.said(1, &["pools", "-o", "wide"]);
    assert_has(
        &text,
        &[
            "Numbers of the controllers",
            "status, so for",
            "Counted from the claims now: external-b",
        ],
    );
    let told = world.json(&["pools"]);
    assert_eq!(
        (&told[0]["claimed"], &told[0]["free"]),
        (&100.into(), &0.into())
    );
    assert_eq!(told[0]["exhaustedAt"], soon);
}

/// A Pod that has its address, and one that waits for its own on another node.
fn fill(world: &World) {
    add_namespace(&world.api);
    world.apply(&claim(100, &bound("prod/db-0", 100, true)));
    let mut waits = bound("prod/db-1", 101, false);
    waits["handover"] = json!({"to": "n2"});
    world.apply(&claim(101, &waits));
    world.apply(&claim(102, &bound("test/x", 102, false)));
    world.apply(&claim(103, &json!({"node": "n2"})));
    add_pod(&world.api, "db-0", "n1", Some("10.20.1.100"));
    add_pod(&world.api, "db-1", "n2", None);
}

#[test]
fn ips_and_why_tell_who_has_what_and_what_a_pod_waits_for() {
    let world = World::new("api_kb_ips");
    fill(&world);
    let addresses = |words: &[&str]| {
        let all = world.json(&[&["ips"], words].concat());
        let all = all.as_array().unwrap().iter();
        all.map(|it| it["address"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(addresses(&[]).len(), 4);
    assert_eq!(addresses(&["--node", "n2"]), ["10.20.1.103"]);
    assert_eq!(addresses(&["-n", "prod"]), ["10.20.1.100", "10.20.1.101"]);
    assert_eq!(addresses(&["--held", "-n", "test"]), ["10.20.1.102"]);
    assert_eq!(addresses(&["--rack", "b"]).len(), 0);
    let held = world.json(&["ips", "--held"]);
    assert!(held[0]["unusedSince"].is_string(), "{held}");

    // Without a namespace the kubeconfig's; the nodes cannot be asked here, which is said and no reason to stop.
    let text = world.said(0, &["why", "db-0"]);
    assert_has(
        &text,
        &[
            "Pod prod/db-0 is on node n1 in rack a",
            "is attached to prod/db-0 on node n1",
            "n1 says nothing: there is no Pod",
        ],
    );
    let text = world.said(0, &["why", "prod/db-1", "--no-exec"]);
    assert_has(
        &text,
        &[
            "n2 has asked node n1 for 10.20.1.101",
            "is held for prod/db-1 by node n1",
        ],
    );
    assert!(!text.contains("says nothing"), "{text}");
    set_ready(&world.api, "n1", "Unknown");
    let text = world.said(1, &["why", "prod/db-1", "--no-exec"]);
    assert_has(
        &text,
        &[
            "n1 cannot consent while it does not run",
            "kubectl berth fence n1",
        ],
    );
    let text = world.said(0, &["why", "10.20.1.150", "--no-exec"]);
    assert_has(
        &text,
        &[
            "is one of Pool external-a",
            "No node has claimed 10.20.1.150",
        ],
    );
    let text = world.said(2, &["why", "prod/none"]);
    assert_has(&text, &["there is no Pod \"prod/none\""]);
    let json = world.json(&["why", "10.20.1.100", "--no-exec"]);
    assert_eq!(json["pod"]["name"], "db-0");
}

/// Claims of n3, more than a page.
fn add_many(world: &World) {
    let big = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Pool", "metadata": {"name": "big", "namespace": NAMESPACE},
        "spec": {"network": "internal", "rack": "b", "subnet": "10.40.0.0/16"},
    });
    world.apply(&big);
    let claims = (0..MANY).map(|index| {
        let address = format!("10.40.{}.{}", 1 + index / 200, 1 + index % 200);
        claim_of(
            "big",
            "b",
            &address,
            &json!({"node": "n3", "network": "internal"}),
        )
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": claims.collect::<Vec<_>>()});
    let words = ["create", "-f", "-"];
    world
        .api
        .kubectl_with(&words, &list.to_string())
        .unwrap()
        .ok()
        .unwrap();
}

#[test]
fn fence_marks_every_claim_of_a_node_and_unfence_takes_the_marks_away() {
    let world = World::new("api_kb_fence");
    add_many(&world);
    world.apply(&claim(100, &bound("prod/db-0", 100, true)));

    let text = world.said(2, &["fence", "n3", "--reason", "smoke"]);
    assert_has(
        &text,
        &[
            "Node n3: Ready=True",
            "510 addresses",
            "says that it is ready",
            "add --yes",
        ],
    );
    let done = world.json(&["fence", "n3", "--reason", "smoke", "--yes"]);
    assert_eq!(
        done["changed"].as_array().unwrap().len(),
        MANY as usize,
        "{done}"
    );
    assert_eq!(done["unfinished"], false);
    let marked = world.json(&["ips", "--node", "n3"]);
    let all = marked.as_array().unwrap();
    assert!(
        all.len() == MANY as usize
            && all.iter().all(|it| {
                it["fenced"]["reason"] == "smoke"
                    && it["fenced"]["by"] == "system:serviceaccount:berth-system:jane"
            })
    );
    assert!(world.claim(100)["spec"].get("fenced").is_none());
    // Again: nothing to do, and the first mark stays.
    set_ready(&world.api, "n3", "Unknown");
    let text = world.said(0, &["fence", "n3", "--reason", "again"]);
    assert_has(
        &text,
        &[
            "0 addresses of node n3 fenced",
            "510 addresses had a mark before",
            "fenced before by system",
        ],
    );
    // A ready node that is fenced is found.
    set_ready(&world.api, "n3", "True");
    let text = world.said(1, &["check", "--no-exec", "--settle", "0"]);
    assert_has(
        &text,
        &[
            "a node is fenced and ready: n3",
            "kubectl berth unfence n3",
            "2 findings",
        ],
    );

    let done = world.json(&["unfence", "n3"]);
    assert_eq!(done["changed"].as_array().unwrap().len(), MANY as usize);
    let text = world.said(0, &["unfence", "n3"]);
    assert_has(&text, &["no address of node n3 was fenced"]);
}

#[test]
fn node_that_is_gone_is_fenced_and_a_slip_of_the_pen_is_not() {
    let world = World::new("api_kb_gone");
    world.apply(&claim(100, &bound("prod/db-0", 100, true)));
    let text = world.said(2, &["fence", "n33", "--reason", "smoke", "--yes"]);
    assert_has(&text, &["there is no node \"n33\""]);
    // A node that is gone needs nobody's insistence.
    kubectl(&world.api, &["delete", "node", "n1"]);
    world.said(0, &["fence", "n1", "--reason", "scrapped"]);
    assert_eq!(world.claim(100)["spec"]["fenced"]["reason"], "scrapped");
    assert_eq!(world.claim(100)["spec"]["binding"]["attached"], true);
}

/// `StatefulSet` db with two replicas; its UID.
fn add_stateful_set(world: &World) -> Value {
    world.apply(&json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "prod"},
        "spec": {
            "serviceName": "db", "replicas": 2, "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"containers": [{"name": "app", "image": "localhost/app:v1"}]},
            },
        },
    }));
    let words = ["get", "statefulset", "db", "-n", "prod"];
    world.api.kubectl_json(&words).unwrap()["metadata"]["uid"].clone()
}

#[test]
fn release_marks_what_is_kept_after_saying_what_breaks() {
    let world = World::new("api_kb_release");
    add_namespace(&world.api);
    let uid = add_stateful_set(&world);
    let owned = |ordinal: u32, last: u32| {
        let mut spec = bound(&format!("prod/db-{ordinal}"), last, false);
        spec["binding"]["owner"] = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": uid, "ordinal": ordinal});
        spec
    };
    world.apply(&claim(100, &bound("prod/x", 100, true)));
    world.apply(&claim(101, &owned(1, 101)));
    world.apply(&claim(102, &owned(2, 102)));
    let released = |last| world.claim(last)["spec"].get("release").cloned();

    let text = world.said(2, &["release", "10.20.1.100", "--yes"]);
    assert_has(
        &text,
        &[
            "attached to prod/x on node n1: delete that Pod first",
            "nothing is released",
        ],
    );
    let text = world.said(0, &["release", "prod/db-1", "--dry-run"]);
    assert_has(&text, &["StatefulSet db still wants prod/db-1"]);
    let text = world.said(2, &["release", "prod/db-1"]);
    assert_has(&text, &["add --yes"]);
    for last in [100, 101, 102] {
        assert_eq!(released(last), None);
    }
    // The ordinal is not wanted any more: nothing breaks.
    let text = world.said(
        0,
        &["release", "10.20.1.102", "--reason", "scaled in by hand"],
    );
    assert_has(&text, &["breaks   nothing", "10.20.1.102 is marked"]);
    let mark = released(102).unwrap();
    assert_eq!(
        (&mark["reason"], &mark["by"]),
        (
            &"scaled in by hand".into(),
            &"system:serviceaccount:berth-system:jane".into()
        )
    );
    world.said(0, &["release", "prod/db-1", "--yes"]);
    assert!(released(101).is_some());
    let text = world.said(0, &["release", "prod/db-1"]);
    assert_has(
        &text,
        &["it was released by system:serviceaccount:berth-system:jane"],
    );
    let text = world.said(2, &["release", "10.20.1.199"]);
    assert_has(&text, &["nobody has claimed 10.20.1.199"]);
}

#[test]
fn reserve_asks_the_node_or_says_how_to_do_without() {
    let world = World::new("api_kb_reserve");
    let text = world.said(2, &["reserve", "10.20.1.150", "--for", "prod/new-0"]);
    assert_has(&text, &["berth.dev/addresses: \"10.20.1.150\""]);
    world.apply(&claim(103, &json!({})));
    let text = world.said(2, &["reserve", "10.20.1.103", "--for", "prod/new-0"]);
    assert_has(
        &text,
        &[
            "asking node n1, which has 10.20.1.103",
            "there is no Pod of berth-ipamd on it",
        ],
    );
}

#[test]
fn check_finds_what_does_not_agree_and_nothing_else() {
    let world = World::new("api_kb_check");
    add_namespace(&world.api);
    world.apply(&claim(100, &bound("prod/db-0", 100, true)));
    world.apply(&claim(101, &json!({"node": "n2"})));
    world
        .api
        .apply(&pod_of(&world.api, "berth-ipamd", "n1").to_string())
        .unwrap();
    add_pod(&world.api, "db-0", "n1", Some("10.20.1.100"));
    let check = ["check", "--no-exec", "--settle", "0"];
    let text = world.said(0, &check);
    assert_has(
        &text,
        &[
            "2 pools, 2 claims, 1 Pods",
            "nothing found",
            "The nodes were not asked",
        ],
    );

    add_pod(&world.api, "db-1", "n1", Some("10.20.1.105"));
    world.apply(&claim(106, &json!({"node": "n9"})));
    world.apply(&claim(107, &bound("prod/gone", 107, true)));
    let report = world.json(&check);
    let kinds: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["address-unclaimed", "pod-gone", "node-missing"],
        "{report}"
    );
    let text = world.said(1, &check);
    assert_has(
        &text,
        &[
            "prod/db-1 10.20.1.105",
            "kubectl berth fence n9",
            "3 findings",
        ],
    );

    // No kubelet answers here: that is a finding, with the node's name.
    let text = world.said(1, &["check", "--settle", "0", "--node-deadline", "20"]);
    assert_has(&text, &["a node could not be asked: n1"]);
    let text = world.said(1, &["history", "10.20.1.100"]);
    assert_has(
        &text,
        &[
            "10.20.1.100 of network external is node n1's: attached for prod/db-0",
            "Of 2 nodes 2 did not answer",
            "n2: there is no Pod",
        ],
    );
    let text = world.said(2, &["history", "192.168.0.1"]);
    assert_has(&text, &["is in no Pool", "--rack"]);
}

#[test]
fn who_cannot_be_answered_is_told_why_and_what_to_do() {
    let world = World::new("api_kb_errors");
    let nobody = world.path("nobody");
    for words in [
        &["pools"][..],
        &["ips"],
        &["why", "10.20.1.1"],
        &["check"],
        &["fence", "n1", "--reason", "x"],
    ] {
        let said = berth(&world.api, &nobody.to_string_lossy(), words);
        assert_eq!(said.status.code(), Some(2), "{words:?}: {}", said.stdout);
        assert_has(
            &said.stderr,
            &[
                "system:serviceaccount:berth-system:nobody",
                "ClusterRole berth-operator",
            ],
        );
    }
    // An operator who may not run commands in Pods, as most.
    kubectl(
        &world.api,
        &["delete", "rolebinding", "operators", "-n", NAMESPACE],
    );
    world
        .api
        .apply(&pod_of(&world.api, "berth-ipamd", "n1").to_string())
        .unwrap();
    let waited = wait_patiently("the right being gone", DEADLINE, || {
        let said = world.berth(&["check", "--settle", "0"]);
        let all = format!("{}{}", said.stdout, said.stderr);
        let told = all.contains("The nodes were not asked") && all.contains("Role berth-operator");
        told.then_some(said).ok_or(Pending(all))
    });
    assert_eq!(waited.unwrap().status.code(), Some(0));
    let said = world.berth(&["--context", "other", "ips"]);
    assert_eq!(said.status.code(), Some(2), "{}", said.stdout);

    let bare = ApiServer::start("api_kb_bare").unwrap();
    let kubeconfig = bare.kubeconfig().to_string_lossy().into_owned();
    for words in [
        &["pools"][..],
        &["ips"],
        &["check", "--no-exec"],
        &["unfence", "n1"],
    ] {
        let said = berth(&bare, &kubeconfig, words);
        assert_eq!(said.status.code(), Some(2), "{words:?}: {}", said.stdout);
        assert_has(&said.stderr, &["is Berth installed there"]);
    }
    drop(bare);
    let said = berth(&world.api, "/nowhere", &["ips"]);
    assert_eq!(said.status.code(), Some(2), "{}", said.stdout);
}
