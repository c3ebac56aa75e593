//! How long addresses are kept: over a roll-out, until their owner wants them no more, as Pods say of themselves.

use serde_json::{Value, json};
use tests_testbed::Cluster;

use crate::{
    claims_seen::{
        bare, claims, claims_of, external, remove_set, set_where, wait_consistent, wait_long,
    },
    seen::{placed, pod, rollout},
    site::{Seen, claiming, look, pod_spec, stateful_set, wait_ready},
};

#[test]
fn twenty_pods_that_are_made_anew_one_after_the_other_keep_their_addresses() {
    let cluster = claiming();
    let sets = ["roll-a", "roll-b"];
    for set in sets {
        let set = set_where(set, 10, "topology.berth.dev/rack", "a");
        cluster.apply(&set.to_string()).unwrap();
    }
    for set in sets {
        rollout(&cluster, &format!("statefulset/{set}"));
    }
    let have = |cluster: &Cluster| {
        let pods = sets.iter().flat_map(|set| placed(cluster, set));
        let pods: Vec<_> = pods.map(|it| (it.name, it.ips)).collect();
        pods
    };
    let before = have(&cluster);
    assert_eq!(before.len(), 20);
    let inside = look(&cluster, "roll-a-9");

    for set in sets {
        let words = ["rollout", "restart", &format!("statefulset/{set}")];
        cluster.kubectl(&words).unwrap();
    }
    for set in sets {
        rollout(&cluster, &format!("statefulset/{set}"));
    }
    assert_eq!(have(&cluster), before);
    assert_eq!(look(&cluster, "roll-a-9"), inside);
    for set in sets {
        remove_set(&cluster, set);
    }
    wait_consistent(&cluster);
}

/// Waits until nothing is kept for an identity.
fn wait_free(cluster: &Cluster, identity: &str) {
    wait_long(&format!("nothing being kept for {identity}"), || {
        let all = claims_of(cluster, identity);
        all.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{all:?}"))
    });
}

#[test]
fn addresses_are_kept_while_the_set_wants_the_pod_and_no_longer() {
    let cluster = claiming();
    let set = |replicas| stateful_set("shrinks", replicas, "n1").to_string();
    cluster.apply(&set(3)).unwrap();
    for pod in ["shrinks-0", "shrinks-1", "shrinks-2"] {
        wait_ready(&cluster, pod, "");
    }
    let kept = look(&cluster, "shrinks-0");
    let uid = wait_ready(&cluster, "shrinks-0", "");
    cluster.apply(&set(1)).unwrap();
    for pod in ["shrinks-1", "shrinks-2"] {
        wait_free(&cluster, &format!("default/{pod}"));
    }
    cluster.kubectl(&["delete", "pod", "shrinks-0"]).unwrap();
    wait_ready(&cluster, "shrinks-0", &uid);
    assert_eq!(look(&cluster, "shrinks-0"), kept);
    remove_set(&cluster, "shrinks");
    wait_free(&cluster, "default/shrinks-0");
    wait_consistent(&cluster);
}

/// Runs a Pod with annotations on a node to its end; what it had.
fn had(cluster: &Cluster, name: &str, node: &str, annotations: &Value) -> Seen {
    let mut object = pod(name, &pod_spec(node));
    object["metadata"]["annotations"] = annotations.clone();
    cluster.apply(&object.to_string()).unwrap();
    wait_ready(cluster, name, "");
    let seen = look(cluster, name);
    cluster.kubectl(&["delete", "pod", name]).unwrap();
    seen
}

#[test]
fn pods_that_name_their_identity_or_their_addresses_have_them_on_every_node_of_the_rack() {
    let cluster = claiming();
    let named = json!({"berth.dev/identity": "default/primary", "berth.dev/hold": "30m"});
    let first = had(&cluster, "first", "n1", &named);
    let second = had(&cluster, "second", "n2", &named);
    assert_eq!(first, second);
    let all = claims_of(&cluster, "default/primary");
    assert_eq!(bare(&first), all.into_iter().map(|it| it.address).collect());

    let fixed =
        json!({"berth.dev/addresses": "10.20.1.230,10.30.1.231", "berth.dev/hold": "forever"});
    let first = had(&cluster, "fixed", "n1", &fixed);
    assert_eq!(external(&first), "10.20.1.230");
    assert!(bare(&first).contains("10.30.1.231"), "{first:?}");
    assert_eq!(had(&cluster, "fixed", "n2", &fixed), first);

    // By itself a bare Pod's addresses are not kept.
    let network = json!({"berth.dev/networks": "external"});
    let mut object = pod("alone", &pod_spec("n1"));
    object["metadata"]["annotations"] = network;
    cluster.apply(&object.to_string()).unwrap();
    wait_ready(&cluster, "alone", "");
    wait_long("the API server knowing them", || {
        let all = claims_of(&cluster, "default/alone");
        let known = all.len() == 2 && all.iter().all(|it| it.attached);
        known.then_some(()).ok_or_else(|| format!("{all:?}"))
    });
    cluster.kubectl(&["delete", "pod", "alone"]).unwrap();
    wait_free(&cluster, "default/alone");

    for identity in ["default/primary", "default/fixed"] {
        for claim in claims_of(&cluster, identity) {
            let words = [
                "release",
                &claim.address,
                "--yes",
                "--reason",
                "the test ends",
            ];
            cluster.kubectl_berth(&words).unwrap().ok().unwrap();
        }
        wait_free(&cluster, identity);
    }
    assert!(claims(&cluster).values().all(|it| !it.fenced));
    wait_consistent(&cluster);
}
