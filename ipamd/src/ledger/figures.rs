//! The ledger's figures, counted as it works and read by whoever publishes them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::garbage::Findings;

/// One number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn increment(&self) {
        self.add(1);
    }

    /// Its value now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One number that is what it was last set to.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How durations of one kind were distributed.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    nanoseconds: AtomicU64,
    buckets: [AtomicU64; Self::BOUNDS_MICROSECONDS.len() + 1],
}

impl Durations {
    /// Upper bounds of the buckets but the last, which has none.
    pub(crate) const BOUNDS_MICROSECONDS: [u64; 12] = [
        50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 1_000_000,
    ];

    pub(super) fn observe(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        let bucket = Self::BOUNDS_MICROSECONDS
            .iter()
            .position(|bound| nanoseconds <= bound * 1000)
            .unwrap_or(Self::BOUNDS_MICROSECONDS.len());
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All of them together.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// How many fell into each bucket, not cumulated.
    pub(crate) fn buckets(&self) -> Vec<u64> {
        self.buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .collect()
    }
}

/// What the ledger counts.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Changes with every commit that changed the book.
    pub(crate) changes: watch::Sender<u64>,
    /// Commits that are on the disk.
    pub(crate) commits: Counter,
    /// Commits that failed.
    pub(crate) commit_failures: Counter,
    /// Requests that these commits made durable: over `commits`, the size of a group.
    pub(crate) committed_requests: Counter,
    /// What a commit took: write, flush, sync, witness.
    pub(crate) commit_durations: Durations,
    /// Requests refused because the queue was full.
    pub(crate) busy_refusals: Counter,
    /// Records in the store.
    pub(crate) records: Gauge,
    /// Bytes of the store's file.
    pub(crate) store_bytes: Gauge,
    /// Bytes free on the store's disk.
    pub(crate) headroom_bytes: Gauge,
    /// Holds that time ended.
    pub(crate) expired_holds: Counter,
    /// Quarantines that time ended.
    pub(crate) expired_quarantines: Counter,
    /// Lines pruned from the audit log.
    pub(crate) audit_pruned: Counter,
    /// Tombstones that were released.
    pub(crate) tombstones: Counter,
    /// Tombstones that could not be read and were moved aside.
    pub(crate) damaged_tombstones: Counter,
    /// Damaged stores set aside since the start.
    pub(crate) stores_set_aside: Counter,
    /// Times the store was opened anew after a failed write.
    pub(crate) reopened: Counter,
    /// Host-side ports found at the start.
    pub(crate) ports: Gauge,
    /// Interfaces taken into the book at the start.
    pub(crate) adopted: Gauge,
    /// Attachments of the book for which there is no port, as of the last look.
    pub(crate) without_port: Gauge,
    /// Comparisons of the runtime's sandboxes with the book.
    pub(crate) comparisons: Counter,
    /// Comparisons that were none: the runtime did not answer, or its answer cannot be whole.
    pub(crate) comparison_failures: Counter,
    /// Attachments ended because their sandbox was gone.
    pub(crate) sandboxless_ended: Counter,
    /// What the last comparison found, to be looked at.
    pub(crate) garbage: Gauge,
    /// Whether the last comparison was none: 1, and what was found says why.
    pub(crate) garbage_unknown: Gauge,
    /// The same in words.
    pub(crate) garbage_findings: Findings,
    /// Findings of the start.
    pub(crate) findings: Gauge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_that_bounds_them() {
        let durations = Durations::default();
        for micros in [1, 50, 51, 2_000_000] {
            durations.observe(Duration::from_micros(micros));
        }
        let mut expected = vec![0; 13];
        expected[0] = 2;
        expected[1] = 1;
        expected[12] = 1;
        assert_eq!(durations.buckets(), expected);
        assert_eq!(durations.sum(), Duration::from_micros(2_000_102));
    }
}
