//! Pods that come up on another node: of the same rack with what they had, of another rack with new addresses or not at all.

use serde_json::json;
use tests_testbed::Cluster;

use crate::{
    claims_seen::{
        annotated, assert_answered_once, bare, claims_of, external, pin, remove_set,
        wait_consistent, wait_long, wait_told,
    },
    pings::Pings,
    seen::find,
    site::{Seen, claiming, look, stateful_set, wait_ready},
};

/// Moves the one Pod of a `StatefulSet` to a node; what it has there.
fn moved(cluster: &Cluster, set: &str, node: &str) -> Seen {
    let pod = format!("{set}-0");
    let uid = wait_ready(cluster, &pod, "");
    pin(cluster, set, node);
    wait_ready(cluster, &pod, &uid);
    assert_eq!(find(cluster, &pod).node, node);
    look(cluster, &pod)
}

#[test]
fn pod_moved_inside_the_rack_keeps_addresses_and_macs_and_is_reached_from_the_switch_at_once() {
    let cluster = claiming();
    let set = stateful_set("stays", 1, "n1").to_string();
    cluster.apply(&set).unwrap();
    wait_ready(&cluster, "stays-0", "");
    let before = look(&cluster, "stays-0");
    let address = external(&before);
    let rack = cluster.world().rack("a");
    // The switch knows it at its old port.
    Pings::start(rack.tor(), std::slice::from_ref(&address)).finish_without_loss();

    for node in ["n2", "n1"] {
        assert_eq!(moved(&cluster, "stays", node), before, "on {node}");
        assert!(rack.tor().ping_once(&address).unwrap(), "on {node}");
        assert_answered_once(&cluster, "a", &address, &before.macs[0]);
        // What the API server knows comes behind what Pods have.
        wait_long("the claims being the node's", || {
            let claims = claims_of(&cluster, "default/stays-0");
            let there = claims.iter().all(|it| it.node == node && it.attached);
            let addresses = claims.iter().map(|it| it.address.clone()).collect();
            let all = there && bare(&before) == addresses;
            all.then_some(()).ok_or_else(|| format!("{claims:?}"))
        });
    }
    remove_set(&cluster, "stays");
    wait_consistent(&cluster);
}

#[test]
fn pod_moved_to_the_other_rack_gets_addresses_of_that_and_an_event_names_both() {
    let cluster = claiming();
    let set = stateful_set("wanders", 1, "n1").to_string();
    cluster.apply(&set).unwrap();
    wait_ready(&cluster, "wanders-0", "");
    let before = look(&cluster, "wanders-0");

    let after = moved(&cluster, "wanders", "n3");
    assert!(external(&after).starts_with("10.20.2."), "{after:?}");
    assert!(bare(&before).is_disjoint(&bare(&after)), "{after:?}");
    wait_told(&cluster, None, &[&external(&before), &external(&after)]);
    let tor = cluster.world().rack("b").tor();
    assert!(tor.ping_once(&external(&after)).unwrap());
    remove_set(&cluster, "wanders");
    wait_consistent(&cluster);
}

#[test]
fn pod_that_waits_for_its_rack_says_so_in_the_other_and_has_its_addresses_when_it_is_back() {
    let cluster = claiming();
    let wait = json!({"berth.dev/rack-change": "wait"});
    let set = annotated(stateful_set("waits", 1, "n1"), &wait);
    cluster.apply(&set.to_string()).unwrap();
    wait_ready(&cluster, "waits-0", "");
    let before = look(&cluster, "waits-0");

    pin(&cluster, "waits", "n3");
    let said = wait_told(
        &cluster,
        Some("waits-0"),
        &["FailedCreatePodSandBox", "rack a"],
    );
    assert!(said.contains("berth.dev/rack-change"), "{said}");
    // A StatefulSet does not replace by itself a Pod that never was Ready.
    pin(&cluster, "waits", "n2");
    let words = ["delete", "pod", "waits-0", "--wait=false"];
    cluster.kubectl(&words).unwrap();
    wait_long("the Pod being where its addresses are", || {
        let pod = cluster.kubectl_json(&["get", "pod", "waits-0"]);
        let pod = pod.map_err(|error| format!("{error:#}"))?;
        let there = pod["spec"]["nodeName"] == "n2";
        there
            .then_some(())
            .ok_or_else(|| pod["spec"]["nodeName"].to_string())
    });
    wait_ready(&cluster, "waits-0", "");
    assert_eq!(look(&cluster, "waits-0"), before);
    remove_set(&cluster, "waits");
    wait_consistent(&cluster);
}
