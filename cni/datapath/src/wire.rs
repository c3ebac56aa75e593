//! ADD: all interfaces of a Pod, or none.

use ipnet::IpNet;
use proto_ids::{IfName, MacAddr, NetworkName};

use crate::fault::Fault;
use crate::netns::Netns;
use crate::segment::EnsuredSegment;
use crate::wiring::Wiring;

/// What was wired, read back from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wired {
    /// In the order of [`Wiring::interfaces`].
    pub interfaces: Vec<WiredInterface>,
}

/// One interface of a Pod and the port it is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WiredInterface {
    /// Name inside the Pod.
    pub ifname: IfName,
    /// The network.
    pub network: NetworkName,
    /// Interface index inside the Pod.
    pub index: u32,
    /// MAC inside the Pod.
    pub mac: MacAddr,
    /// MTU in bytes.
    pub mtu: u32,
    /// Addresses with the prefix length of their subnet.
    pub addresses: Vec<IpNet>,
    /// Name of the host-side port.
    pub port: IfName,
    /// Interface index of the host-side port.
    pub port_index: u32,
    /// MAC of the host-side port.
    pub port_mac: MacAddr,
    /// The bridge it is a port of.
    pub bridge: IfName,
    /// The bridge's MAC.
    pub bridge_mac: MacAddr,
}

/// Why a Pod was not wired. Whatever had been made is undone.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
}

impl WireError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        Fault::Kernel
    }
}

/// Wires all interfaces of the Pod. `segments` holds the ensured segment of every interface, in any order.
///
/// # Errors
/// See [`WireError`]: whatever had been made is undone.
pub fn wire(_netns: &Netns, _wiring: &Wiring, _segments: &[EnsuredSegment]) -> Result<Wired, WireError> {
    unimplemented!()
}
