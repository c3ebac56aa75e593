//! What the ledger says of itself, to anybody, at any time.

use ipamd_core::{PoolStatus, ValidSettings};

/// What the ledger can do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Everything.
    Serving,
    /// Nothing yet: the book must agree with the world first.
    #[default]
    Recovering,
    /// Releases and reading, but nothing is handed out: the disk is full or failing.
    ReadOnly,
    /// Releases and reading, but nothing is handed out: this node's rack is not known, or has no pool for it.
    NoRack,
    /// Nothing: the store can be neither trusted nor rebuilt.
    Damaged,
}

/// What the ledger says of itself.
#[derive(Clone, Debug)]
pub(crate) struct LedgerStatus {
    /// What it can do.
    pub(crate) phase: Phase,
    /// Why the phase is not [`Phase::Serving`], and what to do.
    pub(crate) message: String,
    /// The settings it works by.
    pub(crate) settings: ValidSettings,
    /// How full the pools are; empty before the book was read.
    pub(crate) pools: Vec<PoolStatus>,
}

impl LedgerStatus {
    pub(super) const fn starting(settings: ValidSettings) -> Self {
        Self {
            phase: Phase::Recovering,
            message: String::new(),
            settings,
            pools: Vec::new(),
        }
    }
}
