//! The store without its daemon: what `list`, `who`, `fsck` and `export` read while it is down.
//!
//! Holds the store's lock, so that neither a daemon nor another command comes between. **Never changes a record.**

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::Path;

use ipamd_core::{BindingView, Book, ListFilter, Timestamp, ValidSettings};
use proto_ids::Identity;

use super::audit::{self, Query, Reading};
use super::document::Document;
use super::handle::{Fsck, Who, Why};
use super::storage::{differences, restore};
use crate::clock::{self, ClockBase, ReadClockError};
use crate::store::engine::EngineError;
use crate::store::folder::{LockStoreError, StoreFolder};
use crate::store::migrate::FORMATS;
use crate::store::{OpenStoreError, Store};

/// A store that no daemon has open, and the book in it.
pub(crate) struct Offline {
    book: Book,
    store: Store,
    clock: ClockBase,
    /// Held to the end.
    folder: StoreFolder,
}

/// Why the store cannot be read while the daemon is down.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenOfflineError {
    /// The folder could not be locked: a daemon runs, or there is no store.
    #[error(transparent)]
    Lock(#[from] LockStoreError),
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenStoreError),
    /// Its records make no book.
    #[error("store {folder} is whole, but its records make no book: {reason}")]
    Record {
        /// Its folder.
        folder: std::path::PathBuf,
        /// Which, and why.
        reason: String,
    },
    /// The machine's clocks could not be read.
    #[error(transparent)]
    Clock(#[from] ReadClockError),
}

/// Why the audit log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the audit log cannot be read")]
pub(crate) struct ReadLogError(#[source] EngineError);

impl Offline {
    /// Opens the store in this folder; never makes one.
    ///
    /// # Errors
    /// When a daemon has it, there is none, or it is damaged.
    pub(crate) fn open(
        path: &Path,
        settings: ValidSettings,
        boot_id: &Path,
    ) -> Result<Self, OpenOfflineError> {
        let now = clock::observe(boot_id)?;
        let folder = StoreFolder::lock_existing(path)?;
        let opened =
            Store::open_existing(&folder, FORMATS, move |entries| restore(&settings, entries))?;
        let book = opened
            .collected
            .map_err(|reason| OpenOfflineError::Record {
                folder: path.to_owned(),
                reason,
            })?;
        let clock = ClockBase::resume(opened.store.meta().clock.as_ref(), now);
        Ok(Self {
            book,
            store: opened.store,
            clock,
            folder,
        })
    }

    /// All addresses that are not simply free.
    pub(crate) fn list(&self, filter: &ListFilter) -> Vec<BindingView> {
        self.shown(self.book.list(filter))
    }

    /// Who has an address, and who had it: at a time, or as far back as the log reaches.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn who(&self, address: IpAddr, at: Option<Timestamp>) -> Result<Who, ReadLogError> {
        let query = Query::Address {
            address,
            at: at.map(|at| self.clock.to_book(at)),
        };
        let current = self
            .shown(self.book.who(address))
            .into_iter()
            .filter(|view| at.is_none_or(|at| view.since <= at))
            .collect();
        Ok(Who {
            current,
            log: self.log(query)?,
        })
    }

    /// What an identity has, had, and would get next.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn why(&self, identity: Identity) -> Result<Why, ReadLogError> {
        let bindings = self.shown(self.book.why(&identity));
        let mut story = self.book.story(&identity, self.clock.book);
        let log = self.log(Query::Identity { identity })?;
        story.extend(audit::last(&log));
        Ok(Why {
            bindings,
            log,
            story,
        })
    }

    /// Compares book and store record by record, and lists what an operator should know.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn fsck(&self) -> Result<Fsck, ReadLogError> {
        let known: Vec<_> = self.book.records().collect();
        let mut findings = differences(&self.store, &known).map_err(ReadLogError)?;
        findings.extend(self.book.strays().iter().map(stray));
        let before = self.folder.set_aside_before().unwrap_or_default();
        findings.extend(before.iter().map(|path| aside(path)));
        Ok(Fsck {
            records: known.len() as u64,
            findings,
        })
    }

    /// The whole book as a document.
    pub(crate) fn export(&self) -> Document {
        Document::of(&self.book, self.clock.book)
    }

    fn log(&self, query: Query) -> Result<Vec<ipamd_core::AuditEntry>, ReadLogError> {
        let mut reading = Reading::new(query);
        loop {
            match reading.step(&self.store).map_err(ReadLogError)? {
                ControlFlow::Continue(next) => reading = next,
                ControlFlow::Break(mut log) => {
                    for line in &mut log {
                        audit::show(line, &self.clock);
                    }
                    return Ok(log);
                }
            }
        }
    }

    fn shown(&self, views: Vec<BindingView>) -> Vec<BindingView> {
        views
            .into_iter()
            .map(|view| super::transaction::shown(view, &self.clock))
            .collect()
    }
}

/// A finding: an address outside all pools.
pub(super) fn stray(view: &BindingView) -> String {
    let who = view
        .identity
        .as_ref()
        .map_or_else(String::new, |identity| format!(" of {identity}"));
    format!(
        "address {}{who} (network {}, {}) is in no configured pool",
        view.address, view.network, view.state
    )
}

/// A finding: a store that was set aside.
pub(super) fn aside(path: &Path) -> String {
    format!(
        "a damaged store was set aside in {}; delete it when nobody needs it any more",
        path.display()
    )
}
