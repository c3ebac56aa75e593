//! What tests of several modules begin with.

use std::time::Instant;

/// Some instant to count from.
#[allow(
    clippy::disallowed_methods,
    reason = "an instant cannot be made otherwise; only what is counted from it matters"
)]
pub(crate) fn start() -> Instant {
    Instant::now()
}
