//! The breakers with their memory: open, closed lately, or not there.

use std::collections::{BTreeMap, BTreeSet};

use crate::breaker::Cause;
use crate::config::Breakers;
use crate::decision::{Change, Hold};
use crate::moment::Moment;
use crate::observation::{RuleName, ZoneName};

#[derive(Clone, Debug)]
enum State {
    /// Its cause was last seen then.
    Open { seen: Moment },
    /// Since then; and one was admitted then.
    Closed { at: Moment, admitted: Moment },
}

/// All breakers that are open or were lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Gates {
    states: BTreeMap<Cause, State>,
}

/// What something is done about, as far as breakers go.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) zone: &'a ZoneName,
    /// The rule whose finding it is done for.
    pub(super) rule: Option<&'a RuleName>,
}

impl Gates {
    /// Takes in which causes hold; says what opened and closed.
    pub(super) fn update(
        &mut self,
        causes: &BTreeSet<Cause>,
        now: Moment,
        config: &Breakers,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for cause in causes {
            let before = self.states.insert(cause.clone(), State::Open { seen: now });
            if !matches!(before, Some(State::Open { .. })) {
                changes.push(Change::BreakerOpened(cause.clone()));
            }
        }
        self.states.retain(|cause, state| match *state {
            State::Open { seen } => {
                // A term that has just begun has all its ages from its own beginning: it needs no quiet and no slow time.
                let is_warm_up = *cause == Cause::WarmUp && seen < now;
                if is_warm_up || now.since(seen) >= config.quiet {
                    changes.push(Change::BreakerClosed(cause.clone()));
                    *state = State::Closed {
                        at: now,
                        admitted: now,
                    };
                }
                !is_warm_up
            }
            State::Closed { at, .. } => now.since(at) < config.slow_for,
        });
        changes
    }

    /// Those that are open.
    pub(super) fn open(&self) -> Vec<Cause> {
        let open = self
            .states
            .iter()
            .filter(|(_, state)| matches!(state, State::Open { .. }));
        open.map(|(cause, _)| cause.clone()).collect()
    }

    /// One that is open there.
    pub(super) fn stops(&self, place: Place<'_>) -> Option<Hold> {
        self.covering(place)
            .find(|(_, state)| matches!(state, State::Open { .. }))
            .map(|(cause, _)| Hold::Breaker(cause.clone()))
    }

    /// One that is open there, or was lately and has admitted somebody lately.
    pub(super) fn holds(&self, place: Place<'_>, now: Moment, config: &Breakers) -> Option<Hold> {
        let slow = || {
            self.covering(place).find_map(|(cause, state)| match state {
                State::Closed { admitted, .. } if now.since(*admitted) < config.slow_gap => {
                    Some(Hold::Slow(cause.clone()))
                }
                _ => None,
            })
        };
        self.stops(place).or_else(slow)
    }

    /// One was admitted there.
    pub(super) fn admitted(&mut self, place: Place<'_>, now: Moment) {
        for (cause, state) in &mut self.states {
            if let State::Closed { admitted, .. } = state
                && covers(cause, place)
            {
                *admitted = now;
            }
        }
    }

    fn covering(&self, place: Place<'_>) -> impl Iterator<Item = (&Cause, &State)> {
        self.states
            .iter()
            .filter(move |(cause, _)| covers(cause, place))
    }
}

fn covers(cause: &Cause, place: Place<'_>) -> bool {
    match cause {
        Cause::StaleZone(zone) => zone == place.zone,
        Cause::RuleWave(rule) => place.rule == Some(rule),
        // Where a replacement will be scheduled is not ours to say: when they fail in one rack, no more are made.
        Cause::FailedReplacements(_)
        | Cause::StaleCluster
        | Cause::DarkZones
        | Cause::WatchLag
        | Cause::LeaseWrite
        | Cause::WarmUp => true,
    }
}
