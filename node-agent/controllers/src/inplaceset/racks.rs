//! Where the replacement of a soft-evicted Pod is better off: a wish for the scheduler. Pure.
//!
//! **Always holds:** a wish only. Which nodes take Pods is the scheduler's to know, and whether an address follows the address
//! daemons'.

use std::collections::{BTreeMap, BTreeSet};

use node_agent_inplace::plan::RackWish;
use node_agent_inplace::pod::PodView;
use proto_crd::in_place_set::InPlaceSet;
use proto_crd::names;

use crate::lean::NodeView;
use crate::pool::PoolView;
use crate::world::World;

/// Where replacements of these Pods are better off; where none is soft-evicted nothing is asked.
pub(super) fn wish(label: &str, set: &InPlaceSet, pods: &[PodView], world: &World) -> RackWish {
    let nodes = world.nodes.items();
    let lost = pods.iter().filter(|pod| pod.soft_evicted.is_some());
    let lost = lost.filter_map(|pod| rack(nodes.get(pod.node.as_ref()?)?));
    let lost: BTreeSet<&str> = lost.collect();
    if lost.is_empty() {
        return RackWish::default();
    }
    let away_from = dark(nodes, &lost);
    let annotations = &set.spec.template["metadata"]["annotations"];
    let networks = annotations[names::NETWORKS_ANNOTATION].as_str();
    let with_addresses = networks.map_or_else(BTreeSet::new, |networks| {
        with_addresses(networks, world.pools.items(), nodes)
    });
    RackWish {
        label: label.to_owned(),
        with_addresses: with_addresses.difference(&away_from).cloned().collect(),
        away_from,
    }
}

fn rack(node: &NodeView) -> Option<&str> {
    node.home.as_ref().map(|home| home.rack.as_str())
}

/// Those of these racks of which more than half of the nodes are lost: one machine that breaks says nothing of its neighbours.
fn dark(nodes: &BTreeMap<String, NodeView>, racks: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for node in nodes.values() {
        let Some(rack) = rack(node).filter(|rack| racks.contains(rack)) else {
            continue;
        };
        let (all, lost) = counts.entry(rack).or_default();
        *all += 1;
        *lost += usize::from(node.marks.is_withdrawn || node.marks.is_cordoned);
    }
    let dark = counts
        .into_iter()
        .filter(|(_, (all, lost))| lost * 2 > *all);
    dark.map(|(rack, _)| rack.to_owned()).collect()
}

/// The racks that have a pool for each of the networks; none, where all racks have: then there is nothing to wish for.
fn with_addresses(
    networks: &str,
    pools: &BTreeMap<String, PoolView>,
    nodes: &BTreeMap<String, NodeView>,
) -> BTreeSet<String> {
    let networks = networks.split(',').map(str::trim);
    let networks: Vec<&str> = networks.filter(|network| !network.is_empty()).collect();
    let places: BTreeSet<(&str, &str)> = pools.values().map(PoolView::place).collect();
    let racks: BTreeSet<&str> = nodes.values().filter_map(rack).collect();
    let has_all = |rack: &&str| {
        networks
            .iter()
            .all(|network| places.contains(&(network, rack)))
    };
    let with: BTreeSet<&str> = racks.iter().copied().filter(has_all).collect();
    if with.len() == racks.len() {
        return BTreeSet::new();
    }
    with.into_iter().map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;
    use crate::fleet::LeanPod;
    use crate::inplaceset::view;
    use crate::lean::{Home, NodeMarks};

    fn set(annotations: &Value) -> InPlaceSet {
        serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet", "metadata": {"name": "shop"},
            "spec": {"selector": {}, "template": {"metadata": {"annotations": annotations}}},
        }))
        .unwrap()
    }

    fn pod(node: &str, annotations: &Value) -> PodView {
        let pod: LeanPod = serde_json::from_value(json!({
            "metadata": {"name": "shop-0", "namespace": "prod", "uid": "u", "annotations": annotations},
            "spec": {"nodeName": node},
        }))
        .unwrap();
        view::pod_view(&pod, &set(&json!({})))
    }

    /// Racks a, b and c of three nodes each, of which so many are lost.
    fn world(lost: [usize; 3], pools: &[(&str, &str)]) -> World {
        let mut world = World::default();
        for (rack, lost) in ["a", "b", "c"].into_iter().zip(lost) {
            for place in 0..3 {
                let node = NodeView {
                    uid: "u".to_owned(),
                    home: Some(Home {
                        rack: rack.to_owned(),
                        address: "10.0.0.1".parse().unwrap(),
                    }),
                    marks: NodeMarks {
                        is_withdrawn: place < lost,
                        ..NodeMarks::default()
                    },
                };
                let name = format!("{rack}{place}");
                world.nodes.apply(Event::Apply((name, node)));
            }
        }
        for (network, rack) in pools {
            let pool = json!({
                "metadata": {"name": format!("{network}-{rack}")},
                "spec": {"network": network, "rack": rack, "subnet": "10.0.0.0/24"},
            });
            let pool: proto_crd::pool::Pool = serde_json::from_value(pool).unwrap();
            let name = format!("{network}-{rack}");
            world.pools.apply(Event::Apply((name, (&pool).into())));
        }
        world
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one row a case")]
    fn a_replacement_keeps_away_from_dark_racks_and_goes_where_its_networks_are() {
        let evicted = json!({"berth.dev/soft-evicted": "1-1"});
        let (two, none) = (json!({"berth.dev/networks": "blue, red"}), json!({}));
        let pools = [
            ("blue", "a"),
            ("blue", "b"),
            ("red", "a"),
            ("red", "b"),
            ("red", "c"),
        ];
        for (case, lost, annotations, template, away, with) in [
            (
                "the rack is dark",
                [3, 0, 0],
                &evicted,
                &none,
                vec!["a"],
                vec![],
            ),
            (
                "most of it is",
                [2, 0, 0],
                &evicted,
                &none,
                vec!["a"],
                vec![],
            ),
            (
                "one machine broke",
                [1, 0, 0],
                &evicted,
                &none,
                vec![],
                vec![],
            ),
            (
                "another rack is dark",
                [1, 3, 0],
                &evicted,
                &none,
                vec![],
                vec![],
            ),
            (
                "none is soft-evicted",
                [3, 0, 0],
                &none,
                &two,
                vec![],
                vec![],
            ),
            (
                "where it may be",
                [3, 0, 0],
                &evicted,
                &two,
                vec!["a"],
                vec!["b"],
            ),
            (
                "of one machine too",
                [1, 0, 0],
                &evicted,
                &two,
                vec![],
                vec!["a", "b"],
            ),
        ] {
            let world = world(lost, &pools);
            let found = wish("rack", &set(template), &[pod("a0", annotations)], &world);
            assert_eq!(found.away_from.iter().collect::<Vec<_>>(), away, "{case}");
            assert_eq!(
                found.with_addresses.iter().collect::<Vec<_>>(),
                with,
                "{case}"
            );
        }
    }

    #[test]
    fn where_every_rack_has_the_networks_nothing_is_wished_for() {
        let pools = [("red", "a"), ("red", "b"), ("red", "c")];
        let (world, template) = (
            world([1, 0, 0], &pools),
            json!({"berth.dev/networks": "red"}),
        );
        let pods = [pod("a0", &json!({"berth.dev/soft-evicted": "1-1"}))];
        let found = wish("rack", &set(&template), &pods, &world);
        assert!(found.with_addresses.is_empty(), "{found:?}");
    }
}
