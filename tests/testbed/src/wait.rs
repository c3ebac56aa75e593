//! Waiting for a condition: level-triggered, with the last status in the failure.
//!
//! The only place below `tests/` that sleeps.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long between two looks at a condition: short against everything waited for, long against the cost of a look.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The same for a look that costs more than a tenth of a second of a core, such as a run of kubectl.
const LOOK_PATIENTLY: Duration = Duration::from_millis(250);

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
    look: impl FnMut() -> Result<T, Pending>,
) -> Result<T> {
    wait(what, deadline, LOOK_EVERY, look)
}

/// Like [`wait_until`], for looks that are costly themselves.
///
/// # Errors
/// After `deadline`, naming `what` and the last reason `look` gave.
pub fn wait_patiently<T>(
    what: &str,
    deadline: Duration,
    look: impl FnMut() -> Result<T, Pending>,
) -> Result<T> {
    wait(what, deadline, LOOK_PATIENTLY, look)
}

fn wait<T>(
    what: &str,
    deadline: Duration,
    every: Duration,
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
            // What has taken ten seconds is not half a second's business.
            Err(_) => pause((start.elapsed() / 20).clamp(every, 2 * every)),
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one sleep of the tests: between two looks"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
