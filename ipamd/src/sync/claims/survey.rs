//! When the claims of a whole pool are listed: after a collision, so that what others have is not found out one by one; and while Pods
//! wait for addresses that others have, so that what gets free there is asked for. Pure.

use std::time::{Duration, Instant};

/// What a list said counts for so long, as long as it is mostly right.
const COUNTS: Duration = Duration::from_secs(30);
/// After so many collisions it is not: of a pool that a rack empties at once, each node would else try every address that others took since.
const MISSES: u32 = 4;
/// One list follows another by this time at least.
const PAUSE: Duration = Duration::from_secs(1);

/// While Pods wait, one list follows another after this time: what a Pod gave back, and has rested, is found within it.
const HUNGER: Duration = Duration::from_secs(10);

/// The lists of one pool's claims.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// When the last was begun.
    at: Option<Instant>,
    /// Addresses that were another node's all the same.
    misses: u32,
    is_under_way: bool,
}

impl Survey {
    /// An address was another node's. Answers whether a list is to be begun.
    pub(super) fn missed(&mut self, now: Instant) -> bool {
        self.misses += 1;
        let is_due = self.at.is_none_or(|at| {
            let passed = now.saturating_duration_since(at);
            passed >= COUNTS || self.misses >= MISSES && passed >= PAUSE
        });
        self.begin(is_due, now)
    }

    /// Pods wait, and others have everything. Answers whether a list is to be begun.
    pub(super) fn hungers(&mut self, now: Instant) -> bool {
        let is_due = self
            .at
            .is_none_or(|at| now.saturating_duration_since(at) >= HUNGER);
        self.begin(is_due, now)
    }

    fn begin(&mut self, is_due: bool, now: Instant) -> bool {
        let begins = is_due && !self.is_under_way;
        if begins {
            *self = Self {
                at: Some(now),
                misses: 0,
                is_under_way: true,
            };
        }
        begins
    }

    /// The list was answered; one that failed says nothing, and the next may be begun at once.
    pub(super) fn ended(&mut self, answered: bool) {
        self.is_under_way = false;
        if !answered {
            self.at = None;
        }
    }

    /// Whether it is worth waiting for before an address is tried.
    pub(super) const fn is_under_way(&self) -> bool {
        self.is_under_way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hungry_pool_is_listed_every_ten_seconds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut survey = Survey::default();
        assert!(survey.hungers(at(0)));
        assert!(!survey.hungers(at(20)), "one is under way");
        survey.ended(true);
        assert!(!survey.hungers(at(9)));
        assert!(survey.hungers(at(10)));
    }

    #[test]
    fn first_collision_and_many_begin_a_list_and_few_do_not() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut survey = Survey::default();
        assert!(survey.missed(at(0)));
        assert!(survey.is_under_way());
        assert!(!survey.missed(at(10)), "one is under way");
        survey.ended(true);
        assert!(!survey.is_under_way());
        assert!(!survey.missed(at(1100)));
        assert!(!survey.missed(at(1100)));
        assert!(survey.missed(at(1100)), "the fourth");
        survey.ended(true);
        for _ in 0..10 {
            assert!(!survey.missed(at(2000)), "too soon");
        }
        assert!(survey.missed(at(2100)));
        survey.ended(true);
        assert!(survey.missed(at(40_000)), "what it said is old");
    }

    #[test]
    fn list_that_failed_is_begun_again_by_the_next_collision() {
        let now = Instant::now();
        let mut survey = Survey::default();
        assert!(survey.missed(now));
        survey.ended(false);
        assert!(survey.missed(now));
    }
}
