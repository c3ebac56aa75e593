//! The groups of the daemon's tasks, and how long each may take to stop.

use std::time::Duration;

use ipamd_daemon::{Tasks, chain};
use tracing::error;

/// Calls under way are given so long to finish: more than a commit takes, less than a supervisor waits before it kills.
const INTAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Wire, metrics and reload stop at once; the ledger commits what is queued and closes the store.
const PART_DEADLINE: Duration = Duration::from_secs(5);
const LEDGER_DEADLINE: Duration = Duration::from_secs(20);

/// The groups, in the order in which they are stopped.
pub(super) struct Groups {
    pub(super) root: Tasks,
    pub(super) intake: Tasks,
    pub(super) parts: Tasks,
    pub(super) ledger: Tasks,
}

impl Groups {
    pub(super) fn new(root: Tasks) -> Self {
        Self {
            intake: root.child(),
            parts: root.child(),
            ledger: root.child(),
            root,
        }
    }

    pub(super) async fn stop(self) {
        let order = [
            ("intake", &self.intake, INTAKE_DEADLINE),
            ("parts", &self.parts, PART_DEADLINE),
            ("ledger", &self.ledger, LEDGER_DEADLINE),
            ("root", &self.root, PART_DEADLINE),
        ];
        for (group, tasks, deadline) in order {
            if let Err(error) = tasks.stop(deadline).await {
                error!(group, error = %chain(&error), "not stopped in time");
            }
        }
    }
}
