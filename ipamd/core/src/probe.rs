//! Which addresses are worth asking for on the wire before a Pod needs them.

use std::net::IpAddr;
use std::ops::Bound;

use proto_ids::{MacAddr, NetworkName};

use crate::book::{Book, Class};

/// An address to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeCandidate {
    /// The network.
    pub network: NetworkName,
    /// The address.
    pub address: IpAddr,
    /// The MAC of the binding it is held for; an answer from it is not foreign.
    pub own_mac: Option<MacAddr>,
}

impl Book {
    /// Of every pool of this rack that wants probing: the `per_pool` addresses that would be handed out next, in order.
    pub fn probe_candidates(&self, per_pool: usize) -> Vec<ProbeCandidate> {
        let settings = self.settings().settings();
        self.networks()
            .flat_map(|(name, network)| {
                let pools = network.pools.iter();
                let wanted = pools.filter(|pool| pool.pool().probe && settings.uses(pool.pool()));
                wanted.flat_map(move |pool| {
                    pool.free()
                        .take(per_pool)
                        .map(move |address| ProbeCandidate {
                            network: name.clone(),
                            address,
                            own_mac: None,
                        })
                })
            })
            .collect()
    }

    /// Up to `limit` held or set-aside addresses of pools that want probing, by network and address, behind `after`.
    /// Fewer than `limit`: the end was reached, begin again with `None`.
    pub fn held_candidates(
        &self,
        after: Option<(&NetworkName, IpAddr)>,
        limit: usize,
    ) -> Vec<ProbeCandidate> {
        let settings = self.settings().settings();
        self.networks()
            .filter(|(name, _)| after.is_none_or(|(last, _)| *name >= last))
            .flat_map(|(name, network)| {
                let from = match after {
                    Some((last, address)) if last == name => Bound::Excluded(address),
                    _ => Bound::Unbounded,
                };
                let tables = &network.tables;
                tables
                    .entries
                    .range((from, Bound::Unbounded))
                    .map(|(&address, _)| address)
                    .filter(|&address| tables.class(address) == Class::Held)
                    .filter(|&address| {
                        network
                            .pool_of(address)
                            .is_some_and(|pool| pool.pool().probe && settings.uses(pool.pool()))
                    })
                    .map(move |address| ProbeCandidate {
                        network: name.clone(),
                        address,
                        own_mac: tables.holder(address).map(|(_, bound)| bound.mac),
                    })
            })
            .take(limit)
            .collect()
    }
}

#[cfg(test)]
mod tests;
