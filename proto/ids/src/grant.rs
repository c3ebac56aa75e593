//! What is asked of `berth-ipamd` and what it grants, in checked types.
//!
//! `proto-ipam` converts between these and the wire; `ipamd-core` decides on them; `berth` builds them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    CniNetworkName, Identity, IfName, MacAddr, NetworkName, PodKey, PodUid, PoolName, RackName,
    SandboxId,
};

/// One CNI ADD: the key under which a runtime adds and deletes (CNI specification, "attachment").
///
/// `ifname` is `CNI_IFNAME`; the attachment may hold further interfaces (`net1`, …).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attachment {
    /// Name of the CNI network configuration.
    pub cni_network: CniNetworkName,
    /// Container id of the sandbox.
    pub sandbox: SandboxId,
    /// `CNI_IFNAME`.
    pub ifname: IfName,
}

impl Attachment {
    /// The name of the host-side port of the attachment's interface `ifname`: `bth` and 12 hexadecimal digits of a
    /// SHA-256 over container id and interface name. Needs no stored state, so that DEL finds the port by itself.
    pub fn port_name(sandbox: &SandboxId, ifname: &IfName) -> IfName {
        let hex = digest_hex(&[sandbox.as_str(), ifname.as_str()], 6);
        // 3 + 12 lower-case alphanumeric bytes: always an interface name.
        format!("bth{hex}")
            .parse()
            .unwrap_or_else(|_| unreachable!("15 alphanumeric bytes"))
    }

    /// 32 hexadecimal digits that name this attachment in a file name, whatever its parts hold.
    pub fn file_stem(&self) -> String {
        digest_hex(
            &[
                self.cni_network.as_str(),
                self.sandbox.as_str(),
                self.ifname.as_str(),
            ],
            16,
        )
    }
}

fn digest_hex(parts: &[&str], bytes: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut hex = format!("{:x}", hash.finalize());
    hex.truncate(2 * bytes);
    hex
}

/// What `berth` asks for one CNI ADD. All of it is granted in one transaction, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocateRequest {
    /// The CNI ADD.
    pub attachment: Attachment,
    /// The Pod, where the runtime names one.
    pub pod: Option<PodKey>,
    /// The Pod's UID, where the runtime names one.
    pub pod_uid: Option<PodUid>,
    /// What the addresses stick to. Default: the Pod, else the sandbox.
    pub identity: Option<Identity>,
    /// The interfaces in order; the first is `attachment.ifname`.
    pub interfaces: Vec<InterfaceRequest>,
}

impl AllocateRequest {
    /// The identity that the addresses stick to.
    pub fn effective_identity(&self) -> Identity {
        match (&self.identity, &self.pod) {
            (Some(identity), _) => identity.clone(),
            (None, Some(pod)) => pod.into(),
            (None, None) => (&self.attachment.sandbox).into(),
        }
    }
}

/// One interface of an [`AllocateRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceRequest {
    /// Name inside the Pod.
    pub ifname: IfName,
    /// The network to join.
    pub network: NetworkName,
    /// The node's link on which the network's segment is heard (the bridge); ipamd probes addresses there.
    pub segment: Option<IfName>,
    /// Addresses asked for; empty: any. At most one per family.
    pub addresses: Vec<IpAddr>,
    /// MAC asked for.
    pub mac: Option<MacAddr>,
}

/// A route of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Destination.
    pub dst: IpNet,
    /// Next hop; `None`: the pool's gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Metric (kernel: priority).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// MTU of the route in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// An address with where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedAddress {
    /// Address with the prefix length of its subnet.
    pub address: IpNet,
    /// The top-of-rack switch on this subnet.
    pub gateway: Option<IpAddr>,
    /// The pool it belongs to.
    pub pool: PoolName,
}

/// What one interface gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceGrant {
    /// Name inside the Pod.
    pub ifname: IfName,
    /// The network.
    pub network: NetworkName,
    /// The rack the addresses belong to.
    pub rack: RackName,
    /// The binding's MAC: the same as long as the binding lives.
    pub mac: MacAddr,
    /// At most one per family, IPv4 first.
    pub addresses: Vec<AssignedAddress>,
    /// Static routes of the pools, never a default route.
    pub routes: Vec<Route>,
}

/// The answer to an [`AllocateRequest`], in the order of its interfaces. Durable when it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What the addresses stick to.
    pub identity: Identity,
    /// One per interface asked for.
    pub interfaces: Vec<InterfaceGrant>,
    /// The attachment from which the bindings were moved (an older sandbox of the same identity).
    pub moved_from: Option<Attachment>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_name_is_fifteen_bytes_and_differs_by_either_part() {
        let name =
            |s: &str, i: &str| Attachment::port_name(&s.parse().unwrap(), &i.parse().unwrap());
        assert_eq!(name("a", "eth0").as_str().len(), 15);
        assert_ne!(name("a", "eth0"), name("b", "eth0"));
        assert_ne!(name("a", "eth0"), name("a", "net1"));
        assert_eq!(name("a", "eth0"), name("a", "eth0"));
    }
}
