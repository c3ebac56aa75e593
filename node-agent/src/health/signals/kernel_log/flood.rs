//! How many lines of the kernel's log are looked at, whatever it writes. Pure.
//!
//! 4,500 lines a minute drove node-problem-detector to very high CPU (its issue 282). Up to a rate every line is looked at, and
//! beyond it some are, so that what is wrong meanwhile is still seen; the others are counted.

use std::time::{Duration, Instant};

use crate::health::window::Window;

/// Lines a second that are all looked at.
const RATE: u32 = 500;

/// What may come at once: all that two looks bring at the rate.
const BURST: u32 = RATE * 10;

/// Beyond, one of so many.
const SAMPLED: u32 = 16;

/// For how long it is told that lines were passed over.
const SPAN: Duration = Duration::from_secs(600);

/// The bound.
#[derive(Clone, Debug)]
pub(super) struct Flood {
    tokens: u32,
    filled: Instant,
    over: u32,
    /// Looks in which lines were passed over.
    floods: Window,
    passed_over: u64,
}

impl Flood {
    /// Nothing has come yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            filled: now,
            over: 0,
            floods: Window::new(SPAN, 8),
            passed_over: 0,
        }
    }

    /// Time has passed.
    pub(super) fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_millis();
        let more = u32::try_from(passed * u128::from(RATE) / 1000).unwrap_or(BURST);
        if more > 0 {
            self.tokens = self.tokens.saturating_add(more).min(BURST);
            self.filled = now;
        }
    }

    /// Whether this line is looked at.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        if let Some(left) = self.tokens.checked_sub(1) {
            self.tokens = left;
            return true;
        }
        self.over = (self.over + 1) % SAMPLED;
        if self.over == 0 {
            return true;
        }
        self.lose(1, now);
        false
    }

    /// So many lines were never read.
    pub(super) fn lose(&mut self, lines: u64, now: Instant) {
        if lines > 0 {
            self.passed_over = self.passed_over.saturating_add(lines);
            self.floods.note(now);
        }
    }

    /// How many were passed over in all, where some were of late.
    pub(super) fn of_late(&mut self, now: Instant) -> Option<u64> {
        (self.floods.count(now) > 0).then_some(self.passed_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_is_sampled_and_what_is_passed_over_is_counted() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        let admitted = (0..100_000).filter(|_| flood.admits(start)).count();
        let sampled = (100_000 - BURST) / SAMPLED;
        assert_eq!(admitted, (BURST + sampled) as usize);
        let passed_over = u64::from(100_000 - BURST - sampled);
        assert_eq!(flood.of_late(start), Some(passed_over));
        assert_eq!(flood.of_late(start + SPAN), None);
    }

    #[test]
    fn what_the_rate_allows_is_never_passed_over() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        for look in 0..100 {
            let now = start + Duration::from_secs(5 * look);
            flood.fill(now);
            assert!((0..RATE * 5).all(|_| flood.admits(now)), "look {look}");
        }
        assert_eq!(flood.of_late(start), None);
    }

    #[test]
    fn lines_that_were_never_read_are_counted() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        flood.lose(0, start);
        assert_eq!(flood.of_late(start), None);
        flood.lose(7, start);
        assert_eq!(flood.of_late(start), Some(7));
    }
}
