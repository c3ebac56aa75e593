//! An operator gives an address back.

use std::net::IpAddr;

use proto_ids::{Attachment, Identity, NetworkName};

use crate::book::{Book, Entry, Network};
use crate::change::{Change, Ended, RecordKey};
use crate::draft::{Draft, Rest};
use crate::refusal::Reason;
use crate::time::Timestamp;
use crate::view::{BindingView, view};

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
        let address = request.address;
        let mut known: Vec<_> = self
            .networks()
            .filter(|(name, _)| request.network.as_ref().is_none_or(|want| want == *name))
            .filter_map(|(name, network)| Some((network, view(name, network, address)?)))
            .collect();
        if known.len() > 1 {
            let networks = known.into_iter().map(|(_, view)| view.network).collect();
            return Err(FreeError::Ambiguous { address, networks });
        }
        let Some((network, was)) = known.pop() else {
            return Err(FreeError::NotInUse { address });
        };
        if let (Some(identity), Some(attachment)) = (&was.identity, &was.attachment) {
            return Err(FreeError::Attached {
                address,
                identity: identity.clone(),
                attachment: attachment.clone(),
            });
        }
        let mut draft = Draft::new(self, now);
        draft.give_back(&was.network, network, address, request.rest());
        Ok(FreePlan {
            changes: draft.into_changes(),
            was,
        })
    }
}

impl FreeRequest {
    fn rest(&self) -> Rest {
        if self.quarantine {
            Rest::Quarantine
        } else {
            Rest::None
        }
    }
}

impl Draft<'_> {
    fn give_back(&mut self, name: &NetworkName, network: &Network, address: IpAddr, rest: Rest) {
        match (network.tables.entries.get(&address), rest) {
            (Some(Entry::Bound(_)), rest) => {
                if let Some((identity, binding)) = network.tables.holder(address) {
                    self.dissolve(name, identity, binding, Ended::Freed, rest);
                }
            }
            // It rests already.
            (Some(Entry::Quarantined(_)), Rest::Quarantine) => {}
            (Some(Entry::Quarantined(_) | Entry::SetAside(_)), _) => self.retire(name, address),
            // Nobody has it: what is left is the conflict.
            (Some(Entry::Retired(_)) | None, _) => self.remove(RecordKey::Conflict {
                network: name.clone(),
                address,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
