//! Zones: their states, and the bucket and queue by which their nodes are tainted.

use std::collections::{BTreeSet, VecDeque};

use crate::Seconds;

/// `--unhealthy-zone-threshold`, in hundredths.
const UNHEALTHY_PERCENT: usize = 55;
/// `--large-cluster-size-threshold`.
const LARGE: usize = 50;
/// `--node-eviction-rate`, in nodes in a thousand seconds.
const RATE: u32 = 100;
/// `--secondary-node-eviction-rate`.
const SECONDARY_RATE: u32 = 10;
/// What a token is, in nodes in a thousand seconds.
const TOKEN: u64 = 1000;

/// A zone's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum ZoneState {
    /// Not looked at yet.
    #[default]
    Initial,
    Normal,
    Partial,
    Full,
}

impl ZoneState {
    /// `ComputeZoneState`.
    pub(super) const fn of(ready: usize, not_ready: usize) -> Self {
        if ready == 0 && not_ready > 0 {
            Self::Full
        } else if not_ready > 2 && not_ready * 100 >= (ready + not_ready) * UNHEALTHY_PERCENT {
            Self::Partial
        } else {
            Self::Normal
        }
    }

    /// How many nodes of so many are tainted in a thousand seconds.
    pub(super) const fn rate(self, nodes: usize) -> u32 {
        match self {
            Self::Partial if nodes > LARGE => SECONDARY_RATE,
            Self::Partial => 0,
            // `enterFullDisruptionFunc` is `HealthyQPSFunc`.
            Self::Initial | Self::Normal | Self::Full => RATE,
        }
    }
}

/// A zone.
#[derive(Clone, Debug, Default)]
pub(super) struct Zone {
    pub(super) state: ZoneState,
    pub(super) bucket: Bucket,
    pub(super) queue: Queue,
}

/// A bucket with a burst of one.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    rate: u32,
    /// In thousandths of a token.
    filled: u64,
    at: Seconds,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            rate: RATE,
            filled: TOKEN,
            at: 0,
        }
    }
}

impl Bucket {
    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Seconds) -> bool {
        let passed = u64::from(now.saturating_sub(self.at));
        self.filled = (self.filled + passed * u64::from(self.rate)).min(TOKEN);
        self.at = now;
        let is_there = self.rate > 0 && self.filled >= TOKEN;
        if is_there {
            self.filled -= TOKEN;
        }
        is_there
    }

    /// `SwapLimiter`: a new bucket is full, unless the old one was waited for.
    pub(super) fn swap(&mut self, rate: u32, now: Seconds) {
        if self.rate == rate {
            return;
        }
        let was_waited_for = !self.take(now);
        *self = Self {
            rate,
            filled: if was_waited_for { 0 } else { TOKEN },
            at: now,
        };
    }
}

/// A queue that takes each node once until it is removed (`UniqueQueue`).
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<usize>,
    known: BTreeSet<usize>,
}

impl Queue {
    pub(super) fn add(&mut self, node: usize) {
        if self.known.insert(node) {
            self.waiting.push_back(node);
        }
    }

    pub(super) fn remove(&mut self, node: usize) {
        if self.known.remove(&node) {
            self.waiting.retain(|&other| other != node);
        }
    }

    pub(super) fn head(&self) -> Option<usize> {
        self.waiting.front().copied()
    }

    /// Takes the head out; it stays known.
    pub(super) fn pop(&mut self) {
        self.waiting.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_states_and_their_rates() {
        use ZoneState::{Full, Normal, Partial};
        for (ready, not_ready, state, rate) in [
            (100, 0, Normal, 100),
            // 54 of 100 are normal, 55 are not.
            (46, 54, Normal, 100),
            (45, 55, Partial, 10),
            (1, 99, Partial, 10),
            (0, 100, Full, 100),
            // No more than two unready nodes are never partial.
            (1, 2, Normal, 100),
            (2, 3, Partial, 0),
            // At 50 nodes nothing more is tainted, above 50 little.
            (20, 30, Partial, 0),
            (20, 31, Partial, 10),
            (0, 1, Full, 100),
            (0, 0, Normal, 100),
        ] {
            let found = ZoneState::of(ready, not_ready);
            assert_eq!(found, state, "{ready} {not_ready}");
            assert_eq!(found.rate(ready + not_ready), rate, "{ready} {not_ready}");
        }
    }

    #[test]
    fn a_bucket_gives_one_at_once_and_then_one_in_ten_seconds() {
        let mut bucket = Bucket::default();
        let times: Vec<Seconds> = (100..141).filter(|&now| bucket.take(now)).collect();
        assert_eq!(times, [100, 110, 120, 130, 140]);
    }

    #[test]
    fn a_swapped_bucket_is_empty_where_the_old_one_was_waited_for() {
        let mut rested = Bucket::default();
        rested.swap(10, 100);
        assert!(rested.take(100));
        let mut waited_for = Bucket::default();
        assert!(waited_for.take(100));
        waited_for.swap(10, 101);
        assert!(!waited_for.take(200));
        assert!(waited_for.take(201));
        waited_for.swap(0, 301);
        assert!(!waited_for.take(9999));
    }

    #[test]
    fn a_tainted_node_is_not_queued_again_until_it_was_reachable() {
        let mut queue = Queue::default();
        queue.add(3);
        queue.pop();
        queue.add(3);
        assert_eq!(queue.head(), None);
        queue.remove(3);
        queue.add(3);
        assert_eq!(queue.head(), Some(3));
    }
}
