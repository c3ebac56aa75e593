//! Duty 6: the figures `node_collector_*` that dashboards and alarms go by, under the names and with the meanings of
//! kube-controller-manager's.
//!
//! What a zone is called comes from labels of Nodes, as there: zones are few. **Always holds:** only who does the duties tells figures of
//! zones; who does them no more tells none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use proto_crd::names;

use super::node::NodeView;

/// A Node that is left out of what is said of its zone.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";
/// In the order in which they are believed.
const ZONES: [&str; 2] = [
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/zone",
];
const REGIONS: [&str; 2] = [
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/region",
];

/// Labels that are looked at.
pub(super) const KEYS: [&str; 5] = [ZONES[0], ZONES[1], REGIONS[0], REGIONS[1], EXCLUDED];

/// Clones count into the same.
#[derive(Clone, Debug)]
pub struct NodeCollector {
    health: Family<ZoneLabels, Gauge<f64, AtomicU64>>,
    size: Family<ZoneLabels, Gauge>,
    unhealthy: Family<ZoneLabels, Gauge>,
    evictions: Family<ZoneLabels, Counter>,
    node_pass: Histogram,
    pass: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ZoneLabels {
    zone: String,
}

/// What is said of a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Zone {
    /// Its Nodes.
    pub(super) size: u32,
    /// Those that are not ready.
    pub(super) unhealthy: u32,
}

impl Zone {
    /// In percent.
    fn health(self) -> f64 {
        match self.size {
            0 => 100.0,
            size => f64::from(100 * (size - self.unhealthy)) / f64::from(size),
        }
    }
}

/// What is said of each zone. Pure.
pub(super) fn zones<'a>(nodes: impl Iterator<Item = &'a NodeView>) -> BTreeMap<String, Zone> {
    let mut zones: BTreeMap<String, Zone> = BTreeMap::new();
    for node in nodes.filter(|node| !node.labels.contains_key(EXCLUDED)) {
        let zone = zones.entry(zone_of(node)).or_default();
        zone.size += 1;
        zone.unhealthy += u32::from(node.ready() != Some("True"));
    }
    zones
}

/// As kube-controller-manager writes it, with the character that no label can have.
fn zone_of(node: &NodeView) -> String {
    let one_of = |keys: [&str; 2]| keys.iter().find_map(|key| node.labels.get(*key)).cloned();
    let (region, zone) = (
        one_of(REGIONS).unwrap_or_default(),
        one_of(ZONES).unwrap_or_default(),
    );
    if region.is_empty() && zone.is_empty() {
        return String::new();
    }
    format!("{region}:\0:{zone}")
}

/// Nodes that are given up by our decision: their Pods are deleted. Kept from pass to pass, so that each counts once.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    uids: Option<BTreeSet<String>>,
}

impl GivenUp {
    /// The zones of Nodes that are given up since the last look. Those that are at the first look were another leader's to count.
    pub(super) fn look<'a>(&mut self, nodes: impl Iterator<Item = &'a NodeView>) -> Vec<String> {
        let is_given_up = |node: &&NodeView| {
            let mut taints = node.taints.iter();
            taints.any(|it| {
                it.key == names::OUT_OF_SERVICE_TAINT
                    && it.value.as_deref() == Some(names::OUT_OF_SERVICE_BY_BERTH)
            })
        };
        let nodes: Vec<_> = nodes.filter(is_given_up).collect();
        let uids = nodes.iter().map(|node| node.uid.clone()).collect();
        let before = self.uids.replace(uids);
        let Some(before) = before else {
            return Vec::new();
        };
        let new = nodes.iter().filter(|node| !before.contains(&node.uid));
        new.map(|node| zone_of(node)).collect()
    }
}

impl NodeCollector {
    /// Registers all of them: at the root, since their names are Kubernetes'.
    pub fn register(registry: &mut Registry) -> Self {
        let figures = Self {
            health: Family::default(),
            size: Family::default(),
            unhealthy: Family::default(),
            evictions: Family::default(),
            // From 1 ms to 15 s, and from 10 ms to 3 min.
            node_pass: Histogram::new(exponential_buckets(0.001, 4.0, 8)),
            pass: Histogram::new(exponential_buckets(0.01, 4.0, 8)),
        };
        let own = registry.sub_registry_with_prefix("node_collector");
        own.register(
            "zone_health",
            "Percentage of healthy nodes per zone",
            figures.health.clone(),
        );
        own.register(
            "zone_size",
            "Registered Nodes per zone",
            figures.size.clone(),
        );
        own.register(
            "unhealthy_nodes_in_zone",
            "Nodes per zone that are not Ready",
            figures.unhealthy.clone(),
        );
        own.register(
            "evictions",
            "Nodes whose Pods are deleted, since this process started: those that are fenced by a decision",
            figures.evictions.clone(),
        );
        own.register(
            "update_node_health_duration_seconds",
            "Time of looking at a node whose kubelet is silent, and of what is written of it",
            figures.node_pass.clone(),
        );
        own.register(
            "update_all_nodes_health_duration_seconds",
            "Time of looking at all nodes",
            figures.pass.clone(),
        );
        figures
    }

    /// All nodes were looked at.
    pub(super) fn passed(
        &self,
        zones: &BTreeMap<String, Zone>,
        given_up: Vec<String>,
        took: Duration,
    ) {
        self.forget();
        for (name, zone) in zones {
            let labels = ZoneLabels { zone: name.clone() };
            self.health.get_or_create(&labels).set(zone.health());
            self.size.get_or_create(&labels).set(zone.size.into());
            self.unhealthy
                .get_or_create(&labels)
                .set(zone.unhealthy.into());
            // A figure that alarms go by is there before it counts.
            drop(self.evictions.get_or_create(&labels));
        }
        for zone in given_up {
            self.evictions.get_or_create(&ZoneLabels { zone }).inc();
        }
        self.pass.observe(took.as_secs_f64());
    }

    /// One silent node was looked at.
    pub(super) fn looked_at(&self, took: Duration) {
        self.node_pass.observe(took.as_secs_f64());
    }

    /// Nothing is said of zones any more.
    pub(super) fn forget(&self) {
        self.health.clear();
        self.size.clear();
        self.unhealthy.clear();
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Taint;
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn node(uid: &str, ready: Option<&str>, labels: &[(&str, &str)]) -> NodeView {
        let labels = labels.iter();
        let ready = ready.map(|ready| ("Ready".to_owned(), ready.to_owned()));
        NodeView {
            uid: uid.to_owned(),
            labels: labels
                .map(|(key, it)| ((*key).to_owned(), (*it).to_owned()))
                .collect(),
            conditions: ready.into_iter().collect(),
            ..NodeView::default()
        }
    }

    fn fenced(mut node: NodeView, by: &str) -> NodeView {
        node.taints.push(Taint {
            effect: "NoExecute".to_owned(),
            key: names::OUT_OF_SERVICE_TAINT.to_owned(),
            time_added: None,
            value: Some(by.to_owned()),
        });
        node
    }

    #[test]
    fn zones_are_those_of_kube_controller_manager() {
        let (zone, region) = (
            "topology.kubernetes.io/zone",
            "topology.kubernetes.io/region",
        );
        let beta = "failure-domain.beta.kubernetes.io/zone";
        for (labels, name) in [
            (vec![], ""),
            (vec![(zone, "z1")], ":\0:z1"),
            (vec![(zone, "z1"), (region, "r1")], "r1:\0:z1"),
            (vec![(region, "r1")], "r1:\0:"),
            (vec![(zone, "z1"), (beta, "z0")], ":\0:z0"),
        ] {
            assert_eq!(zone_of(&node("u", None, &labels)), name, "{labels:?}");
        }
    }

    #[test]
    fn a_zone_is_as_well_as_its_nodes_are_ready() {
        let nodes = [
            node("u1", Some("True"), &[]),
            node("u2", Some("Unknown"), &[]),
            node("u3", None, &[]),
            node("u4", Some("True"), &[]),
            node("u5", Some("False"), &[(EXCLUDED, "")]),
        ];
        let zones = zones(nodes.iter());
        let zone = Zone {
            size: 4,
            unhealthy: 2,
        };
        assert_eq!(zones, [(String::new(), zone)].into());
        assert!((zone.health() - 50.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_node_that_is_given_up_counts_once_and_an_operators_word_does_not() {
        let berth = names::OUT_OF_SERVICE_BY_BERTH;
        let mut given_up = GivenUp::default();
        let there = fenced(node("u1", None, &[]), berth);
        assert!(given_up.look([&there].into_iter()).is_empty());
        let new = fenced(
            node("u2", None, &[("topology.kubernetes.io/zone", "z")]),
            berth,
        );
        let by_hand = fenced(node("u3", None, &[]), "nodeshutdown");
        for counted in [vec![":\0:z".to_owned()], vec![]] {
            assert_eq!(given_up.look([&there, &new, &by_hand].into_iter()), counted);
        }
    }

    #[test]
    fn figures_have_the_names_of_kubernetes() {
        let mut registry = Registry::default();
        let figures = NodeCollector::register(&mut registry);
        let zone = Zone {
            size: 3,
            unhealthy: 1,
        };
        figures.passed(
            &[("r:\0:z".to_owned(), zone)].into(),
            vec![String::new()],
            Duration::from_millis(3),
        );
        figures.looked_at(Duration::from_millis(2));
        let text = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        let all = text();
        for line in [
            "node_collector_zone_size{zone=\"r:\0:z\"} 3",
            "node_collector_unhealthy_nodes_in_zone{zone=\"r:\0:z\"} 1",
            "node_collector_evictions_total{zone=\"\"} 1",
            "node_collector_evictions_total{zone=\"r:\0:z\"} 0",
            "node_collector_update_all_nodes_health_duration_seconds_count 1",
            "node_collector_update_node_health_duration_seconds_count 1",
        ] {
            assert!(all.lines().any(|it| it == line), "wanted {line} in\n{all}");
        }
        assert!(all.contains("node_collector_zone_health{zone=\"r:\0:z\"} 66.66"));
        // Who does it no more says nothing of zones.
        figures.forget();
        assert!(!text().contains("zone_size{"));
    }
}
