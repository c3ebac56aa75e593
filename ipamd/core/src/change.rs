//! What a verb wants stored: facts put, facts removed, and lines of the audit log.
//!
//! One fact, one record: a bound address is only in its binding's record, a resting or retired one only in its own.
//! Adding a variant or an optional field is compatible; anything else needs a step in the store's migration.

use std::fmt;
use std::net::IpAddr;

use proto_ids::{Identity, MacAddr, NetworkName, PodUid, SandboxId};
use serde::{Deserialize, Serialize};

use crate::binding::BindingRecord;
use crate::claim::ClaimRecord;
use crate::time::Timestamp;

/// One step of a plan. The steps of a plan are stored all or none, and applied in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Stores a record under its key.
    Put(Record),
    /// Removes the record of a key.
    Remove(RecordKey),
    /// Appends to the audit log; the book itself does not keep it.
    Audit(AuditEntry),
}

/// One stored fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A living binding.
    Binding(BindingRecord),
    /// An address that nobody holds but that is not as good as new.
    Address(AddressRecord),
    /// A foreign host uses an address of ours.
    Conflict(ConflictRecord),
    /// In a cluster: a claim of this node's.
    Claim(ClaimRecord),
}

/// Where a record is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKey {
    /// Of a binding.
    Binding {
        /// The network.
        network: NetworkName,
        /// The identity.
        identity: Identity,
    },
    /// Of an address.
    Address {
        /// The network.
        network: NetworkName,
        /// The address.
        address: IpAddr,
    },
    /// Of a conflict.
    Conflict {
        /// The network.
        network: NetworkName,
        /// The address.
        address: IpAddr,
    },
    /// Of a claim.
    Claim {
        /// The network.
        network: NetworkName,
        /// The address.
        address: IpAddr,
    },
}

/// An address that nobody holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRecord {
    /// The network.
    pub network: NetworkName,
    /// The address.
    pub address: IpAddr,
    /// What is the case with it.
    pub state: AddressUse,
}

/// What is the case with an address that nobody holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressUse {
    /// Released for good; not handed out, except back to whom it was taken from, before `until`.
    Quarantined {
        /// Since when.
        since: Timestamp,
        /// Until when.
        until: Timestamp,
        /// Who had it.
        former: Former,
    },
    /// Free again; the lower the number the longer ago.
    Retired {
        /// Its place among the retired addresses of its network.
        sequence: u64,
    },
    /// An operator reserved it for nobody.
    SetAside {
        /// Since when.
        since: Timestamp,
        /// The operator's note.
        note: String,
    },
}

/// Who had an address before it was released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// What the address stuck to.
    pub identity: Identity,
    /// The MAC it had.
    pub mac: MacAddr,
}

/// A foreign host uses an address of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictRecord {
    /// The network.
    pub network: NetworkName,
    /// The address.
    pub address: IpAddr,
    /// The MAC that claims it.
    pub foreign_mac: MacAddr,
    /// When that was first seen.
    pub since: Timestamp,
}

/// One closed line of the audit log: an identity had an address from when to when. Open ones are the book's bindings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The address.
    pub address: IpAddr,
    /// The network.
    pub network: NetworkName,
    /// Who had it.
    pub identity: Identity,
    /// The Pod's UID while attached, where the runtime named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<PodUid>,
    /// The sandbox while attached; `None`: the address was held for the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxId>,
    /// The MAC it had.
    pub mac: MacAddr,
    /// From when.
    pub from: Timestamp,
    /// To when.
    pub to: Timestamp,
    /// Why it ended.
    pub ended: Ended,
}

/// Why an attachment or a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// CNI DEL.
    Released,
    /// CNI GC: the runtime no longer knows the attachment.
    Collected,
    /// A newer sandbox of the same identity took it over.
    Moved,
    /// The node booted: nothing of the old boot is attached any more.
    Reboot,
    /// Recovery found positive evidence that the attachment is gone.
    Vanished,
    /// The runtime no longer knew the sandbox, and no port of it was left: no DEL had come.
    SandboxGone,
    /// A held binding was attached again.
    Attached,
    /// The hold's deadline passed.
    Expired,
    /// An operator freed it.
    Freed,
    /// The node is in another rack now, to which the address does not belong.
    RackChanged,
    /// An adopted interface was named by its ADD.
    Named,
    /// An operator or the controllers released it: its owner does not want it any more.
    Unwanted,
    /// Another node asked for it and was given it.
    Given,
    /// This node was declared dead, and the address is another node's now.
    Lost,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Released => "released",
            Self::Collected => "collected",
            Self::Moved => "moved",
            Self::Reboot => "reboot",
            Self::Vanished => "vanished",
            Self::SandboxGone => "sandbox gone",
            Self::Attached => "attached",
            Self::Expired => "expired",
            Self::Freed => "freed",
            Self::RackChanged => "rack changed",
            Self::Named => "named",
            Self::Unwanted => "released: nobody wants it any more",
            Self::Given => "given to another node",
            Self::Lost => "lost to another node",
        })
    }
}

impl Record {
    /// The key it is stored under.
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Binding(binding) => RecordKey::Binding {
                network: binding.network.clone(),
                identity: binding.identity.clone(),
            },
            Self::Address(AddressRecord {
                network, address, ..
            }) => RecordKey::Address {
                network: network.clone(),
                address: *address,
            },
            Self::Conflict(ConflictRecord {
                network, address, ..
            }) => RecordKey::Conflict {
                network: network.clone(),
                address: *address,
            },
            Self::Claim(ClaimRecord {
                network, address, ..
            }) => RecordKey::Claim {
                network: network.clone(),
                address: *address,
            },
        }
    }
}

impl RecordKey {
    /// First byte of every binding's key.
    pub const BINDING_TAG: u8 = b'b';
    /// First byte of every address's key.
    pub const ADDRESS_TAG: u8 = b'a';
    /// First byte of every conflict's key.
    pub const CONFLICT_TAG: u8 = b'c';
    /// First byte of every claim's key.
    pub const CLAIM_TAG: u8 = b'k';

    /// The key as bytes: tag, network, a zero byte, then the identity or family and octets. Different keys have
    /// different bytes; all keys of one kind and network share a prefix; addresses sort by number.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (tag, network) = match self {
            Self::Binding { network, .. } => (Self::BINDING_TAG, network),
            Self::Address { network, .. } => (Self::ADDRESS_TAG, network),
            Self::Conflict { network, .. } => (Self::CONFLICT_TAG, network),
            Self::Claim { network, .. } => (Self::CLAIM_TAG, network),
        };
        let mut bytes = vec![tag];
        // No name holds a zero byte.
        bytes.extend_from_slice(network.as_str().as_bytes());
        bytes.push(0);
        match self {
            Self::Binding { identity, .. } => bytes.extend_from_slice(identity.as_str().as_bytes()),
            Self::Address { address, .. }
            | Self::Conflict { address, .. }
            | Self::Claim { address, .. } => match address {
                IpAddr::V4(v4) => {
                    bytes.push(4);
                    bytes.extend_from_slice(&v4.octets());
                }
                IpAddr::V6(v6) => {
                    bytes.push(6);
                    bytes.extend_from_slice(&v6.octets());
                }
            },
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
