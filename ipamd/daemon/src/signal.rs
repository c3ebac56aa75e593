//! The only place that reads signals: SIGTERM and SIGINT ask for shutdown, SIGHUP for the configuration to be read again.
//!
//! Never acts on a signal itself: who must act watches [`Signals`].

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::tasks::Tasks;

/// A signal handler could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("installing the handler of {name}")]
pub struct ListenSignalsError {
    /// The signal.
    pub name: &'static str,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

/// What the process was asked by signals.
#[derive(Clone, Debug)]
pub struct Signals {
    /// Cancelled by the first SIGTERM or SIGINT.
    pub shutdown: CancellationToken,
    /// How often SIGHUP was seen. A burst of them may be seen as one change.
    pub reloads: watch::Receiver<u64>,
}

/// Installs the handlers and starts the task that reads them.
///
/// # Errors
/// When a handler cannot be installed.
pub fn spawn_signals(tasks: &Tasks) -> Result<Signals, ListenSignalsError> {
    let mut terminate = listen("SIGTERM", SignalKind::terminate())?;
    let mut interrupt = listen("SIGINT", SignalKind::interrupt())?;
    let mut hangup = listen("SIGHUP", SignalKind::hangup())?;
    let (reload, reloads) = watch::channel(0_u64);
    let shutdown = CancellationToken::new();
    let (asked, token) = (shutdown.clone(), tasks.token());
    tasks.spawn("signals", async move {
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                _ = terminate.recv() => ask(&asked, "SIGTERM"),
                _ = interrupt.recv() => ask(&asked, "SIGINT"),
                _ = hangup.recv() => {
                    info!(signal = "SIGHUP", "reload asked for");
                    reload.send_modify(|count| *count += 1);
                }
            }
        }
    });
    Ok(Signals { shutdown, reloads })
}

fn listen(name: &'static str, kind: SignalKind) -> Result<Signal, ListenSignalsError> {
    signal(kind).map_err(|source| ListenSignalsError { name, source })
}

fn ask(shutdown: &CancellationToken, signal: &'static str) {
    info!(signal, "shutdown asked for");
    shutdown.cancel();
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[tokio::test]
    async fn hangup_reloads_and_terminate_shuts_down() {
        let (tasks, _supervisor) = Tasks::new();
        let mut signals = spawn_signals(&tasks).unwrap();
        raise(Signal::SIGHUP).unwrap();
        signals.reloads.wait_for(|count| *count >= 1).await.unwrap();
        assert!(!signals.shutdown.is_cancelled());
        raise(Signal::SIGTERM).unwrap();
        signals.shutdown.cancelled().await;
    }
}
