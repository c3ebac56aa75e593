//! Time as a parameter: a point on the controller's own monotonic clock.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// So long after some fixed instant of the controller's process. Comparable within one process only.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Moment(Duration);

impl Moment {
    /// So long after the fixed instant.
    pub const fn after_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How long after the fixed instant it is.
    pub const fn elapsed(self) -> Duration {
        self.0
    }

    /// How long ago that was; zero where it was not.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}
