//! Which rosters differ from what they should be. Pure.

use std::collections::BTreeMap;

use node_agent_peers::roster::{self, Member};
use proto_crd::peer::{PEERS_LIMIT, Peer};

use crate::lean::{HealthView, Home, NodeView};

/// A roster to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Whose.
    pub(super) node: String,
    /// Of its `NodeHealth`.
    pub(super) uid: String,
    /// Whom it is to look at; none, where it has no place in the underlay any more.
    pub(super) peers: Option<Vec<Peer>>,
}

/// Chooses, and remembers for whom: while the same nodes are there, the choice is the same.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    members: Vec<Member>,
    chosen: Vec<Vec<usize>>,
}

impl Chooser {
    /// What is to be written.
    pub(super) fn plan(
        &mut self,
        nodes: &BTreeMap<String, NodeView>,
        healths: &BTreeMap<String, HealthView>,
    ) -> Vec<Change> {
        let placed = |(name, node): (&String, &NodeView)| -> Option<(Member, Home)> {
            let home = node.home.as_ref().filter(|_| healths.contains_key(name))?;
            let member = Member {
                rack: home.rack.clone(),
                node: name.clone(),
            };
            Some((member, home.clone()))
        };
        let (members, homes): (Vec<_>, Vec<_>) = nodes.iter().filter_map(placed).unzip();
        if members != self.members {
            self.chosen = roster::choose(&members);
            self.members = members;
        }
        let peer = |place: &usize| -> Option<Peer> {
            let member = self.members.get(*place)?;
            Some(Peer {
                node: member.node.clone(),
                rack: member.rack.clone(),
                address: homes.get(*place)?.address.to_string(),
            })
        };
        let rosters = self.members.iter().zip(&self.chosen);
        let wanted: BTreeMap<&str, Vec<Peer>> = rosters
            .map(|(member, targets)| {
                let peers = targets.iter().filter_map(peer).take(PEERS_LIMIT);
                (member.node.as_str(), peers.collect())
            })
            .collect();
        // What is left over of a Node that is gone goes with it.
        let known = healths.iter().filter(|(node, _)| nodes.contains_key(*node));
        known
            .filter_map(|(node, health)| {
                let peers = wanted.get(node.as_str()).cloned();
                (peers != health.peers).then(|| Change {
                    node: node.clone(),
                    uid: health.uid.clone(),
                    peers,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lean::NodeMarks;

    fn node(rack: &str, address: u8) -> NodeView {
        NodeView {
            uid: "u".into(),
            home: Some(Home {
                rack: rack.into(),
                address: format!("10.0.0.{address}").parse().unwrap(),
            }),
            marks: NodeMarks::default(),
        }
    }

    fn health(peers: Option<&[&Peer]>) -> HealthView {
        HealthView {
            uid: "h".into(),
            peers: peers.map(|peers| peers.iter().copied().cloned().collect()),
        }
    }

    fn peer(name: &str, rack: &str, address: u8) -> Peer {
        Peer {
            node: name.into(),
            rack: rack.into(),
            address: format!("10.0.0.{address}"),
        }
    }

    fn named<V>(items: Vec<(&str, V)>) -> BTreeMap<String, V> {
        let items = items.into_iter();
        items
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    #[test]
    fn only_rosters_that_differ_are_written() {
        let nodes = named(vec![
            ("n1", node("a", 1)),
            ("n2", node("a", 2)),
            ("n3", node("b", 3)),
        ]);
        let (one, two, three) = (peer("n1", "a", 1), peer("n2", "a", 2), peer("n3", "b", 3));
        let mut healths = named(vec![
            ("n1", health(None)),
            ("n2", health(Some(&[&one, &three]))),
            ("n3", health(Some(&[&one]))),
            ("gone", health(None)),
        ]);
        let mut chooser = Chooser::default();
        let changes = chooser.plan(&nodes, &healths);
        let written: Vec<_> = changes.iter().map(|it| it.node.as_str()).collect();
        assert_eq!(written, ["n1", "n3"]);
        assert_eq!(changes[0].peers, Some(vec![two, three]));
        for change in changes {
            healths.get_mut(&change.node).unwrap().peers = change.peers;
        }
        assert_eq!(chooser.plan(&nodes, &healths), []);
    }

    #[test]
    fn a_node_without_an_agent_is_looked_at_by_nobody() {
        let nodes = named(vec![("n1", node("a", 1)), ("n2", node("a", 2))]);
        let healths = named(vec![("n1", health(None))]);
        let changes = Chooser::default().plan(&nodes, &healths);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].peers, Some(vec![]));
    }

    #[test]
    fn a_node_that_has_no_place_any_more_loses_its_roster_and_its_observers() {
        let mut nodes = named(vec![("n1", node("a", 1)), ("n2", node("a", 2))]);
        let (one, two) = (peer("n1", "a", 1), peer("n2", "a", 2));
        let healths = named(vec![
            ("n1", health(Some(&[&two]))),
            ("n2", health(Some(&[&one]))),
        ]);
        let mut chooser = Chooser::default();
        assert_eq!(chooser.plan(&nodes, &healths), []);
        nodes.get_mut("n2").unwrap().home = None;
        let changes = chooser.plan(&nodes, &healths);
        let peers: Vec<_> = changes.into_iter().map(|it| it.peers).collect();
        assert_eq!(peers, [Some(vec![]), None]);
    }

    #[test]
    fn a_node_that_moved_to_another_address_is_found_there() {
        let mut nodes = named(vec![("n1", node("a", 1)), ("n2", node("a", 2))]);
        let (one, two) = (peer("n1", "a", 1), peer("n2", "a", 2));
        let healths = named(vec![
            ("n1", health(Some(&[&two]))),
            ("n2", health(Some(&[&one]))),
        ]);
        let mut chooser = Chooser::default();
        assert_eq!(chooser.plan(&nodes, &healths), []);
        nodes.insert("n2".into(), node("a", 9));
        let changes = chooser.plan(&nodes, &healths);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].peers, Some(vec![peer("n2", "a", 9)]));
    }
}
