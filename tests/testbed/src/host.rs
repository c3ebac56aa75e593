//! A host outside of the cluster on one of the networks: a virtual machine, or "the exchange".
//!
//! It can ping, listen, and claim an address that is not its own.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::{
    address::{Net, RackAddresses, mac},
    namespace::Namespace,
    rack::Rack,
};

/// An outside host; its NIC is called `eth0` whatever its network.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    net: Net,
    addresses: RackAddresses,
    last: u8,
}

/// Name and place of an outside host.
#[derive(Clone, Debug)]
pub(crate) struct HostSpec {
    pub(crate) name: String,
    pub(crate) rack: String,
    pub(crate) net: Net,
}

impl Host {
    pub(crate) fn new(namespace: Namespace, rack: &Rack, net: Net, last: u8) -> Result<Self> {
        let host = Self {
            namespace,
            net,
            addresses: rack.addresses(),
            last,
        };
        rack.tor().ip_batch(&format!(
            "link add {0} type veth peer name eth0 address {1} netns {2}\nlink set {0} master {3} up",
            host.namespace.name(),
            host.mac(),
            host.namespace.pid(),
            net.name()
        ))?;
        // Claiming addresses that are not ours is what this host is for.
        host.namespace
            .script("echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind")?;
        host.namespace.ip_batch(&format!(
            "link set eth0 up\naddr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad\nroute add default via {}\nroute add default via {} dev eth0",
            host.address4(),
            host.addresses.v6(net, u16::from(last)),
            host.addresses.gateway4(net),
            host.addresses.gateway6(net)
        ))?;
        Ok(host)
    }

    /// Its namespace: exec, ping, captures.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its own IPv4 address.
    pub fn address4(&self) -> Ipv4Addr {
        self.addresses.v4(self.net, self.last)
    }

    /// Its MAC.
    pub fn mac(&self) -> String {
        mac(self.addresses.number, self.last, self.net)
    }

    /// Takes an IPv4 address for its own, without a word: it answers ARP for it from now on.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn take_address(&self, address: Ipv4Addr) -> Result<()> {
        self.namespace
            .ip_batch(&format!("addr replace {address}/32 dev eth0"))
    }

    /// Gives the address of [`Self::take_address`] back.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn drop_address(&self, address: Ipv4Addr) -> Result<()> {
        self.namespace
            .ip_batch(&format!("addr del {address}/32 dev eth0"))
    }

    /// Claims an IPv4 address on the wire by one gratuitous ARP request, whether it is its own or not.
    ///
    /// # Errors
    /// `arping` failed (package iputils-arping).
    pub fn announce(&self, address: Ipv4Addr) -> Result<()> {
        let address = address.to_string();
        // arping -U waits for answers that nobody sends, hence its exit code says nothing; -w bounds it.
        let output = self.namespace.exec(&[
            "arping", "-q", "-U", "-c", "1", "-w", "1", "-I", "eth0", "-s", &address, &address,
        ])?;
        anyhow::ensure!(
            output.stderr.is_empty(),
            "arping -U {address}: {}",
            output.stderr.trim_end()
        );
        Ok(())
    }
}
