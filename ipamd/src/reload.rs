//! The configuration read again, when the file changes, by SIGHUP or an operator's call: applied whole or refused whole.
//!
//! One at a time. What was refused leaves everything as it was. The rack that a label names, and pools that are objects of the
//! cluster, are put into what is in force here too, so that the ledger hears of all from one side.

mod file;

use std::sync::Arc;
use std::time::Duration;

use ipamd_core::{NodeRack, ReconfigureError};
use ipamd_daemon::{Tasks, chain};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;
use tracing::{debug, error, info};

use crate::config::{self, Config, LoadConfigError, Overrides};
use crate::ledger::{LedgerError, LedgerHandle, Unavailable};
use crate::metrics::{ReloadLabels, ReloadResult};
use crate::sync::{EventsHandle, PoolSource, Seen, Topic};
use crate::wire::Guard;

pub(crate) use file::FileWatch;

/// A ledger that recovers cannot be told the rack; it is told when it has recovered.
const PLACE_PAUSE: Duration = Duration::from_millis(200);
/// A pool that is kept for the sake of addresses in use: whether they are not any more is looked at so often.
const KEPT_PAUSE: Duration = Duration::from_secs(10);

/// Why a configuration was not applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    /// It cannot be read, or is wrong.
    #[error(transparent)]
    Load(#[from] LoadConfigError),
    /// It changes what a running daemon cannot change.
    #[error("not while the daemon runs: {}", .0.join("; "))]
    NeedsRestart(Vec<String>),
    /// The book refuses it.
    #[error(transparent)]
    Book(ReconfigureError),
    /// The ledger cannot apply it now.
    #[error(transparent)]
    Unavailable(Unavailable),
}

impl ReloadError {
    /// What an operator does about it.
    pub(crate) fn advice(&self) -> String {
        match self {
            Self::Load(_) => "correct the file; the daemon goes on with what it had".to_owned(),
            Self::NeedsRestart(_) => {
                "restart the daemon to apply it; until then it goes on with what it had".to_owned()
            }
            Self::Book(error) => error.advice(),
            Self::Unavailable(error) => error.advice().to_owned(),
        }
    }
}

impl From<LedgerError<ReconfigureError>> for ReloadError {
    fn from(error: LedgerError<ReconfigureError>) -> Self {
        match error {
            LedgerError::Refused(error) => Self::Book(error),
            LedgerError::Unavailable(unavailable) => Self::Unavailable(unavailable),
        }
    }
}

/// Asks for a reload.
#[derive(Clone, Debug)]
pub(crate) struct ReloadHandle {
    requests: mpsc::Sender<oneshot::Sender<Result<Vec<String>, ReloadError>>>,
}

impl ReloadHandle {
    /// Reads the file again and applies it. Answers what changed, one line each.
    ///
    /// # Cancellation
    /// A dropped future leaves the request: it is done all the same, and logged.
    pub(crate) async fn reload(&self) -> Result<Vec<String>, ReloadError> {
        let (reply, answer) = oneshot::channel();
        let ended = || ReloadError::Unavailable(Unavailable::Ended);
        self.requests.send(reply).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

/// What reloads work on.
pub(crate) struct Reloader {
    /// The configuration that is in force.
    pub(crate) config: Config,
    /// What goes before the file.
    pub(crate) overrides: Overrides,
    /// Who works by it.
    pub(crate) ledger: LedgerHandle,
    /// Counts them.
    pub(crate) reloads: Family<ReloadLabels, Counter>,
    /// The file.
    pub(crate) file: FileWatch,
    /// The rack that a label names; `None`: the configuration names it.
    pub(crate) rack: Option<watch::Receiver<NodeRack>>,
    /// The pools that are objects of the cluster; `None`: the file has them.
    pub(crate) pools: Option<PoolSource>,
    /// Told what is refused.
    pub(crate) events: EventsHandle,
}

/// Starts the task that reloads, at every SIGHUP and when asked. Answers its handle, and what the wire is to guard.
pub(crate) fn spawn_reloader(
    tasks: &Tasks,
    reloader: Reloader,
    signals: watch::Receiver<u64>,
) -> (ReloadHandle, watch::Receiver<Arc<[Guard]>>) {
    // Operators wait for each other here, in the order they came.
    let (requests, receiver) = mpsc::channel(1);
    let (guards, guarded) = watch::channel(Guard::of(&reloader.config.settings));
    let token = tasks.token();
    tasks.spawn("reload", async move {
        tokio::select! {
            () = token.cancelled() => {}
            () = run(reloader, guards, receiver, signals) => {}
        }
    });
    (ReloadHandle { requests }, guarded)
}

async fn run(
    mut reloader: Reloader,
    guards: watch::Sender<Arc<[Guard]>>,
    mut requests: mpsc::Receiver<oneshot::Sender<Result<Vec<String>, ReloadError>>>,
    mut signals: watch::Receiver<u64>,
) {
    // Before the first reload: the label may be read already.
    let mut placed = reloader.rack.is_none();
    loop {
        let rack = reloader.rack.clone();
        let seen = reloader.pools.as_ref().map(PoolSource::seen);
        let is_pending = reloader.pools.as_ref().is_some_and(PoolSource::is_pending);
        let reply = tokio::select! {
            Ok(()) = signals.changed() => None,
            Some(reply) = requests.recv() => Some(reply),
            () = reloader.file.changed() => None,
            () = moved(rack, seen, placed) => {
                placed = reloader.place(&guards).await;
                continue;
            }
            () = sleep(KEPT_PAUSE), if is_pending => {
                placed = reloader.place(&guards).await;
                continue;
            }
            else => std::future::pending().await,
        };
        let outcome = reloader.reload(&guards).await;
        if let Some(reply) = reply {
            let _ = reply.send(outcome);
        }
    }
}

impl Reloader {
    async fn reload(
        &mut self,
        guards: &watch::Sender<Arc<[Guard]>>,
    ) -> Result<Vec<String>, ReloadError> {
        let content = self.file.content();
        let outcome = self.apply(guards).await;
        // What could not be tried is tried again.
        if !matches!(outcome, Err(ReloadError::Unavailable(_))) {
            self.file.dealt_with(content);
        }
        let result = match &outcome {
            Ok(changes) => {
                info!(changes = changes.join("; "), "configuration reloaded");
                self.events.withdraw(Topic::ConfigurationRefused);
                ReloadResult::Applied
            }
            Err(refused) => {
                let (problem, advice) = (chain(refused), refused.advice());
                // A configuration with several problems has one on each line.
                for line in problem.lines() {
                    error!(error = line, advice, "configuration refused");
                }
                let note = format!(
                    "configuration refused, the one before stays in force: {problem}; {advice}"
                );
                self.events.put(Topic::ConfigurationRefused, note);
                ReloadResult::Refused
            }
        };
        self.reloads.get_or_create(&ReloadLabels { result }).inc();
        outcome
    }

    async fn apply(
        &mut self,
        guarded: &watch::Sender<Arc<[Guard]>>,
    ) -> Result<Vec<String>, ReloadError> {
        let new = config::load(&self.config.path, &self.overrides)?;
        let needs_restart = self.config.needs_restart(&new);
        if !needs_restart.is_empty() {
            return Err(ReloadError::NeedsRestart(needs_restart));
        }
        Ok(self.install(new, guarded).await?)
    }

    /// Has the ledger and the wire work by a configuration with the rack that the label names, and with the cluster's pools.
    async fn install(
        &mut self,
        config: Config,
        guarded: &watch::Sender<Arc<[Guard]>>,
    ) -> Result<Vec<String>, LedgerError<ReconfigureError>> {
        if let Some(pools) = &mut self.pools {
            pools.mark_seen();
        }
        let rack = self
            .rack
            .as_mut()
            .map(|rack| rack.borrow_and_update().clone());
        let mut stuck = Vec::new();
        loop {
            let (settings, plan) = match (&rack, &self.pools) {
                (None, _) => (config.settings.clone(), None),
                (Some(rack), None) => (config.settings.with_rack(rack.clone()), None),
                (Some(rack), Some(pools)) => pools.compose(&config.settings, rack.clone(), &stuck),
            };
            let answer = if !stuck.is_empty() && settings == self.config.settings {
                // All of it stays, which the ledger need not be told again and again.
                Ok(Vec::new())
            } else {
                self.ledger.reload(settings.clone()).await
            };
            match (answer, &plan) {
                // Only the pools that have them stay as they are. Each round there are fewer.
                (Err(LedgerError::Refused(ReconfigureError::Displaces { all, .. })), Some(_))
                    if all.iter().any(|one| !stuck.contains(one)) =>
                {
                    stuck.extend(all);
                }
                (Err(error), _) => return Err(error),
                (Ok(changes), _) => {
                    guarded.send_replace(Guard::of(&settings));
                    self.config = Config { settings, ..config };
                    if let (Some(pools), Some(plan)) = (&mut self.pools, plan) {
                        pools.adopt(plan).await;
                    }
                    return Ok(changes);
                }
            }
        }
    }

    /// Has rack and pools as they are now be in force. Answers whether they are.
    async fn place(&mut self, guarded: &watch::Sender<Arc<[Guard]>>) -> bool {
        match self.install(self.config.clone(), guarded).await {
            Ok(changes) => {
                if !changes.is_empty() {
                    info!(changes = changes.join("; "), "node placed");
                }
                true
            }
            Err(LedgerError::Unavailable(unavailable)) => {
                debug!(error = %unavailable, "rack and pools cannot be applied yet");
                false
            }
            Err(LedgerError::Refused(refused)) => {
                // Which rack it is changes nothing about what the pools have, and those that have something stay: not to be expected.
                error!(error = %refused, "rack and pools refused");
                true
            }
        }
    }
}

/// Returns when there is a rack, or are pools, to be applied.
async fn moved(
    rack: Option<watch::Receiver<NodeRack>>,
    seen: Option<watch::Receiver<Seen>>,
    placed: bool,
) {
    let Some(mut rack) = rack else {
        return std::future::pending().await;
    };
    if !placed {
        sleep(PLACE_PAUSE).await;
        return;
    }
    let listed = async {
        match seen {
            Some(mut seen) => seen.changed().await.is_ok(),
            None => false,
        }
    };
    tokio::select! {
        Ok(()) = rack.changed() => {}
        true = listed => {}
        else => std::future::pending().await,
    }
}
