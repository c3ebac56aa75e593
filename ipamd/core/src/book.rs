//! The book: every binding, every address that is not as good as new, and the indices that make each verb cheap.
//!
//! [`Book::apply`] is the only mutation, [`Book::restore`] the only other way to come by a book that is not empty.
//! Both hold: a book restored from another's records equals it.

mod network;
mod pool_book;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use proto_ids::{Attachment, Identity, NetworkName, RackName};

use crate::binding::{Addresses, Binding, State};
use crate::change::{AddressRecord, AddressUse, Change, ConflictRecord, Record, RecordKey};
use crate::claim::ClaimRecord;
use crate::pool::Pool;
use crate::rack::{NodeRack, RackUnknown};
use crate::refusal::Holder;
use crate::settings::ValidSettings;

pub(crate) use network::{Class, Conflict, Deadline, Entry, Network, Tables};
pub(crate) use pool_book::{PoolBook, Tally};

/// The address book of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    settings: ValidSettings,
    /// Shared by the bindings of this rack.
    rack: Result<Arc<RackName>, RackUnknown>,
    networks: BTreeMap<NetworkName, Network>,
    attachments: BTreeMap<Attachment, BTreeSet<(NetworkName, Identity)>>,
}

/// Two stored facts that cannot both be true, or one that cannot be true at all.
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
    /// A binding has no address, or two of one family.
    Malformed {
        /// The network.
        network: NetworkName,
        /// Whose binding.
        identity: Identity,
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
        let mut pools: BTreeMap<NetworkName, Vec<PoolBook>> = BTreeMap::new();
        let all = settings.settings();
        let own = |(_, pool): &(usize, &Pool)| all.owns(pool);
        for (index, pool) in all.pools.iter().enumerate().filter(own) {
            pools
                .entry(pool.network.clone())
                .or_default()
                .push(PoolBook::new(settings.clone(), index));
        }
        Self {
            rack: match &all.rack {
                NodeRack::Configured(rack) | NodeRack::Labelled { rack, .. } => {
                    Ok(Arc::new(rack.clone()))
                }
                NodeRack::Unknown(unknown) => Err((**unknown).clone()),
            },
            networks: pools
                .into_iter()
                .map(|(name, pools)| (name, Network::new(pools, settings.settings().claiming)))
                .collect(),
            attachments: BTreeMap::new(),
            settings,
        }
    }

    /// The book that wrote these records.
    ///
    /// # Errors
    /// When records contradict each other: the store is damaged. All contradictions are listed.
    pub fn restore(
        settings: ValidSettings,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, RestoreError> {
        let mut book = Self::new(settings);
        let mut contradictions = Vec::new();
        for record in records {
            let found = book.contradictions(&record);
            if found.is_empty() {
                book.put(&record);
            }
            contradictions.extend(found);
        }
        if contradictions.is_empty() {
            Ok(book)
        } else {
            Err(RestoreError { contradictions })
        }
    }

    /// The settings it works by.
    pub fn settings(&self) -> &ValidSettings {
        &self.settings
    }

    /// All facts, in the form in which they are stored.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.networks.iter().flat_map(|(name, network)| {
            let tables = &network.tables;
            let bindings = tables
                .bindings
                .iter()
                .map(|(identity, binding)| Record::Binding(binding.record(name, identity)));
            let addresses = tables
                .entries
                .iter()
                .filter_map(|(&address, entry)| address_record(name, address, entry));
            let conflicts = tables
                .conflicts
                .iter()
                .map(|(&address, conflict)| Record::Conflict(conflict.record(name, address)));
            let claims = tables.claims.iter().map(|(&address, holding)| {
                Record::Claim(ClaimRecord {
                    network: name.clone(),
                    address,
                    holding: holding.clone(),
                })
            });
            bindings.chain(addresses).chain(conflicts).chain(claims)
        })
    }

    /// Makes the changes of a plan true. To be called with the changes of one plan, whole and in order, once they are
    /// stored.
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put(record) => self.put(record),
                Change::Remove(key) => self.remove(key),
                Change::Audit(_) => {}
            }
        }
    }

    fn put(&mut self, record: &Record) {
        match record {
            Record::Binding(record) => {
                let binding = Binding::from_record(record, self.rack.as_ref().ok());
                self.forget_attachment(&record.network, &record.identity);
                if let State::Attached(attached) = &binding.state {
                    self.attachments
                        .entry(attached.attachment.clone())
                        .or_default()
                        .insert((record.network.clone(), record.identity.clone()));
                }
                self.network_mut(&record.network)
                    .put_binding(&record.identity, binding);
            }
            Record::Address(AddressRecord {
                network,
                address,
                state,
            }) => self.network_mut(network).set_use(*address, Some(state)),
            Record::Conflict(record) => {
                let conflict = Conflict {
                    foreign_mac: record.foreign_mac,
                    since: record.since,
                };
                self.network_mut(&record.network)
                    .set_conflict(record.address, Some(conflict));
            }
            Record::Claim(record) => self
                .network_mut(&record.network)
                .set_claim(record.address, Some(record.holding.clone())),
        }
    }

    fn remove(&mut self, key: &RecordKey) {
        let name = match key {
            RecordKey::Binding { network, identity } => {
                self.forget_attachment(network, identity);
                self.network_mut(network).remove_binding(identity);
                network
            }
            RecordKey::Address { network, address } => {
                self.network_mut(network).set_use(*address, None);
                network
            }
            RecordKey::Conflict { network, address } => {
                self.network_mut(network).set_conflict(*address, None);
                network
            }
            RecordKey::Claim { network, address } => {
                self.network_mut(network).set_claim(*address, None);
                network
            }
        };
        // A network that is neither configured nor remembered must not tell a living book from a restored one.
        if self.networks.get(name).is_some_and(Network::is_empty) {
            self.networks.remove(name);
        }
    }

    fn forget_attachment(&mut self, network: &NetworkName, identity: &Identity) {
        let Some(State::Attached(attached)) = self
            .binding(network, identity)
            .map(|binding| binding.state.clone())
        else {
            return;
        };
        if let Some(held) = self.attachments.get_mut(&attached.attachment) {
            held.remove(&(network.clone(), identity.clone()));
            if held.is_empty() {
                self.attachments.remove(&attached.attachment);
            }
        }
    }

    fn network_mut(&mut self, name: &NetworkName) -> &mut Network {
        self.networks.entry(name.clone()).or_default()
    }

    fn contradictions(&self, record: &Record) -> Vec<Contradiction> {
        let (network, identity, addresses) = match record {
            Record::Binding(record) => {
                if Addresses::one_per_family(&record.addresses).is_none() {
                    return vec![Contradiction::Malformed {
                        network: record.network.clone(),
                        identity: record.identity.clone(),
                    }];
                }
                (&record.network, Some(&record.identity), &*record.addresses)
            }
            Record::Address(record) => {
                (&record.network, None, std::slice::from_ref(&record.address))
            }
            Record::Conflict(_) | Record::Claim(_) => return Vec::new(),
        };
        let claims = |address: &IpAddr| {
            let other = match self.network(network)?.tables.entries.get(address)? {
                Entry::Bound(other) if Some(&**other) == identity => return None,
                Entry::Bound(other) => Some(&**other),
                _ if identity.is_none() => return None,
                _ => None,
            };
            Some(Contradiction::AddressTwice {
                network: network.clone(),
                address: *address,
                identities: identity.into_iter().chain(other).cloned().collect(),
            })
        };
        addresses.iter().filter_map(claims).collect()
    }

    /// The rack of this node, or why it is not known.
    pub(crate) const fn rack(&self) -> Result<&Arc<RackName>, &RackUnknown> {
        self.rack.as_ref()
    }

    /// The rack that addresses which are bound here belong to: this node's, and where that is not known, their pool's.
    pub(crate) fn rack_of(
        &self,
        network: &NetworkName,
        addresses: &[IpAddr],
    ) -> Option<Arc<RackName>> {
        if let Ok(rack) = &self.rack {
            return Some(Arc::clone(rack));
        }
        let network = self.network(network)?;
        let pool = addresses
            .iter()
            .find_map(|&address| network.pool_of(address))?;
        Some(Arc::new(pool.pool().rack.clone()))
    }

    /// Every network and rack in which this node has a pool.
    pub(crate) fn configured(&self) -> Vec<(NetworkName, RackName)> {
        let settings = self.settings.settings();
        let pools = settings.pools.iter().filter(|pool| settings.owns(pool));
        let pairs: BTreeSet<_> = pools
            .map(|pool| (pool.network.clone(), pool.rack.clone()))
            .collect();
        pairs.into_iter().collect()
    }

    /// Who or what has an address.
    pub(crate) fn holder(&self, network: &NetworkName, address: IpAddr) -> Option<Holder> {
        let tables = &self.network(network)?.tables;
        match tables.entries.get(&address)? {
            Entry::Bound(identity) => {
                let binding = tables.bindings.get(identity)?;
                Some(match binding.state.attached() {
                    Some(attached) => Holder::Attached {
                        identity: (**identity).clone(),
                        attachment: attached.attachment.clone(),
                    },
                    None => Holder::Held {
                        identity: (**identity).clone(),
                        until: binding.state.until(),
                    },
                })
            }
            Entry::Quarantined(quarantine) => Some(Holder::Quarantined {
                identity: quarantine.former.identity.clone(),
                until: quarantine.until,
            }),
            Entry::SetAside(set_aside) => Some(Holder::SetAside {
                note: set_aside.note.clone(),
            }),
            Entry::Retired(_) => None,
        }
    }

    pub(crate) fn networks(&self) -> impl Iterator<Item = (&NetworkName, &Network)> {
        self.networks.iter()
    }

    pub(crate) fn network(&self, name: &NetworkName) -> Option<&Network> {
        self.networks.get(name)
    }

    pub(crate) fn binding(&self, network: &NetworkName, identity: &Identity) -> Option<&Binding> {
        self.network(network)?.tables.bindings.get(identity)
    }

    /// The bindings that an attachment has, by network.
    pub(crate) fn attached_to(
        &self,
        attachment: &Attachment,
    ) -> impl Iterator<Item = (&NetworkName, &Identity)> {
        self.attachments
            .get(attachment)
            .into_iter()
            .flatten()
            .map(|(network, identity)| (network, identity))
    }

    pub(crate) fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        self.attachments.keys()
    }
}

impl Conflict {
    pub(crate) fn record(&self, network: &NetworkName, address: IpAddr) -> ConflictRecord {
        ConflictRecord {
            network: network.clone(),
            address,
            foreign_mac: self.foreign_mac,
            since: self.since,
        }
    }
}

fn address_record(network: &NetworkName, address: IpAddr, entry: &Entry) -> Option<Record> {
    let state = match entry {
        Entry::Bound(_) => return None,
        Entry::Quarantined(quarantine) => AddressUse::Quarantined {
            since: quarantine.since,
            until: quarantine.until,
            former: quarantine.former.clone(),
        },
        Entry::Retired(sequence) => AddressUse::Retired {
            sequence: *sequence,
        },
        Entry::SetAside(set_aside) => AddressUse::SetAside {
            since: set_aside.since,
            note: set_aside.note.clone(),
        },
    };
    Some(Record::Address(AddressRecord {
        network: network.clone(),
        address,
        state,
    }))
}

#[cfg(test)]
mod tests;
