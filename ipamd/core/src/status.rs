//! How full the pools are.

use ipnet::IpNet;
use proto_ids::{NetworkName, PoolName, RackName};

use crate::book::Book;

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
        todo!()
    }

    /// Those of `networks` that have no pool in this node's rack.
    pub fn networks_without_pool(&self, networks: &[NetworkName]) -> Vec<NetworkName> {
        let _ = networks;
        todo!()
    }

    /// Those of `networks` (empty: all configured in this rack) in which a family has pools but no free address.
    pub fn exhausted_networks(&self, networks: &[NetworkName]) -> Vec<NetworkName> {
        let _ = networks;
        todo!()
    }
}
