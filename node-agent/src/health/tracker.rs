//! How one signal is judged from its looks: set, clear, time to live. Pure; every instant is passed in.
//!
//! Healthy is only what was seen good within its time to live, unhealthy only what was looked at within it; everything
//! else is unknown. A state counts after as many looks in a row as its rule says, but the first good look counts at once.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proto_crd::node_health::{self, Decision, SignalState};

use super::assess::Rule;
use super::moment::Moment;
use super::signal::{Finding, Signal, Trouble, Verdict};

/// One signal.
#[derive(Clone, Debug)]
pub(super) struct Tracker {
    rule: Rule,
    born: Moment,
    /// What counts, whether it is still known or not.
    settled: Option<Settled>,
    /// The last look that said something.
    last: Option<Look>,
    last_good: Option<Moment>,
    /// Looks of one kind in a row.
    run: Option<Run>,
    /// What was wrong when something last was.
    trouble: Option<Trouble>,
    urge: Urge,
    /// Why the last look said nothing, if it did not.
    unclear: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Settled {
    healthy: bool,
    /// For people.
    since: Timestamp,
    /// The same on the monotonic clock: since before `at` by `before`.
    at: Moment,
    before: Duration,
    /// Not seen by this process to begin, so it may have begun earlier than it says.
    open: bool,
}

#[derive(Clone, Debug)]
struct Look {
    at: Moment,
    good: bool,
    /// There is nothing that could be otherwise.
    absent: bool,
    value: String,
}

/// What bad looks urge. Like a state, it counts when as many in a row say it as the rule needs to set.
#[derive(Clone, Copy, Debug)]
struct Urge {
    said: Option<Decision>,
    looks: u32,
    counts: Option<Decision>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    good: bool,
    begun: Moment,
    looks: u32,
}

/// What is known of a signal at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Which.
    pub(super) signal: Signal,
    /// How it is.
    pub(super) state: SignalState,
    /// Since when.
    pub(super) since: Timestamp,
    /// The last look that said something.
    pub(super) observed: Option<Timestamp>,
    /// What it saw.
    pub(super) value: String,
    /// Present where it is unhealthy.
    pub(super) wrong: Option<Wrong>,
    /// Why it is not known, where it is not.
    pub(super) unknown: Option<String>,
}

/// What is wrong, and what it is reason enough for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The trouble.
    pub(super) trouble: Trouble,
    /// The decision it supports by now.
    pub(super) decision: Decision,
}

impl Settled {
    fn new(healthy: bool, begun: Moment) -> Self {
        Self {
            healthy,
            since: begun.wall,
            at: begun,
            before: Duration::ZERO,
            open: false,
        }
    }

    fn lasting(&self, now: Moment) -> Duration {
        self.before + now.since(self.at)
    }
}

impl Urge {
    const NONE: Self = Self {
        said: None,
        looks: 0,
        counts: None,
    };

    fn hear(&mut self, said: Option<Decision>, needed: u32) {
        if self.said != said {
            (self.said, self.looks) = (said, 0);
        }
        self.looks = self.looks.saturating_add(1);
        if self.looks >= needed {
            self.counts = said;
        }
    }
}

impl Tracker {
    /// A signal that nobody has looked at yet.
    pub(super) const fn new(rule: Rule, born: Moment) -> Self {
        Self {
            rule,
            born,
            settled: None,
            last: None,
            last_good: None,
            run: None,
            trouble: None,
            urge: Urge::NONE,
            unclear: None,
        }
    }

    /// The rule it is judged by.
    pub(super) const fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Whether something was seen, or nothing was for as long as a look holds.
    pub(super) fn is_decided(&self, now: Moment) -> bool {
        self.last.is_some() || self.unclear.is_some() || now.since(self.born) > self.rule.ttl
    }

    /// Takes a look into account.
    pub(super) fn look(&mut self, verdict: Verdict, now: Moment) {
        let absent = verdict.finding == Finding::Absent;
        let good = match verdict.finding {
            Finding::Unclear { why } => {
                self.unclear = Some(why);
                return;
            }
            Finding::Good | Finding::Absent => true,
            Finding::Bad(trouble) => {
                self.trouble = Some(trouble);
                self.urge.hear(verdict.urges, self.rule.set);
                false
            }
        };
        self.unclear = None;
        let lapsed = self.is_lapsed(now);
        let run = self.extend(good, lapsed, now);
        self.settle(run, lapsed, now);
        self.last = Some(Look {
            at: now,
            good,
            absent,
            value: verdict.value,
        });
        if good {
            self.last_good = Some(now);
        }
    }

    fn extend(&mut self, good: bool, lapsed: bool, now: Moment) -> Run {
        let run = match self.run {
            // Looks with nothing between them that holds are not "in a row".
            Some(run) if run.good == good && !lapsed => Run {
                looks: run.looks.saturating_add(1),
                ..run
            },
            _ => Run {
                good,
                begun: now,
                looks: 1,
            },
        };
        self.run = Some(run);
        run
    }

    fn settle(&mut self, run: Run, lapsed: bool, now: Moment) {
        let needed = if run.good {
            self.rule.clear
        } else {
            self.rule.set
        };
        let counts = run.looks >= needed;
        match &mut self.settled {
            None if run.good || counts => {
                let begun = Settled::new(run.good, run.begun);
                self.settled = Some(Settled {
                    open: true,
                    ..begun
                });
            }
            // Nobody knows what was in between: what is wrong may have stayed so, what is fine is fine from now on.
            Some(settled) if settled.healthy && run.good && lapsed => {
                *settled = Settled::new(true, now);
            }
            Some(settled) if settled.healthy != run.good && counts => {
                *settled = Settled::new(run.good, run.begun);
            }
            None | Some(_) => {}
        }
    }

    /// Goes on from what an earlier process of the same boot reported of this signal.
    pub(super) fn adopt(&mut self, prior: &node_health::Signal, now: Moment) {
        let healthy = match prior.state {
            SignalState::Healthy => true,
            SignalState::Unhealthy => false,
            SignalState::Unknown | SignalState::Absent => return,
        };
        let since = prior.since.0;
        let adopted = Settled {
            healthy,
            since,
            at: now,
            before: now.since_wall(since),
            open: true,
        };
        match &mut self.settled {
            None => self.settled = Some(adopted),
            Some(own) if own.healthy == healthy && own.open && since < own.since => *own = adopted,
            // It has changed since.
            Some(_) => return,
        }
        if self.trouble.is_none() && !healthy {
            self.trouble = Some(Trouble {
                kind: "earlier",
                message: prior.message.clone().unwrap_or_default(),
                impact: prior.impact.clone().unwrap_or_default(),
                advice: prior.advice.clone().unwrap_or_default(),
            });
        }
    }

    /// What is known at this moment.
    pub(super) fn view(&self, now: Moment) -> View {
        let (state, since) = self.state(now);
        let wrong = match (state, &self.settled, &self.trouble) {
            (SignalState::Unhealthy, Some(settled), Some(trouble)) => Some(Wrong {
                trouble: trouble.clone(),
                decision: self.decision(settled.lasting(now)),
            }),
            _ => None,
        };
        View {
            signal: self.rule.signal,
            state,
            since,
            observed: self.last.as_ref().map(|look| look.at.wall),
            value: self
                .last
                .as_ref()
                .map(|look| look.value.clone())
                .unwrap_or_default(),
            wrong,
            unknown: (state == SignalState::Unknown).then(|| self.why_unknown(now)),
        }
    }

    fn state(&self, now: Moment) -> (SignalState, Timestamp) {
        let Some(last) = &self.last else {
            return (SignalState::Unknown, self.born.wall);
        };
        if self.is_lapsed(now) {
            let end = last.at.after(self.rule.ttl);
            return (SignalState::Unknown, end.wall);
        }
        match (&self.settled, self.last_good) {
            (Some(settled), _) if !settled.healthy => (SignalState::Unhealthy, settled.since),
            (Some(settled), Some(good)) if now.since(good) <= self.rule.ttl => {
                let state = if last.absent {
                    SignalState::Absent
                } else {
                    SignalState::Healthy
                };
                (state, settled.since)
            }
            // Bad looks that are not in a row.
            (Some(_), Some(good)) => (SignalState::Unknown, good.after(self.rule.ttl).wall),
            // Bad looks that do not count yet, and this process has seen no good one.
            (None, _) | (Some(_), None) => (SignalState::Unknown, self.born.wall),
        }
    }

    fn is_lapsed(&self, now: Moment) -> bool {
        let last = self.last.as_ref();
        last.is_some_and(|look| now.since(look.at) > self.rule.ttl)
    }

    fn decision(&self, lasting: Duration) -> Decision {
        let ruled = match self.rule.escalation {
            Some(step) if lasting >= step.after => step.to,
            _ => self.rule.decision,
        };
        self.urge.counts.map_or(ruled, |urged| ruled.max(urged))
    }

    fn why_unknown(&self, now: Moment) -> String {
        if let Some(why) = &self.unclear {
            return why.clone();
        }
        match (&self.last, &self.trouble) {
            (None, _) => "nobody has looked at it yet".to_owned(),
            (Some(look), Some(trouble)) if !look.good && !self.is_lapsed(now) => {
                format!("not wrong for long enough to count: {}", trouble.message)
            }
            (Some(_), _) => {
                let seconds = self.rule.ttl.as_secs();
                format!("no look at it has ended for more than {seconds} s")
            }
        }
    }
}

#[cfg(test)]
mod tests;
