//! When a node counts as fenced: it runs nothing any more, so that another node may have its addresses.
//!
//! The one definition: this core's verdict `FencedDead` and the claims' controller both ask it. **Always holds:** somebody's word is
//! not enough. It counts while both Leases of the node are stale and nobody whose vote counts sees it alive; a node that shows
//! life is never fenced, whoever says so.

use std::time::Duration;

use proto_ids::NodeName;

use crate::observation::{FenceKind, FenceProof, Report, SightState, Standing, Version};

/// What a Node object says about its being fenced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FenceMarks {
    /// It has the out-of-service taint with our own value: `FencedDead` was decided.
    pub is_decided: bool,
    /// It has the out-of-service taint with another value: this one.
    pub taint: Option<String>,
    /// The annotation `berth.dev/fenced-by`: `poweroff…`, `selffence…` or `operator:WHO:WHEN`.
    pub fenced_by: Option<String>,
}

/// A Lease, as whoever decides has followed it on a clock of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseSign {
    /// It was seen to change lately.
    Fresh,
    /// Not yet followed for long enough to say.
    Unknown,
    /// It did not change for too long, or there is none.
    Stale,
}

/// Whether a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It does.
    Seen(SignOfLife),
    /// Nobody can say yet.
    Unknown,
    /// Both Leases are stale, and nobody sees it.
    Silent,
}

/// What shows that a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignOfLife {
    /// kubelet renews its Lease.
    Kubelet,
    /// The agent renews its Lease.
    Agent,
    /// A peer sees it.
    Peer,
}

/// Whether a node is fenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fencing {
    /// Nobody says so.
    Unfenced,
    /// Somebody says so, and whether it lives is not known yet.
    Pending,
    /// Somebody says so, and it lives.
    Refused(SignOfLife),
    /// It was decided.
    Decided,
    /// Somebody has proven it, and it shows no life.
    Proven(FenceProof),
}

impl SignOfLife {
    /// In words, after "because".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Kubelet => "its kubelet renews its Lease",
            Self::Agent => "its agent renews its Lease",
            Self::Peer => "a peer whose vote counts sees it alive",
        }
    }
}

/// The proof that is on a Node, if there is one. What cannot be read is none.
pub fn fence_proof(marks: &FenceMarks) -> Option<FenceProof> {
    let annotation = marks.fenced_by.as_deref().and_then(|text| {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let kind = match kind.trim() {
            "poweroff" => FenceKind::PowerOff,
            "selffence" => FenceKind::SelfFenceExpired,
            "operator" => FenceKind::Operator,
            _ => return None,
        };
        let who = rest.split(':').next().unwrap_or_default().trim();
        let by = match (kind, who) {
            (FenceKind::Operator, "") => "an operator",
            (_, "") => "a plug-in",
            (_, who) => who,
        };
        Some(FenceProof {
            kind,
            by: by.to_owned(),
            version: Version::new(text),
        })
    });
    annotation.or_else(|| {
        let value = marks.taint.as_deref()?;
        Some(FenceProof {
            kind: FenceKind::Operator,
            by: "the taint node.kubernetes.io/out-of-service".to_owned(),
            version: Version::new(&format!("taint={value}")),
        })
    })
}

/// How a Lease is that was the same for so long; `is_proven`: it changed while it was followed. One that never was is stale.
pub fn lease_sign(unchanged: Duration, is_proven: bool, stale_after: Duration) -> LeaseSign {
    match (unchanged < stale_after, is_proven) {
        (true, true) => LeaseSign::Fresh,
        (true, false) => LeaseSign::Unknown,
        (false, _) => LeaseSign::Stale,
    }
}

/// Whether the node lives, by its Leases and by whether anybody whose vote counts ([`vote_counts`]) sees it alive.
pub fn life(kubelet: LeaseSign, agent: LeaseSign, is_seen: bool) -> Life {
    match (kubelet, agent) {
        (LeaseSign::Fresh, _) => Life::Seen(SignOfLife::Kubelet),
        (_, LeaseSign::Fresh) => Life::Seen(SignOfLife::Agent),
        _ if is_seen => Life::Seen(SignOfLife::Peer),
        (LeaseSign::Stale, LeaseSign::Stale) => Life::Silent,
        _ => Life::Unknown,
    }
}

/// Whether the node is fenced. What was decided rests on more than is asked here, so that only a sign of life stands against it.
pub fn fencing(marks: &FenceMarks, life: Life) -> Fencing {
    let proof = fence_proof(marks);
    match life {
        Life::Seen(_) if !marks.is_decided && proof.is_none() => Fencing::Unfenced,
        Life::Seen(sign) => Fencing::Refused(sign),
        _ if marks.is_decided => Fencing::Decided,
        Life::Silent => proof.map_or(Fencing::Unfenced, Fencing::Proven),
        Life::Unknown if proof.is_some() => Fencing::Pending,
        Life::Unknown => Fencing::Unfenced,
    }
}

/// Whether what an observer says of a node is to be counted: it can report, its report holds and its vote is given, and it sees
/// enough of its other peers (one that sees nobody else speaks of itself).
pub fn vote_counts(
    report: &Report,
    target: &NodeName,
    can_report: bool,
    report_holds: bool,
    sees_percent: u32,
) -> bool {
    let is_given = report.vote == Standing::Given;
    can_report && report_holds && is_given && sees_others(report, target, sees_percent)
}

fn sees_others(report: &Report, target: &NodeName, sees_percent: u32) -> bool {
    let mut known = 0_usize;
    let mut alive = 0_usize;
    for sight in report.sights.iter().filter(|sight| sight.target != *target) {
        known += usize::from(sight.state != SightState::Unknown);
        alive += usize::from(sight.state == SightState::Alive);
    }
    let wanted = known * sees_percent as usize;
    known > 0 && alive * 100 >= wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Sight;

    fn taint(value: &str) -> FenceMarks {
        FenceMarks {
            taint: Some(value.to_owned()),
            ..FenceMarks::default()
        }
    }

    fn annotation(value: &str) -> FenceMarks {
        FenceMarks {
            fenced_by: Some(value.to_owned()),
            ..FenceMarks::default()
        }
    }

    fn decided() -> FenceMarks {
        FenceMarks {
            is_decided: true,
            ..FenceMarks::default()
        }
    }

    #[test]
    fn a_proof_says_how_and_by_whom_and_what_cannot_be_read_is_none() {
        for (marks, expected) in [
            (FenceMarks::default(), None),
            (decided(), None),
            (
                taint("nodeshutdown"),
                Some((
                    FenceKind::Operator,
                    "the taint node.kubernetes.io/out-of-service",
                )),
            ),
            (
                taint(""),
                Some((
                    FenceKind::Operator,
                    "the taint node.kubernetes.io/out-of-service",
                )),
            ),
            (
                annotation("poweroff"),
                Some((FenceKind::PowerOff, "a plug-in")),
            ),
            (
                annotation("poweroff:bmc:2026-11-22T04:00:00Z"),
                Some((FenceKind::PowerOff, "bmc")),
            ),
            (
                annotation("selffence"),
                Some((FenceKind::SelfFenceExpired, "a plug-in")),
            ),
            (
                annotation("operator:jane:2026-11-22T04:00:00Z"),
                Some((FenceKind::Operator, "jane")),
            ),
            (
                annotation("operator"),
                Some((FenceKind::Operator, "an operator")),
            ),
            (annotation("jane"), None),
            (annotation(""), None),
            (annotation("powered-on:bmc"), None),
        ] {
            let proof = fence_proof(&marks);
            let proof = proof.as_ref().map(|proof| (proof.kind, proof.by.as_str()));
            assert_eq!(proof, expected, "{marks:?}");
        }
    }

    #[test]
    fn another_proof_has_another_version_and_the_annotation_comes_first() {
        let version = |marks| fence_proof(&marks).unwrap().version;
        assert_ne!(
            version(annotation("operator:jane:1")),
            version(annotation("operator:jane:2"))
        );
        assert_eq!(version(taint("off")), version(taint("off")));
        assert_ne!(version(taint("off")), version(taint("gone")));
        let both = FenceMarks {
            taint: Some("off".to_owned()),
            ..annotation("poweroff:bmc")
        };
        assert_eq!(fence_proof(&both).unwrap().kind, FenceKind::PowerOff);
        let unreadable = FenceMarks {
            taint: Some("off".to_owned()),
            ..annotation("?")
        };
        assert_eq!(fence_proof(&unreadable).unwrap().kind, FenceKind::Operator);
    }

    #[test]
    fn a_node_is_silent_when_both_leases_are_stale_and_nobody_sees_it() {
        use LeaseSign::{Fresh, Stale, Unknown};
        for (kubelet, agent, is_seen, expected) in [
            (Stale, Stale, false, Life::Silent),
            (Stale, Stale, true, Life::Seen(SignOfLife::Peer)),
            (Fresh, Stale, false, Life::Seen(SignOfLife::Kubelet)),
            (Stale, Fresh, false, Life::Seen(SignOfLife::Agent)),
            (Unknown, Stale, false, Life::Unknown),
            (Stale, Unknown, false, Life::Unknown),
            (Unknown, Unknown, true, Life::Seen(SignOfLife::Peer)),
        ] {
            let found = life(kubelet, agent, is_seen);
            assert_eq!(found, expected, "{kubelet:?} {agent:?} {is_seen}");
        }
    }

    #[test]
    fn a_lease_is_fresh_only_where_it_was_seen_to_change() {
        let (limit, second) = (Duration::from_secs(30), Duration::from_secs(1));
        for (unchanged, is_proven, expected) in [
            (second, true, LeaseSign::Fresh),
            (second, false, LeaseSign::Unknown),
            (limit, true, LeaseSign::Stale),
            (limit, false, LeaseSign::Stale),
        ] {
            let sign = lease_sign(unchanged, is_proven, limit);
            assert_eq!(sign, expected, "{unchanged:?} {is_proven}");
        }
    }

    #[test]
    fn a_node_that_shows_life_is_never_fenced() {
        let lives = Life::Seen(SignOfLife::Agent);
        let refused = Fencing::Refused(SignOfLife::Agent);
        let off = || taint("off");
        let proof = fence_proof(&off()).unwrap();
        for (marks, life, expected) in [
            (FenceMarks::default(), lives, Fencing::Unfenced),
            (FenceMarks::default(), Life::Silent, Fencing::Unfenced),
            (FenceMarks::default(), Life::Unknown, Fencing::Unfenced),
            (off(), lives, refused.clone()),
            (off(), Life::Unknown, Fencing::Pending),
            (off(), Life::Silent, Fencing::Proven(proof)),
            (decided(), lives, refused),
            (decided(), Life::Unknown, Fencing::Decided),
            (decided(), Life::Silent, Fencing::Decided),
            (annotation("?"), Life::Silent, Fencing::Unfenced),
        ] {
            assert_eq!(fencing(&marks, life), expected, "{marks:?} {life:?}");
        }
    }

    #[test]
    fn a_vote_counts_of_an_observer_that_can_see_and_report() {
        use SightState::{Alive, Dead, Unknown};
        let name = |text: &str| -> NodeName { text.parse().unwrap() };
        let report = |vote, others: &[SightState]| Report {
            version: Version::new("1"),
            ttl: Duration::from_secs(60),
            vote,
            sights: others
                .iter()
                .enumerate()
                .map(|(index, state)| Sight {
                    target: name(&format!("n{index}")),
                    state: *state,
                })
                .collect(),
            findings: Vec::new(),
            kubelet_failing: false,
            under_pressure: false,
        };
        let of_first = |report: &Report, can_report, holds| {
            vote_counts(report, &name("n0"), can_report, holds, 50)
        };
        let given = report(Standing::Given, &[Alive, Alive, Dead]);
        assert!(of_first(&given, true, true));
        assert!(!of_first(&given, false, true));
        assert!(!of_first(&given, true, false));
        let withdrawn = report(Standing::Withdrawn, &[Alive, Alive, Dead]);
        assert!(!of_first(&withdrawn, true, true));
        for (others, counts) in [
            (&[Dead, Alive, Unknown][..], true),
            (&[Dead, Dead, Dead, Alive], false),
            (&[Dead], false),
            (&[Alive, Unknown], false),
        ] {
            let report = report(Standing::Given, others);
            assert_eq!(of_first(&report, true, true), counts, "{others:?}");
        }
    }
}
