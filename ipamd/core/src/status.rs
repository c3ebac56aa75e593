//! How full the pools are.

use std::net::IpAddr;

use ipnet::IpNet;
use proto_ids::{NetworkName, PoolName, RackName};

use crate::allocate::Choice;
use crate::book::{Book, PoolBook};

/// How full one pool is. `attached + held + quarantined + conflicting + free == capacity`, up to saturation of an
/// IPv6 pool at `u64::MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStatus {
    /// The pool.
    pub pool: PoolName,
    /// Its network.
    pub network: NetworkName,
    /// Its rack.
    pub rack: RackName,
    /// Its subnet.
    pub subnet: IpNet,
    /// The switch on it.
    pub gateway: Option<IpAddr>,
    /// Addresses it may hand out.
    pub capacity: u64,
    /// Addresses that a sandbox has.
    pub attached: u64,
    /// Addresses held for an identity, reserved or set aside.
    pub held: u64,
    /// Addresses in quarantine.
    pub quarantined: u64,
    /// Addresses that a foreign host uses and nobody of ours has.
    pub conflicting: u64,
    /// Addresses that the next ADD can have.
    pub free: u64,
}

impl Book {
    /// All pools in the order of the settings.
    pub fn pool_status(&self) -> Vec<PoolStatus> {
        let mut pools: Vec<_> = self
            .networks()
            .flat_map(|(_, network)| &network.pools)
            .collect();
        pools.sort_by_key(|pool| pool.index);
        pools.into_iter().map(status).collect()
    }

    /// Those of `networks` that have no pool in this node's rack.
    pub fn networks_without_pool(&self, networks: &[NetworkName]) -> Vec<NetworkName> {
        networks
            .iter()
            .filter(|name| Choice::new(self, name, None).is_err())
            .cloned()
            .collect()
    }

    /// Those of `networks` (empty: all configured in this rack) in which a family has pools but no free address.
    pub fn exhausted_networks(&self, networks: &[NetworkName]) -> Vec<NetworkName> {
        let wanted = |name: &&NetworkName| networks.is_empty() || networks.contains(name);
        self.networks()
            .map(|(name, _)| name)
            .filter(wanted)
            .filter(|name| {
                Choice::new(self, name, None)
                    .is_ok_and(|choice| choice.exhausted_family().is_some())
            })
            .cloned()
            .collect()
    }
}

fn status(pool: &PoolBook) -> PoolStatus {
    let settings = pool.pool();
    PoolStatus {
        pool: settings.name.clone(),
        network: settings.network.clone(),
        rack: settings.rack.clone(),
        subnet: settings.subnet,
        gateway: settings.gateway,
        capacity: pool.capacity(),
        attached: pool.tally.attached,
        held: pool.tally.held,
        quarantined: pool.tally.quarantined,
        conflicting: pool.tally.conflicting,
        free: pool.free_count(),
    }
}

#[cfg(test)]
mod tests;
