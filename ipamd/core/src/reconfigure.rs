//! New settings for a living book: applied whole or refused whole.

use std::net::IpAddr;

use proto_ids::{Identity, NetworkName};

use crate::book::Book;
use crate::settings::ValidSettings;

/// The book under new settings. Nothing stored changes.
#[derive(Clone, Debug)]
pub struct ReconfigurePlan {
    /// The book that replaces the old one.
    pub book: Book,
    /// What changes, one line each.
    pub report: Vec<String>,
}

/// A bound address that no pool of the new settings has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Displaced {
    /// The address.
    pub address: IpAddr,
    /// The network.
    pub network: NetworkName,
    /// Who has it.
    pub identity: Identity,
}

/// Why new settings are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigureError {
    /// Bound addresses would be in no pool of their network.
    #[error("{} bound addresses would be in no pool, the first is {} of {} (network {})",
        .0.len(), .0[0].address, .0[0].identity, .0[0].network)]
    Displaces(Vec<Displaced>),
}

impl ReconfigureError {
    /// What an operator does about it.
    pub fn advice(&self) -> String {
        "keep the ranges that hold them, or release these addresses first".to_owned()
    }
}

impl Book {
    /// The book under new settings.
    ///
    /// # Errors
    /// When an address that is attached or held now, and in a pool now, would be in none.
    pub fn reconfigure(
        &self,
        settings: ValidSettings,
    ) -> Result<ReconfigurePlan, ReconfigureError> {
        let _ = settings;
        todo!()
    }
}
