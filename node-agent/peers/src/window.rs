//! Which datagrams of a sender were seen already: a replayed one is told from one that was only overtaken on its way.

/// So many of the latest are remembered; one that was overtaken by more is taken for a replay.
const DEPTH: usize = 16;

/// The latest numbers that were taken, rising.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    taken: Vec<u64>,
}

impl Window {
    /// Whether the number is new; it is not from now on.
    pub(crate) fn take(&mut self, number: u64) -> bool {
        let Err(at) = self.taken.binary_search(&number) else {
            return false;
        };
        if self.taken.len() >= DEPTH {
            if at == 0 {
                return false;
            }
            self.taken.remove(0);
            self.taken.insert(at - 1, number);
        } else {
            self.taken.insert(at, number);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_number_is_taken_once_and_old_ones_never() {
        let mut window = Window::default();
        let mut take = |number| window.take(number);
        for (number, is_new) in [(10, true), (10, false), (9, true), (9, false), (12, true)] {
            assert_eq!(take(number), is_new, "{number}");
        }
        for number in 100..116 {
            assert!(take(number));
        }
        for number in [0, 11, 12, 99, 100, 115] {
            assert!(!take(number), "{number}");
        }
        assert!(take(116));
    }

    proptest! {
        #[test]
        fn no_number_is_taken_twice(numbers in proptest::collection::vec(0_u64..60, 0..300)) {
            let (mut window, mut seen) = (Window::default(), BTreeSet::new());
            for number in numbers {
                if window.take(number) {
                    prop_assert!(seen.insert(number));
                }
            }
        }

        #[test]
        fn what_is_not_overtaken_by_many_is_taken(shifts in proptest::collection::vec(0_u64..15, 1..200)) {
            // Each is late by less than the window's depth.
            let mut order: Vec<_> = shifts.iter().zip(0_u64..).map(|(shift, at)| (at + shift, at)).collect();
            order.sort_unstable();
            let mut window = Window::default();
            for (_, number) in order {
                prop_assert!(window.take(number), "{}", number);
            }
        }
    }
}
