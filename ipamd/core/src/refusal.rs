//! Why a verb refuses, in the classes that a caller acts on.

use std::fmt;
use std::net::IpAddr;

use proto_ids::{Attachment, Identity};

use crate::time::Timestamp;

/// The class of a refusal. The daemon maps it to its wire form, one to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The request contradicts itself.
    InvalidRequest,
    /// No pool for the network in this rack.
    NoPool,
    /// Not known yet where the node is; the same request may be granted in a moment.
    NotYet,
    /// No free address.
    Exhausted,
    /// Somebody else has the address.
    AddressTaken,
    /// The address is in no range of the network's pools.
    AddressOutside,
    /// A foreign host on the wire uses the address.
    AddressConflict,
    /// The MAC is another binding's, or differs from the living binding's.
    MacTaken,
    /// The same sandbox holds the binding on another interface.
    AlreadyAttached,
    /// Book and runtime differ.
    Mismatch,
    /// There is no such thing.
    NotFound,
}

/// Who or what has an address that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An identity whose sandbox has it on an interface.
    Attached {
        /// The identity.
        identity: Identity,
        /// The CNI ADD.
        attachment: Attachment,
    },
    /// An identity it is held for.
    Held {
        /// The identity.
        identity: Identity,
        /// Until when; `None`: for ever.
        until: Option<Timestamp>,
    },
    /// The quarantine after an identity.
    Quarantined {
        /// The identity that had it.
        identity: Identity,
        /// Until when.
        until: Timestamp,
    },
    /// An operator, for nobody.
    SetAside {
        /// The operator's note.
        note: String,
    },
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached {
                identity,
                attachment,
            } => write!(
                f,
                "attached to {identity} (sandbox {}, {})",
                attachment.sandbox, attachment.ifname
            ),
            Self::Held {
                identity,
                until: None,
            } => write!(f, "held for {identity} for ever"),
            Self::Held {
                identity,
                until: Some(until),
            } => write!(f, "held for {identity} until {until}"),
            Self::Quarantined { identity, until } => {
                write!(f, "in quarantine after {identity} until {until}")
            }
            Self::SetAside { note } if note.is_empty() => f.write_str("set aside by an operator"),
            Self::SetAside { note } => write!(f, "set aside by an operator ({note})"),
        }
    }
}

impl Holder {
    /// What an operator does who wants the address for somebody else.
    pub(crate) fn advice(&self, address: IpAddr) -> String {
        match self {
            Self::Attached { identity, .. } => {
                format!("delete the Pod of {identity} first, or ask for another address")
            }
            Self::Held { .. } | Self::SetAside { .. } => {
                format!(
                    "run `berth-ipamd release {address}` if nobody needs it, or ask for another address"
                )
            }
            Self::Quarantined { .. } => format!(
                "wait, or run `berth-ipamd release {address}` if the quarantine is not needed"
            ),
        }
    }
}
