use serde_json::{Value, json};

use super::*;
use crate::claims::fixture::{at, bound, claim, claim_with, mark};

fn pool(name: &str, spec: &Value) -> PoolSeen {
    let mut whole = json!({
        "network": "external", "rack": "a", "subnet": "10.20.1.0/24", "ranges": ["10.20.1.100-10.20.1.199"],
    });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    PoolSeen {
        name: name.to_owned(),
        generation: 1,
        spec: serde_json::from_value(whole).unwrap(),
        status: None,
    }
}

fn pod(key: &str, node: &str, addresses: &[&str]) -> PodSeen {
    let (namespace, name) = key.split_once('/').unwrap();
    PodSeen {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        node: Some(node.to_owned()),
        phase: "Running".to_owned(),
        addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        ..PodSeen::default()
    }
}

fn node(name: &str, ready: Option<bool>) -> NodeSeen {
    NodeSeen {
        name: name.to_owned(),
        rack: Some("a".to_owned()),
        ready,
        ..NodeSeen::default()
    }
}

/// Two nodes, one Pod with one address, and a held and a warm one.
fn world() -> World {
    World {
        pools: vec![pool("external-a", &json!({}))],
        claims: vec![
            claim("10.20.1.100", &bound("prod/db-0", "10.20.1.100", true)),
            claim("10.20.1.101", &bound("prod/db-1", "10.20.1.101", false)),
            claim("10.20.1.102", &json!({})),
        ],
        pods: vec![pod("prod/db-0", "n1", &["10.20.1.100"])],
        nodes: vec![node("n1", Some(true)), node("n2", Some(true))],
        daemons: ["n1", "n2"].map(ToOwned::to_owned).into(),
        now: at(0),
    }
}

fn found(world: &World) -> Vec<(Kind, String)> {
    let all = plan(world).into_iter();
    all.map(|it| (it.kind, it.subject)).collect()
}

/// What one change of the world leads to.
#[track_caller]
fn changed(change: impl FnOnce(&mut World), expected: &[(Kind, &str)]) {
    let mut world = world();
    change(&mut world);
    let expected: Vec<_> = expected
        .iter()
        .map(|(kind, of)| (*kind, (*of).to_owned()))
        .collect();
    assert_eq!(found(&world), expected, "{:#?}", plan(&world));
}

#[test]
fn nothing_is_found_where_all_agrees() {
    changed(|_| {}, &[]);
    // Without pools nothing is claimed; elsewhere Berth gives no addresses.
    changed(
        |world| {
            world.pools.clear();
            world.claims.clear();
        },
        &[],
    );
    changed(
        |world| world.pods.push(pod("x/y", "foreign", &["10.20.1.150"])),
        &[],
    );
    changed(
        |world| world.pods.push(pod("x/y", "n1", &["192.168.0.7"])),
        &[],
    );
    changed(|world| world.pods.push(pod("x/starting", "n1", &[])), &[]);
}

#[test]
fn two_pods_with_one_address_are_found() {
    changed(
        |world| world.pods.push(pod("prod/x", "n2", &["10.20.1.100"])),
        &[
            (Kind::PodsShareAddress, "10.20.1.100"),
            (Kind::AddressOfAnother, "prod/x 10.20.1.100"),
        ],
    );
    changed(
        |world| {
            let mut going = pod("prod/x", "n2", &["10.20.1.100"]);
            going.deleting = true;
            world.pods.push(going);
        },
        &[(Kind::AddressOfAnother, "prod/x 10.20.1.100")],
    );
}

#[test]
fn one_address_of_two_pools_is_found_but_not_of_two_networks() {
    let second = |world: &mut World, spec: Value| {
        world.pools.push(pool(
            "more",
            &json!({"network": spec["network"], "ranges": ["10.20.1.199-10.20.1.250"]}),
        ));
        world
            .claims
            .push(claim("10.20.1.199", &json!({"pool": "external-a"})));
        world.claims.push(claim("10.20.1.199", &spec));
    };
    changed(
        |world| {
            second(
                world,
                json!({"pool": "more", "network": "external", "node": "n2"}),
            );
        },
        &[
            (Kind::AddressClaimedTwice, "10.20.1.199 of network external"),
            (Kind::PoolsOverlap, "external-a and more"),
        ],
    );
    changed(
        |world| second(world, json!({"pool": "more", "network": "internal"})),
        &[],
    );
}

#[test]
fn pod_is_compared_with_the_claim_of_its_address() {
    changed(
        |world| {
            world.claims.remove(0);
        },
        &[(Kind::AddressUnclaimed, "prod/db-0 10.20.1.100")],
    );
    for spec in [
        bound("prod/db-0", "10.20.1.100", false),
        bound("prod/other", "10.20.1.100", true),
        json!({"node": "n2"}),
    ] {
        let mut world = world();
        world.claims[0] = claim("10.20.1.100", &spec);
        let found = found(&world);
        let expected = (Kind::AddressOfAnother, "prod/db-0 10.20.1.100".to_owned());
        assert!(found.contains(&expected), "{spec}: {found:?}");
    }
    // An identity of the Pod's own choice.
    changed(
        |world| {
            let key = proto_crd::names::IDENTITY_ANNOTATION.to_owned();
            world.pods[0].annotations.insert(key, "vip".to_owned());
            world.claims[0] = claim(
                "10.20.1.100",
                &json!({"binding": {
                    "identity": "vip", "mac": "b6:e7:0a:14:01:64", "addresses": ["10.20.1.100"],
                    "origin": {"kind": "Named", "pod": "prod/db-0"}, "attached": true,
                }}),
            );
        },
        &[],
    );
}

#[test]
fn attached_address_whose_pod_is_gone_or_elsewhere_is_found() {
    let gone = [(Kind::PodGone, "10.20.1.100 of network external")];
    changed(|world| world.pods.clear(), &gone);
    changed(
        |world| {
            world.pods[0].node = Some("n2".to_owned());
            world.pods[0].addresses.clear();
        },
        &gone,
    );
    // What is attached to no Pod (a sandbox, an interface) cannot be judged by Pods.
    changed(
        |world| {
            world.pods.clear();
            world.claims[0] = claim(
                "10.20.1.100",
                &json!({"binding": {
                    "identity": "4711", "mac": "b6:e7:0a:14:01:64", "addresses": ["10.20.1.100"],
                    "origin": {"kind": "Sandbox"}, "attached": true,
                }}),
            );
        },
        &[],
    );
}

#[test]
fn bindings_are_whole_and_of_one_address_a_family() {
    changed(
        |world| {
            world.claims.push(claim(
                "10.20.1.103",
                &bound("prod/db-1", "10.20.1.103", false),
            ));
        },
        &[(
            Kind::IdentityTwice,
            "prod/db-1 in network external of rack a",
        )],
    );
    let dual = |address: &str| {
        let mut spec = bound("prod/db-2", address, false);
        spec["binding"]["addresses"] = json!(["10.20.1.110", "fd00::110"]);
        spec
    };
    let v6 = json!({"subnet": "fd00::/64", "ranges": ["fd00::100-fd00::1ff"]});
    changed(
        |world| {
            world.pools.push(pool("v6", &v6));
            let mut of_v6 = dual("fd00::110");
            of_v6["pool"] = json!("v6");
            world
                .claims
                .push(claim("10.20.1.110", &dual("10.20.1.110")));
            world.claims.push(claim("fd00::110", &of_v6));
        },
        &[],
    );
    changed(
        |world| {
            world
                .claims
                .push(claim("10.20.1.110", &dual("10.20.1.110")));
        },
        &[(Kind::BindingIncomplete, "prod/db-2 fd00::110")],
    );
}

#[test]
fn claims_without_a_place_are_found() {
    changed(
        |world| world.claims.push(claim("10.20.1.99", &json!({}))),
        &[(Kind::OutsidePool, "external-a.10.20.1.99")],
    );
    changed(
        |world| {
            world
                .claims
                .push(claim("10.20.1.103", &json!({"pool": "gone"})));
        },
        &[(Kind::OutsidePool, "gone.10.20.1.103")],
    );
}

#[test]
fn claims_of_a_missing_node_are_found_until_they_are_fenced() {
    let missing = json!({"node": "n9"});
    let fenced = json!({"node": "n9", "fenced": mark("deleted")});
    changed(
        |world| world.claims.push(claim("10.20.1.103", &missing)),
        &[(Kind::NodeMissing, "n9")],
    );
    changed(
        |world| world.claims.push(claim("10.20.1.103", &fenced)),
        &[],
    );
}

#[test]
fn node_that_came_back_while_it_is_fenced_is_found() {
    let fenced = |world: &mut World| {
        world.claims.push(claim(
            "10.20.1.103",
            &json!({"node": "n2", "fenced": mark("smoke")}),
        ));
    };
    changed(fenced, &[(Kind::FencedButReady, "n2")]);
    for node in [
        node("n2", None),
        NodeSeen {
            out_of_service: true,
            ..node("n2", Some(true))
        },
    ] {
        changed(
            |world| {
                fenced(world);
                world.nodes[1] = node;
            },
            &[],
        );
    }
}

#[test]
fn deletion_that_is_not_followed_is_found_after_a_while() {
    let deleted = |second: i64| {
        claim_with(
            "10.20.1.103",
            &json!({}),
            &json!({"deletionTimestamp": at(second)}),
        )
    };
    changed(|world| world.claims.push(deleted(-899)), &[]);
    changed(
        |world| world.claims.push(deleted(-900)),
        &[(Kind::DeletionStuck, "external-a.10.20.1.103")],
    );
}

#[test]
fn only_what_both_looks_found_is_told_in_the_later_words() {
    let finding = |subject: &str, what: &str| Finding {
        kind: Kind::PodGone,
        subject: subject.to_owned(),
        what: what.to_owned(),
        advice: String::new(),
    };
    let first = vec![finding("a", "1"), finding("b", "1")];
    let again = [finding("b", "2"), finding("c", "2")];
    assert_eq!(confirmed(first, &again), [finding("b", "2")]);
}

#[test]
fn nodes_speak_for_themselves_and_silence_is_told() {
    let answers = BTreeMap::from([
        ("n1".to_owned(), Ok(vec![])),
        (
            "n2".to_owned(),
            Ok(vec!["attachment x has no port".to_owned()]),
        ),
        (
            "n3".to_owned(),
            Err("it did not answer within 15s".to_owned()),
        ),
    ]);
    let found: Vec<_> = of_nodes(&answers)
        .into_iter()
        .map(|it| (it.kind, it.subject, it.what))
        .collect();
    assert_eq!(
        found,
        [
            (
                Kind::NodeDiffers,
                "n2".to_owned(),
                "attachment x has no port".to_owned()
            ),
            (
                Kind::NodeSilent,
                "n3".to_owned(),
                "it did not answer within 15s".to_owned()
            ),
        ]
    );
}
