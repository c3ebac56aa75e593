//! Why the ledger does not do what it is asked.

use std::path::PathBuf;

use crate::clock::ReadClockError;
use crate::store::folder::LockStoreError;

/// Why a request was refused; nothing of it happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LedgerError<E: std::error::Error> {
    /// The book refuses.
    #[error(transparent)]
    Refused(E),
    /// The ledger cannot serve this now.
    #[error(transparent)]
    Unavailable(Unavailable),
}

impl<E: std::error::Error> From<Unavailable> for LedgerError<E> {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable)
    }
}

/// Why the ledger cannot serve now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    /// Too many requests are waiting.
    #[error("too many requests are waiting")]
    Busy,
    /// The daemon is ending.
    #[error("the daemon is ending")]
    Ended,
    /// The book does not agree with the world yet.
    #[error("not recovered yet: {message}")]
    Recovering {
        /// What is being waited for.
        message: String,
    },
    /// The disk is full: releases are served, nothing is handed out.
    #[error("the disk of the store is full: {message}")]
    DiskFull {
        /// What was found.
        message: String,
    },
    /// The store could not be written; whether the request is on the disk is found out before anything else is done.
    #[error("the store could not be written: {message}")]
    StoreFailing {
        /// What was found.
        message: String,
    },
    /// The store can be neither trusted nor rebuilt.
    #[error("the store cannot be used: {message}")]
    StoreDamaged {
        /// What was found.
        message: String,
    },
}

impl Unavailable {
    /// What an operator does about it.
    pub(crate) const fn advice(&self) -> &'static str {
        match self {
            Self::Busy | Self::Ended => "try again",
            Self::Recovering { .. } => "try again; if this lasts, see the daemon's log",
            Self::DiskFull { .. } => {
                "make room on the disk of the store; the daemon goes on by itself then"
            }
            Self::StoreFailing { .. } => "try again; if this lasts, check the disk of the store",
            Self::StoreDamaged { .. } => "see `berth-ipamd fsck` and the daemon's log",
        }
    }
}

/// Why the ledger ended, or never began.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunLedgerError {
    /// The store's folder could not be locked.
    #[error(transparent)]
    Lock(#[from] LockStoreError),
    /// The machine's clocks could not be read.
    #[error(transparent)]
    Clock(#[from] ReadClockError),
    /// The thread of the store could not be made, or died.
    #[error("thread of store {store} is gone")]
    Thread {
        /// The store.
        store: PathBuf,
    },
}
