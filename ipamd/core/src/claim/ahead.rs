//! Which addresses to claim before a Pod needs them, and which to give back.
//!
//! Nodes of a rack begin at different places of a pool, so that they rarely want the same address at the same time; where
//! they do, creating the claim decides, and the loser goes on with the next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proto_ids::NetworkName;

use super::Tenure;
use crate::book::{Book, PoolBook, Tables};
use crate::range::Family;

/// What to claim and what to give back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimAhead {
    /// Addresses to be claimed.
    pub claim: BTreeSet<(NetworkName, IpAddr)>,
    /// Owned addresses that, when they are free, are more than is kept, or in no pool any more.
    pub surplus: BTreeSet<(NetworkName, IpAddr)>,
    /// Networks in which fewer addresses are left unclaimed than are wanted.
    pub short: BTreeSet<NetworkName>,
}

impl Book {
    /// Keeps `warm` free addresses in every family of a network, and as many more as `expected` says of Pods that are on their
    /// way. Twice as many are too many. Where no address is left that nobody has, Pods that are on their way have others' asked
    /// for: `others` are the claims of other nodes, as far as this one has heard, with whether a binding is on them.
    pub fn claim_ahead(
        &self,
        warm: usize,
        expected: impl Fn(&NetworkName) -> usize,
        others: &BTreeMap<(NetworkName, IpAddr), bool>,
    ) -> ClaimAhead {
        let mut ahead = ClaimAhead::default();
        // Which pools are claimed from is not known without it.
        let Ok(rack) = self.rack() else {
            return ahead;
        };
        for (name, network) in self.networks() {
            let outside = network.tables.claims.iter().filter(|(address, holding)| {
                holding.tenure == Tenure::Owned && network.pool_of(**address).is_none()
            });
            let outside = outside.map(|(&address, _)| (name.clone(), address));
            ahead.surplus.extend(outside);
            let expected = expected(name);
            for family in Family::ALL {
                // One family's pools stand in for each other.
                let pools = network.pools.iter();
                let pools =
                    pools.filter(|pool| pool.pool().rack == **rack && pool.family() == family);
                let demand = Demand {
                    book: self,
                    name,
                    tables: &network.tables,
                    pools: pools.collect(),
                    wanted: warm.saturating_add(expected),
                    expected,
                    others,
                };
                demand.meet(&mut ahead);
            }
        }
        ahead
    }

    /// The addresses of a pool, beginning at a place that is this node's.
    fn addresses_of<'a>(&'a self, pool: &'a PoolBook) -> impl Iterator<Item = IpAddr> + 'a {
        let set = self.settings().usable(pool.index);
        let node = self.settings().settings().node.as_str();
        let seed = fnv(node.bytes().chain(pool.pool().name.as_str().bytes()));
        let family = pool.family();
        let start = u128::from(seed) % u128::from(pool.capacity().max(1));
        let first = set.nth(start).unwrap_or_default();
        let behind = set.iter_from(first);
        let before = set.iter().take_while(move |&bits| bits < first);
        behind.chain(before).map(move |bits| family.address(bits))
    }
}

/// What one network needs in one family.
struct Demand<'a> {
    book: &'a Book,
    name: &'a NetworkName,
    tables: &'a Tables,
    pools: Vec<&'a PoolBook>,
    wanted: usize,
    expected: usize,
    others: &'a BTreeMap<(NetworkName, IpAddr), bool>,
}

impl Demand<'_> {
    fn meet(&self, ahead: &mut ClaimAhead) {
        let key = |address| (self.name.clone(), address);
        let free = || self.pools.iter().flat_map(|pool| pool.free());
        let kept = self.wanted.saturating_mul(2);
        ahead.surplus.extend(free().skip(kept).map(key));
        let have = free().take(self.wanted).count();
        let missing = self.wanted - have;
        let all = || {
            self.pools
                .iter()
                .flat_map(|pool| self.book.addresses_of(pool))
        };
        let is_new = |address: &IpAddr| {
            !self.tables.claims.contains_key(address)
                && !self.tables.entries.contains_key(address)
                && !self.tables.conflicts.contains_key(address)
                && !self.others.contains_key(&key(*address))
        };
        let found: Vec<_> = all().filter(is_new).take(missing).collect();
        let urgent = self.expected.saturating_sub(have + found.len());
        if found.len() < missing && !self.pools.is_empty() {
            ahead.short.insert(self.name.clone());
        }
        let idle = |address: &IpAddr| self.others.get(&key(*address)) == Some(&false);
        let asked = all().filter(idle).take(urgent);
        ahead
            .claim
            .extend(found.iter().copied().chain(asked).map(key));
    }
}

/// FNV-1a, 64 bit: the same on every node and in every version, and nobody gains by choosing names.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
