//! The ledger: the one task that owns book and store.
//!
//! Everything that reads or changes the book is asked of it through a [`LedgerHandle`]. What changes the book is planned,
//! applied in memory, committed together with whatever else is waiting, and answered only when it is on the disk; a commit
//! that failed is answered as refused, and the book is read back from the store. Nothing else ever writes the store.

pub(crate) mod audit;
pub(crate) mod claims;
pub(crate) mod document;
pub(crate) mod error;
pub(crate) mod figures;
mod garbage;
pub(crate) mod handle;
mod leftovers;
pub(crate) mod offline;
mod start;
pub(crate) mod status;
mod storage;
mod task;
mod transaction;

use std::path::PathBuf;
use std::sync::Arc;

use ipamd_core::ValidSettings;
use tokio::sync::{mpsc, watch};

pub(crate) use error::{LedgerError, Unavailable};
pub(crate) use figures::Figures;
pub(crate) use handle::{ImportRequest, LedgerHandle, NetworkStatus, Who, Why};
pub(crate) use leftovers::WithoutPort;
pub(crate) use status::{LedgerStatus, Phase};
pub(crate) use task::Ledger;

use crate::links::ObservePorts;

/// Requests that may wait; more are refused as busy. A node has 256 Pods of a few interfaces each, and each Pod has at most
/// one call open.
const QUEUE_LIMIT: usize = 1024;

/// Where the ledger finds what it owns and what it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LedgerPaths {
    /// The store's folder.
    pub(crate) store: PathBuf,
    /// The folder of tombstones that plugins leave.
    pub(crate) spool: PathBuf,
    /// The folder of results that libcni keeps, read only after the store was lost.
    pub(crate) results: PathBuf,
    /// The file that names the boot.
    pub(crate) boot_id: PathBuf,
}

/// What a ledger is made of.
pub(crate) struct LedgerConfig {
    /// What the operator configured.
    pub(crate) settings: ValidSettings,
    /// Where things are.
    pub(crate) paths: LedgerPaths,
    /// How the node's host-side ports are read.
    pub(crate) ports: ObservePorts,
}

/// A ledger that does not run yet, and the handle by which it is asked.
pub(crate) fn ledger(config: LedgerConfig) -> (LedgerHandle, Ledger) {
    let (sender, receiver) = mpsc::channel(QUEUE_LIMIT);
    let (publish, status) = watch::channel(LedgerStatus::starting(config.settings.clone()));
    let figures = Arc::new(Figures::default());
    let storage = storage::Storage::default();
    let handle = LedgerHandle::new(sender, status, Arc::clone(&figures), storage.clone());
    let ledger = Ledger::new(config, receiver, publish, figures, storage);
    (handle, ledger)
}
