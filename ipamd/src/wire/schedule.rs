//! Which address is asked for next, and whose silence has lasted. Pure: time is injected.
//!
//! Always: no more questions than the rate allows; a free address that was never asked for comes first, in the order in
//! which addresses are handed out; conflicts and held addresses share what is left. Bounded: what the ledger names
//! free and in conflict, and one page of held addresses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::WireSettings;
use super::rate::Bucket;

/// Held addresses asked for from one page: two seconds' worth at the default rate.
pub(super) const PAGE: usize = 100;
/// A frame can be lost: a new free address is asked for twice, this far apart (RFC 5227, `PROBE_MIN`).
const SECOND_ASKING: Duration = Duration::from_secs(1);
const ASKINGS: u32 = 2;
/// How often a foreign host is asked whether it is still there: a quarter of the time that its silence must last, within
/// these bounds.
const CONFLICT_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Questions without an answer before silence is believed.
const UNANSWERED: u32 = 3;
/// Conflicts followed at a time; more are followed as these end.
const CONFLICTS: usize = 4096;

/// The questions of one segment.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    probe_again: Duration,
    silence: Duration,
    /// Time between two questions for one conflict, where there are few.
    conflict_again: Duration,
    /// The same for each conflict, where there are many: they get half of the rate.
    conflict_share: Duration,
    bucket: Bucket,
    free: Vec<Turn>,
    conflicts: BTreeMap<IpAddr, Silence>,
    held: Held,
}

#[derive(Clone, Debug)]
struct Turn {
    address: IpAddr,
    askings: u32,
    last: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Silence {
    heard: Instant,
    asked: Option<Instant>,
    unanswered: u32,
}

/// The addresses of a network that matter now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Those that are handed out next, in order.
    pub(super) free: Vec<IpAddr>,
    /// Those that foreign hosts use.
    pub(super) conflicts: Vec<IpAddr>,
}

/// A page of held addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// The last address of the page before; `None`: a new round.
    pub(super) after: Option<IpAddr>,
}

/// Where the round through all held addresses is.
#[derive(Clone, Debug)]
struct Held {
    page: VecDeque<IpAddr>,
    after: Option<IpAddr>,
    /// When the round that is over began anew; `None`: a round is under way.
    next_round: Option<Instant>,
    began: Instant,
}

impl Schedule {
    pub(super) fn new(settings: &WireSettings, now: Instant) -> Self {
        Self {
            probe_again: settings.probe_again,
            silence: settings.silence,
            conflict_again: (settings.silence / 4).clamp(CONFLICT_AGAIN.0, CONFLICT_AGAIN.1),
            conflict_share: Duration::from_secs(2) / settings.probes_per_second.max(1),
            bucket: Bucket::new(settings.probes_per_second, now),
            free: Vec::new(),
            conflicts: BTreeMap::new(),
            held: Held {
                page: VecDeque::new(),
                after: None,
                next_round: None,
                began: now,
            },
        }
    }

    /// Takes over what matters now; what was known of an address that still matters is kept.
    pub(super) fn survey(&mut self, survey: &Survey, now: Instant) {
        let mut known: BTreeMap<_, _> = self
            .free
            .drain(..)
            .map(|turn| (turn.address, turn))
            .collect();
        let mut seen = BTreeSet::new();
        let fresh = survey.free.iter().filter(|address| seen.insert(**address));
        self.free = fresh
            .map(|&address| {
                known.remove(&address).unwrap_or(Turn {
                    address,
                    askings: 0,
                    last: None,
                })
            })
            .collect();
        let named: BTreeSet<_> = survey.conflicts.iter().copied().collect();
        self.conflicts.retain(|address, _| named.contains(address));
        for address in named {
            self.follow(address, now);
        }
    }

    /// A foreign host was heard.
    pub(super) fn heard_foreign(&mut self, address: IpAddr, now: Instant) {
        if let Some(silence) = self.follow(address, now) {
            silence.heard = now;
            silence.unanswered = 0;
        }
    }

    /// Whether the address is in conflict, as far as is known here.
    pub(super) fn follows(&self, address: IpAddr) -> bool {
        self.conflicts.contains_key(&address)
    }

    /// The conflict is over.
    pub(super) fn forget(&mut self, address: IpAddr) {
        self.conflicts.remove(&address);
    }

    /// The question for an address that [`Schedule::take`] gave is on the wire. One that never got there has no meaning
    /// when it is not answered.
    pub(super) fn asked(&mut self, address: IpAddr) {
        if let Some(silence) = self.conflicts.get_mut(&address) {
            silence.unanswered = silence.unanswered.saturating_add(1);
        }
    }

    /// Conflicts whose foreign host has been silent long enough, although asked.
    pub(super) fn silent(&self, now: Instant) -> Vec<IpAddr> {
        let over = |silence: &Silence| {
            silence.unanswered >= UNANSWERED
                && now.saturating_duration_since(silence.heard) >= self.silence
        };
        let silent = self.conflicts.iter().filter(|(_, silence)| over(silence));
        silent.map(|(address, _)| *address).collect()
    }

    /// The next page of held addresses to fetch, if it is time for one.
    pub(super) fn wants_held(&mut self, now: Instant) -> Option<Page> {
        if !self.held.page.is_empty() {
            return None;
        }
        if let Some(next_round) = self.held.next_round {
            if now < next_round {
                return None;
            }
            self.held.next_round = None;
            self.held.after = None;
            self.held.began = now;
        }
        Some(Page {
            after: self.held.after,
        })
    }

    /// Takes over a page; a short one ends the round.
    pub(super) fn held(&mut self, page: Vec<IpAddr>) {
        if page.len() < PAGE {
            self.held.next_round = Some(self.held.began + self.probe_again);
        }
        self.held.after = page.last().copied().or(self.held.after);
        self.held.page = page.into();
    }

    /// The address to ask for now, if one is due and the rate allows it.
    pub(super) fn take(&mut self, now: Instant) -> Option<IpAddr> {
        if self.bucket.ready_at(now) > now {
            return None;
        }
        let address = self
            .take_free(now)
            .or_else(|| self.take_conflict(now))
            .or_else(|| self.held.page.pop_front())?;
        self.bucket.take(now);
        Some(address)
    }

    /// When [`Schedule::take`] has something next, unless it is told more until then.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let free = self.free.iter().map(|turn| self.due(turn, now));
        let conflicts = self
            .conflicts
            .values()
            .map(|silence| self.due_again(silence, now));
        let held = self.held.page.front().map(|_| now);
        let due = free.chain(conflicts).chain(held).min()?;
        Some(due.max(self.bucket.ready_at(now)))
    }

    fn take_free(&mut self, now: Instant) -> Option<IpAddr> {
        let due = |turn: &&Turn| self.due(turn, now) <= now;
        // `min_by_key` takes the first of equals: the order of handing out.
        let (at, _) = (self.free.iter().enumerate())
            .filter(|(_, turn)| due(turn))
            .min_by_key(|(_, turn)| turn.askings.min(ASKINGS))?;
        let turn = self.free.get_mut(at)?;
        turn.askings = turn.askings.saturating_add(1);
        turn.last = Some(now);
        Some(turn.address)
    }

    fn take_conflict(&mut self, now: Instant) -> Option<IpAddr> {
        let (&address, _) = (self.conflicts.iter())
            .filter(|(_, silence)| self.due_again(silence, now) <= now)
            .min_by_key(|(_, silence)| silence.asked)?;
        let silence = self.conflicts.get_mut(&address)?;
        silence.asked = Some(now);
        Some(address)
    }

    fn follow(&mut self, address: IpAddr, now: Instant) -> Option<&mut Silence> {
        if self.conflicts.len() >= CONFLICTS && !self.follows(address) {
            return None;
        }
        Some(self.conflicts.entry(address).or_insert(Silence {
            heard: now,
            asked: None,
            unanswered: 0,
        }))
    }

    fn due(&self, turn: &Turn, now: Instant) -> Instant {
        match turn.last {
            None => now,
            Some(last) if turn.askings < ASKINGS => last + SECOND_ASKING,
            Some(last) => last + self.probe_again,
        }
    }

    fn due_again(&self, silence: &Silence, now: Instant) -> Instant {
        let conflicts = u32::try_from(self.conflicts.len()).unwrap_or(u32::MAX);
        let interval = self
            .conflict_again
            .max(self.conflict_share.saturating_mul(conflicts));
        silence.asked.map_or(now, |asked| asked + interval)
    }
}

#[cfg(test)]
mod tests;
