//! Which address and which MAC, where nothing binds the answer.

use std::net::IpAddr;
use std::sync::Arc;

use proto_ids::{Identity, MacAddr, NetworkName, RackName};

use super::AllocateError;
use crate::binding::Addresses;
use crate::book::{Book, Class, Deadline, Entry, Network, PoolBook, Tally};
use crate::range::Family;
use crate::refusal::Holder;

/// One network seen by an identity (or by nobody) that needs addresses there.
pub(crate) struct Choice<'a> {
    pub(crate) book: &'a Book,
    pub(crate) name: &'a NetworkName,
    pub(crate) network: &'a Network,
    pub(crate) rack: &'a Arc<RackName>,
    pub(crate) identity: Option<&'a Identity>,
}

impl<'a> Choice<'a> {
    /// # Errors
    /// When this node's rack is not known, or the network has no pool there.
    pub(crate) fn new(
        book: &'a Book,
        name: &'a NetworkName,
        identity: Option<&'a Identity>,
    ) -> Result<Self, AllocateError> {
        let rack = book
            .rack()
            .map_err(|unknown| AllocateError::NoRack(unknown.clone()))?;
        book.network(name)
            .map(|network| Self {
                book,
                name,
                network,
                rack,
                identity,
            })
            .filter(|choice| choice.pools().next().is_some())
            .ok_or_else(|| no_pool(book, name, rack))
    }

    /// The network's pools in this node's rack, in the order in which they are used.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &'a PoolBook> {
        let rack = &**self.rack;
        let pools = self.network.pools.iter();
        pools.filter(move |pool| pool.pool().rack == *rack)
    }

    /// The families that have pools here, IPv4 first.
    pub(crate) fn families(&self) -> impl Iterator<Item = Family> {
        let has_pool = |family: &Family| self.pools().any(|pool| pool.family() == *family);
        Family::ALL.into_iter().filter(has_pool)
    }

    /// An address that is free for the identity: the one asked for, else the one it had before, else the next.
    pub(crate) fn address(
        &self,
        family: Family,
        requested: Option<IpAddr>,
    ) -> Result<IpAddr, AllocateError> {
        if let Some(address) = requested {
            return self.requested(address).map(|()| address);
        }
        self.former(family)
            .or_else(|| self.next(family))
            .ok_or_else(|| self.exhausted(family))
    }

    /// An address of this identity that still rests. It is the least surprise, and safe: its neighbours know it.
    fn former(&self, family: Family) -> Option<IpAddr> {
        let rested = self.network.tables.quarantined_after(self.identity?);
        rested
            .into_iter()
            .map(|(address, _)| address)
            .find(|&address| {
                Family::of(address) == family
                    && self.network.tables.may_hand_out(address)
                    && self.pools().any(|pool| pool.hands_out(address))
                    && !self.network.tables.conflicts.contains_key(&address)
            })
    }

    fn next(&self, family: Family) -> Option<IpAddr> {
        self.pools()
            .filter(|pool| pool.family() == family)
            .find_map(|pool| pool.free().next())
    }

    /// A family that has pools here and no free address in them.
    pub(crate) fn exhausted_family(&self) -> Option<Family> {
        self.families().find(|&family| self.next(family).is_none())
    }

    /// Refuses an address that is not free for the identity.
    pub(crate) fn requested(&self, address: IpAddr) -> Result<(), AllocateError> {
        if !self.pools().any(|pool| pool.hands_out(address)) {
            return Err(self.outside(address));
        }
        if let Some(holder) = self.book.holder(self.name, address)
            && !self.rests_for_us(&holder)
        {
            return Err(AllocateError::AddressTaken {
                address,
                network: self.name.clone(),
                holder,
            });
        }
        self.claimed(address)?;
        // Whoever sets an address aside for nobody may mean to do so because of the conflict.
        if self.identity.is_none() {
            return Ok(());
        }
        self.undisputed(address)
    }

    /// Refuses an address that is not this node's to hand out.
    pub(crate) fn claimed(&self, address: IpAddr) -> Result<(), AllocateError> {
        if self.network.tables.may_hand_out(address) {
            return Ok(());
        }
        Err(AllocateError::Unclaimed {
            address,
            network: self.name.clone(),
        })
    }

    /// Refuses an identity whose binding is on its way from another node and has not come whole.
    pub(crate) fn refuse_half_come(&self, identity: &Identity) -> Result<(), AllocateError> {
        let tables = &self.network.tables;
        let mut coming = tables
            .incoming
            .iter()
            .filter_map(|address| tables.claims.get(address)?.incoming.as_deref());
        match coming.find(|incoming| incoming.identity == *identity) {
            None => Ok(()),
            Some(incoming) => Err(AllocateError::HalfCome {
                identity: identity.clone(),
                network: self.name.clone(),
                missing: incoming
                    .addresses
                    .iter()
                    .copied()
                    .filter(|&address| !tables.may_hand_out(address))
                    .collect(),
            }),
        }
    }

    /// Refuses an address that a foreign host uses.
    pub(crate) fn undisputed(&self, address: IpAddr) -> Result<(), AllocateError> {
        match self.network.tables.conflicts.get(&address) {
            None => Ok(()),
            Some(conflict) => Err(AllocateError::AddressConflict {
                address,
                network: self.name.clone(),
                foreign_mac: conflict.foreign_mac,
                since: conflict.since,
            }),
        }
    }

    fn rests_for_us(&self, holder: &Holder) -> bool {
        matches!(holder, Holder::Quarantined { identity, .. } if Some(identity) == self.identity)
    }

    /// The MAC for new addresses: the one asked for, else the one that rested with them, else the derived one.
    pub(crate) fn mac(
        &self,
        addresses: Addresses,
        requested: Option<MacAddr>,
    ) -> Result<MacAddr, AllocateError> {
        if let Some(mac) = requested {
            return self.requested_mac(mac).map(|()| mac);
        }
        let rested = addresses.iter().find_map(|address| {
            match self.network.tables.entries.get(&address)? {
                Entry::Quarantined(quarantine)
                    if Some(&quarantine.former.identity) == self.identity =>
                {
                    Some(quarantine.former.mac)
                }
                _ => None,
            }
        });
        let derived = addresses.iter().map(MacAddr::derived);
        // Somebody may have asked for the MAC that belongs to this address: the second octet is ours to vary.
        let variants = derived.clone().flat_map(|mac| {
            let [first, second, a, b, c, d] = mac.octets();
            (1..=u8::MAX).map(move |step| {
                MacAddr::from_octets([first, second.wrapping_add(step), a, b, c, d])
            })
        });
        rested
            .into_iter()
            .chain(derived)
            .chain(variants)
            .find(|&mac| self.taken_by(mac).is_none())
            .ok_or_else(|| AllocateError::NoMac {
                network: self.name.clone(),
                addresses: addresses.iter().collect(),
            })
    }

    fn requested_mac(&self, mac: MacAddr) -> Result<(), AllocateError> {
        match self.taken_by(mac) {
            None => Ok(()),
            Some(identity) => Err(AllocateError::MacTaken {
                mac,
                network: self.name.clone(),
                identity: identity.clone(),
            }),
        }
    }

    fn taken_by(&self, mac: MacAddr) -> Option<&Identity> {
        self.network.tables.other_with_mac(mac, self.identity)
    }

    fn outside(&self, address: IpAddr) -> AllocateError {
        let settings = self.book.settings();
        let in_subnet = |pool: &&PoolBook| pool.pool().subnet.contains(&address);
        let why = if let Some(pool) = self.network.pool_of(address) {
            let pool = pool.pool();
            format!("it belongs to pool {} of rack {}", pool.name, pool.rack)
        } else if let Some((pool, node)) = settings.other_node_with(self.name, address) {
            format!("it belongs to pool {pool} of node {node}")
        } else if let Some(pool) = self.pools().find(in_subnet) {
            let name = &pool.pool().name;
            format!("pool {name} excludes it, or it is a router's, or in none of the pool's ranges")
        } else {
            let pools: Vec<_> = self
                .pools()
                .map(|pool| format!("{} ({})", pool.pool().name, pool.pool().subnet))
                .collect();
            format!("the pools here are {}", pools.join(", "))
        };
        AllocateError::AddressOutside {
            address,
            network: self.name.clone(),
            rack: (**self.rack).clone(),
            why,
        }
    }

    fn exhausted(&self, family: Family) -> AllocateError {
        let pools = || self.pools().filter(|pool| pool.family() == family);
        let sum = |count: fn(&Tally) -> u64| pools().map(|pool| count(&pool.tally)).sum();
        let tables = &self.network.tables;
        let next_free = tables
            .deadlines
            .iter()
            .find_map(|(until, deadline)| match deadline {
                Deadline::Quarantine(address)
                    if pools().any(|pool| pool.hands_out(*address))
                        && tables.class(*address) == Class::Quarantined =>
                {
                    Some(*until)
                }
                _ => None,
            });
        AllocateError::Exhausted {
            network: self.name.clone(),
            rack: (**self.rack).clone(),
            family,
            pools: pools().map(|pool| pool.pool().name.clone()).collect(),
            attached: sum(|tally| tally.attached),
            held: sum(|tally| tally.held),
            quarantined: sum(|tally| tally.quarantined),
            conflicting: sum(|tally| tally.conflicting),
            next_free,
        }
    }
}

fn no_pool(book: &Book, network: &NetworkName, rack: &RackName) -> AllocateError {
    let settings = book.settings().settings();
    let label = settings.rack.label();
    AllocateError::NoPool {
        network: network.clone(),
        rack: rack.clone(),
        node: settings.node.clone(),
        label: label.map(|label| (label.into(), settings.racks(Some(network)))),
        configured: book.configured(),
        claiming: settings.claiming,
    }
}
