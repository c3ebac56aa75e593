//! What is kept of other people's objects: a few fields of each, since a cluster has ten thousand Nodes.

use std::net::IpAddr;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Node;
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt as _};
use node_agent_lifecycle::fencing::FenceMarks;
use proto_crd::in_place_set::InPlaceSet;
use proto_crd::names;
use proto_crd::node_health::{Decision, NodeHealth, SignalState};
use proto_crd::peer::{Peer, PeerState, VoteState};
use proto_crd::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Label of a Node: what fails together above its rack.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// A Node as it is read: metadata alone would leave out the taints.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = Node)]
pub(crate) struct LeanNode {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: LeanNodeSpec,
    #[serde(default)]
    status: LeanNodeStatus,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LeanNodeSpec {
    #[serde(default)]
    taints: Vec<LeanTaint>,
}

/// A taint of a Node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeanTaint {
    /// Which.
    pub(crate) key: String,
    /// Of which value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) value: String,
    /// What it does.
    #[serde(default)]
    pub(crate) effect: String,
    /// Since when, as it is written.
    #[serde(default, rename = "timeAdded", skip_serializing_if = "Option::is_none")]
    pub(crate) time_added: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LeanNodeStatus {
    #[serde(default)]
    addresses: Vec<LeanAddress>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct LeanAddress {
    r#type: String,
    address: String,
}

/// Where a node stands in the underlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// Its rack.
    pub(crate) rack: String,
    /// Its own address: the first `InternalIP`, as kubelet's `hostIP`.
    pub(crate) address: IpAddr,
}

impl LeanNode {
    /// Its taints.
    pub(crate) fn taints(&self) -> &[LeanTaint] {
        &self.spec.taints
    }

    /// Where it stands, by this label; nowhere, where rack or address are not known or nothing of Berth's runs there.
    pub(crate) fn home(&self, rack_label: &str) -> Option<Home> {
        let labels = self.metadata.labels.as_ref()?;
        if labels.contains_key(names::EXCLUDED_LABEL) {
            return None;
        }
        let rack = labels.get(rack_label).filter(|rack| !rack.is_empty())?;
        let own = |it: &&LeanAddress| it.r#type == "InternalIP";
        let address = self.status.addresses.iter().find(own)?;
        Some(Home {
            rack: rack.clone(),
            address: address.address.parse().ok()?,
        })
    }
}

/// What the node lifecycle, people and plug-ins have put on a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeMarks {
    /// Our own taint.
    pub(crate) is_cordoned: bool,
    /// That it is fenced, and who says so.
    pub(crate) fence: FenceMarks,
    /// Until when people have said that it is down: RFC 3339, as it is written.
    pub(crate) maintenance: Option<String>,
    /// Its Pods were taken out of the endpoints by us.
    pub(crate) is_withdrawn: bool,
    /// Its zone.
    pub(crate) zone: Option<String>,
}

impl From<&LeanNode> for NodeMarks {
    fn from(node: &LeanNode) -> Self {
        let annotation = |key| node.annotations().get(key).cloned();
        let taints = node.spec.taints.iter();
        let fences = taints.filter(|taint| taint.key == names::OUT_OF_SERVICE_TAINT);
        let (ours, others): (Vec<_>, Vec<_>) =
            fences.partition(|taint| taint.value == names::OUT_OF_SERVICE_BY_BERTH);
        Self {
            is_cordoned: node
                .spec
                .taints
                .iter()
                .any(|taint| taint.key == names::CORDON_TAINT),
            fence: FenceMarks {
                is_decided: !ours.is_empty(),
                taint: others.first().map(|taint| taint.value.clone()),
                fenced_by: annotation(names::FENCED_BY_ANNOTATION),
            },
            maintenance: annotation(names::MAINTENANCE_ANNOTATION),
            is_withdrawn: annotation(names::ENDPOINTS_WITHDRAWN_ANNOTATION).is_some(),
            zone: node.labels().get(ZONE_LABEL).cloned(),
        }
    }
}

/// A Node as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeView {
    /// Its UID.
    pub(crate) uid: String,
    /// Where it stands; not filled in by reads of one Node.
    pub(crate) home: Option<Home>,
    /// What was put on it.
    pub(crate) marks: NodeMarks,
}

impl From<&LeanNode> for NodeView {
    fn from(node: &LeanNode) -> Self {
        Self {
            uid: node.metadata.uid.clone().unwrap_or_default(),
            home: None,
            marks: node.into(),
        }
    }
}

/// A `NodeHealth` as it is read.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = NodeHealth)]
pub(crate) struct LeanHealth {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: LeanHealthSpec,
    /// Kept apart from the rest: it changes all the time.
    #[serde(default)]
    pub(crate) status: Option<LeanHealthStatus>,
}

/// Of what an agent reports, what is decided by.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeanHealthStatus {
    /// When it was written, by the node's clock.
    pub(crate) report_time: Timestamp,
    /// Until when it holds, by the same.
    pub(crate) expiry_time: Timestamp,
    /// What is looked at.
    #[serde(default)]
    pub(crate) signals: Vec<LeanSignal>,
    /// What runs there waits for processors.
    #[serde(default)]
    pub(crate) processors_pressed: Option<bool>,
    /// What it sees of its peers.
    #[serde(default)]
    pub(crate) peers: Vec<LeanSight>,
    /// Whether that counts.
    #[serde(default)]
    pub(crate) vote: Option<LeanVote>,
}

/// One thing that an agent looks at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LeanSignal {
    /// Which.
    pub(crate) name: String,
    /// How it is.
    pub(crate) state: SignalState,
    /// What it is reason enough for.
    #[serde(default)]
    pub(crate) decision: Option<Decision>,
}

/// A peer, as an agent sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LeanSight {
    /// Which.
    pub(crate) node: String,
    /// Whether it answers.
    pub(crate) state: PeerState,
}

/// Whether what an agent says of its peers counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LeanVote {
    /// Whether it does.
    pub(crate) state: VoteState,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LeanHealthSpec {
    peers: Option<Vec<Peer>>,
}

/// A `NodeHealth` as it is kept. Not its version: that changes with every report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthView {
    /// Its UID.
    pub(crate) uid: String,
    /// Whom the agent looks at.
    pub(crate) peers: Option<Vec<Peer>>,
}

impl From<&LeanHealth> for HealthView {
    fn from(health: &LeanHealth) -> Self {
        Self {
            uid: health.metadata.uid.clone().unwrap_or_default(),
            peers: health.spec.peers.clone(),
        }
    }
}

/// A `StatefulSet` as it is read.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = StatefulSet)]
pub(crate) struct LeanSet {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: LeanSetSpec,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LeanSetSpec {
    replicas: Option<i64>,
    ordinals: Option<LeanOrdinals>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LeanOrdinals {
    #[serde(default)]
    start: i64,
}

/// An `InPlaceSet` as it is read: not its template, and not its status, which changes all the time.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = InPlaceSet)]
pub(crate) struct LeanInPlaceSet {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: LeanInPlaceSetSpec,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanInPlaceSetSpec {
    replicas: Option<i64>,
    #[serde(default)]
    pods_to_delete: Option<Vec<String>>,
}

/// The Pods that a `StatefulSet` or an `InPlaceSet` wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetView {
    /// The first ordinal.
    pub(crate) start: i64,
    /// How many.
    pub(crate) replicas: i64,
    /// Ordinals that are passed over: they go first when there are to be fewer.
    pub(crate) without: Vec<i64>,
}

impl SetView {
    /// Whether it wants a Pod of this ordinal: one of the first that are not passed over.
    pub(crate) fn wants(&self, ordinal: i64) -> bool {
        let (from, without) = (self.start, &self.without);
        let passed = without.iter().filter(|it| (from..ordinal).contains(it));
        let passed = i64::try_from(passed.count()).unwrap_or(i64::MAX);
        let end = from.saturating_add(self.replicas).saturating_add(passed);
        (from..end).contains(&ordinal) && !without.contains(&ordinal)
    }
}

impl From<&LeanInPlaceSet> for SetView {
    fn from(set: &LeanInPlaceSet) -> Self {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let named = set.spec.pods_to_delete.iter().flatten();
        let ordinals = named.filter_map(|pod| {
            let ordinal = pod.strip_prefix(name)?.strip_prefix('-')?;
            ordinal.parse().ok()
        });
        let mut without: Vec<_> = ordinals.collect();
        without.sort_unstable();
        without.dedup();
        Self {
            start: 0,
            // The API server's default.
            replicas: set.spec.replicas.unwrap_or(1),
            without,
        }
    }
}

impl From<&LeanSet> for SetView {
    fn from(set: &LeanSet) -> Self {
        let spec = &set.spec;
        Self {
            start: spec.ordinals.as_ref().map_or(0, |ordinals| ordinals.start),
            // The API server's default.
            replicas: spec.replicas.unwrap_or(1),
            without: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_are_kept_of_a_node_and_nothing_else() {
        let node = |annotations, spec| -> NodeView {
            let node = json!({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "u1", "annotations": annotations},
                "spec": spec, "status": {"nodeInfo": {"bootID": "b"}},
            });
            (&serde_json::from_value::<LeanNode>(node).unwrap()).into()
        };
        let taint = |key: &str, value| json!({"key": key, "value": value, "effect": "NoExecute"});
        let out = |value| taint("node.kubernetes.io/out-of-service", value);
        let fence = |taints: serde_json::Value| {
            let spec = json!({"podCIDR": "10.0.0.0/24", "taints": taints});
            node(json!({}), spec).marks.fence
        };
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(fence(json!([out("off")])).taint, said("off"));
        // As `kubectl taint` writes it without a value.
        let bare = json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]);
        assert_eq!(fence(bare).taint, said(""));
        let other = fence(json!([taint("node.kubernetes.io/not-ready", "")]));
        assert_eq!(other, FenceMarks::default());
        let both = fence(json!([out("berth"), out("off")]));
        assert!(both.is_decided && both.taint == said("off"), "{both:?}");
        let noted = node(json!({"berth.dev/fenced-by": "poweroff:bmc"}), json!({}));
        assert_eq!(noted.marks.fence.fenced_by, said("poweroff:bmc"));
        assert_eq!(
            node(json!({}), json!({})).marks.fence,
            FenceMarks::default()
        );
    }

    #[test]
    fn a_node_stands_where_its_rack_and_address_are_known() {
        let home = |labels, addresses| {
            let node = json!({
                "metadata": {"name": "n1", "labels": labels}, "status": {"addresses": addresses},
            });
            let node = serde_json::from_value::<LeanNode>(node).unwrap();
            node.home("rack")
                .map(|home| (home.rack, home.address.to_string()))
        };
        let address = |kind: &str, address: &str| json!({"type": kind, "address": address});
        let both = json!([
            address("Hostname", "n1"),
            address("InternalIP", "10.0.0.1"),
            address("InternalIP", "fd00::1")
        ]);
        let known = Some(("a".to_owned(), "10.0.0.1".to_owned()));
        assert_eq!(home(json!({"rack": "a"}), both.clone()), known);
        for labels in [
            json!({}),
            json!({"rack": ""}),
            json!({"rack": "a", "berth.dev/excluded": ""}),
        ] {
            assert_eq!(home(labels, both.clone()), None);
        }
        assert_eq!(home(json!({"rack": "a"}), json!([])), None);
        let name = json!([address("Hostname", "n1")]);
        assert_eq!(home(json!({"rack": "a"}), name), None);
    }

    #[test]
    fn a_set_wants_its_ordinals_and_no_others() {
        let set = |spec| -> SetView {
            let set = json!({"metadata": {"name": "db", "namespace": "shop"}, "spec": spec});
            (&serde_json::from_value::<LeanSet>(set).unwrap()).into()
        };
        for (spec, wanted) in [
            (json!({"replicas": 3}), vec![0, 1, 2]),
            (json!({}), vec![0]),
            (json!({"replicas": 0}), vec![]),
            (json!({"replicas": 2, "ordinals": {"start": 3}}), vec![3, 4]),
            (json!({"replicas": 2, "ordinals": {}}), vec![0, 1]),
        ] {
            let set = set(spec.clone());
            let wants: Vec<_> = (0..9).filter(|ordinal| set.wants(*ordinal)).collect();
            assert_eq!(wants, wanted, "{spec}");
        }
    }

    #[test]
    fn an_in_place_set_wants_as_many_as_it_says_without_those_that_are_to_go() {
        let set = |spec| -> SetView {
            let set = json!({"metadata": {"name": "shop", "namespace": "prod"}, "spec": spec, "status": {"replicas": 9}});
            (&serde_json::from_value::<LeanInPlaceSet>(set).unwrap()).into()
        };
        for (spec, wanted) in [
            (json!({"replicas": 3, "template": {}}), vec![0, 1, 2]),
            (json!({}), vec![0]),
            (json!({"replicas": 0}), vec![]),
            (
                json!({"replicas": 2, "podsToDelete": ["shop-1"]}),
                vec![0, 2],
            ),
            (
                json!({"replicas": 3, "podsToDelete": ["shop-3", "shop-0", "shop-3"]}),
                vec![1, 2, 4],
            ),
            // Beyond what there is, and not of this set.
            (
                json!({"replicas": 2, "podsToDelete": ["shop-7", "shopping-0", "shop-x"]}),
                vec![0, 1],
            ),
        ] {
            let set = set(spec.clone());
            let wants: Vec<_> = (0..9).filter(|ordinal| set.wants(*ordinal)).collect();
            assert_eq!(wants, wanted, "{spec}");
        }
    }
}
