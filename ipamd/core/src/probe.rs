//! Which addresses are worth asking for on the wire before a Pod needs them.

use std::net::IpAddr;

use proto_ids::{MacAddr, NetworkName};

use crate::book::Book;

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
        let _ = per_pool;
        todo!()
    }

    /// Up to `limit` held or set-aside addresses of pools that want probing, by network and address, behind `after`.
    /// Fewer than `limit`: the end was reached, begin again with `None`.
    pub fn held_candidates(
        &self,
        after: Option<(&NetworkName, IpAddr)>,
        limit: usize,
    ) -> Vec<ProbeCandidate> {
        let _ = (after, limit);
        todo!()
    }
}
