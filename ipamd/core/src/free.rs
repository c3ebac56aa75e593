//! An operator gives an address back.

use std::net::IpAddr;

use proto_ids::{Attachment, Identity, NetworkName};

use crate::book::Book;
use crate::change::Change;
use crate::refusal::Reason;
use crate::time::Timestamp;
use crate::view::BindingView;

/// What an operator wants given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeRequest {
    /// The network; needed only where two networks know the address.
    pub network: Option<NetworkName>,
    /// The address. A binding goes whole, with its address of the other family.
    pub address: IpAddr,
    /// Whether it rests in quarantine first.
    pub quarantine: bool,
}

/// What is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreePlan {
    /// What was the case before.
    pub was: BindingView,
    /// What makes it so.
    pub changes: Vec<Change>,
}

/// Why an address cannot be given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreeError {
    /// It is free, or not ours.
    #[error("{address} is not in use")]
    NotInUse {
        /// The address.
        address: IpAddr,
    },
    /// A sandbox has it.
    #[error("{address} is attached to {identity} (sandbox {}, {})", .attachment.sandbox, .attachment.ifname)]
    Attached {
        /// The address.
        address: IpAddr,
        /// Who has it.
        identity: Identity,
        /// The CNI ADD.
        attachment: Attachment,
    },
    /// Several networks know it.
    #[error("{address} is known in {} networks: {}", .networks.len(), joined(.networks))]
    Ambiguous {
        /// The address.
        address: IpAddr,
        /// The networks.
        networks: Vec<NetworkName>,
    },
}

fn joined(networks: &[NetworkName]) -> String {
    let names: Vec<_> = networks.iter().map(NetworkName::as_str).collect();
    names.join(", ")
}

impl FreeError {
    /// Its class.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotInUse { .. } => Reason::NotFound,
            Self::Attached { .. } => Reason::AddressTaken,
            Self::Ambiguous { .. } => Reason::InvalidRequest,
        }
    }

    /// What an operator does about it.
    pub fn advice(&self) -> String {
        match self {
            Self::NotInUse { .. } => "see `berth-ipamd list`".to_owned(),
            Self::Attached { identity, .. } => format!("delete the Pod of {identity} first"),
            Self::Ambiguous { .. } => "name the network".to_owned(),
        }
    }
}

impl Book {
    /// Gives a held, reserved, quarantined or conflicting address back.
    ///
    /// # Errors
    /// When it is attached, not in use, or known in several networks.
    pub fn free(&self, request: &FreeRequest, now: Timestamp) -> Result<FreePlan, FreeError> {
        let _ = (request, now);
        todo!()
    }
}
