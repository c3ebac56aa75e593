//! Since when something is seen, by this process's monotonic clock. Pure; every instant is passed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Remembers since when each of its keys is seen, as long as each pass sees it.
#[derive(Clone, Debug)]
pub(super) struct Patience<K> {
    since: BTreeMap<K, (Instant, u64)>,
    pass: u64,
}

impl<K> Default for Patience<K> {
    fn default() -> Self {
        Self {
            since: BTreeMap::new(),
            pass: 0,
        }
    }
}

impl<K: Ord> Patience<K> {
    /// It is seen in this pass: for how long.
    pub(super) fn seen(&mut self, key: K, now: Instant) -> Duration {
        let pass = self.pass;
        let (since, last) = self.since.entry(key).or_insert((now, pass));
        *last = pass;
        now.saturating_duration_since(*since)
    }

    /// For how long it was seen, as of the last pass.
    pub(super) fn known(&self, key: &K, now: Instant) -> Duration {
        let since = self.since.get(key);
        since.map_or(Duration::ZERO, |(since, _)| {
            now.saturating_duration_since(*since)
        })
    }

    /// The pass is over: what it did not see is forgotten.
    pub(super) fn end_pass(&mut self) {
        let pass = self.pass;
        self.since.retain(|_, (_, last)| *last == pass);
        self.pass += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_pass_does_not_see_begins_anew() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::default();
        assert_eq!(patience.seen("a", at(0)), Duration::ZERO);
        patience.end_pass();
        assert_eq!(patience.seen("a", at(40)), Duration::from_secs(40));
        assert_eq!(patience.known(&"a", at(41)), Duration::from_secs(41));
        patience.end_pass();
        patience.end_pass();
        assert_eq!(patience.seen("a", at(50)), Duration::ZERO);
    }
}
