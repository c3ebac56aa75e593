//! What is told of the peers, and of the worth of that. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use node_agent_peers::judge::{self, State, Track};
use node_agent_peers::mesh::Peer;
use node_agent_peers::vote::{self, Withdrawal};
use proto_crd::peer::{
    CLOCK_LIMIT_MILLISECONDS, PeerSight, PeerState, RTT_LIMIT_MICROSECONDS, Vote, VoteReason,
    VoteState,
};

/// What this node sees of its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sights {
    /// Each.
    pub(crate) peers: Vec<PeerSight>,
    /// Whether it is to be counted.
    pub(crate) vote: Vote,
}

/// What a change of makes it worth telling. Figures are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gist {
    peers: Vec<(String, PeerState)>,
    vote: VoteReason,
}

impl Sights {
    /// What makes it worth telling.
    pub(crate) fn gist(&self) -> Gist {
        let of = |peer: &PeerSight| (peer.node.clone(), peer.state);
        Gist {
            peers: self.peers.iter().map(of).collect(),
            vote: self.vote.reason,
        }
    }

    /// What is told at this moment; the vote is as old as the last change of its reason.
    pub(super) fn new<'a>(
        peers: impl Iterator<Item = (&'a Peer, &'a Track)>,
        vote: vote::Vote,
        last: Option<&Self>,
        now: Timestamp,
    ) -> Self {
        let mut peers: Vec<_> = peers.map(sight).collect();
        peers.sort_by(|one, other| one.node.cmp(&other.node));
        let alive = peers.iter().filter(|it| it.state == PeerState::Alive);
        let (state, reason) = reason(vote);
        let message = message(reason, alive.count(), peers.len());
        let since = last
            .filter(|last| last.vote.reason == reason)
            .map_or(Time(now), |last| last.vote.since.clone());
        Self {
            peers,
            vote: Vote {
                state,
                reason,
                message,
                since,
            },
        }
    }
}

fn sight((peer, track): (&Peer, &Track)) -> PeerSight {
    let rtt = track.rtt().map(|rtt| {
        let micros = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
        micros.min(RTT_LIMIT_MICROSECONDS)
    });
    let clock = track.clock_offset_micros().map(|micros| {
        let millis = micros / 1000;
        millis.clamp(-CLOCK_LIMIT_MILLISECONDS, CLOCK_LIMIT_MILLISECONDS)
    });
    PeerSight {
        node: peer.node.clone(),
        rack: peer.rack.clone(),
        state: match track.state() {
            State::Unknown => PeerState::Unknown,
            State::Alive => PeerState::Alive,
            State::Dead => PeerState::Dead,
        },
        since: Time(time(track.since())),
        lost_percent: track.lost_percent(),
        rtt_microseconds: rtt,
        clock_ahead_milliseconds: clock,
    }
}

fn time(moment: judge::Moment) -> Timestamp {
    Timestamp::from_microsecond(moment.wall_micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn reason(vote: vote::Vote) -> (VoteState, VoteReason) {
    use Withdrawal as W;
    match vote {
        vote::Vote::Given {
            is_gateway_watched: true,
        } => (VoteState::Given, VoteReason::Seeing),
        vote::Vote::Given {
            is_gateway_watched: false,
        } => (VoteState::Given, VoteReason::GatewayNotWatched),
        vote::Vote::Withdrawn(why) => {
            let reason = match why {
                W::NoKey => VoteReason::NoKey,
                W::NoRoster => VoteReason::NoRoster,
                W::RosterOld => VoteReason::RosterOld,
                W::Lagging => VoteReason::Lagging,
                W::Flooded => VoteReason::Flooded,
                W::GatewaySilent => VoteReason::GatewaySilent,
                W::GatewayUnknown => VoteReason::GatewayUnknown,
                W::GatewayUnconfirmed => VoteReason::GatewayUnconfirmed,
                W::Starting => VoteReason::Starting,
                W::Isolated => VoteReason::Isolated,
            };
            (VoteState::Withdrawn, reason)
        }
    }
}

fn message(reason: VoteReason, alive: usize, of: usize) -> String {
    let text = match reason {
        VoteReason::Seeing => {
            return format!("{alive} of {of} peers answer, and so do this node's gateways");
        }
        VoteReason::GatewayNotWatched => {
            return format!("{alive} of {of} peers answer; this node has no gateways to look at");
        }
        VoteReason::Isolated => {
            return format!(
                "only {alive} of {of} peers answer: more likely it is this node that is cut off"
            );
        }
        VoteReason::NoKey => {
            "there is no key to sign with, so nobody is asked; it comes with the Secret berth-peers, which the controllers make"
        }
        VoteReason::NoRoster => {
            "nobody said whom to look at, or it is nobody; the controllers do, for nodes with a rack and an InternalIP"
        }
        VoteReason::RosterOld => {
            "whom to look at was said more than a day ago; is the API server away?"
        }
        VoteReason::Lagging => "the agent stood still for more than a second just now",
        VoteReason::Flooded => "more arrives at the agent's port than it reads",
        VoteReason::GatewaySilent => "a gateway of this node does not answer",
        VoteReason::GatewayUnknown => {
            "nobody has looked at this node's gateways lately; see the signal gateway"
        }
        VoteReason::GatewayUnconfirmed => {
            "this node's gateways were not looked at since a peer went silent"
        }
        VoteReason::Starting => "no peer was asked often enough yet",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use node_agent_peers::datagram::{BootId, Nonce};
    use node_agent_peers::judge::{Heard, Moment, PERIOD};
    use proto_crd::peer::MESSAGE_LIMIT;

    use super::*;

    fn peer(node: &str) -> Peer {
        Peer {
            node: node.into(),
            rack: "a".into(),
            address: "10.0.0.1".parse().unwrap(),
        }
    }

    fn at(seconds: u32) -> Moment {
        Moment {
            at: Instant::now() + PERIOD * seconds,
            wall_micros: i64::from(seconds) * 1_000_000,
        }
    }

    /// Asked once a second; answers until then, after a millisecond, with a clock that is 90 s ahead.
    fn track(seconds: u32, answers: u32) -> Track {
        let mut track = Track::new(at(0));
        for second in 0..seconds {
            let now = at(second);
            track.tick(now);
            let nonce = Nonce([u8::try_from(second).unwrap(); 16]);
            track.sent(nonce, now);
            if second < answers {
                let heard = Heard {
                    nonce,
                    boot: BootId::of("b"),
                    time_micros: now.wall_micros + 90_000_000,
                };
                let later = Moment {
                    at: now.at + Duration::from_millis(1),
                    ..now
                };
                track.heard(heard, later).unwrap();
            }
        }
        track
    }

    const GIVEN: vote::Vote = vote::Vote::Given {
        is_gateway_watched: true,
    };

    #[test]
    fn what_is_seen_is_told_and_only_changes_are_worth_it() {
        let (alive, dead) = ((peer("n2"), track(10, 10)), (peer("n1"), track(20, 4)));
        let both = || {
            [&alive, &dead]
                .into_iter()
                .map(|(peer, track)| (peer, track))
        };
        let now = Timestamp::from_second(100).unwrap();
        let sights = Sights::new(both(), GIVEN, None, now);
        assert_eq!(sights.peers[0].node, "n1");
        assert_eq!(sights.peers[0].state, PeerState::Dead);
        assert_eq!(sights.peers[1].state, PeerState::Alive);
        assert_eq!(sights.peers[1].rtt_microseconds, Some(1000));
        assert_eq!(sights.peers[1].clock_ahead_milliseconds, Some(90_000));
        assert_eq!(sights.vote.reason, VoteReason::Seeing);
        assert_eq!(sights.vote.since, Time(now));
        let later = now + k8s_openapi::jiff::SignedDuration::from_secs(9);
        let again = Sights::new(both(), GIVEN, Some(&sights), later);
        assert_eq!(again.vote.since, Time(now));
        let more = (peer("n2"), track(17, 14));
        let figures = [&more, &dead]
            .into_iter()
            .map(|(peer, track)| (peer, track));
        let figures = Sights::new(figures, GIVEN, Some(&sights), later);
        assert_ne!(figures.peers, sights.peers);
        assert_eq!(figures.gist(), sights.gist());
        let lagging = vote::Vote::Withdrawn(Withdrawal::Lagging);
        let lagging = Sights::new(both(), lagging, Some(&sights), later);
        assert_ne!(lagging.gist(), sights.gist());
        assert_eq!(lagging.vote.since, Time(later));
    }

    #[test]
    fn every_reason_is_explained_in_a_message_that_fits() {
        for why in [
            Withdrawal::NoKey,
            Withdrawal::NoRoster,
            Withdrawal::RosterOld,
            Withdrawal::Lagging,
            Withdrawal::Flooded,
            Withdrawal::GatewaySilent,
            Withdrawal::GatewayUnknown,
            Withdrawal::GatewayUnconfirmed,
            Withdrawal::Starting,
            Withdrawal::Isolated,
        ] {
            let (state, reason) = reason(vote::Vote::Withdrawn(why));
            assert_eq!(state, VoteState::Withdrawn);
            assert_eq!(format!("{reason:?}"), format!("{why:?}"));
            let message = message(reason, 1, 5);
            assert!(!message.is_empty() && message.len() <= MESSAGE_LIMIT);
        }
    }
}
