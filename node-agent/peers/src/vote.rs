//! Whether what this node sees of others is worth anything.
//!
//! A node that is cut off sees everybody else dead. So a node withdraws its own vote as soon as something speaks against itself, and
//! also where it cannot know: a vote that is missing delays a decision, a wrong one makes a wrong decision. Nothing acts on votes yet.

use std::time::{Duration, Instant};

use crate::judge::State;

/// Withdrawn so long after the process stood still, or was flooded: until every peer could be judged anew.
pub const RECOVERY: Duration = Duration::from_secs(10);

/// A roster that the API server has not confirmed for so long may name nodes that are gone.
pub const ROSTER_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// A gateway that is silent for so long speaks against this node, even while all peers answer: one lost question does not.
pub const GATEWAY_PATIENCE: Duration = Duration::from_secs(5);

/// What is known of the ways that lead out of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// Nobody looks: the node has no signal for it.
    NotWatched,
    /// Not looked at yet, or not for too long.
    Unknown,
    /// At the last look at least one did not answer.
    Silent {
        /// Since which look.
        since: Instant,
    },
    /// At the last look, then, all answered.
    Answers {
        /// When it was looked.
        at: Instant,
    },
}

/// What the vote depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// When it is so.
    pub now: Instant,
    /// There is a key to sign with.
    pub has_key: bool,
    /// How long ago the API server confirmed the roster; none where there is none.
    pub roster_age: Option<Duration>,
    /// How long ago the process stood still for more than a second, if it did.
    pub lagged_ago: Option<Duration>,
    /// How long ago more arrived than is read, if it did.
    pub flooded_ago: Option<Duration>,
    /// What is known of the gateways.
    pub gateway: Gateway,
    /// The peers, and since when those that do not answer do not.
    pub peers: Vec<(State, Option<Instant>)>,
}

/// Whether this node's view counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    /// It does.
    Given {
        /// Somebody looks at the gateways, and they answer.
        is_gateway_watched: bool,
    },
    /// It does not.
    Withdrawn(Withdrawal),
}

/// Why a vote is withdrawn. The first that applies, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Withdrawal {
    /// No key: nobody is asked.
    NoKey,
    /// Nobody said who is to be asked, or it is nobody.
    NoRoster,
    /// Who is to be asked was said too long ago.
    RosterOld,
    /// This process stood still.
    Lagging,
    /// More arrives than is read.
    Flooded,
    /// The own gateway does not answer.
    GatewaySilent,
    /// Whether it does is not known.
    GatewayUnknown,
    /// It was not looked at since peers went silent: both may have one cause.
    GatewayUnconfirmed,
    /// No peer was judged yet.
    Starting,
    /// Most peers are dead: more likely it is this node.
    Isolated,
}

/// Decides.
pub fn decide(standing: &Standing) -> Vote {
    match withdrawal(standing) {
        Some(why) => Vote::Withdrawn(why),
        None => Vote::Given {
            is_gateway_watched: standing.gateway != Gateway::NotWatched,
        },
    }
}

fn withdrawal(standing: &Standing) -> Option<Withdrawal> {
    let recent = |ago: Option<Duration>| ago.is_some_and(|ago| ago < RECOVERY);
    let Some(roster_age) = standing
        .roster_age
        .filter(|_| standing.has_key && !standing.peers.is_empty())
    else {
        let is_keyless = !standing.has_key;
        return Some(if is_keyless {
            Withdrawal::NoKey
        } else {
            Withdrawal::NoRoster
        });
    };
    if roster_age > ROSTER_LIFE {
        return Some(Withdrawal::RosterOld);
    }
    if recent(standing.lagged_ago) {
        return Some(Withdrawal::Lagging);
    }
    if recent(standing.flooded_ago) {
        return Some(Withdrawal::Flooded);
    }
    let count = |state| standing.peers.iter().filter(|(it, _)| *it == state).count();
    let (alive, dead) = (count(State::Alive), count(State::Dead));
    let dead_since = standing.peers.iter().filter(|(it, _)| *it == State::Dead);
    let last_silence = dead_since.filter_map(|(_, since)| *since).max();
    match standing.gateway {
        Gateway::Silent { since } => {
            let silent = standing.now.saturating_duration_since(since);
            if dead > 0 || silent >= GATEWAY_PATIENCE {
                return Some(Withdrawal::GatewaySilent);
            }
        }
        Gateway::Unknown => return Some(Withdrawal::GatewayUnknown),
        Gateway::Answers { at } if last_silence.is_some_and(|since| at < since) => {
            return Some(Withdrawal::GatewayUnconfirmed);
        }
        Gateway::Answers { .. } | Gateway::NotWatched => {}
    }
    if alive + dead == 0 {
        return Some(Withdrawal::Starting);
    }
    // A vote against one counts only where at least half of the others are seen; where there are no others, only where
    // it is not against that one.
    let others = (alive + dead).saturating_sub(1);
    (alive == 0 || alive * 2 < others).then_some(Withdrawal::Isolated)
}

#[cfg(test)]
mod tests;
