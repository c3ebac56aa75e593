//! Nodes that are gone: their addresses are nobody else's until somebody who may says that the node is dead.

use serde_json::json;
use tests_testbed::{Cluster, Daemon, Net};

use crate::{
    claims_seen::{
        assert_answered_once, berth, claims, claims_of, external, force_delete, set_cordon,
        set_where, wait_consistent, wait_long, wait_told,
    },
    seen::attached,
    site::{Seen, builder, look, wait_not_ready, wait_ready},
    turn::{self, Rank},
};

const RACK: &str = "topology.berth.dev/rack";

/// What the API server says of the Pod.
const NOT_STARTED: &str = "FailedCreatePodSandBox";

/// A Pod that may be on any node of the first rack and is on n2; n1 is where it can go.
fn start_on_n2(cluster: &Cluster) -> Seen {
    set_cordon(cluster, "n1", true);
    let set = set_where("db", 1, RACK, "a").to_string();
    cluster.apply(&set).unwrap();
    wait_ready(cluster, "db-0", "");
    set_cordon(cluster, "n1", false);
    set_cordon(cluster, "n2", true);
    look(cluster, "db-0")
}

/// Its controller makes a new one on n1, which is told what it waits for; nothing is n1's then.
fn waits_on_n1(cluster: &Cluster) {
    force_delete(cluster, "db-0");
    let said = wait_told(cluster, Some("db-0"), &[NOT_STARTED, "n2"]);
    assert!(said.contains("kubectl berth fence n2"), "{said}");
    let all = claims_of(cluster, "default/db-0");
    assert!(!all.is_empty());
    assert!(all.iter().all(|it| it.node == "n2"), "{all:?}");
}

/// Pulls or plugs a node's cables.
fn set_cables(cluster: &Cluster, node: &str, plugged: bool) {
    for net in Net::ALL {
        cluster.set_uplink(node, net, plugged).unwrap();
    }
}

#[test]
fn address_of_a_node_that_is_cut_off_is_taken_when_it_is_fenced_and_not_before_and_never_used_twice()
 {
    turn::take(Rank::Long);
    let builder = builder("cluster-claims-cut");
    let builder = builder.node("n1", "a").node("n2", "a").node("n3", "b");
    let mut cluster = builder.build().unwrap();
    let before = start_on_n2(&cluster);
    let address = external(&before);

    set_cables(&cluster, "n2", false);
    waits_on_n1(&cluster);
    // That a node does not answer is no proof that it is dead: its Pod runs.
    wait_not_ready(&cluster, "n2", "Kubelet stopped posting node status");
    let all = claims_of(&cluster, "default/db-0");
    assert!(all.iter().all(|it| it.node == "n2"), "{all:?}");
    let old = attached(&cluster, "n2");
    assert!(old.contains_key(&address), "{old:?}");

    berth(&cluster, &["fence", "n2", "--reason", "pulled its cables"]);
    wait_ready(&cluster, "db-0", "");
    assert_eq!(look(&cluster, "db-0"), before);
    let tor = cluster.world().rack("a").tor();
    assert!(tor.ping_once(&address).unwrap());

    // Nobody but the agent can end the old Pod now.
    cluster.kill_daemon("n2", Daemon::Kubelet).unwrap();
    set_cables(&cluster, "n2", true);
    wait_long("the old Pod's end on n2", || {
        let there = attached(&cluster, "n2");
        let gone = !there.contains_key(&address);
        gone.then_some(()).ok_or_else(|| format!("{there:?}"))
    });
    assert_answered_once(&cluster, "a", &address, &before.macs[0]);
    assert_eq!(look(&cluster, "db-0"), before);
    cluster.start_daemon("n2", Daemon::Kubelet).unwrap();
    cluster.wait_nodes().unwrap();
    let all = claims_of(&cluster, "default/db-0");
    assert!(
        all.iter().all(|it| it.node == "n1" && !it.fenced),
        "{all:?}"
    );

    // What nobody took is n2's again, and it hands out addresses.
    berth(&cluster, &["unfence", "n2"]);
    assert!(!claims(&cluster).values().any(|it| it.fenced));
    set_cordon(&cluster, "n2", false);
    let set = set_where("late", 1, "kubernetes.io/hostname", "n2").to_string();
    cluster.apply(&set).unwrap();
    wait_ready(&cluster, "late-0", "");
    wait_consistent(&cluster);
}

#[test]
fn controllers_fence_a_node_that_is_out_of_service_and_take_back_what_a_deleted_one_had() {
    turn::take(Rank::Long);
    let builder = builder("cluster-claims-dead").racks(1);
    let builder = builder.node("n1", "a").node("n2", "a");
    let mut cluster = builder.build().unwrap();
    let before = start_on_n2(&cluster);

    cluster.power_off("n2").unwrap();
    waits_on_n1(&cluster);
    let taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
    cluster.kubectl(&["taint", "node", "n2", taint]).unwrap();
    // The leader may have been on n2: its Lease runs out first, the next one looks around before it marks, and the mark settles.
    wait_long("the first mark", || {
        let fenced = claims(&cluster).values().any(|it| it.fenced);
        fenced.then_some(()).ok_or_else(|| "none".to_owned())
    });
    wait_ready(&cluster, "db-0", "");
    assert_eq!(look(&cluster, "db-0"), before);
    // One after the other, and n1 may have asked for one meanwhile.
    let name = wait_long("all that n2 has being fenced", || {
        let all = claims(&cluster);
        let kept: Vec<_> = all.values().filter(|it| it.node == "n2").collect();
        match kept.first() {
            Some(one) if kept.iter().all(|it| it.fenced) => Ok(one.name.clone()),
            _ => Err(format!("{kept:?}")),
        }
    });
    let by = cluster.claims().unwrap();
    let by = by.iter().find(|it| it["metadata"]["name"] == *name);
    let by = by.map(|it| it["spec"]["fenced"]["by"].clone());
    assert_eq!(by, Some(json!("berth-controllers")));

    cluster.remove_node("n2").unwrap();
    wait_long("nothing being n2's", || {
        let all = claims(&cluster);
        let left: Vec<_> = all.values().filter(|it| it.node == "n2").collect();
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    });
    assert_eq!(look(&cluster, "db-0"), before);
    wait_consistent(&cluster);
}
