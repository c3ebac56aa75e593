//! One peer as this node sees it: alive or dead, how far away, how much is lost.
//!
//! Alive by one answer; dead after [`MISSES`] probes in a row, a second apart, without any. **Always holds:** what was not asked
//! in time is not judged (a process that stood still knows nothing about its peers); only the caller's monotonic clock counts;
//! an answer counts once, and only to a nonce that was sent and is not older than [`PATIENCE`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::datagram::{BootId, Nonce};

/// From one probe of a peer to the next.
pub const PERIOD: Duration = Duration::from_secs(1);

/// So many probes in a row without an answer, and the peer counts as dead.
pub const MISSES: u32 = 5;

/// An answer that comes later is none. One that is late, but in time for this, ends a row of misses.
const PATIENCE: Duration = Duration::from_secs(5);

/// A timer that fires a little early must not make a probe look older than it is, nor younger by a whole period.
const SLACK: Duration = Duration::from_millis(100);

/// Losses are of so many probes at most.
const HISTORY: u32 = 60;

/// One instant by both clocks: judged is by the first, the second is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Never set, never goes back.
    pub at: Instant,
    /// In microseconds since 1970.
    pub wall_micros: i64,
}

/// How a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Not asked often enough to say.
    Unknown,
    /// It answers.
    Alive,
    /// It does not.
    Dead,
}

/// What is known of one peer.
#[derive(Clone, Debug)]
pub struct Track {
    pending: VecDeque<Sent>,
    state: State,
    since: Moment,
    misses: u32,
    /// When the first probe of the row of misses was sent.
    silent_since: Option<Instant>,
    /// The latest probes, the last one lowest: 1 for a loss.
    losses: u64,
    judged: u32,
    rtt: Option<Duration>,
    clock_offset_micros: Option<i64>,
    boot: Option<BootId>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    nonce: Nonce,
    at: Moment,
    /// It counted as a miss. How many probes were judged by then.
    missed: Option<u32>,
}

/// An answer that nobody waits for: to no probe of ours, to one that was answered, or much too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unasked;

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// To which probe.
    pub nonce: Nonce,
    /// Of which boot.
    pub boot: BootId,
    /// By its sender's wall clock.
    pub time_micros: i64,
}

/// What an answer led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// How long it took.
    pub rtt: Duration,
    /// The peer runs since another boot than the one it answered from before.
    pub is_rebooted: bool,
}

impl Track {
    /// Of a peer that was not asked yet.
    pub fn new(now: Moment) -> Self {
        Self {
            pending: VecDeque::new(),
            state: State::Unknown,
            since: now,
            misses: 0,
            silent_since: None,
            losses: 0,
            judged: 0,
            rtt: None,
            clock_offset_micros: None,
            boot: None,
        }
    }

    /// A probe was sent.
    pub fn sent(&mut self, nonce: Nonce, now: Moment) {
        self.pending.push_back(Sent {
            nonce,
            at: now,
            missed: None,
        });
    }

    /// An answer was received.
    ///
    /// # Errors
    /// Where it answers nothing that was asked.
    pub fn heard(&mut self, heard: Heard, now: Moment) -> Result<Told, Unasked> {
        let place = self.pending.iter().position(|it| it.nonce == heard.nonce);
        let sent = place.and_then(|place| self.pending.remove(place));
        let sent = sent.ok_or(Unasked)?;
        let rtt = now.at.saturating_duration_since(sent.at.at);
        if rtt > PATIENCE {
            return Err(Unasked);
        }
        match sent.missed {
            None => self.judge(false),
            Some(at) => self.forgive(at),
        }
        self.misses = 0;
        self.silent_since = None;
        self.turn(State::Alive, now);
        // As TCP smooths it.
        self.rtt = Some(self.rtt.map_or(rtt, |old| (old * 7 + rtt) / 8));
        // The peer's clock, against the middle of ours between probe and answer; both of ours were read in a row, so that a step
        // in between shows once and is gone with the next answer.
        let middle = sent.at.wall_micros.midpoint(now.wall_micros);
        self.clock_offset_micros = Some(heard.time_micros.saturating_sub(middle));
        let is_rebooted = self.boot.is_some_and(|boot| boot != heard.boot);
        self.boot = Some(heard.boot);
        Ok(Told { rtt, is_rebooted })
    }

    /// Counts the probes that had time enough.
    pub fn tick(&mut self, now: Moment) {
        let age = |sent: &Sent| now.at.saturating_duration_since(sent.at.at);
        while self.pending.front().is_some_and(|it| age(it) > PATIENCE) {
            self.pending.pop_front();
        }
        for place in 0..self.pending.len() {
            let Some(sent) = self.pending.get(place).copied() else {
                continue;
            };
            if sent.missed.is_some() || age(&sent) + SLACK < PERIOD {
                continue;
            }
            self.judge(true);
            self.misses = self.misses.saturating_add(1);
            self.silent_since.get_or_insert(sent.at.at);
            if let Some(sent) = self.pending.get_mut(place) {
                sent.missed = Some(self.judged);
            }
        }
        if self.misses >= MISSES {
            self.turn(State::Dead, now);
        }
    }

    /// This process stood still: what it did not hear says nothing, and a row of misses begins anew.
    pub fn excuse(&mut self) {
        self.pending.clear();
        self.misses = 0;
        if self.state != State::Dead {
            self.silent_since = None;
        }
    }

    fn judge(&mut self, is_lost: bool) {
        self.losses = (self.losses << 1) | u64::from(is_lost);
        self.judged = self.judged.saturating_add(1);
    }

    /// A miss was none: its answer was only late.
    fn forgive(&mut self, at: u32) {
        let back = self.judged.saturating_sub(at);
        if back < u64::BITS {
            self.losses &= !(1 << back);
        }
    }

    fn turn(&mut self, state: State, now: Moment) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
    }

    /// How it is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Since when it is so.
    pub const fn since(&self) -> Moment {
        self.since
    }

    /// Since when it does not answer, if it does not.
    pub const fn silent_since(&self) -> Option<Instant> {
        self.silent_since
    }

    /// Of the last minute's probes, how many were lost, in hundredths.
    pub fn lost_percent(&self) -> u32 {
        let count = self.judged.min(HISTORY);
        let lost = (self.losses & ((1 << HISTORY) - 1)).count_ones();
        (lost * 100).checked_div(count).unwrap_or_default()
    }

    /// How long an answer takes, smoothed.
    pub const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// How far its wall clock is ahead of ours, by its last answer.
    pub const fn clock_offset_micros(&self) -> Option<i64> {
        self.clock_offset_micros
    }
}

#[cfg(test)]
mod tests;
