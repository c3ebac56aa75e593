use proptest::prelude::*;

use super::*;
use crate::fixture::start;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn before(now: Instant, count: u64) -> Instant {
    now.checked_sub(seconds(count)).unwrap()
}

fn silent(now: Instant, count: u64) -> Gateway {
    Gateway::Silent {
        since: before(now, count),
    }
}

/// Three alive, two dead for five seconds; the gateway answered a second ago.
fn standing() -> (Standing, Instant) {
    let now = start() + seconds(1000);
    let dead = (State::Dead, Some(before(now, 5)));
    let standing = Standing {
        now,
        has_key: true,
        roster_age: Some(seconds(60)),
        lagged_ago: None,
        flooded_ago: None,
        gateway: Gateway::Answers { at: before(now, 1) },
        peers: vec![
            (State::Alive, None),
            (State::Alive, None),
            (State::Alive, None),
            dead,
            dead,
        ],
    };
    (standing, now)
}

type Change = fn(&mut Standing, Instant);

fn check(rows: &[(Change, Option<Withdrawal>)]) {
    for (row, (change, expected)) in rows.iter().enumerate() {
        let (mut standing, now) = standing();
        change(&mut standing, now);
        let expected = match expected {
            Some(why) => Vote::Withdrawn(*why),
            None => Vote::Given {
                is_gateway_watched: standing.gateway != Gateway::NotWatched,
            },
        };
        assert_eq!(decide(&standing), expected, "row {row}: {standing:?}");
    }
}

#[test]
fn who_has_nothing_to_see_by_does_not_vote() {
    use Withdrawal as W;
    check(&[
        (|_, _| {}, None),
        (|it, _| it.has_key = false, Some(W::NoKey)),
        (|it, _| it.roster_age = None, Some(W::NoRoster)),
        (|it, _| it.peers.clear(), Some(W::NoRoster)),
        (|it, _| it.roster_age = Some(ROSTER_LIFE), None),
        (
            |it, _| it.roster_age = Some(ROSTER_LIFE + seconds(1)),
            Some(W::RosterOld),
        ),
        (|it, _| it.lagged_ago = Some(seconds(9)), Some(W::Lagging)),
        (|it, _| it.lagged_ago = Some(seconds(10)), None),
        (|it, _| it.flooded_ago = Some(seconds(0)), Some(W::Flooded)),
        (|it, _| it.flooded_ago = Some(seconds(11)), None),
    ]);
}

#[test]
fn a_gateway_that_may_be_the_cause_withdraws_the_vote() {
    use Withdrawal as W;
    check(&[
        // Once, beside the dead ones; once, and all answer; for long.
        (
            |it, now| it.gateway = silent(now, 0),
            Some(W::GatewaySilent),
        ),
        (
            |it, now| {
                it.gateway = silent(now, 4);
                it.peers.truncate(3);
            },
            None,
        ),
        (
            |it, now| {
                it.gateway = silent(now, 5);
                it.peers.truncate(3);
            },
            Some(W::GatewaySilent),
        ),
        (
            |it, _| it.gateway = Gateway::Unknown,
            Some(W::GatewayUnknown),
        ),
        // Looked at before the peers went silent.
        (
            |it, now| {
                it.gateway = Gateway::Answers { at: before(now, 6) };
            },
            Some(W::GatewayUnconfirmed),
        ),
        (|it, _| it.gateway = Gateway::NotWatched, None),
    ]);
}

#[test]
fn who_sees_too_few_does_not_vote() {
    use Withdrawal as W;
    check(&[
        (
            |it, _| it.peers = vec![(State::Unknown, None); 5],
            Some(W::Starting),
        ),
        // Two of five alive: half of the four others.
        (
            |it, now| it.peers[2] = (State::Dead, Some(before(now, 5))),
            None,
        ),
        (
            |it, now| {
                it.peers[2] = (State::Dead, Some(before(now, 5)));
                it.peers[1] = (State::Dead, Some(before(now, 5)));
            },
            Some(W::Isolated),
        ),
        // One peer alone, and it is dead: as likely it is this node.
        (|it, _| it.peers = vec![it.peers[4]], Some(W::Isolated)),
        (|it, _| it.peers = vec![it.peers[0]], None),
        (|it, _| it.peers = vec![it.peers[0], it.peers[4]], None),
    ]);
}

proptest! {
    #[test]
    fn a_node_that_sees_nobody_never_votes(count in 0_usize..8, unknown in 0_usize..8, watched: bool) {
        let (mut standing, now) = standing();
        standing.peers = vec![(State::Dead, Some(before(now, 5))); count];
        standing.peers.extend(vec![(State::Unknown, None); unknown]);
        if !watched {
            standing.gateway = Gateway::NotWatched;
        }
        prop_assert!(matches!(decide(&standing), Vote::Withdrawn(_)));
    }
}
