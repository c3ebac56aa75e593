//! A bucket of tokens: how often something may be done.

use std::time::{Duration, Instant};

/// Tokens that come back at a steady rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// From one token to the next.
    interval: Duration,
    /// How many may be saved up.
    burst: u32,
    /// When the bucket would be full: each token that is taken puts it off by an interval.
    full_at: Option<Instant>,
}

impl Pace {
    /// So many a second, and so many at once after a rest.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            burst: burst.max(1),
            full_at: None,
        }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + self.interval;
        let is_there = full_at - now <= self.interval * self.burst;
        if is_there {
            self.full_at = Some(full_at);
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let start = crate::fixture::start();
        let mut pace = Pace::new(10, 3);
        let taken = |pace: &mut Pace, millis: u64| {
            let now = start + Duration::from_millis(millis);
            (0..9).filter(|_| pace.take(now)).count()
        };
        for (millis, count) in [(0, 3), (50, 0), (100, 1), (350, 2), (60_000, 3)] {
            assert_eq!(taken(&mut pace, millis), count, "{millis}");
        }
        // What was before is as now: an instant never goes back, but callers may mix them up.
        assert_eq!(taken(&mut pace, 0), 0);
    }
}
