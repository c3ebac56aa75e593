//! How fast writes follow each other: a bucket of tokens. Pure; every instant is passed in.

use std::time::{Duration, Instant};

/// Tokens that come back at a steady rate.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// From one token to the next.
    interval: Duration,
    /// How many may be saved up.
    burst: u32,
    /// When the bucket would be full: each token taken puts it off by an interval.
    full_at: Option<Instant>,
}

impl Pace {
    /// So many a second, and so many at once after a rest.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            burst: burst.max(1),
            full_at: None,
        }
    }

    /// Takes a token: when it may be used.
    pub(super) fn take(&mut self, now: Instant) -> Instant {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + self.interval;
        self.full_at = Some(full_at);
        let saved = self.interval * self.burst;
        full_at.checked_sub(saved).map_or(now, |at| at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(10, 3);
        let waits = |pace: &mut Pace, now: Instant, count: usize| -> Vec<u128> {
            let waits = (0..count).map(|_| (pace.take(now) - now).as_millis());
            waits.collect()
        };
        assert_eq!(waits(&mut pace, start, 6), [0, 0, 0, 100, 200, 300]);
        // A rest saves the burst up again, and no more.
        let later = start + Duration::from_secs(60);
        assert_eq!(waits(&mut pace, later, 5), [0, 0, 0, 100, 200]);
    }
}
