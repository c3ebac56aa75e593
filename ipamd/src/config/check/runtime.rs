//! Where the container runtime is, whose sandboxes are compared with the book.

use std::time::Duration;

use super::super::file::Daemon;
use super::super::problem::Problems;
use super::super::value::duration;
use super::super::{DEFAULT_RUNTIME_CHECK, RELAY_SOCKET};
use super::absolute;
use crate::sandboxes::RuntimeSettings;

/// Seconds for a test, an hour where sandboxes are many and the runtime slow; anything else is a slip.
const CHECK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60 * 60));

/// What is said of the runtime; `None`: sandboxes are not compared. In a cluster they are, unless it says `""`: there the
/// manifests start the relay.
pub(super) fn runtime(
    daemon: &Daemon,
    in_cluster: bool,
    problems: &mut Problems<'_>,
) -> Option<RuntimeSettings> {
    let check = duration("", "runtime_check", daemon.runtime_check.as_ref(), problems);
    if let (Some(written), Some(check)) = (&daemon.runtime_check, check)
        && !(CHECK.0..=CHECK.1).contains(&check)
    {
        let problem = format!(
            "runtime_check: {:?} is not between 1s and 1h",
            written.get_ref()
        );
        problems.at(Some(written.span()), problem);
    }
    let is_off = match &daemon.runtime {
        Some(text) => text.get_ref().is_empty(),
        None => !in_cluster,
    };
    (!is_off).then(|| RuntimeSettings {
        socket: absolute("runtime", daemon.runtime.as_ref(), RELAY_SOCKET, problems),
        check: check.unwrap_or(DEFAULT_RUNTIME_CHECK),
    })
}
