//! A whole rack at once, and a rack that is full: without a storm, with words, and with what others give back.

use serde_json::json;
use tests_testbed::Cluster;

use crate::{
    claims_seen::{claim_writes, claims, set_where, wait_consistent, wait_long, wait_told},
    seen::{placed, remove, rollout},
    site::{builder, pod_spec, wait_ready},
};

/// Pods that start at once on three nodes.
const PODS: usize = 30;

/// Each has two networks of two families.
const ADDRESSES: usize = 4;

/// A claim that is made, bound, released and given back has been written four times.
const WRITES_OF_A_LIFE: usize = 4;

fn deployment(name: &str, replicas: usize) -> String {
    let mut spec = pod_spec("");
    spec["nodeSelector"] = json!(null);
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    });
    object.to_string()
}

fn site() -> Cluster {
    let builder = builder("cluster-claims-full").racks(1);
    let builder = builder.node("n1", "a").node("n2", "a").node("n3", "a");
    builder.build().unwrap()
}

/// How many writes there were, and how many of them were refused because somebody else was first.
fn counted(cluster: &Cluster) -> (usize, usize) {
    let writes = claim_writes(cluster);
    let all: u64 = writes.values().sum();
    let lost = writes.iter().filter(|(key, _)| key.ends_with(" 409"));
    let lost: u64 = lost.map(|(_, count)| count).sum();
    (
        usize::try_from(all).unwrap(),
        usize::try_from(lost).unwrap(),
    )
}

/// Waits until the number of claims is what it was a moment ago, thrice.
fn settled(cluster: &Cluster) -> usize {
    let mut seen = Vec::new();
    wait_long("the claims having settled", || {
        seen.push(counted(cluster).0);
        match seen.as_slice() {
            [.., a, b, c, d] if a == d && b == c && a == b => Ok(()),
            _ => Err(format!("{seen:?}")),
        }
    });
    claims(cluster).len()
}

#[test]
fn nodes_of_a_rack_that_start_at_once_do_not_fight_for_addresses() {
    let cluster = site();
    let warm = settled(&cluster);
    let (writes, lost) = counted(&cluster);
    assert!(warm > 0);
    // Who comes second goes on with another address: less often than it is first.
    assert!(lost <= warm, "{lost} collisions for {warm} claims");
    assert!(
        writes <= 2 * warm + lost,
        "{writes} writes for {warm} claims"
    );

    cluster.apply(&deployment("many", PODS)).unwrap();
    rollout(&cluster, "deployment/many");
    let ips: std::collections::BTreeSet<_> = placed(&cluster, "many")
        .into_iter()
        .flat_map(|it| it.ips)
        .collect();
    assert_eq!(ips.len(), 2 * PODS);
    settled(&cluster);
    let (after, collisions) = counted(&cluster);
    let most = PODS * ADDRESSES * WRITES_OF_A_LIFE;
    let said = format!(
        "{} writes, {} of them lost, for {PODS} Pods",
        after - writes,
        collisions - lost
    );
    assert!(after - writes <= most, "{said}");
    assert!(collisions - lost <= PODS * ADDRESSES, "{said}");
    remove(&cluster, &["deployment/many"]);
}

/// A pool of a few addresses, which are free again some seconds after their release.
fn narrow(cluster: &Cluster, last: u8) {
    for mut pool in cluster.pool_objects() {
        pool["spec"]["quarantine"] = json!("5s");
        if pool["metadata"]["name"] == "external-a-v4" {
            pool["spec"]["ranges"] = json!([format!("10.20.1.60-10.20.1.{last}")]);
        }
        cluster.apply_pool(&pool).unwrap();
    }
}

#[test]
fn full_pool_is_told_and_what_a_set_gives_back_is_anothers_after_the_quarantine() {
    let builder = builder("cluster-claims-narrow").racks(1);
    let cluster = builder.node("n1", "a").node("n2", "a").build().unwrap();
    narrow(&cluster, 67);
    wait_long("the claims being inside", || {
        let all = claims(&cluster);
        let inside = |it: &str| it.parse().is_ok_and(|last: u8| (60..=67).contains(&last));
        let outside = all.keys().find(|it| {
            let last = it.strip_prefix("10.20.1.");
            last.is_some_and(|last| !inside(last))
        });
        outside.map_or(Ok(()), |it| Err(it.clone()))
    });
    // Every address, wherever it was warm.
    let set = |replicas| set_where("full", replicas, "topology.berth.dev/rack", "a").to_string();
    cluster.apply(&set(8)).unwrap();
    rollout(&cluster, "statefulset/full");

    cluster.apply(&deployment("extra", 1)).unwrap();
    let words = "of network external in rack a";
    wait_told(&cluster, None, &["FailedCreatePodSandBox", words]);
    wait_told(&cluster, None, &["PoolExhausted", "external"]);
    let extra = placed(&cluster, "extra").remove(0).name;
    let gone = placed(&cluster, "full").remove(7);
    assert_eq!(gone.name, "full-7");
    cluster.apply(&set(7)).unwrap();
    wait_ready(&cluster, &extra, "");
    assert_eq!(placed(&cluster, "extra")[0].v4(), gone.v4());
    wait_consistent(&cluster);
}
