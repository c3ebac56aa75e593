//! Node lifecycle on real nodes, in the place of Kubernetes' own: a node that only the API server cannot reach keeps its traffic; one
//! without power is replaced, not before a freeze is taken away and whoever leads then; when it is back, what was superseded ends one after
//! the other; the address of one that is fenced is another node's once, and only then; and one that is sick is emptied as disruption
//! budgets allow.

mod journal;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests_testbed::{Cluster, Daemon};

use self::journal::{Journal, Wanted, gap, order, target, wait_for};
use crate::{
    claims_seen::{
        assert_answered_once, berth, claims, claims_of, external, set_cordon, set_where,
    },
    seen::service,
    site::{builder, look, pod_spec, wait_not_ready, wait_ready},
    turn::{self, Rank},
};

const SET: &str = "shop";

/// Two a node.
const PODS: u64 = 8;

/// Between two Pods that are ended on one node.
const GAP: Duration = Duration::from_secs(5);

/// All may be done, and as soon as the API allows it to be said.
fn policy() -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "LifecyclePolicy",
        "metadata": {"name": "default", "namespace": "berth-system"},
        "spec": {
            "mode": "Enforce", "replace": true,
            "timers": {
                "quorumHoldSeconds": 30, "quorumSteadySeconds": 10, "recoverySeconds": 30, "healthyDelaySeconds": 10,
                "drainHoldSeconds": 60,
            },
            "budgets": {"appSurgePercent": 100},
            "breakers": {"warmUpSeconds": 20, "slowGapSeconds": 5},
        },
    })
}

fn set() -> Value {
    let mut spec = pod_spec("");
    spec["nodeSelector"] = json!(null);
    spec["topologySpreadConstraints"] = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": SET}},
    }]);
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet", "metadata": {"name": SET},
        "spec": {
            "replicas": PODS, "selector": {"matchLabels": {"app": SET}},
            "template": {"metadata": {"labels": {"app": SET}}, "spec": spec},
        },
    })
}

/// A Pod of the set.
#[derive(Clone, Debug)]
struct Shop {
    name: String,
    uid: String,
    address: String,
    ready: Value,
    is_soft_evicted: bool,
    is_ending: bool,
}

fn shops_on(cluster: &Cluster, node: &str) -> Vec<Shop> {
    let label = format!("--selector=app={SET}");
    let list = cluster.kubectl_json(&["get", "pods", &label]).unwrap();
    let pods = list["items"].as_array().unwrap().iter();
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let here = pods.filter(|pod| pod["spec"]["nodeName"] == node);
    let mut shops: Vec<Shop> = here
        .map(|pod| {
            let meta = &pod["metadata"];
            let conditions = pod["status"]["conditions"].as_array().unwrap();
            let ready = conditions.iter().find(|it| it["type"] == "Ready").unwrap();
            Shop {
                name: text(&meta["name"]),
                uid: text(&meta["uid"]),
                address: text(&pod["status"]["podIP"]),
                ready: json!([ready["status"], ready["reason"]]),
                is_soft_evicted: meta["annotations"]["berth.dev/soft-evicted"].is_string(),
                is_ending: !meta["deletionTimestamp"].is_null(),
            }
        })
        .collect();
    shops.sort_by(|a, b| a.name.cmp(&b.name));
    shops
}

fn uids(shops: &[Shop]) -> Vec<&str> {
    shops.iter().map(|it| it.uid.as_str()).collect()
}

/// Addresses to which the Service sends.
fn served(cluster: &Cluster) -> Vec<String> {
    let label = format!("--selector=kubernetes.io/service-name={SET}");
    let words = ["get", "endpointslices", &label];
    let slices = cluster.kubectl_json(&words).unwrap();
    let slices = slices["items"].as_array().unwrap().iter();
    let endpoints = slices.flat_map(|it| it["endpoints"].as_array().into_iter().flatten());
    let serving = endpoints.filter(|it| it["conditions"]["ready"] != false);
    serving
        .flat_map(|it| it["addresses"].as_array().unwrap())
        .map(|it| it.as_str().unwrap().to_owned())
        .collect()
}

fn taints(cluster: &Cluster, node: &str) -> Vec<String> {
    let node = cluster.kubectl_json(&["get", "node", node]).unwrap();
    let taints = node["spec"]["taints"].as_array().cloned();
    let taints = taints.unwrap_or_default().into_iter();
    taints
        .map(|it| it["key"].as_str().unwrap().to_owned())
        .collect()
}

fn wait_untainted(cluster: &Cluster, node: &str) {
    wait_for(&format!("no taint on {node}"), || {
        let there = taints(cluster, node);
        there
            .is_empty()
            .then_some(())
            .ok_or_else(|| format!("{there:?}"))
    });
}

fn wait_all_serving(cluster: &Cluster) {
    wait_for("all Pods of the set serving", || {
        let set = cluster.kubectl_json(&["get", "inplaceset", SET]);
        let status = set.map_err(|error| format!("{error:#}"))?["status"].take();
        let served = served(cluster).len() as u64;
        if status["availableReplicas"] == PODS && status["replicas"] == PODS && served >= PODS {
            return Ok(());
        }
        Err(format!("{served} serve: {status}"))
    });
}

/// The node whose process leads.
fn leader(cluster: &Cluster) -> Option<String> {
    let words = ["get", "lease", "berth-controllers", "-n", "berth-system"];
    let lease = cluster.kubectl_json(&words).ok()?;
    let (node, _) = lease["spec"]["holderIdentity"].as_str()?.split_once('_')?;
    Some(node.to_owned())
}

fn cut_from_the_api_server_alone_keeps_its_traffic(cluster: &Cluster) {
    let journal = Journal::begin(cluster);
    let before = shops_on(cluster, "n2");
    cluster.set_api_path("n2", false).unwrap();
    journal.wait(cluster, &Wanted::verdict("n2", "ControlPlaneCut"));
    journal.wait(cluster, &Wanted::done("n2", "Cordon"));
    // Kubernetes' own rule would have ended its endpoints with this.
    wait_not_ready(cluster, "n2", "");
    let after = shops_on(cluster, "n2");
    assert_eq!(uids(&after), uids(&before));
    let serving = served(cluster);
    for shop in &after {
        assert_eq!(shop.ready[0], "True", "{shop:?}");
        assert!(serving.contains(&shop.address), "{shop:?} of {serving:?}");
    }
    assert!(taints(cluster, "n2").contains(&"berth.dev/cordon".to_owned()));
    cluster.set_api_path("n2", true).unwrap();
    wait_untainted(cluster, "n2");
    assert_eq!(uids(&shops_on(cluster, "n2")), uids(&before));
    for action in ["SoftEvict", "WithdrawEndpoints", "Evict", "EndSuperseded"] {
        journal.assert_never(cluster, &Wanted::action("n2", action));
    }
}

/// Nothing is done while it is frozen; the next leader does it once it is not.
fn without_power_is_replaced_when_no_freeze_is_left(cluster: &mut Cluster) -> Vec<Shop> {
    let journal = Journal::begin(cluster);
    let before = shops_on(cluster, "n2");
    assert!(before.len() >= 2, "{before:?}");
    cluster.power_off("n2").unwrap();
    journal.wait(cluster, &Wanted::verdict("n2", "QuorumDead"));
    berth(
        cluster,
        &["freeze", "--cluster", "--reason", "somebody looks at it"],
    );
    let old = leader(cluster).expect("a leader");
    cluster
        .signal_daemon(&old, Daemon::Controllers, Signal::SIGKILL)
        .unwrap();
    let term = journal.term(cluster);
    journal.wait_term(cluster, term);
    journal.wait(cluster, &Wanted::held("n2", "frozen by"));
    for shop in shops_on(cluster, "n2") {
        assert!(!shop.is_soft_evicted && !shop.is_ending, "{shop:?}");
    }
    berth(cluster, &["unfreeze", "--all"]);
    // Until then its Pods were taken for serving.
    wait_for("all that is lost being marked", || {
        let left: Vec<_> = shops_on(cluster, "n2")
            .into_iter()
            .filter(|it| !it.is_soft_evicted)
            .collect();
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    });
    wait_all_serving(cluster);
    let lost = shops_on(cluster, "n2");
    assert_eq!(uids(&lost), uids(&before));
    let serving = served(cluster);
    for shop in &lost {
        assert!(shop.is_soft_evicted && !shop.is_ending, "{shop:?}");
        assert_eq!(shop.ready, json!(["False", "NodeLost"]), "{shop:?}");
        assert!(!serving.contains(&shop.address), "{shop:?} of {serving:?}");
    }
    lost
}

fn back_again_ends_what_was_superseded_one_by_one(cluster: &mut Cluster, superseded: &[Shop]) {
    let journal = Journal::begin(cluster);
    cluster.power_on("n2").unwrap();
    wait_for("what was superseded being gone", || {
        let left = shops_on(cluster, "n2");
        let left: Vec<_> = left
            .iter()
            .filter(|it| superseded.iter().any(|old| old.uid == it.uid))
            .collect();
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    });
    let mut wanted = uids(superseded);
    wanted.sort_unstable();
    // What became of the last one is written down a moment after it.
    wait_for("each being ended, once", || {
        let done = journal.all(cluster, &Wanted::done("n2", "EndSuperseded"));
        let mut targets: Vec<&str> = done.iter().map(target).collect();
        targets.sort_unstable();
        (targets == wanted)
            .then_some(())
            .ok_or_else(|| format!("{targets:?} of {wanted:?}"))
    });
    // One that had no effect is ordered again.
    let ordered = journal.all(cluster, &Wanted::action("n2", "EndSuperseded"));
    for (one, next) in ordered.iter().zip(ordered.iter().skip(1)) {
        assert!(gap(one, next) >= GAP, "from {one:?} to {next:?}");
    }
    wait_untainted(cluster, "n2");
    wait_all_serving(cluster);
}

fn fenced_gives_its_address_away_once_and_only_then(cluster: &mut Cluster) {
    set_cordon(cluster, "n3", true);
    let set = set_where("db", 1, "topology.berth.dev/rack", "b");
    cluster.apply(&set.to_string()).unwrap();
    wait_ready(cluster, "db-0", "");
    set_cordon(cluster, "n3", false);
    let before = look(cluster, "db-0");
    let uid = |cluster: &Cluster| {
        let pod = cluster.kubectl_json(&["get", "pod", "db-0"]).unwrap();
        pod["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    let first = uid(cluster);

    let journal = Journal::begin(cluster);
    cluster.power_off("n4").unwrap();
    journal.wait(cluster, &Wanted::done("n4", "SoftEvict"));
    // Dead to all its peers is no proof: a Pod with an address of its own stays.
    assert_eq!(uid(cluster), first);
    let all = claims_of(cluster, "default/db-0");
    assert!(
        all.iter().all(|it| it.node == "n4" && !it.fenced),
        "{all:?}"
    );
    let proof = "berth.dev/fenced-by=poweroff: pulled by hand";
    cluster.kubectl(&["annotate", "node", "n4", proof]).unwrap();
    let deleted = journal.wait(cluster, &Wanted::action("n4", "HardDelete"));
    wait_for("db-0 being another Pod", || {
        let pod = cluster.kubectl_json(&["get", "pod", "db-0"]);
        let pod = pod.map_err(|error| format!("{error:#}"))?;
        let now = &pod["metadata"]["uid"];
        (now.is_string() && *now != *first)
            .then_some(())
            .ok_or_else(|| now.to_string())
    });
    wait_ready(cluster, "db-0", "");
    assert_eq!(look(cluster, "db-0"), before);
    let fenced = journal.wait(cluster, &Wanted::done("n4", "Fence"));
    assert!(order(&fenced) < order(&deleted), "{fenced:?} {deleted:?}");
    let of_db = journal.all(cluster, &Wanted::done("n4", "HardDelete"));
    let of_db = of_db.iter().filter(|it| target(it) == first).count();
    assert_eq!(of_db, 1);

    // The machine was not dead for ever: what it had is not its own any more.
    cluster.power_on("n4").unwrap();
    cluster.wait_nodes().unwrap();
    let address = external(&before);
    assert_answered_once(cluster, "b", &address, &before.macs[0]);
    wait_untainted(cluster, "n4");
    let holders = claims(cluster)
        .into_values()
        .filter(|it| it.address == address);
    let holders: Vec<_> = holders.map(|it| (it.node, it.fenced)).collect();
    assert_eq!(holders, [("n3".to_owned(), false)]);
    assert_eq!(look(cluster, "db-0"), before);
}

fn budget(least: u64) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "shops-open"},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": SET}}},
    })
}

/// Its agent reads of a broken processor in the kernel's log: the Pods move as the disruption budget allows.
fn sick_is_emptied_as_the_disruption_budget_allows(cluster: &Cluster) {
    let journal = Journal::begin(cluster);
    let before = shops_on(cluster, "n1");
    assert!(!before.is_empty());
    cluster.apply(&budget(PODS).to_string()).unwrap();
    let line = "0,4,0,-;{1}[Hardware Error]: event severity: fatal";
    cluster.write_kernel_log("n1", line).unwrap();
    let refused = journal.wait(cluster, &Wanted::failed("n1", "Evict"));
    let why = refused.outcome.message.unwrap_or_default();
    assert!(why.contains("shops-open"), "{why}");
    let kept = shops_on(cluster, "n1");
    assert_eq!(uids(&kept), uids(&before));
    let serving = served(cluster);
    for shop in &kept {
        assert!(!shop.is_ending && shop.ready[0] == "True", "{shop:?}");
        assert!(serving.contains(&shop.address), "{shop:?} of {serving:?}");
    }

    cluster.apply(&budget(PODS - 1).to_string()).unwrap();
    journal.wait(cluster, &Wanted::phase("n1", "Empty"));
    let left = shops_on(cluster, "n1");
    assert!(left.is_empty(), "{left:?}");
    let done = journal.all(cluster, &Wanted::done("n1", "Evict"));
    for shop in &before {
        let times = done.iter().filter(|it| target(it) == shop.uid).count();
        assert_eq!(times, 1, "{shop:?}");
    }
    wait_all_serving(cluster);
}

#[test]
fn node_is_cut_lost_frozen_replaced_back_another_one_fenced_and_one_emptied() {
    turn::take(Rank::Long);
    let builder = builder("cluster-lifecycle").without_upstream_lifecycle();
    // Whether a node is pressed is the whole machine's here, and other tests press it.
    let builder = builder.idle_processors().leaders(2);
    let builder = builder.node("n1", "a").node("n3", "b");
    let builder = builder.node("n2", "a").node("n4", "b");
    let mut cluster = builder.build().unwrap();
    cluster.apply(&policy().to_string()).unwrap();
    cluster
        .apply(&service(SET, SET, &json!({})).to_string())
        .unwrap();
    cluster.apply(&set().to_string()).unwrap();
    wait_all_serving(&cluster);

    cut_from_the_api_server_alone_keeps_its_traffic(&cluster);
    let superseded = without_power_is_replaced_when_no_freeze_is_left(&mut cluster);
    back_again_ends_what_was_superseded_one_by_one(&mut cluster, &superseded);
    fenced_gives_its_address_away_once_and_only_then(&mut cluster);
    wait_all_serving(&cluster);
    sick_is_emptied_as_the_disruption_budget_allows(&cluster);

    // The record holds together over both leaders, and tells of a node what became of what was done to it.
    berth(&cluster, &["decisions"]);
    let story = berth(&cluster, &["decisions", "n4"]);
    for deed in ["fence n4 (", "default/db-0 on n4 ("] {
        let mut lines = story.lines();
        let is_told = lines.any(|line| line.contains(deed) && line.trim_end().ends_with("done"));
        assert!(is_told, "{deed} in\n{story}");
    }
}
