//! How far the replacement of a soft-evicted Pod is. Pure.
//!
//! Of an `InPlaceSet` a Pod says itself whom it replaces. A `ReplicaSet`'s do not, and need not: they are alike, so that they are
//! counted. **Always holds:** as many soft-evicted Pods count as replaced as there are ready ones in their place, no more; those that
//! were soft-evicted first are replaced first, so that none is replaced now and not a moment later because of another.

use node_agent_lifecycle::observation::ReplacementState;

/// Why containers wait that do not start by waiting.
const FAILING: [&str; 7] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// A Pod that its owner counts, as far as it says whether it can stand in for another.
#[expect(
    clippy::struct_excessive_bools,
    reason = "what it says of itself, each independent of the others"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StandIn {
    /// Its Ready is True.
    pub(crate) is_ready: bool,
    /// It has ended, or is ending.
    pub(crate) is_over: bool,
    /// One of its containers does not start.
    pub(crate) is_failing: bool,
    /// Its node is lost too: it waits to be soft-evicted itself.
    pub(crate) is_lost: bool,
}

/// Whether a container that waits for this does not start by waiting.
pub(crate) fn is_failing(reason: &str) -> bool {
    FAILING.contains(&reason)
}

impl StandIn {
    fn state(self) -> ReplacementState {
        match self {
            Self { is_ready: true, .. } => ReplacementState::Ready,
            Self {
                is_failing: true, ..
            } => ReplacementState::Failed,
            _ => ReplacementState::Starting,
        }
    }
}

/// The replacement of a Pod of an `InPlaceSet`, by the Pods that say that they were made for it (`berth.dev/replaces`).
pub(crate) fn of_in_place_set(
    made_for_it: impl Iterator<Item = StandIn>,
) -> Option<ReplacementState> {
    let states = made_for_it.filter(|pod| !pod.is_over && !pod.is_lost);
    let states = states.map(StandIn::state);
    // The one that is furthest.
    states.min_by_key(|state| match state {
        ReplacementState::Ready => 0,
        ReplacementState::Starting => 1,
        ReplacementState::Failed => 2,
    })
}

/// The replacements of as many soft-evicted Pods of a `ReplicaSet`, in the order in which they were soft-evicted.
///
/// `wanted`: how many the `ReplicaSet` is to have; none where it is gone, which lacks nobody. `counted`: the Pods that it has, which
/// soft-evicted ones are not.
pub(crate) fn of_replica_set(
    wanted: u32,
    counted: &[StandIn],
    soft_evicted: usize,
) -> Vec<Option<ReplacementState>> {
    let there = || counted.iter().filter(|pod| !pod.is_over);
    let ready = there().filter(|pod| pod.is_ready || pod.is_lost).count();
    // Those on lost nodes are nobody's replacement, but nobody is made in their place either.
    let lacking = usize::try_from(wanted).unwrap_or(usize::MAX);
    let lacking = lacking.saturating_sub(ready).min(soft_evicted);
    let unready = || there().filter(|pod| !pod.is_ready && !pod.is_lost);
    let starting = unready().filter(|pod| !pod.is_failing);
    let failing = unready().filter(|pod| pod.is_failing);
    let mut states: Vec<_> = starting
        .chain(failing)
        .map(|pod| Some(pod.state()))
        .take(lacking)
        .collect();
    states.resize(lacking, None);
    let replaced = soft_evicted - lacking;
    let replaced = std::iter::repeat_n(Some(ReplacementState::Ready), replaced);
    replaced.chain(states).collect()
}

#[cfg(test)]
mod tests {
    use ReplacementState::{Failed, Ready, Starting};

    use super::*;

    const READY: StandIn = StandIn {
        is_ready: true,
        is_over: false,
        is_failing: false,
        is_lost: false,
    };
    const STARTING: StandIn = StandIn {
        is_ready: false,
        ..READY
    };
    const FAILING: StandIn = StandIn {
        is_failing: true,
        ..STARTING
    };
    /// On the lost node; what its Ready says is old.
    const LOST: StandIn = StandIn {
        is_lost: true,
        ..STARTING
    };
    const OVER: StandIn = StandIn {
        is_over: true,
        ..READY
    };

    #[test]
    fn replacements_of_a_replica_set_are_counted_and_the_first_are_replaced_first() {
        for (wanted, counted, evicted, expected) in [
            // Released, and nothing made yet.
            (3, &[READY, READY][..], 1, vec![None]),
            (3, &[READY, READY, STARTING], 1, vec![Some(Starting)]),
            (3, &[READY, READY, FAILING], 1, vec![Some(Failed)]),
            (3, &[READY, READY, READY], 1, vec![Some(Ready)]),
            (3, &[READY, READY, OVER], 1, vec![None]),
            // Two released, one is back.
            (
                3,
                &[READY, READY, STARTING],
                2,
                vec![Some(Ready), Some(Starting)],
            ),
            (
                4,
                &[READY, STARTING, FAILING],
                3,
                vec![Some(Starting), Some(Failed), None],
            ),
            // The third is on the lost node too, and not released yet: it is nobody's replacement, and has none.
            (3, &[READY, READY, LOST], 1, vec![Some(Ready)]),
            (3, &[READY, STARTING, LOST], 1, vec![Some(Starting)]),
            // A Pod that was unready before: not to be told from a replacement.
            (3, &[READY, STARTING, READY], 1, vec![Some(Starting)]),
            // Scaled in, and gone: nobody lacks it.
            (2, &[READY, READY], 1, vec![Some(Ready)]),
            (0, &[], 2, vec![Some(Ready), Some(Ready)]),
            (3, &[READY, READY, READY], 0, vec![]),
        ] {
            let states = of_replica_set(wanted, counted, evicted);
            assert_eq!(states, expected, "{wanted} {counted:?} {evicted}");
        }
    }

    #[test]
    fn the_replacement_in_an_in_place_set_is_the_furthest_of_those_made_for_it() {
        for (made, expected) in [
            (&[][..], None),
            (&[STARTING], Some(Starting)),
            (&[READY], Some(Ready)),
            (&[FAILING], Some(Failed)),
            (&[OVER], None),
            (&[LOST], None),
            (&[FAILING, STARTING], Some(Starting)),
        ] {
            let state = of_in_place_set(made.iter().copied());
            assert_eq!(state, expected, "{made:?}");
        }
    }

    #[test]
    fn a_container_that_is_created_or_pulled_is_not_failing() {
        for (reason, expected) in [
            ("CrashLoopBackOff", true),
            ("ImagePullBackOff", true),
            ("ContainerCreating", false),
            ("PodInitializing", false),
            ("ErrImagePull", false),
            ("", false),
        ] {
            assert_eq!(is_failing(reason), expected, "{reason}");
        }
    }
}
