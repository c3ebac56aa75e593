//! Signal `addresses`: each network of this node's rack has free addresses. Told by the address daemon; the look is
//! that of `ipamd`.
//!
//! Where nodes share a pool, a node knows what it has claimed: some free addresses that are ready. How full the pool is, its
//! status says.

use std::collections::BTreeMap;
use std::fmt;

use proto_crd::node_health::Decision;
use proto_ipam::v1::{Phase, PoolStatus, StatusResponse};

use super::ipamd::Sight;
use crate::health::assess::{PERIOD, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("addresses");

/// How it is judged.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: PERIOD,
    ttl: TTL,
    set: 3,
    // Pods come and go: what is free must stay free for a while, or the signal would flap with every one.
    clear: 6,
    decision: Decision::Observe,
    escalation: None,
    threshold: "5 % free of each network; wrong when fewer at 3 looks, 10 s apart",
};

/// One address in so many must be free: 5 %.
const FREE_OF: u64 = 20;

/// The addresses of one family in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Share<'a> {
    network: &'a str,
    family: Family,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Room {
    capacity: u64,
    free: u64,
    /// Where nodes share a pool: what this one has not claimed.
    unclaimed: u64,
}

impl fmt::Display for Share<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        write!(f, "{} {family}", self.network)
    }
}

impl Room {
    const fn is_low(self) -> bool {
        // Where it shares a pool it keeps some claimed and claims more: it is short when it could not.
        self.free == 0 || (self.unclaimed == 0 && self.free < self.capacity / FREE_OF)
    }
}

/// What a look says of the addresses.
pub(super) fn assess(sight: &Sight) -> Verdict {
    let unclear = |why: &str| {
        let why = format!("only berth-ipamd knows the free addresses, and {why}");
        Verdict::unclear(SIGNAL, why)
    };
    match sight {
        Sight::Told(status) => match status.phase() {
            Phase::Serving | Phase::ReadOnly => assess_pools(status),
            Phase::NoRack => unclear("it does not know this node's rack"),
            Phase::Recovering | Phase::Damaged | Phase::Unspecified => {
                unclear("it does not trust its own book yet")
            }
        },
        Sight::Away { .. } => unclear("it is away"),
        Sight::Silent | Sight::Faulty { .. } => unclear("it does not answer"),
        Sight::Blind { .. } => unclear("the agent cannot connect to it"),
    }
}

fn assess_pools(status: &StatusResponse) -> Verdict {
    let mut rooms: BTreeMap<Share<'_>, Room> = BTreeMap::new();
    for pool in status.pools.iter().filter(|pool| pool.rack == status.rack) {
        let room = rooms.entry(share(pool)).or_default();
        // IPv6 pools are told as full as a number can say.
        room.capacity = room.capacity.saturating_add(pool.capacity);
        room.free = room.free.saturating_add(pool.free);
        room.unclaimed = room.unclaimed.saturating_add(unclaimed(pool));
    }
    let list = |low_only: bool| {
        let wanted = rooms.iter().filter(|(_, room)| !low_only || room.is_low());
        let texts: Vec<_> = wanted
            .map(|(share, room)| describe(*share, *room))
            .collect();
        texts.join(", ")
    };
    let all = list(false);
    if rooms.is_empty() {
        let message = format!("no pool is of this node's rack, {:?}", status.rack);
        return Verdict::bad(SIGNAL, "no pools", trouble("no-pool", message));
    }
    let low: Vec<_> = rooms.values().filter(|room| room.is_low()).collect();
    if low.is_empty() {
        return Verdict::good(SIGNAL, all);
    }
    let kind = if low.iter().any(|room| room.free == 0) {
        "exhausted"
    } else {
        "low"
    };
    let message = format!("few addresses are free: {}", list(true));
    Verdict::bad(SIGNAL, all, trouble(kind, message))
}

/// What is in no state here.
fn unclaimed(pool: &PoolStatus) -> u64 {
    let used = [pool.attached, pool.held, pool.quarantined, pool.conflicting];
    let known = used.into_iter().fold(pool.free, u64::saturating_add);
    pool.capacity.saturating_sub(known)
}

fn share(pool: &PoolStatus) -> Share<'_> {
    let family = if pool.subnet.contains(':') {
        Family::V6
    } else {
        Family::V4
    };
    Share {
        network: &pool.network,
        family,
    }
}

fn describe(share: Share<'_>, room: Room) -> String {
    if room.unclaimed > 0 {
        return format!("{share} {} claimed and free", room.free);
    }
    if room.capacity == u64::MAX {
        return format!("{share} plenty free");
    }
    format!("{share} {} of {} free", room.free, room.capacity)
}

fn trouble(kind: &'static str, message: String) -> Trouble {
    Trouble {
        kind,
        message,
        impact: "Pods that start on this node, and have no address of their own yet, soon get none or get none already; \
                 running Pods keep theirs"
            .to_owned(),
        advice: "berth-ipamd list on the node shows who has or holds what: release what is not needed any more \
                 (berth-ipamd release), or give the network's pool more ranges"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    fn pool(network: &str, rack: &str, subnet: &str, capacity: u64, free: u64) -> PoolStatus {
        PoolStatus {
            network: network.into(),
            rack: rack.into(),
            subnet: subnet.into(),
            capacity,
            held: capacity - free,
            free,
            ..PoolStatus::default()
        }
    }

    /// One that nodes share, of which this one has so many free.
    fn shared(subnet: &str, capacity: u64, free: u64) -> PoolStatus {
        PoolStatus {
            attached: 3,
            held: 0,
            ..pool("x", "a", subnet, capacity, free)
        }
    }

    fn sight(phase: Phase, pools: Vec<PoolStatus>) -> Sight {
        Sight::Told(Box::new(StatusResponse {
            phase: phase.into(),
            rack: "a".into(),
            pools,
            ..StatusResponse::default()
        }))
    }

    fn kind(sight: &Sight) -> Option<&'static str> {
        match assess(sight).finding {
            Finding::Good => Some("good"),
            Finding::Bad(trouble) => Some(trouble.kind),
            Finding::Unclear { .. } | Finding::Absent => None,
        }
    }

    const V4: &str = "10.20.1.0/24";
    const V6: &str = "fd00::/64";

    #[test]
    fn free_addresses_are_judged_by_the_table() {
        let table = [
            ("half", vec![pool("x", "a", V4, 100, 50)], "good"),
            ("just enough", vec![pool("x", "a", V4, 100, 5)], "good"),
            ("few", vec![pool("x", "a", V4, 100, 4)], "low"),
            ("none", vec![pool("x", "a", V4, 100, 0)], "exhausted"),
            (
                "a small pool may be nearly full",
                vec![pool("x", "a", V4, 4, 1)],
                "good",
            ),
            (
                "a small pool that is full",
                vec![pool("x", "a", V4, 4, 0)],
                "exhausted",
            ),
            (
                "another rack's is full",
                vec![pool("x", "a", V4, 9, 9), pool("y", "b", V4, 9, 0)],
                "good",
            ),
            (
                "only another rack's",
                vec![pool("x", "b", V4, 9, 9)],
                "no-pool",
            ),
            ("no pool at all", vec![], "no-pool"),
            (
                "two pools of one network help each other",
                vec![pool("x", "a", V4, 10, 0), pool("x", "a", V4, 10, 10)],
                "good",
            ),
            (
                "two families do not",
                vec![
                    pool("x", "a", V4, 10, 0),
                    pool("x", "a", V6, u64::MAX, u64::MAX),
                ],
                "exhausted",
            ),
            (
                "huge pools",
                vec![pool("x", "a", V6, u64::MAX, u64::MAX); 2],
                "good",
            ),
        ];
        for (case, pools, expected) in table {
            assert_eq!(
                kind(&sight(Phase::Serving, pools)),
                Some(expected),
                "{case}"
            );
        }
    }

    #[test]
    fn who_does_not_tell_says_nothing() {
        let pools = || vec![pool("x", "a", V4, 100, 0)];
        assert_eq!(kind(&sight(Phase::ReadOnly, pools())), Some("exhausted"));
        for sight in [
            sight(Phase::Recovering, pools()),
            sight(Phase::Damaged, pools()),
            Sight::Silent,
            Sight::Away { why: String::new() },
        ] {
            assert_eq!(kind(&sight), None, "{sight:?}");
        }
    }

    #[test]
    fn of_a_shared_pool_what_is_ready_counts_and_is_told() {
        for (pool, expected) in [
            (shared(V4, 180, 1), "good"),
            (shared(V6, u64::MAX, 8), "good"),
            (shared(V4, 180, 0), "exhausted"),
        ] {
            assert_eq!(kind(&sight(Phase::Serving, vec![pool])), Some(expected));
        }
        let verdict = assess(&sight(Phase::Serving, vec![shared(V4, 180, 8)]));
        assert_eq!(verdict.value, "x IPv4 8 claimed and free");
    }

    #[test]
    fn figures_are_told() {
        let pools = vec![
            pool("external", "a", V4, 100, 2),
            pool("internal", "a", V4, 100, 60),
            pool("internal", "a", V6, u64::MAX, u64::MAX),
        ];
        let verdict = assess(&sight(Phase::Serving, pools));
        let all =
            "external IPv4 2 of 100 free, internal IPv4 60 of 100 free, internal IPv6 plenty free";
        assert_eq!(verdict.value, all);
        let Finding::Bad(trouble) = verdict.finding else {
            panic!("not bad");
        };
        assert_eq!(
            trouble.message,
            "few addresses are free: external IPv4 2 of 100 free"
        );
    }
}
