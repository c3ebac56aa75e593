//! `kubectl berth` where it asks the nodes themselves: their books, their logs, their reservations.

use serde_json::Value;
use tests_testbed::Cluster;

use crate::{
    claims_seen::{
        berth, claims, claims_of, external, pin, remove_set, wait_consistent, wait_long,
    },
    site::{claiming, look, stateful_set, wait_ready},
};

fn document(cluster: &Cluster, words: &[&str]) -> Value {
    let said = berth(cluster, &[words, &["-o", "json"]].concat());
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn nodes_are_asked_for_their_books_and_their_logs_are_told_as_one() {
    let cluster = claiming();
    let set = stateful_set("told", 1, "n1").to_string();
    cluster.apply(&set).unwrap();
    let uid = wait_ready(&cluster, "told-0", "");
    let address = external(&look(&cluster, "told-0"));
    wait_consistent(&cluster);
    let report = document(&cluster, &["check"]);
    assert_eq!(report["lookedAt"]["nodesAsked"], 3, "{report}");

    let said = berth(&cluster, &["why", "default/told-0"]);
    let own = said.split("berth-ipamd of n1 says:").nth(1);
    let own = own.unwrap_or_else(|| panic!("n1 says nothing: {said}"));
    assert!(
        own.contains(&address) && own.contains("is attached to sandbox"),
        "{said}"
    );

    pin(&cluster, "told", "n2");
    wait_ready(&cluster, "told-0", &uid);
    // Each node has its own part of it.
    wait_long("both nodes telling their part", || {
        let history = document(&cluster, &["history", &address]);
        let lines = history["lines"].as_array().unwrap();
        let of = |node: &str, key: &str, value: &str| {
            let mine = lines.iter().filter(|it| it["identity"] == "default/told-0");
            mine.filter(|it| it["node"] == node)
                .any(|it| it[key] == value)
        };
        let whole = history["silent"].as_array().unwrap().is_empty();
        let ended = of("n1", "ended", "given to another node");
        let lasts = of("n2", "state", "attached");
        (whole && ended && lasts)
            .then_some(())
            .ok_or_else(|| history.to_string())
    });
    remove_set(&cluster, "told");
    wait_consistent(&cluster);
}

#[test]
fn reservation_is_made_by_the_node_that_has_the_address_and_let_go_by_it() {
    let cluster = claiming();
    // A node keeps some in reserve; what another test's Pods gave back rests there as well, and is refused.
    let (warm, said) = wait_long("an address in reserve", || {
        let mut refused = Vec::new();
        for warm in claims(&cluster).into_values() {
            if warm.identity.is_some() || warm.fenced || !warm.address.starts_with("10.20.1.") {
                continue;
            }
            let to = ["--for", "default/later-0", "--note", "for the move"];
            let words = [&["reserve", &warm.address][..], &to].concat();
            let said = cluster.kubectl_berth(&words).unwrap();
            if said.success() {
                return Ok((warm, said.stdout));
            }
            assert!(said.stderr.contains("in quarantine"), "{said:?}");
            refused.push(said.stderr);
        }
        Err(format!("{refused:?}"))
    });
    assert!(said.contains("is reserved for default/later-0"), "{said}");
    wait_long("the reservation on the claim", || {
        let of = claims_of(&cluster, "default/later-0");
        let there = of
            .iter()
            .any(|it| it.address == warm.address && !it.attached);
        there.then_some(()).ok_or_else(|| format!("{of:?}"))
    });
    let said = berth(&cluster, &["why", "default/later-0"]);
    assert!(said.contains("(for the move)"), "{said}");

    berth(&cluster, &["release", "default/later-0", "--yes"]);
    wait_long("the node letting it go", || {
        let of = claims_of(&cluster, "default/later-0");
        of.is_empty().then_some(()).ok_or_else(|| format!("{of:?}"))
    });
    wait_consistent(&cluster);
}
