//! The start: from whatever is on disk and on the node to a book that may be served. Run again after every failure.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

use ipamd_core::Book;

use super::error::Unavailable;
use super::leftovers::Leftovers;
use super::offline;
use super::storage::Content;
use super::task::{Ledger, Open};
use super::transaction;
use crate::clock::{self, BookClock, ClockBase, ReadClockError, Reading};
use crate::links::ObservePortsError;
use crate::recover::{self, Observed, Recovered, Report, results};
use crate::spool::Found;
use crate::store::{OpenStoreError, Origin, Writes};

/// What a rebuilt book lacks, and what to do about it.
const LOSS: &str = "holds and reservations are lost, import them from an export";

/// Why the ledger cannot serve, as found by the task itself.
#[derive(Debug)]
pub(super) enum Fault {
    /// The clocks cannot be read.
    Clock(ReadClockError),
    /// The disk is full, and the reserve is spent.
    Full,
    /// The store could not be opened, and that is not damage.
    Open(OpenStoreError),
    /// The store is whole, but what it says cannot be.
    Nonsense {
        /// What it says.
        reason: String,
    },
    /// A damaged store could not be set aside.
    SetAside(io::Error),
    /// The ports could not be read.
    Ports(ObservePortsError),
    /// Spool or cached results could not be read.
    Evidence {
        /// Which.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A commit failed.
    Commit {
        /// Why.
        reason: String,
    },
    /// The store's thread is gone.
    Thread,
}

impl Fault {
    /// Whether it may pass by itself.
    pub(super) const fn is_passing(&self) -> bool {
        !matches!(
            self,
            Self::Nonsense { .. } | Self::Open(OpenStoreError::Newer { .. })
        )
    }

    /// What requests are answered while it lasts.
    pub(super) fn unavailable(&self) -> Unavailable {
        let recovering = |message: String| Unavailable::Recovering { message };
        match self {
            Self::Clock(error) => recovering(chain(error)),
            Self::Full | Self::Open(OpenStoreError::Full { .. }) => Unavailable::DiskFull {
                message: "not even a release can be written".to_owned(),
            },
            Self::Open(error @ OpenStoreError::Newer { .. }) => Unavailable::StoreDamaged {
                message: chain(error),
            },
            Self::Open(error) => recovering(chain(error)),
            Self::Nonsense { reason } => Unavailable::StoreDamaged {
                message: reason.clone(),
            },
            Self::SetAside(error) => {
                recovering(format!("the damaged store could not be set aside: {error}"))
            }
            Self::Ports(error) => recovering(chain(error)),
            Self::Evidence { what, source } => recovering(format!("{what}: {source}")),
            Self::Commit { reason } => Unavailable::StoreFailing {
                message: reason.clone(),
            },
            Self::Thread => Unavailable::Ended,
        }
    }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        // Writing to a String does not fail.
        let _ = write!(text, ": {source}");
        next = source.source();
    }
    text
}

impl Ledger {
    /// Everything anew: store, clock, ports, tombstones, and a book that agrees with all of them, on the disk.
    pub(super) async fn start(&mut self) -> Result<Open, Fault> {
        let reading = clock::observe(&self.paths.boot_id).map_err(Fault::Clock)?;
        let mut findings = Vec::new();
        let content = self.content(&reading, &mut findings).await?;
        let book = content.book.map_err(|reason| Fault::Nonsense { reason })?;
        self.figures.records.set(content.meta.records);
        let stored = content.meta.clock.as_ref();
        let rebooted = stored.is_some_and(|base| base.is_of_another_boot(&reading));
        let base = ClockBase::resume(stored, reading);
        let found = self.spool.observe().map_err(evidence("the spool"))?;
        let observed = self
            .observe(content.origin, rebooted, &found, &book)
            .await?;
        let Recovered {
            book,
            changes,
            report,
        } = recover::plan(book, &observed, base.book);
        let mut sequence = (content.meta.commit + 1) << 16;
        let mut writes = Writes::new();
        transaction::write(&changes, &mut sequence, &mut writes).map_err(|error| {
            Fault::Nonsense {
                reason: error.to_string(),
            }
        })?;
        // Of a new boot the store must know, and a new store that it was recovered.
        if !writes.is_empty() || rebooted || content.meta.commit == 0 {
            self.write(writes, &base).await?;
        }
        self.spent(&found.tombstones);
        if content.origin == Origin::New && observed.cached.is_some() {
            findings.push(format!(
                "the store was gone, though ports or cached results show that there was one; it was rebuilt from them: {LOSS}"
            ));
        }
        self.told(&observed, &report, &mut findings);
        findings.extend(found.damaged.iter().map(|(path, reason)| {
            format!("tombstone {} cannot be read: {reason}", path.display())
        }));
        self.figures
            .damaged_tombstones
            .add(found.damaged.len() as u64);
        findings.extend(book.strays().iter().map(offline::stray));
        self.remember_aside(&mut findings).await?;
        let leftovers = Leftovers::new(report.without_port);
        for finding in findings.iter().chain(leftovers.lines()) {
            tracing::warn!(finding = %finding, "recovery found");
        }
        self.figures
            .findings
            .set((findings.len() + leftovers.count()) as u64);
        Ok(Open {
            book,
            clock: BookClock::new(base),
            sequence,
            findings,
            leftovers,
            read_only: self.still_full(),
        })
    }

    /// The store's content; a damaged store is set aside and a new one begun.
    async fn content(
        &self,
        reading: &Reading,
        findings: &mut Vec<String>,
    ) -> Result<Content, Fault> {
        let opened = self
            .storage
            .open(self.settings.clone())
            .await
            .map_err(|_| Fault::Thread)?;
        let damage = match opened {
            Ok(content) => return Ok(content),
            Err(OpenStoreError::Damaged { reason, .. }) => reason,
            Err(error) => return Err(Fault::Open(error)),
        };
        let stamp = reading.wall.to_string().replace(':', "");
        let aside = self.storage.run(move |volume| {
            let folder = volume
                .folder()
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            folder.set_aside(&stamp)
        });
        let aside = aside.await.map_err(|_| Fault::Thread)?;
        let aside = aside.map_err(Fault::SetAside)?;
        self.figures.stores_set_aside.increment();
        tracing::error!(error = %damage, aside = %aside.display(), "store is damaged, it was set aside and is rebuilt");
        findings.push(format!(
            "the store was damaged ({damage}); it was set aside in {} and rebuilt from ports and cached results: {LOSS}",
            aside.display()
        ));
        let opened = self
            .storage
            .open(self.settings.clone())
            .await
            .map_err(|_| Fault::Thread)?;
        opened.map_err(Fault::Open)
    }

    /// Lists the stores that were set aside before.
    async fn remember_aside(&self, findings: &mut Vec<String>) -> Result<(), Fault> {
        let before = self.storage.run(|volume| {
            let folder = volume.folder()?;
            folder.set_aside_before().ok()
        });
        let before = before.await.map_err(|_| Fault::Thread)?;
        findings.extend(before.iter().flatten().map(|path| offline::aside(path)));
        Ok(())
    }

    async fn observe(
        &self,
        origin: Origin,
        rebooted: bool,
        found: &Found,
        book: &Book,
    ) -> Result<Observed, Fault> {
        let mut observed = Observed {
            rebooted,
            ports: (self.ports)().await.map_err(Fault::Ports)?,
            ended: found
                .tombstones
                .iter()
                .map(|spooled| spooled.attachment.clone())
                .collect(),
            cached: None,
        };
        if origin != Origin::Existing {
            let cached =
                results::observe(&self.paths.results).map_err(evidence("cached results"))?;
            observed.cached = Some(cached);
            if origin == Origin::New && !recover::shows_a_past(&observed, book) {
                observed.cached = None;
            }
        }
        Ok(observed)
    }

    fn told(&self, observed: &Observed, report: &Report, findings: &mut Vec<String>) {
        findings.extend(report.findings.iter().cloned());
        self.figures.ports.set(observed.ports.ports.len() as u64);
        self.figures.adopted.set(report.adopted as u64);
        self.figures
            .without_port
            .set(report.without_port.len() as u64);
        tracing::info!(
            rebooted = observed.rebooted,
            rebuilt = observed.cached.is_some(),
            ports = observed.ports.ports.len(),
            ended_by_boot = report.ended_by_boot,
            ended_by_tombstone = report.ended_by_tombstone,
            adopted = report.adopted,
            without_port = report.without_port.len(),
            resting = report.resting,
            "recovered"
        );
    }
}

fn evidence(what: &'static str) -> impl Fn(io::Error) -> Fault {
    move |source| Fault::Evidence { what, source }
}
