//! Addresses of ours that a foreign host uses.

use std::net::IpAddr;

use proto_ids::{MacAddr, NetworkName};

use crate::book::Book;
use crate::change::{Change, ConflictRecord};
use crate::refusal::Holder;
use crate::time::Timestamp;

/// A claim to an address that was heard on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The network it was heard on.
    pub network: NetworkName,
    /// The address.
    pub address: IpAddr,
    /// Who claims it.
    pub mac: MacAddr,
}

/// What a [`Sighting`] means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictPlan {
    /// Whether the claim is foreign: the address is ours to hand out, and the MAC is not its holder's.
    pub foreign: bool,
    /// Who of ours has the address.
    pub holder: Option<Holder>,
    /// What makes it so; empty when it is known already or not foreign.
    pub changes: Vec<Change>,
}

impl Book {
    /// Judges a claim heard on the wire, and sets the address aside when the claim is foreign.
    pub fn conflict(&self, sighting: &Sighting, now: Timestamp) -> ConflictPlan {
        let _ = (sighting, now);
        todo!()
    }

    /// Ends a conflict: nobody answers for the address any more. Empty when there is none.
    pub fn clear_conflict(&self, network: &NetworkName, address: IpAddr) -> Vec<Change> {
        let _ = (network, address);
        todo!()
    }

    /// All conflicts, by network and address.
    pub fn conflicts(&self) -> Vec<ConflictRecord> {
        todo!()
    }
}
