//! Many measured durations, and their percentiles. Nothing here measures.

use std::time::Duration;

/// All measured durations of one verb in one round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// The smallest sample that `percent` of all do not exceed (nearest rank), in milliseconds.
    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0
            .get(rank - 1)
            .map_or(f64::NAN, |sample| sample.as_secs_f64() * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_the_nearest_rank() {
        let samples = Samples::new((1..=20).rev().map(Duration::from_millis).collect());
        let ms = |percent| samples.percentile_ms(percent);
        assert!((ms(50) - 10.0).abs() < 1e-9);
        assert!((ms(95) - 19.0).abs() < 1e-9);
        assert!((ms(100) - 20.0).abs() < 1e-9);
        assert!(Samples::default().percentile_ms(50).is_nan());
    }
}
