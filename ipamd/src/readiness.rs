//! Whether the daemon is ready: it follows the ledger's phase, and is told in the log whenever that changes.

use std::sync::Arc;

use ipamd_daemon::Tasks;
use ipamd_daemon::readiness::{Readiness, Ready};
use tracing::info;

use crate::ledger::{LedgerHandle, Phase};

/// Readiness follows the ledger's phase.
pub(crate) fn spawn_readiness(tasks: &Tasks, ledger: LedgerHandle, readiness: Arc<Readiness>) {
    let token = tasks.token();
    tasks.spawn("readiness", async move {
        let mut status = ledger.status();
        let mut last = None;
        loop {
            let (phase, message) = {
                let status = status.borrow_and_update();
                (status.phase, status.message.clone())
            };
            if last.as_ref() != Some(&(phase, message.clone())) {
                info!(phase = ?phase, reason = message, "phase");
                readiness.set(match phase {
                    Phase::Serving => Ready::Yes,
                    phase => Ready::No(format!("{phase:?}: {message}")),
                });
                last = Some((phase, message));
            }
            tokio::select! {
                () = token.cancelled() => return,
                changed = status.changed() => if changed.is_err() {
                    token.cancelled().await;
                    return;
                },
            }
        }
    });
}
