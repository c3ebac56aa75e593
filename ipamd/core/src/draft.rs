//! A plan in the making: the changes collected so far, and what they have in common.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use proto_ids::{Identity, NetworkName};

use crate::binding::{Binding, State};
use crate::book::{Book, Entry};
use crate::change::{
    AddressRecord, AddressUse, AuditEntry, Change, Ended, Former, Record, RecordKey,
};
use crate::rule::Hold;
use crate::time::Timestamp;

/// What becomes of the addresses of a binding that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// They rest for their pools' time.
    Quarantine,
    /// They are free at once.
    None,
}

pub(crate) struct Draft<'a> {
    book: &'a Book,
    now: Timestamp,
    changes: Vec<Change>,
    // Numbers given to retired addresses in this plan: the book learns of them only when the plan is applied.
    next_sequences: BTreeMap<NetworkName, u64>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(book: &'a Book, now: Timestamp) -> Self {
        Self {
            book,
            now,
            changes: Vec::new(),
            next_sequences: BTreeMap::new(),
        }
    }

    pub(crate) fn book(&self) -> &'a Book {
        self.book
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    /// Binds addresses that are free or its own.
    pub(crate) fn put_binding(
        &mut self,
        network: &NetworkName,
        identity: &Identity,
        binding: &Binding,
    ) {
        for address in binding.addresses.iter() {
            self.take(network, address);
        }
        let record = Record::Binding(binding.record(network, identity));
        self.changes.push(Change::Put(record));
    }

    /// Removes what is stored of an address that nobody holds.
    fn take(&mut self, network: &NetworkName, address: IpAddr) {
        let known = self
            .book
            .network(network)
            .and_then(|network| network.tables.entries.get(&address));
        if known.is_some_and(|entry| !matches!(entry, Entry::Bound(_))) {
            self.changes.push(Change::Remove(RecordKey::Address {
                network: network.clone(),
                address,
            }));
        }
    }

    pub(crate) fn remove(&mut self, key: RecordKey) {
        self.changes.push(Change::Remove(key));
    }

    pub(crate) fn put(&mut self, record: Record) {
        self.changes.push(Change::Put(record));
    }

    /// Writes down that the state a binding was in is over.
    pub(crate) fn audit(
        &mut self,
        network: &NetworkName,
        identity: &Identity,
        binding: &Binding,
        ended: Ended,
    ) {
        let attached = binding.state.attached();
        for address in binding.addresses.iter() {
            self.changes.push(Change::Audit(AuditEntry {
                address,
                network: network.clone(),
                identity: identity.clone(),
                pod_uid: attached.and_then(|attached| attached.pod_uid.clone()),
                sandbox: attached.map(|attached| attached.attachment.sandbox.clone()),
                mac: binding.mac,
                from: binding.since,
                to: self.now,
                ended,
            }));
        }
    }

    /// Ends the attachment of a binding: it is held if its rule says so, else its addresses rest.
    pub(crate) fn detach(
        &mut self,
        network: &NetworkName,
        identity: &Identity,
        binding: &Binding,
        ended: Ended,
    ) {
        let hold = if binding.reservation.is_some() {
            Hold::Forever
        } else {
            self.book.settings().settings().hold_by(
                binding.policy.as_deref(),
                identity,
                &binding.origin,
            )
        };
        let state = match hold {
            Hold::None => {
                return self.dissolve(network, identity, binding, ended, Rest::Quarantine);
            }
            Hold::Forever => State::Held,
            Hold::For(duration) => State::HeldUntil(self.now.after(duration)),
        };
        self.audit(network, identity, binding, ended);
        let kept = Binding {
            state,
            since: self.now,
            ..binding.clone()
        };
        self.put_binding(network, identity, &kept);
    }

    /// Gives a binding another identity; its addresses and MAC stay.
    pub(crate) fn rename(
        &mut self,
        network: &NetworkName,
        (old, bound): (&Identity, &Binding),
        (new, named): (&Identity, &Binding),
    ) {
        self.audit(network, old, bound, Ended::Named);
        self.remove(RecordKey::Binding {
            network: network.clone(),
            identity: old.clone(),
        });
        self.put_binding(network, new, named);
    }

    /// Ends a binding for good.
    pub(crate) fn dissolve(
        &mut self,
        network: &NetworkName,
        identity: &Identity,
        binding: &Binding,
        ended: Ended,
        rest: Rest,
    ) {
        self.audit(network, identity, binding, ended);
        self.remove(RecordKey::Binding {
            network: network.clone(),
            identity: identity.clone(),
        });
        for address in binding.addresses.iter() {
            let former = Former {
                identity: identity.clone(),
                mac: binding.mac,
            };
            self.vacate(network, address, former, rest);
        }
    }

    /// Lets an address rest that its binding has left.
    pub(crate) fn vacate(
        &mut self,
        network: &NetworkName,
        address: IpAddr,
        former: Former,
        rest: Rest,
    ) {
        let quarantine = match rest {
            Rest::Quarantine => self.quarantine(network, address),
            Rest::None => Duration::ZERO,
        };
        if quarantine.is_zero() {
            return self.retire(network, address);
        }
        self.put(Record::Address(AddressRecord {
            network: network.clone(),
            address,
            state: AddressUse::Quarantined {
                since: self.now,
                until: self.now.after(quarantine),
                former,
            },
        }));
    }

    /// Frees an address: the last to be handed out again.
    pub(crate) fn retire(&mut self, network: &NetworkName, address: IpAddr) {
        let book = self.book;
        let next = self
            .next_sequences
            .entry(network.clone())
            .or_insert_with(|| {
                book.network(network)
                    .map_or(0, |network| network.tables.next_sequence())
            });
        let sequence = *next;
        *next = next.saturating_add(1);
        self.put(Record::Address(AddressRecord {
            network: network.clone(),
            address,
            state: AddressUse::Retired { sequence },
        }));
    }

    /// How long an address rests. One that is in no pool rests as long as any of its network: the pool it came from
    /// is not known any more.
    fn quarantine(&self, network: &NetworkName, address: IpAddr) -> Duration {
        let Some(network) = self.book.network(network) else {
            return Duration::ZERO;
        };
        let longest = || {
            network
                .pools
                .iter()
                .map(|pool| pool.pool().quarantine)
                .max()
                .unwrap_or_default()
        };
        network
            .pool_of(address)
            .map_or_else(longest, |pool| pool.pool().quarantine)
    }
}
