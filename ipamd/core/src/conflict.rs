//! Addresses of ours that a foreign host uses.

use std::net::IpAddr;

use proto_ids::{MacAddr, NetworkName};

use crate::book::{Book, Entry};
use crate::change::{Change, ConflictRecord, Record, RecordKey};
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
        let nothing = ConflictPlan {
            foreign: false,
            holder: None,
            changes: Vec::new(),
        };
        let Sighting {
            network: name,
            address,
            mac,
        } = sighting;
        let Some(network) = self.network(name) else {
            return nothing;
        };
        let tables = &network.tables;
        let entry = tables.entries.get(address);
        // What another node has claimed, its Pods may use; and what nobody has, is probed when it is claimed.
        let ours = network.pool_of(*address).is_some() && tables.may_hand_out(*address);
        if entry.is_none() && !ours {
            return nothing;
        }
        let incoming = || {
            let holding = tables.claims.get(address)?;
            holding.incoming.as_ref().map(|binding| binding.mac)
        };
        let own_mac = match entry {
            Some(Entry::Bound(_)) => tables.holder(*address).map(|(_, bound)| bound.mac),
            // A sandbox that is being torn down may still speak.
            Some(Entry::Quarantined(quarantine)) => Some(quarantine.former.mac),
            // So may one on the node from which a binding comes.
            _ => incoming(),
        };
        if own_mac == Some(*mac) || !mac.is_unicast() {
            return nothing;
        }
        let known = tables.conflicts.get(address);
        let changes = if known.is_some_and(|known| known.foreign_mac == *mac) {
            Vec::new()
        } else {
            vec![Change::Put(Record::Conflict(ConflictRecord {
                network: name.clone(),
                address: *address,
                foreign_mac: *mac,
                since: known.map_or(now, |known| known.since),
            }))]
        };
        ConflictPlan {
            foreign: true,
            holder: self.holder(name, *address),
            changes,
        }
    }

    /// Ends a conflict: nobody answers for the address any more. Empty when there is none.
    pub fn clear_conflict(&self, network: &NetworkName, address: IpAddr) -> Vec<Change> {
        let known = self
            .network(network)
            .is_some_and(|network| network.tables.conflicts.contains_key(&address));
        let key = RecordKey::Conflict {
            network: network.clone(),
            address,
        };
        known.then_some(Change::Remove(key)).into_iter().collect()
    }

    /// All conflicts, by network and address.
    pub fn conflicts(&self) -> Vec<ConflictRecord> {
        self.networks()
            .flat_map(|(name, network)| {
                let conflicts = network.tables.conflicts.iter();
                conflicts.map(move |(&address, conflict)| conflict.record(name, address))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
