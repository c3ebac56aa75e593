//! A token bucket with injected time: so many per second, and a small burst after a pause.

use std::time::{Duration, Instant};

/// How often something may be done.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    interval: Duration,
    burst: Duration,
    /// When the next token is there; the further in the past, the more tokens lie ready.
    next: Instant,
}

impl Bucket {
    /// A bucket that fills at `per_second` (at least one) and holds a fifth of a second's tokens.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            burst: Duration::from_millis(200).max(interval),
            next: now,
        }
    }

    /// When a token can be taken: `now` or later.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        self.next.max(now)
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.next > now {
            return false;
        }
        let oldest = now
            .checked_sub(self.burst.saturating_sub(self.interval))
            .unwrap_or(now);
        self.next = self.next.max(oldest) + self.interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_than_rate_and_burst_and_a_steady_taker_gets_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(50, start);
        let mut taken = Vec::new();
        for millisecond in 0..10_000 {
            let now = start + Duration::from_millis(millisecond);
            while bucket.take(now) {
                taken.push(now);
            }
        }
        assert!((500..=510).contains(&taken.len()), "{}", taken.len());
        for window in taken.windows(61) {
            assert!(window[60] - window[0] >= Duration::from_secs(1));
        }
    }

    #[test]
    fn pause_saves_no_more_than_a_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(50, start);
        assert!(bucket.take(start));
        let later = start + Duration::from_secs(3600);
        let burst = (0..100).filter(|_| bucket.take(later)).count();
        assert_eq!(burst, 10);
        assert_eq!(bucket.ready_at(later), later + Duration::from_millis(20));
    }

    #[test]
    fn rate_of_nothing_is_one_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0, start);
        assert!(bucket.take(start) && !bucket.take(start));
        assert_eq!(bucket.ready_at(start), start + Duration::from_secs(1));
    }
}
