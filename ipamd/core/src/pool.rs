//! The addresses of one network in one rack, and which of them may be handed out.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use proto_ids::{NetworkName, NodeName, PoolName, RackName, Route};

use crate::range::{AddressRange, AddressSet, Family, bits};

/// The addresses of one network in one rack. One family; dual stack is two pools of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Unique on the node.
    pub name: PoolName,
    /// The network it belongs to.
    pub network: NetworkName,
    /// The rack it belongs to.
    pub rack: RackName,
    /// The node whose alone it is; `None`: whoever has this configuration.
    pub node: Option<NodeName>,
    /// The subnet configured on the rack's switch.
    pub subnet: IpNet,
    /// What may be handed out; empty: the whole subnet.
    pub ranges: Vec<AddressRange>,
    /// What may not be handed out.
    pub exclude: Vec<AddressRange>,
    /// The switch on this subnet.
    pub gateway: Option<IpAddr>,
    /// How long an address rests after it was released for good.
    pub quarantine: Duration,
    /// Static routes, never a default route.
    pub routes: Vec<Route>,
    /// Whether its addresses are probed on the wire ahead of time.
    pub probe: bool,
}

impl Pool {
    /// The pool's family.
    pub const fn family(&self) -> Family {
        match self.subnet {
            IpNet::V4(_) => Family::V4,
            IpNet::V6(_) => Family::V6,
        }
    }

    /// Whether it hands out this address, to anybody at any time.
    pub fn hands_out(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && self.usable().contains(bits(address))
    }

    /// How many addresses it hands out, at most `u64::MAX`.
    pub fn capacity(&self) -> u64 {
        self.usable().count()
    }

    /// An address with the prefix length of the pool's subnet.
    pub(crate) fn with_prefix(&self, address: IpAddr) -> IpNet {
        // A subnet's prefix length always fits its own family.
        IpNet::new(address, self.subnet.prefix_len()).unwrap_or_else(|_| address.into())
    }

    /// What may be handed out: the ranges without exclusions, routers, and the addresses no host may have.
    pub(crate) fn usable(&self) -> AddressSet {
        let mut usable = AddressSet::default();
        if self.ranges.is_empty() {
            usable.insert(AddressRange::from(self.subnet).bits());
        }
        for range in &self.ranges {
            usable.insert(range.bits());
        }
        for range in &self.exclude {
            usable.remove(range.bits());
        }
        for address in self.routers().chain(self.unassignable()) {
            usable.remove((bits(address), bits(address)));
        }
        usable
    }

    /// The gateway, and the next hops of the routes.
    pub(crate) fn routers(&self) -> impl Iterator<Item = IpAddr> {
        let hops = self.routes.iter().filter_map(|route| route.via);
        hops.chain(self.gateway)
    }

    /// IPv4: network and broadcast address, which /31 (RFC 3021) and /32 do not have.
    /// IPv6: the subnet-router anycast address (RFC 4291, 2.6.1), which /127 (RFC 6164) and /128 do not have.
    pub(crate) fn unassignable(&self) -> Vec<IpAddr> {
        match self.subnet {
            IpNet::V4(v4) if v4.prefix_len() <= 30 => {
                vec![v4.network().into(), v4.broadcast().into()]
            }
            IpNet::V6(v6) if v6.prefix_len() <= 126 => vec![v6.network().into()],
            _ => Vec::new(),
        }
    }
}
