//! The book: every binding, every address that is not as good as new, and the indices that make each verb cheap.
//!
//! [`Book::apply`] is the only mutation, [`Book::restore`] the only other way to come by a book that is not empty.

use std::net::IpAddr;

use proto_ids::{Identity, NetworkName};

use crate::change::{Change, Record};
use crate::settings::ValidSettings;

/// The address book of one node.
#[derive(Clone, Debug)]
pub struct Book {
    settings: ValidSettings,
}

/// Two stored facts that cannot both be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// Two bindings, or a binding and an address record, claim one address.
    AddressTwice {
        /// The network.
        network: NetworkName,
        /// The address.
        address: IpAddr,
        /// Who claims it, where it is a binding.
        identities: Vec<Identity>,
    },
}

/// Why stored records make no book.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} stored records contradict each other", .contradictions.len())]
pub struct RestoreError {
    /// The contradictions.
    pub contradictions: Vec<Contradiction>,
}

impl Book {
    /// A book in which every address is as good as new.
    pub fn new(settings: ValidSettings) -> Self {
        Self { settings }
    }

    /// The book that wrote these records.
    ///
    /// # Errors
    /// When records contradict each other: the store is damaged.
    pub fn restore(
        settings: ValidSettings,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, RestoreError> {
        let _ = (settings, records.into_iter());
        todo!()
    }

    /// The settings it works by.
    pub fn settings(&self) -> &ValidSettings {
        &self.settings
    }

    /// All facts, in the form in which they are stored.
    pub fn records(&self) -> Vec<Record> {
        todo!()
    }

    /// Makes the changes of a plan true. To be called with stored changes only, in the order they were planned.
    pub fn apply(&mut self, changes: &[Change]) {
        let _ = changes;
        todo!()
    }
}
