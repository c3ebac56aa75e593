//! A rate that holds in every window: never more than the burst at once, nor more than the rate after it.

use std::time::Duration;

use crate::moment::Moment;

/// When the next may be, kept as the moment at which all allowance is back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    gap: Duration,
    burst: u32,
    full_at: Moment,
}

impl Pace {
    /// So many a second, and as many at once; none at all where it is zero.
    pub(super) fn per_second(rate: u32) -> Self {
        let gap = Duration::from_secs(1).checked_div(rate);
        Self {
            gap: gap.unwrap_or(Duration::MAX),
            burst: rate,
            full_at: Moment::default(),
        }
    }

    /// Another rate; what was taken is taken.
    pub(super) fn set_rate(&mut self, rate: u32) {
        *self = Self {
            full_at: self.full_at,
            ..Self::per_second(rate)
        };
    }

    /// How many may be now.
    pub(super) fn left(&self, now: Moment) -> u32 {
        if self.burst == 0 {
            return 0;
        }
        let owed = self.full_at.since(now).as_nanos();
        let used = owed.div_ceil(self.gap.as_nanos().max(1));
        self.burst
            .saturating_sub(u32::try_from(used).unwrap_or(u32::MAX))
    }

    /// One is.
    pub(super) fn take(&mut self, now: Moment) {
        self.full_at = self.full_at.max(now) + self.gap;
    }
}
