//! Waiting, the only way a test may: until a condition holds, with the last status in the message when it does not.
//!
//! The testbed's level-triggered wait, as an expectation: a condition that never holds fails the test at its line.

use std::time::Duration;

use tests_testbed::Pending;

/// Long enough for any step of a test on two busy cores, also emulated ones; a condition that holds ends the wait at once.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `condition` gives a value, at most [`PATIENCE`].
///
/// The condition answers `Err` with what it saw instead.
#[track_caller]
pub fn wait_until<T>(what: &str, condition: impl FnMut() -> Result<T, String>) -> T {
    wait_at_most(PATIENCE, what, condition)
}

/// Waits until `condition` gives a value, at most `limit`; fails the test with the last status otherwise.
#[track_caller]
pub fn wait_at_most<T>(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T, String>,
) -> T {
    tests_testbed::wait_until(what, limit, || condition().map_err(Pending))
        .unwrap_or_else(|error| panic!("{error:#}"))
}

/// `Ok` when it holds, else the status: for conditions that are a plain comparison.
///
/// # Errors
/// With the status, when it does not hold.
pub fn holds(holds: bool, status: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(status()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn condition_that_holds_later_ends_the_wait() {
        let mut looks = 0;
        let seen = wait_until("three looks", || {
            looks += 1;
            holds(looks == 3, || format!("{looks} looks")).map(|()| looks)
        });
        assert_eq!(seen, 3);
    }

    #[test]
    #[should_panic(expected = "still closed")]
    fn last_status_is_in_the_message() {
        wait_at_most(Duration::from_millis(1), "the door opens", || {
            Err::<(), _>("still closed".to_owned())
        });
    }
}
