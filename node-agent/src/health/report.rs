//! When a report is written: on change, not more often than every 30 s; without change every few minutes, spread, so that
//! ten thousand agents do not write at once. Pure; every instant and every random number is passed in.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant};

use super::board::Gist;

/// From one write to the next at least.
pub(super) const MIN_GAP: Duration = Duration::from_secs(30);

/// Without change a report is written again after so long at most.
pub(super) const RESYNC: Duration = Duration::from_secs(5 * 60);

/// A reader may take a report for true so long: two writes may be lost and one be slow.
pub(super) const REPORT_TTL: Duration = Duration::from_secs(12 * 60);

/// From a failed write to the next try: twice as long each time.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// The part of a wait that is left to chance.
const SPREAD: f64 = 0.25;

/// What was written when, and what failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    written: Option<Written>,
    failures: u32,
    not_before: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Written {
    gist: Gist,
    at: Instant,
    resync_at: Instant,
}

/// A random number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Chance(f64);

impl Chance {
    /// From any 32 bits.
    pub(super) fn new(bits: u32) -> Self {
        Self(f64::from(bits) / f64::from(u32::MAX))
    }

    /// A new one: the standard library's hashers are seeded by the kernel's randomness, and differ from each other.
    pub(crate) fn draw() -> Self {
        let bits = RandomState::new().build_hasher().finish();
        Self::new((bits >> 32) as u32)
    }

    /// So much of the span.
    pub(super) fn of(self, span: Duration) -> Duration {
        span.mul_f64(self.0)
    }

    /// The wait, shortened by up to a quarter.
    pub(crate) fn shorten(self, wait: Duration) -> Duration {
        wait.mul_f64(1.0 - SPREAD * self.0)
    }
}

impl Schedule {
    /// When a report with this gist is to be written. A time that has passed means now.
    pub(super) fn due(&self, gist: &Gist, now: Instant) -> Instant {
        let due = match &self.written {
            None => now,
            Some(written) if written.gist != *gist => written.at + MIN_GAP,
            Some(written) => written.resync_at,
        };
        self.not_before.map_or(due, |earliest| earliest.max(due))
    }

    /// Not before this, whatever there is to write.
    pub(super) fn earliest(&self, now: Instant) -> Instant {
        self.not_before.unwrap_or(now)
    }

    /// It was written.
    pub(super) fn written(&mut self, gist: Gist, now: Instant, chance: Chance) {
        self.written = Some(Written {
            gist,
            at: now,
            resync_at: now + chance.shorten(RESYNC),
        });
        self.failures = 0;
        self.not_before = None;
    }

    /// It could not be written.
    pub(super) fn failed(&mut self, now: Instant, chance: Chance) {
        let wait = FIRST_RETRY * 2_u32.saturating_pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + chance.shorten(wait.min(LAST_RETRY)));
    }
}

#[cfg(test)]
mod tests;
