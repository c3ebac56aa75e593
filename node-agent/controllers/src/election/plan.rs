//! What a candidate does about the Lease: whom it leaves in peace, what it takes, for how long it may lead. Pure; every
//! instant is passed in.
//!
//! Only this process's monotonic clock counts. Times in the Lease are for people: another machine's wall clock may be wrong
//! by hours. **Always holds:** a term stands until [`TERM`] after the *sending* of the write that won or renewed it; somebody
//! else takes over only [`LEASE`] after the *receipt* of the last version of the Lease that it saw. So there are at least
//! `LEASE - TERM` between two leaders, for requests under way and for clocks that run unevenly. A holder that is known to be dead is not
//! waited for any longer than that.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A Lease that does not change for so long is its holder's no more (the time of Kubernetes' own controllers).
pub(super) const LEASE: Duration = Duration::from_secs(15);

/// A leader that could not renew for so long stops.
pub(crate) const TERM: Duration = Duration::from_secs(10);

/// Between two leaders, at least.
const BETWEEN: Duration = LEASE.saturating_sub(TERM);

/// A Lease, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The object's UID.
    pub(super) uid: String,
    /// The object's version: another one with each renewal.
    pub(super) version: String,
    /// Who has it; `None`: nobody.
    pub(super) holder: Option<String>,
    /// How often it changed hands.
    pub(super) transitions: u64,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Somebody else has it.
    Wait,
    /// There is none: make it, with this number of changes.
    Create {
        /// The term's.
        number: u64,
    },
    /// Take it, at this version.
    Take {
        /// Which object.
        seen: Seen,
        /// The term's.
        number: u64,
    },
    /// Renew the term that stands.
    Renew {
        /// Which object.
        seen: Seen,
    },
}

/// One process that would lead.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    identity: String,
    /// The newest version of somebody else's Lease, and since when it is seen.
    watched: Option<(Seen, Instant)>,
    /// Processes that are dead, and when they were at the latest.
    dead: Option<(BTreeSet<String>, Instant)>,
    /// The highest number seen: a Lease that was deleted and made anew must not count from the start.
    highest: u64,
}

impl Candidate {
    /// Named uniquely among all processes that ever were.
    pub(super) fn new(identity: String) -> Self {
        Self {
            identity,
            watched: None,
            dead: None,
            highest: 0,
        }
    }

    /// Who it is.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// These were dead by then: no term of theirs stands.
    pub(super) fn learn(&mut self, dead: BTreeSet<String>, at: Instant) {
        self.dead = Some((dead, at));
    }

    /// What to do with what was read. `leads`: a term of this process stands.
    pub(super) fn plan(&mut self, seen: Option<Seen>, leads: bool, now: Instant) -> Step {
        let Some(seen) = seen else {
            self.watched = None;
            return Step::Create {
                number: self.highest + 1,
            };
        };
        self.highest = self.highest.max(seen.transitions);
        let number = self.highest + 1;
        match seen.holder.as_deref().filter(|holder| !holder.is_empty()) {
            None => Step::Take { seen, number },
            Some(holder) if *holder == self.identity => {
                self.watched = None;
                if leads {
                    Step::Renew { seen }
                } else {
                    // Its own earlier term, which has ended: a new one.
                    Step::Take { seen, number }
                }
            }
            Some(holder) if self.is_dead(holder, now) => Step::Take { seen, number },
            Some(_) => self.watch(seen, number, now),
        }
    }

    /// And for so long that what it had sent has come to its end.
    fn is_dead(&self, holder: &str, now: Instant) -> bool {
        let dead = self.dead.as_ref();
        dead.is_some_and(|(names, at)| {
            names.contains(holder) && now.saturating_duration_since(*at) >= BETWEEN
        })
    }

    fn watch(&mut self, seen: Seen, number: u64, now: Instant) -> Step {
        let since = match &self.watched {
            Some((known, since)) if *known == seen => *since,
            _ => now,
        };
        self.watched = Some((seen.clone(), since));
        if now.saturating_duration_since(since) < LEASE {
            return Step::Wait;
        }
        Step::Take { seen, number }
    }
}

#[cfg(test)]
mod tests;
