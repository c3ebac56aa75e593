//! How fast requests are sent: what a Pod waits for at once, everything else at a steady rate. Pure.
//!
//! A node that was cut off for hours, and a rack that starts at once, must not be a storm for the API server; a Pod that starts
//! must not wait behind either.

use std::time::{Duration, Instant};

/// Requests per second that nobody waits for, in the long run.
pub(super) const RATE: f64 = 10.0;
/// Requests that nobody waits for, sent at once after a quiet time.
pub(super) const BURST: f64 = 20.0;
/// Requests under way at a time.
pub(super) const IN_FLIGHT: usize = 16;
/// Of these, places that are kept for what a Pod waits for.
const KEPT: usize = 8;
/// First pause after a failed request, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A bucket of tokens.
#[derive(Debug)]
pub(super) struct Pace {
    tokens: f64,
    counted: Instant,
    pause: Duration,
    /// Nothing is sent before.
    not_before: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            counted: now,
            pause: PAUSES.0,
            not_before: now,
        }
    }

    /// Whether a request may be sent now; counts it when it may.
    pub(super) fn take(&mut self, urgent: bool, in_flight: usize, now: Instant) -> bool {
        if now < self.not_before || in_flight >= IN_FLIGHT {
            return false;
        }
        if urgent {
            return true;
        }
        self.fill(now);
        if self.tokens < 1.0 || in_flight >= IN_FLIGHT - KEPT {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// When something that was put off may be sent.
    pub(super) fn next(&self, now: Instant) -> Instant {
        let missing = (1.0 - self.tokens).max(0.0);
        let refilled = self.counted + Duration::from_secs_f64(missing / RATE);
        refilled.max(self.not_before).max(now)
    }

    /// The API server did not answer, or is overloaded: everybody waits, each its own time.
    pub(super) fn failed(&mut self, jitter: f64, now: Instant) {
        if now < self.not_before {
            // It was under way when the one before failed: the same failure.
            return;
        }
        let pause = self.pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0));
        self.not_before = self.not_before.max(now + pause);
        self.pause = (self.pause * 2).min(PAUSES.1);
    }

    /// It answers.
    pub(super) const fn succeeded(&mut self) {
        self.pause = PAUSES.0;
    }

    /// It is back after a while: what has gathered is sent after a time of each node's own, and not all at once.
    pub(super) fn back(&mut self, jitter: f64, away: Duration, now: Instant) {
        let spread = away
            .min(Duration::from_secs(10))
            .mul_f64(jitter.clamp(0.0, 1.0));
        self.tokens = 0.0;
        // Tokens come in only from then on.
        self.counted = now + spread;
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted);
        if !passed.is_zero() {
            self.tokens = RATE.mul_add(passed.as_secs_f64(), self.tokens).min(BURST);
            self.counted = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(pace: &mut Pace, urgent: bool, now: Instant) -> usize {
        (0..1000).take_while(|_| pace.take(urgent, 0, now)).count()
    }

    #[test]
    fn what_nobody_waits_for_goes_at_a_steady_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(sent(&mut pace, false, start), 20);
        assert_eq!(pace.next(start), start + Duration::from_millis(100));
        assert_eq!(
            sent(&mut pace, false, start + Duration::from_millis(1010)),
            10
        );
        assert_eq!(
            sent(&mut pace, false, start + Duration::from_secs(3600)),
            20
        );
    }

    #[test]
    fn what_a_pod_waits_for_goes_at_once_and_has_places_of_its_own() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        sent(&mut pace, false, start);
        assert!(pace.take(true, 15, start));
        assert!(!pace.take(true, 16, start));
        let later = start + Duration::from_secs(60);
        assert!(!pace.take(false, 8, later));
        assert!(pace.take(false, 7, later));
    }

    #[test]
    fn failures_make_everything_wait_longer_and_longer_until_one_succeeds() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.failed(0.5, start);
        assert!(!pace.take(true, 0, start + Duration::from_millis(499)));
        let second = start + Duration::from_millis(500);
        assert!(pace.take(true, 0, second));
        pace.failed(0.5, second);
        assert!(!pace.take(true, 0, second + Duration::from_millis(999)));
        for _ in 0..20 {
            pace.failed(1.0, second);
        }
        assert!(pace.take(true, 0, second + Duration::from_secs(45)));
        pace.succeeded();
        let third = second + Duration::from_secs(45);
        pace.failed(0.5, third);
        assert!(pace.take(true, 0, third + Duration::from_millis(500)));
    }

    #[test]
    fn after_an_outage_the_backlog_begins_at_a_time_of_its_own() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.back(0.5, Duration::from_secs(7200), start);
        assert_eq!(sent(&mut pace, false, start + Duration::from_secs(5)), 0);
        assert!(pace.take(true, 0, start));
        assert_eq!(
            sent(&mut pace, false, start + Duration::from_millis(6010)),
            10
        );
    }
}
