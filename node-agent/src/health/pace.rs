//! How often something is written to the API: a gap after what was written, longer and longer waits after what failed. Every instant
//! and every random number is passed in.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep_until;

use super::board::Report;
use super::report::Chance;

/// From a failed write to the next try: twice as long each time.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// When the next write may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    failures: u32,
    not_before: Option<Instant>,
}

impl Pace {
    /// Not before this, whatever there is to write.
    pub(super) fn earliest(&self, now: Instant) -> Instant {
        self.not_before.unwrap_or(now)
    }

    /// It was written; the next comes after this gap at the earliest.
    pub(super) fn written(&mut self, now: Instant, gap: Duration) {
        self.failures = 0;
        self.not_before = Some(now + gap);
    }

    /// It could not be written.
    pub(super) fn failed(&mut self, now: Instant, chance: Chance) {
        let wait = FIRST_RETRY * 2_u32.saturating_pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + chance.shorten(wait.min(LAST_RETRY)));
    }
}

/// Returns at this instant, or when something else is known.
///
/// # Errors
/// Nobody judges any more: the process is on its way out.
pub(super) async fn wait(
    due: Option<Instant>,
    reports: &mut watch::Receiver<Report>,
) -> Result<(), watch::error::RecvError> {
    let Some(due) = due else {
        return reports.changed().await;
    };
    tokio::select! {
        () = sleep_until(due.into()) => Ok(()),
        changed = reports.changed() => changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_while_it_fails_and_the_gap_counts_when_it_does_not() {
        let now = Instant::now();
        let never = Chance::new(0);
        let mut pace = Pace::default();
        assert_eq!(pace.earliest(now), now);
        for seconds in [5, 10, 20, 40, 60, 60] {
            pace.failed(now, never);
            assert_eq!(pace.earliest(now), now + Duration::from_secs(seconds));
        }
        pace.written(now, Duration::from_secs(30));
        assert_eq!(pace.earliest(now), now + Duration::from_secs(30));
        pace.failed(now, Chance::new(u32::MAX));
        assert_eq!(pace.earliest(now), now + Duration::from_millis(3_750));
    }
}
