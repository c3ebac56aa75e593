//! The owner task: gathers requests into groups, and makes each group durable with one commit.
//!
//! While one group is being synced, the next one gathers in the queue. Everything that can go wrong leads to one place:
//! [`Ledger::start`], which reads everything anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipamd_core::{Book, ValidSettings};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::audit;
use super::error::{RunLedgerError, Unavailable};
use super::figures::Figures;
use super::leftovers::Leftovers;
use super::start::{Fault, chain};
use super::status::{LedgerStatus, Phase};
use super::storage::Storage;
use super::transaction::{Outcome, Transaction};
use super::{LedgerConfig, LedgerPaths};
use crate::clock::BookClock;
use crate::links::ObservePorts;
use crate::recover::without_port;
use crate::spool::{Spool, Spooled};
use crate::store::reserve::HEADROOM_BYTES;
use crate::store::{CommitError, Committed, Writes};

/// What a request needs of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Changes nothing.
    Read,
    /// Gives something back: served on a full disk too.
    Release,
    /// Takes something: refused on a full disk.
    Grant,
}

/// A request: what it does to the book, or what it answers when it may not.
pub(super) type Work = Box<dyn FnOnce(Result<&mut Transaction<'_>, Unavailable>) -> Answer + Send>;

/// The rest of a request: told whether what it did is on the disk.
pub(super) type Answer = Box<dyn FnOnce(Result<(), Unavailable>) + Send>;

/// Requests in one commit at most: what 256 Pods starting at once ask.
const GROUP_LIMIT: usize = 256;

/// How often the spool, the disk and the deadlines are looked at when nothing else happens.
const TICK: Duration = Duration::from_secs(2);

/// How often the audit log is pruned when there is nothing left to prune.
const PRUNE_PERIOD: Duration = Duration::from_secs(600);

/// How long to wait before trying again what failed.
const RETRY: Duration = Duration::from_secs(2);

/// Holds and quarantines ended in one commit at most.
const EXPIRE_LIMIT: usize = 256;

/// The task.
pub(crate) struct Ledger {
    pub(super) settings: ValidSettings,
    pub(super) paths: LedgerPaths,
    pub(super) ports: ObservePorts,
    requests: mpsc::Receiver<(Access, Work)>,
    publish: watch::Sender<LedgerStatus>,
    pub(super) figures: Arc<Figures>,
    pub(super) storage: Storage,
    pub(super) spool: Spool,
    next_prune: Instant,
}

/// What the task has while it serves.
pub(super) struct Open {
    pub(super) book: Book,
    pub(super) clock: BookClock,
    pub(super) sequence: u64,
    pub(super) findings: Vec<String>,
    pub(super) leftovers: Leftovers,
    pub(super) read_only: Option<Unavailable>,
}

impl Ledger {
    pub(super) fn new(
        config: LedgerConfig,
        requests: mpsc::Receiver<(Access, Work)>,
        publish: watch::Sender<LedgerStatus>,
        figures: Arc<Figures>,
        storage: Storage,
    ) -> Self {
        Self {
            settings: config.settings,
            spool: Spool::new(config.paths.spool.clone()),
            paths: config.paths,
            ports: config.ports,
            requests,
            publish,
            figures,
            storage,
            next_prune: Instant::now(),
        }
    }

    /// Recovers, then serves until `cancel`; what was asked before is still answered.
    ///
    /// # Errors
    /// When another process has the store, or the store's thread is gone.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> Result<(), RunLedgerError> {
        let gone = |store: &PathBuf| RunLedgerError::Thread {
            store: store.clone(),
        };
        let store = self.paths.store.clone();
        self.storage.start().map_err(|_| gone(&store))?;
        let locked = self.storage.lock(store.clone()).await;
        locked.map_err(|_| gone(&store))??;
        while !cancel.is_cancelled() && !self.requests.is_closed() {
            let fault = match self.start().await {
                Ok(mut open) => {
                    self.publish(&open);
                    let served = self.serve(&mut open, &cancel).await;
                    self.settings = open.book.settings().clone();
                    match served {
                        None => break,
                        Some(Fault::Thread) => return Err(gone(&store)),
                        Some(fault) => {
                            // What is on the disk is found out at once.
                            self.report(&fault);
                            self.figures.reopened.increment();
                            continue;
                        }
                    }
                }
                Err(Fault::Thread) => return Err(gone(&store)),
                Err(fault) => fault,
            };
            self.report(&fault);
            self.wait(&fault, &cancel).await;
        }
        self.requests.close();
        while let Some((_, work)) = self.requests.recv().await {
            work(Err(Unavailable::Ended))(Ok(()));
        }
        self.storage.close().await;
        Ok(())
    }

    /// Waits until it may be tried again, refusing what is asked meanwhile.
    async fn wait(&mut self, fault: &Fault, cancel: &CancellationToken) {
        let until = Instant::now() + RETRY;
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = sleep_until(until), if fault.is_passing() => return,
                request = self.requests.recv() => match request {
                    Some((_, work)) => work(Err(fault.unavailable()))(Ok(())),
                    None => return,
                },
            }
        }
    }

    /// Serves until the end (`None`) or until something failed so that everything must be read anew.
    async fn serve(&mut self, open: &mut Open, cancel: &CancellationToken) -> Option<Fault> {
        let mut group = Vec::new();
        let mut looked = Instant::now();
        loop {
            let wake = next_wake(open, looked);
            let served = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    self.requests.close();
                    while self.requests.recv_many(&mut group, GROUP_LIMIT).await > 0 {
                        if let Err(fault) = self.group(open, &mut group).await {
                            self.report(&fault);
                            break;
                        }
                    }
                    return None;
                }
                // Before the requests: however many come, deadlines pass.
                () = sleep_until(wake) => {
                    looked = Instant::now();
                    self.tick(open).await
                }
                count = self.requests.recv_many(&mut group, GROUP_LIMIT) => {
                    if count == 0 {
                        return None;
                    }
                    self.group(open, &mut group).await
                }
            };
            if let Err(fault) = served {
                return Some(fault);
            }
            self.publish(open);
        }
    }

    /// Does what a group asks, commits it, answers it.
    async fn group(
        &mut self,
        open: &mut Open,
        group: &mut Vec<(Access, Work)>,
    ) -> Result<(), Fault> {
        let grants = group.iter().any(|(access, _)| *access == Access::Grant);
        let mut denial = open.read_only.clone();
        if grants {
            // A tombstone is older than an ADD of the same attachment that comes now.
            if let Err(fault) = self.drain_spool(open).await {
                refuse(group, &fault.unavailable());
                return Err(fault);
            }
            denial = denial.or_else(|| self.disk_full());
        }
        let clock = match open.clock.read() {
            Ok(clock) => clock,
            Err(error) => {
                let fault = Fault::Clock(error);
                refuse(group, &fault.unavailable());
                return Err(fault);
            }
        };
        let mut transaction = Transaction::new(
            &mut open.book,
            clock.clone(),
            &open.findings,
            &mut open.sequence,
        )
        .with_leftovers(&open.leftovers);
        let answers: Vec<Answer> = group
            .drain(..)
            .map(|(access, work)| match &denial {
                Some(unavailable) if access == Access::Grant => work(Err(unavailable.clone())),
                _ => work(Ok(&mut transaction)),
            })
            .collect();
        let outcome = transaction.finish();
        let requests = answers.len() as u64;
        let committed = self.commit(outcome, &clock).await;
        let durable = match &committed {
            Ok(wrote) => {
                if *wrote {
                    self.figures.committed_requests.add(requests);
                }
                Ok(())
            }
            Err(fault) => Err(fault.unavailable()),
        };
        for answer in answers {
            answer(durable.clone());
        }
        if let Some(unavailable) = denial {
            open.read_only = Some(unavailable);
        }
        committed.map(|_| ())
    }

    /// Commits; answers whether there was anything to commit.
    async fn commit(
        &self,
        outcome: Outcome,
        clock: &crate::clock::ClockBase,
    ) -> Result<bool, Fault> {
        if let Some(reason) = outcome.fault {
            return Err(Fault::Commit { reason });
        }
        if outcome.writes.is_empty() {
            return Ok(false);
        }
        self.write(outcome.writes, clock).await?;
        self.figures
            .changes
            .send_modify(|count| *count = count.wrapping_add(1));
        Ok(true)
    }

    /// Commits writes and counts it.
    pub(super) async fn write(
        &self,
        writes: Writes,
        clock: &crate::clock::ClockBase,
    ) -> Result<Committed, Fault> {
        let clock = clock.clone();
        let committed = self
            .storage
            .on_store(move |store| {
                let committed = store.commit(&writes, &clock);
                let size = store.size_bytes().unwrap_or_default();
                (committed, store.meta().records, size)
            })
            .await;
        let (committed, records, size) = committed.map_err(|_| Fault::Thread)?;
        match committed {
            Ok(committed) => {
                self.figures.commits.increment();
                self.figures.commit_durations.observe(committed.took);
                self.figures.records.set(records);
                self.figures.store_bytes.set(size);
                Ok(committed)
            }
            Err(error) => {
                self.figures.commit_failures.increment();
                if matches!(error, CommitError::Full) {
                    // Room for opening the store again, and for releases.
                    let spent = self
                        .storage
                        .run(|volume| volume.folder().map(|folder| folder.reserve().spend()));
                    let spent = spent.await;
                    tracing::warn!(reserve = ?spent, "disk is full");
                }
                Err(match error {
                    CommitError::Full => Fault::Full,
                    other => Fault::Commit {
                        reason: chain(&other),
                    },
                })
            }
        }
    }

    /// What time alone does: tombstones, deadlines, the audit log, the disk.
    async fn tick(&mut self, open: &mut Open) -> Result<(), Fault> {
        self.drain_spool(open).await?;
        self.expire(open).await?;
        self.prune(open).await?;
        self.look_for_leftovers(open).await;
        if open.read_only.is_some() {
            open.read_only = self.still_full();
        } else {
            open.read_only = self.disk_full();
        }
        Ok(())
    }

    /// Releases what tombstones say ended, then removes them.
    async fn drain_spool(&mut self, open: &mut Open) -> Result<(), Fault> {
        let found = match self.spool.observe() {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(error = %error, folder = %self.paths.spool.display(), "spool cannot be read");
                return Ok(());
            }
        };
        for (path, reason) in &found.damaged {
            self.figures.damaged_tombstones.increment();
            let finding = format!(
                "tombstone {} cannot be read, so an attachment may not have been released: {reason}",
                path.display()
            );
            tracing::warn!(path = %path.display(), error = %reason, "tombstone cannot be read");
            if !open.findings.contains(&finding) {
                open.findings.push(finding);
            }
        }
        if found.tombstones.is_empty() {
            return Ok(());
        }
        let clock = open.clock.read().map_err(Fault::Clock)?;
        let mut transaction = Transaction::new(
            &mut open.book,
            clock.clone(),
            &open.findings,
            &mut open.sequence,
        );
        for spooled in &found.tombstones {
            let plan = transaction.book().release(&spooled.attachment, clock.book);
            transaction.apply(&plan.changes);
        }
        let outcome = transaction.finish();
        self.commit(outcome, &clock).await?;
        self.spent(&found.tombstones);
        Ok(())
    }

    /// Removes tombstones whose releases are on the disk.
    pub(super) fn spent(&mut self, tombstones: &[Spooled]) {
        self.figures.tombstones.add(tombstones.len() as u64);
        for (path, error) in self.spool.remove(tombstones) {
            tracing::warn!(path = %path.display(), error = %error, "tombstone cannot be removed");
        }
    }

    async fn expire(&self, open: &mut Open) -> Result<(), Fault> {
        let clock = open.clock.read().map_err(Fault::Clock)?;
        if open
            .book
            .next_deadline()
            .is_none_or(|deadline| deadline > clock.book)
        {
            return Ok(());
        }
        let mut transaction = Transaction::new(
            &mut open.book,
            clock.clone(),
            &open.findings,
            &mut open.sequence,
        );
        let plan = transaction.book().expire(clock.book, EXPIRE_LIMIT);
        transaction.apply(&plan.changes);
        let outcome = transaction.finish();
        self.commit(outcome, &clock).await?;
        self.figures.expired_holds.add(plan.holds as u64);
        self.figures
            .expired_quarantines
            .add(plan.quarantines as u64);
        Ok(())
    }

    async fn prune(&mut self, open: &Open) -> Result<(), Fault> {
        if Instant::now() < self.next_prune {
            return Ok(());
        }
        let clock = open.clock.read().map_err(Fault::Clock)?;
        let keep = open.book.settings().settings().audit_keep;
        let limit = clock.book.before(keep);
        let old = self
            .storage
            .on_store(move |store| audit::prune(store, limit))
            .await
            .map_err(|_| Fault::Thread)?;
        let old = old.map_err(|error| Fault::Commit {
            reason: chain(&error),
        })?;
        if old.is_empty() {
            self.next_prune = Instant::now() + PRUNE_PERIOD;
            return Ok(());
        }
        let lines = old.len() as u64;
        self.write(old, &clock).await?;
        self.figures.audit_pruned.add(lines);
        Ok(())
    }

    async fn look_for_leftovers(&self, open: &mut Open) {
        if !open.leftovers.is_due() {
            return;
        }
        let ports = match (self.ports)().await {
            Ok(ports) => ports,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "ports cannot be looked at");
                return;
            }
        };
        let found = without_port(&open.book, &ports);
        let aliases = ports.ports.into_iter().map(|port| port.alias);
        let wired = aliases.map(|alias| alias.attachment.cni_network);
        for finding in open.leftovers.look(found, wired) {
            tracing::warn!(finding = %finding, "left over");
        }
        self.figures.without_port.set(open.leftovers.count() as u64);
    }

    /// Why nothing may be handed out, when the disk is too full for it.
    pub(super) fn disk_full(&self) -> Option<Unavailable> {
        let reserve = crate::store::reserve::Reserve::of(&self.paths.store);
        let message = match reserve.headroom_bytes() {
            Ok(bytes) => {
                self.figures.headroom_bytes.set(bytes);
                if bytes >= HEADROOM_BYTES {
                    return None;
                }
                format!(
                    "{bytes} bytes are free in {}, {HEADROOM_BYTES} are needed",
                    self.paths.store.display()
                )
            }
            Err(error) => format!("{}: {error}", self.paths.store.display()),
        };
        Some(Unavailable::DiskFull { message })
    }

    /// As [`Self::disk_full`], after it was: until the reserve is whole again.
    pub(super) fn still_full(&self) -> Option<Unavailable> {
        let reserve = crate::store::reserve::Reserve::of(&self.paths.store);
        match reserve.keep() {
            Ok(true) => self.disk_full(),
            Ok(false) => self.disk_full().or_else(|| {
                Some(Unavailable::DiskFull {
                    message: format!("no room for the reserve in {}", self.paths.store.display()),
                })
            }),
            Err(error) => Some(Unavailable::DiskFull {
                message: format!("{}: {error}", self.paths.store.display()),
            }),
        }
    }

    fn report(&self, fault: &Fault) {
        let unavailable = fault.unavailable();
        let phase = match &unavailable {
            Unavailable::StoreDamaged { .. } => Phase::Damaged,
            _ => Phase::Recovering,
        };
        tracing::error!(error = %unavailable, "ledger does not serve");
        self.publish.send_modify(|status| {
            status.phase = phase;
            status.message = format!("{unavailable}; {}", unavailable.advice());
        });
    }

    fn publish(&self, open: &Open) {
        let unplaced = open.book.settings().settings().unplaced();
        let (phase, message) = match (&open.read_only, unplaced) {
            (None, None) => (Phase::Serving, String::new()),
            (None, Some(unplaced)) => (
                Phase::NoRack,
                format!("{}; {}", unplaced.cause, unplaced.advice),
            ),
            (Some(unavailable), _) => (
                Phase::ReadOnly,
                format!("{unavailable}; {}", unavailable.advice()),
            ),
        };
        let pools = open.book.pool_status();
        self.publish.send_if_modified(|status| {
            let changed =
                status.phase != phase || status.message != message || status.pools != pools;
            status.phase = phase;
            status.message = message;
            status.pools = pools;
            status.settings = open.book.settings().clone();
            changed
        });
    }
}

/// When there is something to do without a request.
fn next_wake(open: &Open, looked: Instant) -> Instant {
    let deadline = open
        .book
        .next_deadline()
        .zip(open.clock.read().ok())
        .map_or(TICK, |(deadline, clock)| deadline.since(clock.book));
    // Counted from the last look, or requests would put it off for ever. Never at once: a deadline that cannot be met
    // must not keep the task busy.
    (Instant::now() + deadline.min(TICK)).clamp(looked + Duration::from_millis(10), looked + TICK)
}

/// Answers a group that cannot be served.
fn refuse(group: &mut Vec<(Access, Work)>, unavailable: &Unavailable) {
    for (_, work) in group.drain(..) {
        work(Err(unavailable.clone()))(Ok(()));
    }
}

#[cfg(test)]
mod tests;
