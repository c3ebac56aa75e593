//! Which sets are to be looked at, and when: each once, however much of it changed. Pure; every instant is passed in.
//!
//! **Always holds:** a set is looked at by one worker at a time; what changed meanwhile is looked at afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::world::Key;

/// From a change to the look: what changes together is looked at once.
const GATHER: Duration = Duration::from_millis(30);
/// After looks that failed, doubling.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// At most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Sets that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// When each is due. Few thousand: the first is found by looking at `order`.
    due: BTreeMap<Key, Instant>,
    order: BTreeSet<(Instant, Key)>,
    /// Being looked at; and whether something changed since.
    running: BTreeMap<Key, bool>,
    /// Looks in a row that failed.
    failures: BTreeMap<Key, u32>,
}

impl Queue {
    /// Something of a set is different.
    pub(super) fn changed(&mut self, set: Key, now: Instant) {
        if let Some(is_changed) = self.running.get_mut(&set) {
            *is_changed = true;
            return;
        }
        // A set whose looks fail is not asked for more by its own noise.
        let pause = self.pause(&set).map_or(GATHER, |pause| pause.max(GATHER));
        self.at(set, now + pause);
    }

    /// Looks at it then, if nothing makes it earlier.
    fn at(&mut self, set: Key, then: Instant) {
        if self.due.get(&set).is_some_and(|due| *due <= then) {
            return;
        }
        if let Some(due) = self.due.insert(set.clone(), then) {
            self.order.remove(&(due, set.clone()));
        }
        self.order.insert((then, set));
    }

    /// The next one that is due. It is being looked at until [`Queue::done`].
    pub(super) fn take(&mut self, now: Instant) -> Option<Key> {
        let (due, _) = self.order.first()?;
        if *due > now {
            return None;
        }
        let (_, set) = self.order.pop_first()?;
        self.due.remove(&set);
        self.running.insert(set.clone(), false);
        Some(set)
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    /// It was looked at; and when to look again even if nothing happens. `gap`: not before.
    pub(super) fn done(
        &mut self,
        set: Key,
        now: Instant,
        look_again: Option<Duration>,
        gap: Duration,
    ) {
        self.failures.remove(&set);
        let is_changed = self.running.remove(&set).unwrap_or_default();
        if is_changed {
            self.at(set, now + gap.max(GATHER));
        } else if let Some(after) = look_again {
            self.at(set, now + after.max(gap));
        }
    }

    /// It could not be looked at, or not everything was done.
    pub(super) fn failed(&mut self, set: Key, now: Instant) {
        self.running.remove(&set);
        let failures = self.failures.entry(set.clone()).or_default();
        *failures = failures.saturating_add(1);
        let pause = self.pause(&set).unwrap_or(FIRST_PAUSE);
        self.at(set, now + pause);
    }

    fn pause(&self, set: &Key) -> Option<Duration> {
        let failures = *self.failures.get(set)?;
        let doublings = failures.saturating_sub(1).min(10);
        Some((FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE))
    }

    /// How many wait and are due.
    pub(super) fn waiting(&self, now: Instant) -> usize {
        self.order.iter().take_while(|(due, _)| *due <= now).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("prod".to_owned(), name.to_owned())
    }

    fn at(milliseconds: u64, start: Instant) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn many_changes_are_one_look_and_changes_meanwhile_one_more() {
        let start = Instant::now();
        let mut queue = Queue::default();
        for milliseconds in [0, 1, 20] {
            queue.changed(key("a"), at(milliseconds, start));
        }
        assert_eq!(queue.take(at(29, start)), None);
        assert_eq!(queue.next_due(), Some(at(30, start)));
        assert_eq!(queue.take(at(30, start)), Some(key("a")));
        // Nobody else looks at it meanwhile.
        queue.changed(key("a"), at(31, start));
        assert_eq!(queue.take(at(500, start)), None);
        queue.done(key("a"), at(500, start), None, Duration::ZERO);
        assert_eq!(queue.take(at(530, start)), Some(key("a")));
        queue.done(key("a"), at(531, start), None, Duration::ZERO);
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn a_set_is_looked_at_again_when_it_said_so_or_something_changes() {
        let start = Instant::now();
        let mut queue = Queue::default();
        queue.changed(key("a"), start);
        queue.take(at(30, start)).unwrap();
        let later = Some(Duration::from_secs(3));
        queue.done(key("a"), at(30, start), later, Duration::ZERO);
        assert_eq!(queue.next_due(), Some(at(3030, start)));
        queue.changed(key("a"), at(100, start));
        assert_eq!(queue.next_due(), Some(at(130, start)));
        assert_eq!(queue.waiting(at(129, start)), 0);
        assert_eq!(queue.waiting(at(130, start)), 1);
    }

    #[test]
    fn looks_that_fail_are_repeated_ever_more_slowly() {
        let start = Instant::now();
        let mut queue = Queue::default();
        let mut now = start;
        queue.changed(key("a"), now);
        now += GATHER;
        for milliseconds in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            queue.take(now).unwrap();
            queue.failed(key("a"), now);
            // What changes does not make it earlier.
            queue.changed(key("a"), now + Duration::from_millis(1));
            assert_eq!(queue.next_due(), Some(at(milliseconds, now)));
            now += Duration::from_millis(milliseconds);
        }
        queue.take(now).unwrap();
        queue.done(key("a"), now, None, Duration::ZERO);
        queue.changed(key("a"), now);
        assert_eq!(queue.next_due(), Some(now + GATHER));
    }

    #[test]
    fn the_one_that_waits_longest_comes_first() {
        let start = Instant::now();
        let mut queue = Queue::default();
        for (name, milliseconds) in [("b", 0), ("a", 5), ("c", 2)] {
            queue.changed(key(name), at(milliseconds, start));
        }
        let now = at(100, start);
        let order: Vec<_> = std::iter::from_fn(|| queue.take(now))
            .map(|key| key.1)
            .collect();
        assert_eq!(order, ["b", "c", "a"]);
    }
}
