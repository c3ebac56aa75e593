//! Waiting for a condition: level-triggered, with the last status in the failure.
//!
//! The only place below `tests/` that sleeps.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long between two looks at a condition: short against everything waited for, long against the cost of a look.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why a condition does not hold yet, in words for the failure message.
#[derive(Clone, Debug)]
pub struct Pending(pub String);

impl Pending {
    /// Says why the condition does not hold yet.
    pub fn because(reason: impl std::fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

/// Looks at the world until `look` gives a value, and returns it.
///
/// # Errors
/// After `deadline`, naming `what` and the last reason `look` gave.
pub fn wait_until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, Pending>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let late = start.elapsed() >= deadline;
        match look() {
            Ok(value) => return Ok(value),
            Err(Pending(reason)) if late => {
                bail!("{what} did not happen within {deadline:?}; last status: {reason}")
            }
            Err(_) => pause(),
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one sleep of the tests: between two looks"
)]
fn pause() {
    std::thread::sleep(LOOK_EVERY);
}
