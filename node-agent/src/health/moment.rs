//! One instant by both clocks: how much time passes is told by the monotonic one, what people read by the wall clock.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// One instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// For durations: never set, never goes back.
    pub(crate) at: Instant,
    /// For people.
    pub(crate) wall: Timestamp,
}

impl Moment {
    /// Now.
    pub(crate) fn now() -> Self {
        Self {
            at: Instant::now(),
            wall: Timestamp::now(),
        }
    }

    /// So much later.
    pub(crate) fn after(self, passed: Duration) -> Self {
        let shift = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        Self {
            at: self.at + passed,
            wall: self.wall.saturating_add(shift).unwrap_or(Timestamp::MAX),
        }
    }

    /// How long ago `earlier` was, by the monotonic clock.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.at.saturating_duration_since(earlier.at)
    }

    /// How long ago a time of the wall clock was; nothing, where it is to come.
    pub(crate) fn since_wall(self, earlier: Timestamp) -> Duration {
        let passed = self.wall.duration_since(earlier);
        passed.try_into().unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_put_back_makes_nothing_younger_than_new() {
        let now = Moment::now();
        let later = now.after(Duration::from_secs(90));
        assert_eq!(later.since(now), Duration::from_secs(90));
        assert_eq!(now.since(later), Duration::ZERO);
        assert_eq!(later.since_wall(now.wall), Duration::from_secs(90));
        assert_eq!(now.since_wall(later.wall), Duration::ZERO);
    }
}
