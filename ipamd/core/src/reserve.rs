//! An operator's reservations: for an identity that has no Pod yet, or for nobody.

use std::net::IpAddr;

use proto_ids::{Identity, MacAddr, NetworkName};

use crate::allocate::AllocateError;
use crate::book::Book;
use crate::change::Change;
use crate::refusal::Reason;
use crate::time::Timestamp;
use crate::view::BindingView;

/// What an operator wants reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveRequest {
    /// The network.
    pub network: NetworkName,
    /// The address; `None`: any free one (for an identity: one per family).
    pub address: Option<IpAddr>,
    /// For whom; `None`: for nobody.
    pub identity: Option<Identity>,
    /// The MAC; only with an identity.
    pub mac: Option<MacAddr>,
    /// The operator's note.
    pub note: String,
}

/// A reservation as it will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservePlan {
    /// What is reserved, as an operator sees it afterwards.
    pub bindings: Vec<BindingView>,
    /// What makes it so.
    pub changes: Vec<Change>,
}

/// Why a reservation is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// A MAC was given, but no identity that could have it.
    #[error("a MAC cannot be reserved for nobody")]
    MacWithoutIdentity,
    /// The address cannot be had.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
}

impl ReserveError {
    /// Its class.
    pub fn reason(&self) -> Reason {
        match self {
            Self::MacWithoutIdentity => Reason::InvalidRequest,
            Self::Allocate(error) => error.reason(),
        }
    }

    /// What an operator does about it.
    pub fn advice(&self) -> String {
        match self {
            Self::MacWithoutIdentity => "name the identity, or leave the MAC out".to_owned(),
            Self::Allocate(error) => error.advice(),
        }
    }
}

impl Book {
    /// Reserves an address for an identity, or sets one aside.
    ///
    /// # Errors
    /// As for [`Book::allocate`].
    pub fn reserve(
        &self,
        request: &ReserveRequest,
        now: Timestamp,
    ) -> Result<ReservePlan, ReserveError> {
        let _ = (request, now);
        todo!()
    }
}
