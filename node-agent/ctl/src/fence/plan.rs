//! What fencing means for a node as it is, and what is to be done with each of its claims. Pure.

use std::fmt::Write as _;

use crate::claims::{ClaimSeen, State, mark_words};
use crate::seen::NodeSeen;

/// An agent renews its Lease every 30 s; the controllers take one for dead that did not for so long.
const AGENT_STALE_SECONDS: i64 = 45;

/// How many addresses are named one by one.
const NAMED: usize = 10;

/// What is known of the node that is to be fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeState {
    /// There is no such Node.
    Missing,
    /// Its kubelet says that it is ready.
    Ready,
    /// Its kubelet says that it is not, or says nothing any more; but its agent renewed its Lease so many seconds ago.
    Alive(i64),
    /// The same, and its agent did not.
    NotReady,
}

/// What is to be done with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// It is as it should be.
    None,
    /// Set or remove its mark.
    Write,
    /// Another node has it.
    Taken,
}

impl NodeState {
    /// By the Node, and by how many seconds ago its agent renewed its Lease.
    pub(super) fn of(node: Option<&NodeSeen>, renewed: Option<i64>) -> Self {
        match (node.map(|node| node.ready), renewed) {
            (None, _) => Self::Missing,
            (Some(Some(true)), _) => Self::Ready,
            // By two clocks, which may differ either way.
            (Some(_), Some(age)) if age.abs() < AGENT_STALE_SECONDS => Self::Alive(age.abs()),
            (Some(_), _) => Self::NotReady,
        }
    }
}

/// What is to be done so that the claim is marked, or not.
pub(super) fn deed(claim: &ClaimSeen, node: &str, marked: bool) -> Deed {
    if claim.spec.node != node {
        Deed::Taken
    } else if claim.spec.fenced.is_some() == marked {
        Deed::None
    } else {
        Deed::Write
    }
}

/// Why nothing is done.
pub(super) fn refusal(node: &str, state: NodeState, claims: usize, yes: bool) -> Option<String> {
    match state {
        NodeState::Missing if claims == 0 => Some(format!(
            "there is no node {node:?}, and nobody of that name has claimed an address; \
             kubectl get nodes and kubectl berth ips say who there is"
        )),
        NodeState::Ready if !yes => Some(format!(
            "node {node} says that it is ready: its Pods may use their addresses, and whoever gets one of them would share it. \
             Shut the node down first (kubectl drain {node}, power off), or add --yes if you know that it is off"
        )),
        NodeState::Alive(age) if !yes => Some(format!(
            "node {node} lives: its agent renewed its Lease {age} s ago, though its kubelet is not heard of. Its Pods may use their addresses, \
             and whoever gets one of them would share it. Switch the node off first, or add --yes if you know that it is off"
        )),
        _ => None,
    }
}

/// What the node is and what fencing it means.
pub(super) fn announcement(node: &str, seen: Option<&NodeSeen>, claims: &[ClaimSeen]) -> String {
    let mut text = match seen {
        None => format!("There is no Node {node} any more"),
        Some(seen) => {
            let taint = if seen.out_of_service {
                ", and has the taint node.kubernetes.io/out-of-service"
            } else {
                ""
            };
            format!("Node {node}: {}{taint}", seen.readiness)
        }
    };
    let of = |state| claims.iter().filter(move |claim| claim.state() == state);
    let numbers = [
        (State::Attached, "attached"),
        (State::Held, "held"),
        (State::Reserved, "reserved"),
        (State::Warm, "warm"),
    ]
    .map(|(state, word)| format!("{} {word}", of(state).count()));
    let _ = write!(
        text,
        "\nIt has {}: {}\nFencing says that the node is off: from 30 s after the mark its addresses may be taken by other nodes of the \
         rack. A Pod that still ran there would share its address with the new one",
        count(claims.len(), "address"),
        numbers.join(", ")
    );
    for claim in of(State::Attached).take(NAMED) {
        let whose = claim.identity().unwrap_or_default();
        let _ = write!(text, "\n  {} attached to {whose}", claim.spec.address);
    }
    let more = of(State::Attached).count().saturating_sub(NAMED);
    if more > 0 {
        let _ = write!(text, "\n  and {more} more: kubectl berth ips --node {node}");
    }
    let marked = claims.iter().filter_map(|claim| claim.spec.fenced.as_ref());
    if let Some(mark) = marked.min_by_key(|mark| mark.at.0) {
        let _ = write!(text, "\nIt was fenced before {}", mark_words(mark));
    }
    text
}

/// A number with its noun.
pub(super) fn count(number: usize, noun: &str) -> String {
    match (number, noun.ends_with('s')) {
        (1, _) => format!("1 {noun}"),
        (_, true) => format!("{number} {noun}es"),
        (_, false) => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claims::fixture::{bound, claim, mark};

    fn node(ready: Option<bool>) -> NodeSeen {
        NodeSeen {
            name: "n1".to_owned(),
            ready,
            readiness: "Ready=Unknown since yesterday".to_owned(),
            ..NodeSeen::default()
        }
    }

    #[test]
    fn ready_node_is_fenced_only_when_that_is_insisted_on() {
        let ready = NodeState::of(Some(&node(Some(true))), None);
        let refusal = |state, claims, yes| refusal("n1", state, claims, yes);
        assert!(refusal(ready, 3, false).unwrap().contains("add --yes"));
        assert_eq!(refusal(ready, 3, true), None);
        for silent in [Some(false), None] {
            let state = |renewed| NodeState::of(Some(&node(silent)), renewed);
            assert_eq!(refusal(state(None), 3, false), None);
            assert_eq!(refusal(state(Some(45)), 3, false), None);
            let alive = refusal(state(Some(12)), 3, false).unwrap();
            assert!(alive.contains("renewed its Lease 12 s ago"), "{alive}");
            assert_eq!(refusal(state(Some(12)), 3, true), None);
        }
        let missing = NodeState::of(None, Some(12));
        assert_eq!(refusal(missing, 3, false), None, "a deleted node's claims");
        assert!(
            refusal(missing, 0, true)
                .unwrap()
                .contains("no node \"n1\""),
            "a slip of the pen"
        );
    }

    #[test]
    fn only_what_is_the_nodes_and_not_yet_so_is_written() {
        let free = claim("10.20.1.100", &json!({}));
        let fenced = claim("10.20.1.100", &json!({"fenced": mark("off")}));
        let other = claim("10.20.1.100", &json!({"node": "n2", "fenced": mark("off")}));
        for (claim, marked, expected) in [
            (&free, true, Deed::Write),
            (&free, false, Deed::None),
            (&fenced, true, Deed::None),
            (&fenced, false, Deed::Write),
            (&other, true, Deed::Taken),
            (&other, false, Deed::Taken),
        ] {
            assert_eq!(deed(claim, "n1", marked), expected);
        }
    }

    #[test]
    fn announcement_says_whose_addresses_may_be_taken() {
        let claims: Vec<_> = (0..12)
            .map(|last| {
                let address = format!("10.20.1.{last}");
                claim(&address, &bound(&format!("prod/db-{last}"), &address, true))
            })
            .chain([claim("10.20.1.99", &json!({"fenced": mark("smoke")}))])
            .collect();
        let text = announcement("n1", Some(&node(None)), &claims);
        for words in [
            "Node n1: Ready=Unknown since yesterday",
            "It has 13 addresses: 12 attached, 0 held, 0 reserved, 1 warm",
            "from 30 s after the mark",
            "10.20.1.9 attached to prod/db-9",
            "and 2 more: kubectl berth ips --node n1",
            "fenced before by jane at 2025-11-21T10:00:00Z: smoke",
        ] {
            assert!(text.contains(words), "no {words:?} in {text}");
        }
        assert!(announcement("n1", None, &[]).contains("no Node n1 any more"));
    }
}
