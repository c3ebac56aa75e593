//! One network's tables: bindings, addresses, MACs, deadlines, and the pools with what they have free.
//!
//! Always holds: every address of a binding is [`Entry::Bound`] to it and to no other; a pool's free addresses and
//! counts follow from the tables alone ([`Tables::class`]), because every mutation of an address takes it out of its
//! pool's books first and puts it back in afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proto_ids::{Identity, MacAddr};

use super::pool_book::PoolBook;
use crate::binding::Binding;
use crate::change::{AddressUse, Former};
use crate::claim::{Holding, Tenure};
use crate::time::Timestamp;

/// Sorts before every other address.
const FIRST_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What is the case with an address that is not as good as new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Bound(Arc<Identity>),
    Quarantined(Box<Quarantine>),
    Retired(u64),
    SetAside(Box<SetAside>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quarantine {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) former: Former,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetAside {
    pub(crate) since: Timestamp,
    pub(crate) note: String,
}

/// A foreign host's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) foreign_mac: MacAddr,
    pub(crate) since: Timestamp,
}

/// What a pool counts an address as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Free and never used.
    Fresh,
    /// Free; the lower the number the longer ago.
    Retired(u64),
    Attached,
    Held,
    Quarantined,
    Conflicting,
    /// In a cluster: not this node's to hand out.
    Unclaimed,
}

/// What time alone will end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    Hold(Arc<Identity>),
    Quarantine(IpAddr),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tables {
    pub(crate) bindings: BTreeMap<Arc<Identity>, Binding>,
    pub(crate) entries: BTreeMap<IpAddr, Entry>,
    pub(crate) conflicts: BTreeMap<IpAddr, Conflict>,
    pub(crate) claims: BTreeMap<IpAddr, Holding>,
    /// Claims with a binding that waits for its other addresses.
    pub(crate) incoming: BTreeSet<IpAddr>,
    /// Addresses are handed out only when they are claimed.
    claiming: bool,
    // A set of pairs: interfaces found on a damaged node may share a MAC, and both must be remembered.
    // `None` is never stored: it sorts before every identity and so begins the search for a MAC's holders.
    macs: BTreeSet<(MacAddr, Option<Arc<Identity>>)>,
    quarantined_after: BTreeSet<(Identity, IpAddr)>,
    retired: BTreeSet<(u64, IpAddr)>,
    pub(crate) deadlines: BTreeSet<(Timestamp, Deadline)>,
}

/// One network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) tables: Tables,
    pub(crate) pools: Vec<PoolBook>,
}

impl Tables {
    pub(crate) fn class(&self, address: IpAddr) -> Class {
        match self.entries.get(&address) {
            Some(Entry::Bound(identity)) => {
                let attached = self
                    .bindings
                    .get(identity)
                    .is_some_and(|binding| binding.state.attached().is_some());
                if attached {
                    Class::Attached
                } else {
                    Class::Held
                }
            }
            Some(Entry::SetAside(_)) => Class::Held,
            Some(Entry::Quarantined(_)) => Class::Quarantined,
            _ if self.incoming.contains(&address) => Class::Held,
            _ if self.conflicts.contains_key(&address) => Class::Conflicting,
            _ if !self.may_hand_out(address) => Class::Unclaimed,
            Some(Entry::Retired(sequence)) => Class::Retired(*sequence),
            None => Class::Fresh,
        }
    }

    /// Whether the address is this node's to hand out: outside of clusters always, else as long as its claim is.
    pub(crate) fn may_hand_out(&self, address: IpAddr) -> bool {
        !self.claiming
            || self
                .claims
                .get(&address)
                .is_some_and(|holding| holding.tenure == Tenure::Owned)
    }

    /// The binding that has an address.
    pub(crate) fn holder(&self, address: IpAddr) -> Option<(&Arc<Identity>, &Binding)> {
        match self.entries.get(&address)? {
            Entry::Bound(identity) => self.bindings.get_key_value(identity),
            _ => None,
        }
    }

    /// Another identity than this one that has the MAC.
    pub(crate) fn other_with_mac(
        &self,
        mac: MacAddr,
        identity: Option<&Identity>,
    ) -> Option<&Identity> {
        self.macs
            .range((mac, None)..)
            .take_while(|&&(found, _)| found == mac)
            .filter_map(|(_, holder)| holder.as_deref())
            .find(|&holder| Some(holder) != identity)
    }

    /// Addresses in quarantine that were taken from an identity, the one released last first.
    pub(crate) fn quarantined_after(&self, identity: &Identity) -> Vec<(IpAddr, &Quarantine)> {
        let mut found: Vec<_> = self
            .quarantined_after
            .range((identity.clone(), FIRST_ADDRESS)..)
            .take_while(|(former, _)| former == identity)
            .filter_map(|&(_, address)| match self.entries.get(&address)? {
                Entry::Quarantined(quarantine) => Some((address, &**quarantine)),
                _ => None,
            })
            .collect();
        found.sort_by_key(|(_, quarantine)| std::cmp::Reverse(quarantine.since));
        found
    }

    /// The number that the next retired address gets.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.retired
            .last()
            .map_or(0, |&(sequence, _)| sequence.saturating_add(1))
    }

    fn is_empty(&self) -> bool {
        self.bindings.is_empty()
            && self.entries.is_empty()
            && self.conflicts.is_empty()
            && self.claims.is_empty()
    }

    fn set_entry(&mut self, address: IpAddr, entry: Option<Entry>) {
        if let Some(before) = self.entries.remove(&address) {
            self.unindex(address, &before);
        }
        if let Some(entry) = entry {
            self.index(address, &entry);
            self.entries.insert(address, entry);
        }
    }

    fn index(&mut self, address: IpAddr, entry: &Entry) {
        match entry {
            Entry::Quarantined(quarantine) => {
                let identity = quarantine.former.identity.clone();
                self.quarantined_after.insert((identity, address));
                self.deadlines
                    .insert((quarantine.until, Deadline::Quarantine(address)));
            }
            Entry::Retired(sequence) => {
                self.retired.insert((*sequence, address));
            }
            Entry::Bound(_) | Entry::SetAside(_) => {}
        }
    }

    fn unindex(&mut self, address: IpAddr, entry: &Entry) {
        match entry {
            Entry::Quarantined(quarantine) => {
                let identity = quarantine.former.identity.clone();
                self.quarantined_after.remove(&(identity, address));
                self.deadlines
                    .remove(&(quarantine.until, Deadline::Quarantine(address)));
            }
            Entry::Retired(sequence) => {
                self.retired.remove(&(*sequence, address));
            }
            Entry::Bound(_) | Entry::SetAside(_) => {}
        }
    }

    fn insert_binding(&mut self, identity: &Arc<Identity>, binding: Binding) {
        for address in binding.addresses.iter() {
            self.set_entry(address, Some(Entry::Bound(Arc::clone(identity))));
        }
        self.macs.insert((binding.mac, Some(Arc::clone(identity))));
        if let Some(until) = binding.state.until() {
            self.deadlines
                .insert((until, Deadline::Hold(Arc::clone(identity))));
        }
        self.bindings.insert(Arc::clone(identity), binding);
    }

    fn remove_binding(&mut self, identity: &Arc<Identity>) -> Option<Binding> {
        let binding = self.bindings.remove(identity)?;
        for address in binding.addresses.iter() {
            // An address that another binding was given since is that one's.
            if matches!(self.entries.get(&address), Some(Entry::Bound(holder)) if holder == identity)
            {
                self.set_entry(address, None);
            }
        }
        self.macs.remove(&(binding.mac, Some(Arc::clone(identity))));
        if let Some(until) = binding.state.until() {
            self.deadlines
                .remove(&(until, Deadline::Hold(Arc::clone(identity))));
        }
        Some(binding)
    }
}

impl Network {
    pub(crate) fn new(pools: Vec<PoolBook>, claiming: bool) -> Self {
        Self {
            tables: Tables {
                claiming,
                ..Tables::default()
            },
            pools,
        }
    }

    /// Nothing is known of it: no pools, nothing stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.pools.is_empty() && self.tables.is_empty()
    }

    /// The pool that hands an address out.
    pub(crate) fn pool_of(&self, address: IpAddr) -> Option<&PoolBook> {
        self.pools.iter().find(|pool| pool.hands_out(address))
    }

    pub(super) fn put_binding(&mut self, identity: &Identity, binding: Binding) {
        let identity = self.shared(identity);
        let before = self.tables.bindings.get(&identity);
        let mut touched: Vec<_> = binding.addresses.iter().collect();
        touched.extend(
            before
                .into_iter()
                .flat_map(|before| before.addresses.iter()),
        );
        self.touch(&mut touched, |tables| {
            tables.remove_binding(&identity);
            tables.insert_binding(&identity, binding);
        });
    }

    pub(super) fn remove_binding(&mut self, identity: &Identity) -> Option<Binding> {
        let identity = self.shared(identity);
        let before = self.tables.bindings.get(&identity)?;
        let mut touched: Vec<_> = before.addresses.iter().collect();
        let mut removed = None;
        self.touch(&mut touched, |tables| {
            removed = tables.remove_binding(&identity);
        });
        removed
    }

    /// Sets what is the case with an address that nobody holds; `None`: as good as new. A bound address stays bound:
    /// its binding's record is the truth.
    pub(super) fn set_use(&mut self, address: IpAddr, state: Option<&AddressUse>) {
        if let Some(Entry::Bound(_)) = self.tables.entries.get(&address) {
            return;
        }
        let entry = state.map(|state| match state {
            AddressUse::Quarantined {
                since,
                until,
                former,
            } => Entry::Quarantined(Box::new(Quarantine {
                since: *since,
                until: *until,
                former: former.clone(),
            })),
            AddressUse::Retired { sequence } => Entry::Retired(*sequence),
            AddressUse::SetAside { since, note } => Entry::SetAside(Box::new(SetAside {
                since: *since,
                note: note.clone(),
            })),
        });
        self.touch(&mut [address], |tables| tables.set_entry(address, entry));
    }

    pub(super) fn set_conflict(&mut self, address: IpAddr, conflict: Option<Conflict>) {
        self.touch(&mut [address], |tables| match conflict {
            Some(conflict) => {
                tables.conflicts.insert(address, conflict);
            }
            None => {
                tables.conflicts.remove(&address);
            }
        });
    }

    pub(super) fn set_claim(&mut self, address: IpAddr, holding: Option<Holding>) {
        self.touch(&mut [address], |tables| {
            tables.incoming.remove(&address);
            match holding {
                Some(holding) => {
                    if holding.incoming.is_some() {
                        tables.incoming.insert(address);
                    }
                    tables.claims.insert(address, holding);
                }
                None => {
                    tables.claims.remove(&address);
                }
            }
        });
    }

    /// The one allocation of an identity that all tables share.
    fn shared(&self, identity: &Identity) -> Arc<Identity> {
        self.tables.bindings.get_key_value(identity).map_or_else(
            || Arc::new(identity.clone()),
            |(shared, _)| Arc::clone(shared),
        )
    }

    /// Changes the tables, and moves the touched addresses in their pools' books from what they were to what they are.
    fn touch(&mut self, addresses: &mut [IpAddr], change: impl FnOnce(&mut Tables)) {
        addresses.sort_unstable();
        let mut distinct: Vec<_> = addresses.to_vec();
        distinct.dedup();
        let before: Vec<_> = distinct
            .iter()
            .map(|&address| self.tables.class(address))
            .collect();
        change(&mut self.tables);
        for (address, before) in distinct.into_iter().zip(before) {
            let after = self.tables.class(address);
            if let Some(pool) = self.pools.iter_mut().find(|pool| pool.hands_out(address)) {
                pool.leave(address, before);
                pool.enter(address, after);
            }
        }
    }
}
