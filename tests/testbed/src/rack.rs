//! A rack: its TOR switch, which is also the gateway, and what one can do to it.
//!
//! Per network a bridge in the TOR's namespace carries the gateway's addresses; nodes and outside hosts are its ports.

use std::fmt::Write as _;

use anyhow::Result;

use crate::{
    address::{Net, RackAddresses},
    namespace::Namespace,
};

/// Bridges of the TOR: ports forward at once, no snooping, and the addresses are usable at once (no duplicate address detection).
const TOR_SYSCTLS: &str = "echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
for k in all default; do
  echo 0 > /proc/sys/net/ipv4/conf/$k/rp_filter
  echo 0 > /proc/sys/net/ipv6/conf/$k/accept_dad
done";

/// One rack of the world.
#[derive(Debug)]
pub struct Rack {
    name: String,
    addresses: RackAddresses,
    tor: Namespace,
}

impl Rack {
    pub(crate) fn new(name: String, addresses: RackAddresses, tor: Namespace) -> Result<Self> {
        let rack = Self {
            name,
            addresses,
            tor,
        };
        rack.tor.script(TOR_SYSCTLS)?;
        let mut lines = String::new();
        for net in Net::ALL {
            let bridge = net.name();
            let _ = writeln!(
                lines,
                "link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set {bridge} up"
            );
        }
        rack.tor.ip_batch(&lines)?;
        for net in Net::ALL {
            rack.restore_voice(net)?;
        }
        Ok(rack)
    }

    /// `a` for the first rack.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its subnets and gateways.
    pub fn addresses(&self) -> RackAddresses {
        self.addresses
    }

    /// The namespace of its TOR.
    pub fn tor(&self) -> &Namespace {
        &self.tor
    }

    /// Makes the gateway of one network silent: neither ARP, ND nor ping are answered, frames between ports go on.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn silence(&self, net: Net) -> Result<()> {
        self.tor.ip_batch(&format!("addr flush dev {}", net.name()))
    }

    /// Ends [`Self::silence`].
    ///
    /// # Errors
    /// `ip` failed.
    pub fn restore_voice(&self, net: Net) -> Result<()> {
        let bridge = net.name();
        let [v4, v6] = self.addresses.gateways(net);
        // `replace`: the kernel may have kept or made the link-local one.
        self.tor.ip_batch(&format!(
            "addr replace {v4}/24 dev {bridge}\naddr replace {v6}/64 dev {bridge} nodad\naddr replace fe80::1/64 dev {bridge} nodad"
        ))
    }

    /// Cuts the rack from the router, or joins it again.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn set_router_link(&self, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        self.tor.ip_batch(&format!("link set router {state}"))?;
        if up { self.route_to_router() } else { Ok(()) }
    }

    /// Joins the rack with the router by a link with both ends' addresses and routes.
    pub(crate) fn join(&self, router: &Namespace) -> Result<()> {
        let link = self.addresses.to_router();
        let port = format!("rack-{}", self.name);
        self.tor.ip_batch(&format!(
            "link add router type veth peer name {port} netns {}\nlink set router up",
            router.pid()
        ))?;
        let mut lines = format!(
            "link set {port} up\naddr add {}/30 dev {port}\naddr add {}/64 dev {port} nodad\n",
            link.router4, link.router6
        );
        for net in Net::ALL {
            let _ = writeln!(
                lines,
                "route add {} via {}",
                self.addresses.subnet4(net),
                link.tor4
            );
            let _ = writeln!(
                lines,
                "route add {} via {}",
                self.addresses.subnet6(net),
                link.tor6
            );
        }
        router.ip_batch(&lines)?;
        self.route_to_router()
    }

    fn route_to_router(&self) -> Result<()> {
        let link = self.addresses.to_router();
        self.tor.ip_batch(&format!(
            "addr replace {}/30 dev router\naddr replace {}/64 dev router nodad\nroute replace default via {}\nroute replace default via {} dev router",
            link.tor4, link.tor6, link.router4, link.router6
        ))
    }
}

/// What the router needs before racks join.
pub(crate) fn prepare_router(router: &Namespace) -> Result<()> {
    router.script(TOR_SYSCTLS).map(|_| ())
}
