//! A node that its agent finds sick is emptied by the Eviction API, with the shipped rights: what a `PodDisruptionBudget` keeps stays where it
//! is and serves, holds up nothing else, and goes, one Pod after the other, when the budget has room.
//!
//! Kubernetes' own controllers keep the budgets and make Pods anew; nodes are objects, and kubelet's Leases are renewed by the test.

use std::collections::BTreeSet;
use std::time::Duration;

use proto_crd::node_decision::{ChangeType, NodeDecisionSpec, OutcomeType};
use serde_json::{Value, json};
use tests_fake_node::{FakeNodes, Pace};
use tests_testbed::{ApiServer, Pending, Process, binary, wait_patiently};

use crate::controllers::{Place, renew};
use crate::shipped::{NAMESPACE, installed, kubectl, patch};

/// A finding is held for a minute, a refused eviction is tried again after half a minute; and a machine that does other things.
const DEADLINE: Duration = Duration::from_secs(300);

/// Budgets, Pods, what an owner leaves behind, and the account each Pod has.
const CONTROLLERS: [&str; 4] = [
    "disruption-controller",
    "replicaset-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
];

const SICK: &str = "n1";
const OTHER: &str = "n2";

/// Older than the others, so that it is tried first: no Pod of it may be missing.
const KEPT: &str = "kept";
/// Nobody keeps these.
const FREE: &str = "free";

struct World {
    nodes: FakeNodes,
    leader: Process,
    // With the token of the leader.
    _place: Place,
    _kubelets: [Process; 2],
    api: ApiServer,
}

impl World {
    fn start() -> Self {
        let mut api = installed("api_drain");
        api.start_only_controllers(&CONTROLLERS).unwrap();
        kubectl(&api, &["create", "namespace", "shop"]);
        let names = [SICK, OTHER].map(str::to_owned);
        let nodes = FakeNodes::start(&api, &names, Pace::quick()).unwrap();
        let kubelets = [SICK, OTHER].map(|node| renew(&api, node));
        let place = Place::new(&api, "c1", 19_700);
        let leader = place.start(&api);
        Self {
            nodes,
            leader,
            _place: place,
            _kubelets: kubelets,
            api,
        }
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
        wait_patiently(what, DEADLINE, || look().map_err(Pending)).unwrap_or_else(|error| {
            let (trouble, log) = (self.nodes.trouble(), self.leader.log_tail());
            panic!("{error:#}\nthe nodes say: {trouble:#?}\nthe controllers say:\n{log}")
        })
    }

    /// Makes or changes an object; a kind is served a moment after it is defined.
    fn apply(&self, object: &Value) {
        self.wait("an object being taken", || {
            let made = self.api.apply(&object.to_string());
            made.map_err(|error| format!("{error:#}"))
        });
    }

    fn merge(&self, kind: &str, name: &str, merged: &Value) {
        let merged = merged.to_string();
        let words = [&patch(kind, name, &merged)[..], &["-n", "shop"]].concat();
        kubectl(&self.api, &words);
    }

    /// So many Pods, all on the sick node; what is made later is made on the other.
    fn fill(&self, set: &str, replicas: usize) {
        self.apply(&replica_set(set, replicas));
        self.wait(&format!("{replicas} ready Pods of {set}"), || {
            let ready = self.pods(set).iter().filter(|pod| pod.is_ready).count();
            (ready == replicas)
                .then_some(())
                .ok_or_else(|| format!("{ready} are"))
        });
        let elsewhere = json!({"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": OTHER}}}}});
        self.merge("replicaset", set, &elsewhere);
    }

    fn pods(&self, set: &str) -> Vec<Shop> {
        let label = format!("--selector=app={set}");
        let words = ["get", "pods", "-n", "shop", &label];
        let list = self.api.kubectl_json(&words).unwrap();
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let pods = list["items"].as_array().unwrap().iter();
        pods.map(|pod| {
            let conditions = pod["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            Shop {
                uid: text(&pod["metadata"]["uid"]),
                node: text(&pod["spec"]["nodeName"]),
                is_ready: conditions.any(|it| it["type"] == "Ready" && it["status"] == "True"),
                is_ending: !pod["metadata"]["deletionTimestamp"].is_null(),
            }
        })
        .collect()
    }

    /// The Pods of a set on the sick node.
    fn left(&self, set: &str) -> Vec<Shop> {
        let pods = self.pods(set).into_iter();
        pods.filter(|pod| pod.node == SICK).collect()
    }

    /// What the leader wrote about the sick node, the first first.
    fn decisions(&self) -> Vec<NodeDecisionSpec> {
        let words = ["get", "nodedecisions", "-n", NAMESPACE];
        let list = self.api.kubectl_json(&words).unwrap();
        let specs = list["items"].as_array().unwrap().iter();
        let specs =
            specs.map(|item| serde_json::from_value::<NodeDecisionSpec>(item["spec"].clone()));
        let mut all: Vec<_> = specs.map(Result::unwrap).collect();
        all.retain(|decision| decision.node.as_deref() == Some(SICK));
        all.sort_by_key(|decision| (decision.term, decision.sequence));
        all
    }

    /// How each eviction ended that came to an end: the Pod, and why it was refused.
    fn evictions(&self) -> Vec<(String, Option<String>)> {
        let decisions = self.decisions().into_iter();
        let ended = decisions.filter(|it| it.change.r#type == ChangeType::Outcome);
        let evictions = ended.filter(|it| {
            let action = it.change.action.as_deref().unwrap_or_default();
            action.starts_with("Evict")
        });
        evictions
            .map(|it| {
                let failed = it.outcome.r#type == OutcomeType::Failed;
                let why = it.outcome.message.filter(|_| failed);
                (it.targets[0].uid.clone(), why)
            })
            .collect()
    }

    /// What an operator is told.
    fn why(&self) -> String {
        let program = binary("kubectl-berth").unwrap();
        let (program, kubeconfig) = (program.to_string_lossy(), self.api.kubeconfig());
        let kubeconfig = kubeconfig.to_string_lossy();
        let words = [&*program, "--kubeconfig", &kubeconfig, "why", SICK];
        self.api.machine().exec(&words).unwrap().ok().unwrap()
    }
}

#[derive(Clone, Debug)]
struct Shop {
    uid: String,
    node: String,
    is_ready: bool,
    is_ending: bool,
}

fn uids(pods: &[Shop]) -> BTreeSet<String> {
    pods.iter().map(|pod| pod.uid.clone()).collect()
}

fn replica_set(name: &str, replicas: usize) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeSelector": {"kubernetes.io/hostname": SICK},
                    "containers": [{"name": "app", "image": "localhost/app:v1"}],
                },
            },
        },
    })
}

fn budget(least: usize) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "all-of-kept", "namespace": "shop"},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": KEPT}}},
    })
}

/// As fast as the API allows it to be said.
fn policy() -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "LifecyclePolicy",
        "metadata": {"name": "default", "namespace": NAMESPACE},
        "spec": {
            "mode": "Enforce",
            "timers": {"cordonHoldSeconds": 10, "drainHoldSeconds": 60},
            "breakers": {"warmUpSeconds": 10, "slowGapSeconds": 1},
        },
    })
}

/// The agent of the sick node finds that its disk cannot be written.
fn report_sick(world: &World) {
    let health = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "NodeHealth",
        "metadata": {"name": SICK, "namespace": NAMESPACE}, "spec": {"nodeName": SICK},
    });
    world.apply(&health);
    let time = "2026-01-01T00:00:00Z";
    let status = json!({"status": {
        "bootId": "1", "agentVersion": "test", "reportTime": time, "expiryTime": "2026-01-01T01:00:00Z",
        "problems": 1, "unknowns": 0, "conditions": [], "peers": [],
        "signals": [{
            "name": "disk-write", "state": "Unhealthy", "decision": "Drain", "since": time, "observedTime": time,
            "ttlSeconds": 120, "value": "not written", "threshold": "written",
            "message": "a file cannot be written", "impact": "Pods cannot write", "advice": "replace the disk",
        }],
        "vote": {"state": "Given", "reason": "Seeing", "message": "", "since": time},
    }});
    let status = status.to_string();
    let words = [
        &patch("nodehealth", SICK, &status)[..],
        &["--subresource=status", "-n", NAMESPACE],
    ]
    .concat();
    kubectl(&world.api, &words);
}

#[test]
fn sick_node_is_emptied_by_evictions_as_fast_as_disruption_budgets_allow() {
    let world = World::start();
    world.fill(KEPT, 3);
    world.fill(FREE, 2);
    world.apply(&budget(3));
    let kept = uids(&world.left(KEPT));
    world.apply(&policy());
    report_sick(&world);

    // What has no budget goes, and comes elsewhere; what has one is tried, and not forced.
    world.wait("what is free having gone, what is kept refused", || {
        let (left, ended) = (world.left(FREE), world.evictions());
        let refused = ended.iter().filter(|(_, why)| why.is_some()).count();
        if left.is_empty() && refused >= 2 {
            return Ok(());
        }
        Err(format!("{left:?} are left, {ended:?}"))
    });
    let still = world.left(KEPT);
    assert_eq!(uids(&still), kept);
    assert!(
        still.iter().all(|pod| pod.is_ready && !pod.is_ending),
        "{still:?}"
    );
    for (uid, why) in world.evictions() {
        assert_eq!(why.is_some(), kept.contains(&uid), "{uid}: {why:?}");
    }
    let told = world.why();
    for words in ["disruption budget", "all-of-kept", "shop/kept"] {
        assert!(told.contains(words), "no {words:?} in\n{told}");
    }

    // Room for one: they go one after the other, each when the one before it is back.
    world.apply(&budget(2));
    let mut least = usize::MAX;
    world.wait("the node being empty", || {
        let pods = world.pods(KEPT);
        let serving = pods.iter().filter(|pod| pod.is_ready && !pod.is_ending);
        least = least.min(serving.count());
        let left = pods.iter().filter(|pod| pod.node == SICK).count();
        let told = world.why();
        if left == 0 && told.contains("Empty") {
            return Ok(());
        }
        Err(format!("{left} are left\n{told}"))
    });
    assert!(least >= 2, "{least} were serving");
    let evicted = world.evictions().into_iter();
    let evicted: BTreeSet<_> = evicted
        .filter(|(_, why)| why.is_none())
        .map(|(uid, _)| uid)
        .collect();
    assert!(kept.is_subset(&evicted), "{kept:?} {evicted:?}");
    assert_eq!(evicted.len(), 5);
    assert_eq!(world.nodes.trouble(), Vec::<String>::new());
}
