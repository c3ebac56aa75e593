//! What a run did: counted while it goes, one row at its end. Judges by the world's truth, never by what a rule believed.

use std::collections::{BTreeMap, VecDeque};

use crate::Seconds;

/// The window in which kills on one node are counted.
pub const KILL_WINDOW: Seconds = 10;

/// A Pod without a place of its own (no fixed address, no `StatefulSet`) whose process ended with its node.
#[derive(Clone, Copy, Debug)]
struct Lost {
    at: Seconds,
    /// When another served in its place, or itself again.
    replaced: Option<Seconds>,
}

/// The counters of a run.
#[derive(Clone, Debug, Default)]
pub struct Measure {
    lost: Vec<Lost>,
    kills: BTreeMap<usize, VecDeque<Seconds>>,
    most_kills: usize,
    /// What it is at the end, but for what is computed from the above.
    row: Row,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Pods that a delete was sent for while their process ran and nobody served in their place.
    pub live_deleted: u64,
    /// Of these, on nodes that the API server had heard again by then.
    pub deleted_after_return: u64,
    /// Pods with running processes that were given a replacement without being deleted.
    pub live_soft_evicted: u64,
    /// Of these, Pods that have a place of their own, which must never be.
    pub placed_soft_evicted: u64,
    /// Pods with running processes that were deleted while another served in their place.
    pub superseded_deleted: u64,
    /// Pods that were evicted by the Eviction API.
    pub evicted: u64,
    /// Ready Pods with running processes that were called unready, or taken out of their services.
    pub live_unready: u64,
    /// The most processes that ended by delete on one node within ten seconds.
    pub most_kills: usize,
    /// Pods without a place of their own that ended with their node.
    pub lost: usize,
    /// Of these, how many nobody replaced until the end.
    pub unreplaced: usize,
    /// From a Pod's end until another serves in its place: of half of them it is no longer than this.
    pub replaced_median: Option<Seconds>,
    /// The longest.
    pub replaced_max: Option<Seconds>,
    /// What the rule wrote to the API server.
    pub writes: u64,
}

impl Measure {
    /// What is counted one by one.
    pub const fn counts(&mut self) -> &mut Row {
        &mut self.row
    }

    /// A process ended by delete.
    pub fn kill(&mut self, node: usize, now: Seconds) {
        let kills = self.kills.entry(node).or_default();
        kills.push_back(now);
        while kills.front().is_some_and(|&at| at + KILL_WINDOW <= now) {
            kills.pop_front();
        }
        self.most_kills = self.most_kills.max(kills.len());
    }

    /// A Pod ended with its node; the number to name it by.
    pub fn lose(&mut self, now: Seconds) -> usize {
        self.lost.push(Lost {
            at: now,
            replaced: None,
        });
        self.lost.len() - 1
    }

    /// Somebody serves in its place; the first counts.
    pub fn replace(&mut self, lost: usize, now: Seconds) {
        self.lost[lost].replaced.get_or_insert(now);
    }

    /// The end.
    pub fn row(&self) -> Row {
        let mut times: Vec<Seconds> = self
            .lost
            .iter()
            .filter_map(|lost| lost.replaced.map(|at| at - lost.at))
            .collect();
        times.sort_unstable();
        Row {
            most_kills: self.most_kills,
            lost: self.lost.len(),
            unreplaced: self.lost.len() - times.len(),
            // Of an even number the upper one: never better than it was.
            replaced_median: times.get(times.len() / 2).copied(),
            replaced_max: times.last().copied(),
            ..self.row
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_in_every_window_of_ten_seconds_and_by_node() {
        for (kills, most) in [
            (&[(0, 0), (0, 9)][..], 2),
            (&[(0, 0), (0, 10)], 1),
            (&[(0, 0), (1, 0)], 1),
            (&[(0, 0), (0, 5), (0, 9), (0, 10), (0, 14)], 4),
        ] {
            let mut measure = Measure::default();
            for &(node, at) in kills {
                measure.kill(node, at);
            }
            assert_eq!(measure.row().most_kills, most, "{kills:?}");
        }
    }

    #[test]
    fn what_nobody_replaced_is_told_and_not_in_the_times() {
        let mut measure = Measure::default();
        for _ in 0..3 {
            measure.lose(100);
        }
        measure.replace(0, 130);
        measure.replace(0, 190);
        measure.replace(1, 150);
        let row = measure.row();
        assert_eq!((row.lost, row.unreplaced), (3, 1));
        assert_eq!(
            (row.replaced_median, row.replaced_max),
            (Some(50), Some(50))
        );
    }
}
