//! When a pool has no address left, by how it filled in the last hour. Pure; every instant is passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What counts as the present rate.
const WINDOW: Duration = Duration::from_secs(60 * 60);
/// A rate over less than this is chance.
const MIN_WINDOW: Duration = Duration::from_secs(5 * 60);
/// From one sample to the next.
const SAMPLE_EVERY: Duration = Duration::from_secs(60);
/// What is further away is nothing that anybody plans for by this.
const HORIZON: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How a pool filled.
#[derive(Clone, Debug, Default)]
pub(super) struct Forecast {
    samples: VecDeque<(Instant, i64)>,
}

impl Forecast {
    /// So many addresses are claimed now.
    pub(super) fn sample(&mut self, claimed: i64, now: Instant) {
        let is_due = self
            .samples
            .back()
            .is_none_or(|(at, _)| now.saturating_duration_since(*at) >= SAMPLE_EVERY);
        if is_due {
            self.samples.push_back((now, claimed));
        }
        while let Some((at, _)) = self.samples.front()
            && now.saturating_duration_since(*at) > WINDOW
        {
            self.samples.pop_front();
        }
    }

    /// How long it takes until none is left, if that can be said and is soon.
    pub(super) fn left(&self, claimed: i64, capacity: i64, now: Instant) -> Option<Duration> {
        if claimed >= capacity {
            return Some(Duration::ZERO);
        }
        let free = u32::try_from(capacity.saturating_sub(claimed)).ok()?;
        let (since, then) = self.samples.front()?;
        let passed = now.saturating_duration_since(*since);
        let grown = u32::try_from(claimed.saturating_sub(*then)).ok()?;
        if passed < MIN_WINDOW || grown == 0 {
            return None;
        }
        let left = passed.mul_f64(f64::from(free) / f64::from(grown));
        (left <= HORIZON).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_pool_that_fills_evenly_is_full_when_the_rest_is_used_at_that_rate() {
        let start = Instant::now();
        let mut forecast = Forecast::default();
        for minute in 0..60_u32 {
            forecast.sample(i64::from(minute), start + MINUTE * minute);
        }
        let now = start + MINUTE * 60;
        assert_eq!(forecast.left(60, 180, now), Some(MINUTE * 120));
        assert_eq!(forecast.left(180, 180, now), Some(Duration::ZERO));
        // An hour later only the last hour counts.
        for minute in 60..=120_u32 {
            forecast.sample(60, start + MINUTE * minute);
        }
        assert_eq!(forecast.left(60, 180, start + MINUTE * 121), None);
    }

    #[test]
    fn nothing_is_said_too_early_or_of_a_pool_that_empties() {
        let start = Instant::now();
        let mut forecast = Forecast::default();
        forecast.sample(10, start);
        let soon = start + MINUTE * 4;
        assert_eq!(forecast.left(50, 100, soon), None);
        let later = start + MINUTE * 6;
        assert_eq!(forecast.left(5, 100, later), None);
        assert_eq!(forecast.left(50, i64::MAX, later), None);
        // One address in six minutes, a million left.
        assert_eq!(forecast.left(11, 1_000_000, later), None);
    }
}
