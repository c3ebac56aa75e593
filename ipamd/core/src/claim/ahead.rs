//! Which addresses to claim before a Pod needs them, and which to give back.
//!
//! Nodes of a rack begin at different places of a pool, so that they rarely want the same address at the same time; where
//! they do, creating the claim decides, and the loser goes on with the next.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proto_ids::NetworkName;

use crate::book::{Book, PoolBook};
use crate::range::Family;

/// What to claim and what to give back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimAhead {
    /// Addresses to be claimed.
    pub claim: BTreeSet<(NetworkName, IpAddr)>,
    /// Owned and free addresses that are more than is kept.
    pub surplus: BTreeSet<(NetworkName, IpAddr)>,
    /// Networks in which fewer addresses are left unclaimed than are wanted.
    pub short: BTreeSet<NetworkName>,
}

impl Book {
    /// Keeps `warm` free addresses in every pool of this rack, and as many more as `expected` says of a network's Pods.
    /// Twice as many are too many. `taken` are addresses that other nodes have, as far as this one has heard.
    pub fn claim_ahead(
        &self,
        warm: usize,
        expected: impl Fn(&NetworkName) -> usize,
        taken: &BTreeSet<(NetworkName, IpAddr)>,
    ) -> ClaimAhead {
        let mut ahead = ClaimAhead::default();
        // Which pools are claimed from is not known without it.
        let Ok(rack) = self.rack() else {
            return ahead;
        };
        for (name, network) in self.networks() {
            let wanted = warm.saturating_add(expected(name));
            // One family's pools stand in for each other: the first that has addresses left is claimed from.
            for family in Family::ALL {
                let pools = || {
                    let pools = network.pools.iter();
                    pools.filter(move |pool| pool.pool().rack == **rack && pool.family() == family)
                };
                if pools().next().is_none() {
                    continue;
                }
                let free = pools().flat_map(PoolBook::free);
                let kept = wanted.saturating_mul(2);
                let surplus = free
                    .clone()
                    .skip(kept)
                    .map(|address| (name.clone(), address));
                ahead.surplus.extend(surplus);
                let missing = wanted.saturating_sub(free.take(wanted).count());
                let is_new = |address: &IpAddr| {
                    !network.tables.claims.contains_key(address)
                        && !network.tables.entries.contains_key(address)
                        && !network.tables.conflicts.contains_key(address)
                        && !taken.contains(&(name.clone(), *address))
                };
                let found: Vec<_> = pools()
                    .flat_map(|pool| self.addresses_of(pool))
                    .filter(is_new)
                    .take(missing)
                    .collect();
                if found.len() < missing {
                    ahead.short.insert(name.clone());
                }
                let found = found.into_iter().map(|address| (name.clone(), address));
                ahead.claim.extend(found);
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

/// FNV-1a, 64 bit: the same on every node and in every version, and nobody gains by choosing names.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
