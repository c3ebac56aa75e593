//! What a node's agent sees of others, for people: who does not answer it, and whether its word counts. Pure.
//!
//! No part of how the node itself is: a dead peer is another node's trouble, and a vote that is withdrawn says why the agent's word on
//! others does not count.

use std::fmt::Write as _;

use k8s_openapi::jiff::Timestamp;
use proto_crd::peer::{PeerSight, PeerState, Vote, VoteReason, VoteState};

use super::view::NodeView;
use crate::age::{short, since};
use crate::output::{Cell, Paint, Tone};

/// How to see whether the controllers run, who choose peers and make the key.
const CONTROLLERS: &str =
    "kubectl -n berth-system get pods -l app.kubernetes.io/name=berth-controllers";

/// How many of them answer, and whether that counts.
pub(super) fn cell(view: &NodeView) -> Cell {
    let of = view.peers.len();
    if view.void.is_some() || (of == 0 && view.vote.is_none()) {
        return "".into();
    }
    let alive = view.peers.iter().filter(|it| it.state == PeerState::Alive);
    let alive = alive.count();
    let counts = if withdrawn(view).is_some() {
        ", no vote"
    } else {
        ""
    };
    let tone = if alive == of && counts.is_empty() {
        Tone::Plain
    } else {
        Tone::Doubtful
    };
    Cell::new(tone, format!("{alive} of {of}{counts}"))
}

/// A paragraph for each that does not answer, and one for a vote that does not count.
pub(super) fn details(view: &NodeView, now: Timestamp, paint: Paint) -> String {
    let mut text = String::new();
    if let Some(vote) = withdrawn(view) {
        let head = format!("{}: its vote on other nodes is withdrawn", view.node);
        text += &paragraph(
            &paint.paint(Tone::Doubtful, &head),
            vote.since.0,
            now,
            [
                vote.message.clone(),
                "what its agent says of other nodes does not count".to_owned(),
                advice(&view.node, vote.reason),
            ],
        );
    }
    for peer in &view.peers {
        if peer.state == PeerState::Dead {
            text += &dead(view, peer, now, paint);
        }
    }
    text
}

fn dead(view: &NodeView, peer: &PeerSight, now: Timestamp, paint: Paint) -> String {
    let node = &peer.node;
    let head = format!("{}: peer {node} is dead", view.node);
    let counts = if withdrawn(view).is_some() {
        ", and this one's does not count"
    } else {
        ""
    };
    paragraph(
        &paint.paint(Tone::Wrong, &head),
        peer.since.0,
        now,
        [
            format!(
                "{node} (rack {}) does not answer over the underlay: {} % of the last minute's probes were lost",
                peer.rack, peer.lost_percent
            ),
            format!(
                "{node} is down, its agent is, or the way to it is cut: one node's word proves neither{counts}"
            ),
            format!(
                "kubectl berth health, for who else says so; kubectl berth health {node}; kubectl get node {node}; UDP 9424 between them"
            ),
        ],
    )
}

/// A line of `-o wide`: name, state, since when, what was seen, what is wanted.
pub(super) type Line = (String, Cell, Timestamp, String, &'static str);

/// A line for each peer, and one for the vote.
pub(super) fn lines(view: &NodeView) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(vote) = &view.vote {
        let state = match vote.state {
            VoteState::Given => Cell::new(Tone::Fine, "given"),
            VoteState::Withdrawn => Cell::new(Tone::Doubtful, "withdrawn"),
        };
        lines.push((
            "vote".to_owned(),
            state,
            vote.since.0,
            vote.message.clone(),
            "its own gateways and its agent are well",
        ));
    }
    for peer in &view.peers {
        let state = match peer.state {
            PeerState::Alive => Cell::new(Tone::Fine, "alive"),
            PeerState::Dead => Cell::new(Tone::Wrong, "dead"),
            PeerState::Unknown => Cell::new(Tone::Doubtful, "unknown"),
        };
        lines.push((
            format!("peer {}", peer.node),
            state,
            peer.since.0,
            seen(peer),
            "answers one of the last five probes",
        ));
    }
    lines
}

fn seen(peer: &PeerSight) -> String {
    let mut text = format!("{} % lost", peer.lost_percent);
    if let Some(rtt) = peer.rtt_microseconds {
        let _ = write!(text, ", {}.{:02} ms", rtt / 1000, rtt % 1000 / 10);
    }
    match peer.clock_ahead_milliseconds {
        Some(ahead) if ahead < 0 => {
            let _ = write!(text, ", clock {} ms behind", ahead.unsigned_abs());
        }
        Some(ahead) => {
            let _ = write!(text, ", clock {ahead} ms ahead");
        }
        None => {}
    }
    text
}

fn withdrawn(view: &NodeView) -> Option<&Vote> {
    let vote = view.vote.as_ref();
    vote.filter(|vote| vote.state == VoteState::Withdrawn)
}

fn paragraph(head: &str, from: Timestamp, now: Timestamp, lines: [String; 3]) -> String {
    let ago = short(since(from, now));
    let [what, means, to_do] = lines;
    format!(
        "\n{head} since {from} ({ago})\n  what    {what}\n  means   {means}\n  to do   {to_do}\n"
    )
}

fn advice(node: &str, reason: VoteReason) -> String {
    match reason {
        VoteReason::NoKey => {
            format!(
                "kubectl -n berth-system get secret berth-peers: the controllers make it ({CONTROLLERS}), and kubelet brings it within two minutes"
            )
        }
        VoteReason::NoRoster | VoteReason::RosterOld => {
            format!(
                "{CONTROLLERS}: they write spec.peers of NodeHealth {node}, for Nodes with a rack and an address; the agent reads it with its reports"
            )
        }
        VoteReason::Lagging => {
            format!(
                "kubectl berth health {node} -o wide: memory, memory-pressure, io-pressure say whether the node is overloaded"
            )
        }
        VoteReason::Flooded => {
            format!(
                "find who sends so much to UDP 9424 of {node}; berth_agent_peer_datagrams_received_total says what it is"
            )
        }
        VoteReason::GatewaySilent | VoteReason::GatewayUnknown | VoteReason::GatewayUnconfirmed => {
            format!(
                "kubectl berth health {node} -o wide: gateway and uplink, and ipamd, which knows the gateways"
            )
        }
        VoteReason::Isolated => {
            format!(
                "kubectl berth health {node} -o wide: its own uplink is the likeliest; else UDP 9424 between nodes"
            )
        }
        VoteReason::Starting => {
            "nothing: it is over within seconds of the agent's start".to_owned()
        }
        VoteReason::Seeing | VoteReason::GatewayNotWatched => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::health::text::{table, wide};
    use crate::health::view::{Seen, judge};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_763_719_200 + second).unwrap()
    }

    fn view(vote: &str, reason: &str, second: i64) -> NodeView {
        let report = serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "NodeHealth",
            "metadata": {"name": "n1"}, "spec": {"nodeName": "n1"},
            "status": {
                "bootId": "boot-1", "agentVersion": "0.1.0", "reportTime": at(0), "expiryTime": at(720),
                "problems": 0, "unknowns": 0, "conditions": [],
                "signals": [{
                    "name": "kubelet", "state": "Healthy", "since": at(-9000), "observedTime": at(-5), "ttlSeconds": 60,
                    "value": "ok", "threshold": "answers ok",
                }],
                "peers": [
                    {"node": "n2", "rack": "a", "state": "Alive", "since": at(-600), "lostPercent": 0, "rttMicroseconds": 1230,
                     "clockAheadMilliseconds": -4},
                    {"node": "n3", "rack": "b", "state": "Dead", "since": at(-300), "lostPercent": 100},
                ],
                "vote": {"state": vote, "reason": reason, "message": "because", "since": at(-60)},
            },
        }));
        let report = report.unwrap();
        let seen = Seen {
            report: Some(&report),
            boot_id: None,
            renewed: None,
        };
        judge("n1", seen, at(second))
    }

    #[test]
    fn peer_that_is_dead_is_told_with_what_to_do_and_does_not_make_the_node_unhealthy() {
        let view = view("Given", "Seeing", 0);
        assert!(view.is_healthy());
        let text = table(&[view], at(0), Paint::NONE);
        assert!(text.contains("1 of 2"), "{text}");
        for words in [
            "n1: peer n3 is dead since 2025-11-21T09:55:00Z (5m)",
            "  what    n3 (rack b) does not answer over the underlay: 100 % of",
            "  means   n3 is down, its agent is, or the way to it is cut",
            "  to do   kubectl berth health, for who else says so",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("n2"), "{text}");
        assert!(!text.contains("no vote"), "{text}");
    }

    #[test]
    fn vote_that_is_withdrawn_is_told_with_why_and_what_to_do() {
        for reason in [
            "NoKey",
            "NoRoster",
            "RosterOld",
            "Lagging",
            "Flooded",
            "GatewaySilent",
            "GatewayUnknown",
            "GatewayUnconfirmed",
            "Starting",
            "Isolated",
        ] {
            let text = table(&[view("Withdrawn", reason, 0)], at(0), Paint::NONE);
            for words in [
                "1 of 2, no vote",
                "n1: its vote on other nodes is withdrawn since 2025-11-21T09:59:00Z (60s)\n  what    because\n",
                "\n  to do   ",
                "and this one's does not count",
            ] {
                assert!(text.contains(words), "{reason}: {text}");
            }
        }
    }

    #[test]
    fn wide_has_a_line_for_each_peer_and_for_the_vote() {
        let text = wide(&[view("Given", "Seeing", 0)], at(0), Paint::NONE);
        let squeezed: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        let ends = |words: &str| squeezed.iter().any(|line| line.contains(words));
        assert!(ends("n1 peers vote given 60s 0s ago because"), "{text}");
        assert!(
            ends("n1 peers peer n2 alive 10m 0s ago 0 % lost, 1.23 ms, clock 4 ms behind"),
            "{text}"
        );
        assert!(ends("n1 peers peer n3 dead 5m 0s ago 100 % lost"), "{text}");
    }

    #[test]
    fn report_that_is_not_in_force_says_nothing_of_peers() {
        let text = table(&[view("Given", "Seeing", 1000)], at(1000), Paint::NONE);
        assert!(!text.contains("peer n3"), "{text}");
        assert!(!text.contains("1 of 2"), "{text}");
        let wide = wide(&[view("Given", "Seeing", 1000)], at(1000), Paint::NONE);
        assert!(!wide.contains("peer n3"), "{wide}");
    }
}
