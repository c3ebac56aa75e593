//! The runtime's sandboxes, compared with the book: what is left over is found, and freed on positive evidence.
//!
//! Owns the questions to the runtime and their times. Always: the ledger is never waited on by the runtime, nor it by the
//! ledger; an answer counts whole or not at all; a runtime that is away, slow or refuses is no evidence of anything. Never:
//! changes a sandbox, or an interface. What is decided is decided by `ipamd_core`'s `garbage`.

mod message;
mod relay;
mod runtime;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipamd_core::{Doubts, Look, Patience};
use ipamd_daemon::{Tasks, chain};
use proto_ids::SandboxId;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::ledger::{LedgerHandle, Unavailable};
use crate::links::{ObservePorts, ObservePortsError};
pub(crate) use relay::{RelayArgs, relay};
use runtime::{AskRuntimeError, Runtime};

/// The first question: when a daemon that was just started has other things behind it.
const FIRST: Duration = Duration::from_secs(5);
/// No ADD is under way for so many periods: five minutes. Kubelet gives a runtime four for a sandbox (twice its
/// `runtimeRequestTimeout`), and a runtime lists a sandbox only when its network is made (containerd 2.4: `sandboxStore.Add`
/// after `setupPodNetwork`).
const AGE_PERIODS: u32 = 5;
/// Sandboxes asked about one by one after a look: those of a node full of Pods that another plugin wired are asked within minutes.
const ASK_LIMIT: usize = 32;

/// Where the runtime is, and how often it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuntimeSettings {
    /// Its socket, or the relay's.
    pub(crate) socket: PathBuf,
    /// From one question to the next.
    pub(crate) check: Duration,
}

/// Why there was no look.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Runtime(#[from] AskRuntimeError),
    #[error("ports cannot be read")]
    Ports(#[source] ObservePortsError),
    #[error("the book cannot be compared")]
    Ledger(#[source] Unavailable),
}

/// Starts to compare, for as long as the daemon runs.
pub(crate) fn spawn_sandboxes(
    tasks: &Tasks,
    settings: RuntimeSettings,
    ports: ObservePorts,
    ledger: LedgerHandle,
) {
    let comparer = Comparer {
        runtime: Runtime::new(settings.socket),
        patience: Patience {
            apart: settings.check,
            age: settings.check * AGE_PERIODS,
        },
        begun: Instant::now(),
        ports,
        ledger,
        addresses: BTreeMap::new(),
        doubts: Doubts::default(),
        away: false,
    };
    let token = tasks.token();
    tasks.spawn("sandboxes", comparer.run(token));
}

/// The task.
struct Comparer {
    runtime: Runtime,
    patience: Patience,
    begun: Instant,
    ports: ObservePorts,
    ledger: LedgerHandle,
    /// Of running sandboxes that the book does not know: what the runtime believes of each, asked once.
    addresses: BTreeMap<SandboxId, Vec<IpAddr>>,
    doubts: Doubts,
    away: bool,
}

impl Comparer {
    async fn run(mut self, token: CancellationToken) {
        let mut pause = FIRST.min(self.patience.apart);
        let work = async {
            loop {
                sleep(pause).await;
                let outcome = self.compare().await;
                self.tell(outcome.as_ref().err());
                pause = self.pause();
            }
        };
        tokio::select! {
            () = token.cancelled() => {}
            () = work => {}
        }
    }

    /// What is doubted is settled as early as may be; else the daemons of a cluster that started at once do not go on asking
    /// at once.
    fn pause(&self) -> Duration {
        let period = self.patience.apart;
        if self.doubts.is_empty() {
            let spread = self.begun.elapsed().subsec_micros() % 200;
            period.mul_f64(f64::from(900 + spread) / 1000.0)
        } else {
            period
        }
    }

    async fn compare(&mut self) -> Result<(), LookError> {
        let look = self.look().await?;
        let doubts = self.doubts.clone();
        let comparing = self.ledger.collect_garbage(look, doubts, self.patience);
        self.doubts = comparing.await.map_err(LookError::Ledger)?.doubts;
        Ok(())
    }

    /// The runtime first, the ports after it: what ended between the two is in neither.
    async fn look(&mut self) -> Result<Look, LookError> {
        let at = self.begun.elapsed();
        let mut sandboxes = self.runtime.sandboxes().await?;
        let unknown = self.ledger.unknown_sandboxes(sandboxes.clone());
        let unknown = unknown.await.map_err(LookError::Ledger)?;
        self.addresses.retain(|id, _| unknown.contains(id));
        let unasked = unknown
            .into_iter()
            .filter(|id| !self.addresses.contains_key(id));
        let unasked: Vec<_> = unasked.take(ASK_LIMIT).collect();
        for id in unasked {
            // One that ended meanwhile is no longer known to the runtime either.
            if let Some(addresses) = self.runtime.addresses(&id).await? {
                self.addresses.insert(id, addresses);
            }
        }
        for (id, addresses) in &self.addresses {
            if let Some(sandbox) = sandboxes.get_mut(id) {
                sandbox.addresses.clone_from(addresses);
            }
        }
        let ports = (self.ports)().await.map_err(LookError::Ports)?;
        Ok(Look {
            at,
            sandboxes,
            ports: ports
                .ports
                .into_iter()
                .map(|port| (port.name, port.alias))
                .collect(),
            unreadable_ports: ports.unreadable,
        })
    }

    /// Once when it begins to fail, once when it is over.
    fn tell(&mut self, error: Option<&LookError>) {
        let socket = self.runtime.socket().display();
        match error {
            Some(error) => {
                let why = chain(error);
                if !self.away {
                    warn!(error = %why, runtime = %socket, "sandboxes and book cannot be compared");
                }
                self.ledger.garbage_unknown(format!(
                    "sandboxes and book are not compared, so that nothing is freed: {why}; see the key `runtime`"
                ));
                self.away = true;
            }
            None if self.away => {
                info!(runtime = %socket, "sandboxes and book are compared again");
                self.away = false;
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
