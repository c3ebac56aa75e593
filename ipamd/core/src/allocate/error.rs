//! Why an ADD is refused: what is the case, with names, and what an operator does about it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proto_ids::{Attachment, Identity, MacAddr, NetworkName, NodeName, PodKey, PoolName, RackName};

use crate::rack::{RackUnknown, advice};
use crate::range::Family;
use crate::refusal::{Holder, Reason};
use crate::time::Timestamp;

const TRIED_AGAIN: &str =
    "nothing: the runtime tries again, and the address is asked for at the API server meanwhile";

/// Why an ADD is refused. Nothing was handed out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocateError {
    /// The request contradicts itself.
    #[error("the request contradicts itself: {problem}")]
    Contradictory {
        /// How.
        problem: String,
    },
    /// The rack of this node is not known.
    #[error("{}", .0.cause)]
    NoRack(RackUnknown),
    /// No pool for the network in this rack.
    #[error("network {network} has no pool in rack {rack}; configured are {}", pairs(.configured))]
    NoPool {
        /// The network.
        network: NetworkName,
        /// This node's rack.
        rack: RackName,
        /// This node.
        node: NodeName,
        /// The label that says the rack, and the racks in which this node has a pool of the network.
        label: Option<(Box<str>, BTreeSet<RackName>)>,
        /// What has pools.
        configured: Vec<(NetworkName, RackName)>,
        /// Whether pools are objects of the cluster.
        claiming: bool,
    },
    /// No free address.
    #[error("no free {family} address of network {network} in rack {rack}: {attached} attached, {held} held, \
        {quarantined} in quarantine{}, {conflicting} in conflict (pools {})", next(.next_free.as_ref()), names(.pools))]
    Exhausted {
        /// The network.
        network: NetworkName,
        /// This node's rack.
        rack: RackName,
        /// The family.
        family: Family,
        /// The pools that are exhausted.
        pools: Vec<PoolName>,
        /// Attached addresses.
        attached: u64,
        /// Held, reserved and set-aside addresses.
        held: u64,
        /// Addresses in quarantine.
        quarantined: u64,
        /// Addresses that foreign hosts use.
        conflicting: u64,
        /// When the next quarantine ends.
        next_free: Option<Timestamp>,
    },
    /// Somebody else has the requested address.
    #[error("address {address} of network {network} is {holder}")]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// The network.
        network: NetworkName,
        /// Who has it.
        holder: Holder,
    },
    /// The identity's binding has another address than the requested one.
    #[error("{identity} is bound to {bound} in network {network}, {address} was asked for")]
    AddressDiffers {
        /// The requested address.
        address: IpAddr,
        /// The address it has; the binding has no address of that family when they differ in family.
        bound: IpAddr,
        /// The identity.
        identity: Identity,
        /// The network.
        network: NetworkName,
    },
    /// The requested address is not among those that this rack's pools hand out.
    #[error("address {address} is not handed out in network {network}, rack {rack}: {why}")]
    AddressOutside {
        /// The address.
        address: IpAddr,
        /// The network.
        network: NetworkName,
        /// This node's rack.
        rack: RackName,
        /// Which pools there are, or why the address is excluded.
        why: String,
    },
    /// A foreign host uses the address.
    #[error(
        "address {address} of network {network} is used by a foreign host with MAC {foreign_mac} since {since}"
    )]
    AddressConflict {
        /// The address.
        address: IpAddr,
        /// The network.
        network: NetworkName,
        /// The foreign host.
        foreign_mac: MacAddr,
        /// When it was first seen.
        since: Timestamp,
    },
    /// The identity's address is in no configured pool any more.
    #[error(
        "{identity} is bound to {address} in network {network}, which is in no configured pool"
    )]
    BoundOutside {
        /// The address.
        address: IpAddr,
        /// The network.
        network: NetworkName,
        /// The identity.
        identity: Identity,
    },
    /// The address is not this node's to hand out, or not for certain.
    #[error(
        "address {address} of network {network} is not claimed by this node, or not confirmed since its boot"
    )]
    Unclaimed {
        /// The address.
        address: IpAddr,
        /// The network.
        network: NetworkName,
    },
    /// The identity's binding comes from another node, and some of its addresses are not here yet.
    #[error("the binding of {identity} in network {network} is on its way from another node; {} is still missing", shown(.missing))]
    HalfCome {
        /// The identity.
        identity: Identity,
        /// The network.
        network: NetworkName,
        /// What has not come.
        missing: Vec<IpAddr>,
    },
    /// Another binding has the requested MAC.
    #[error("MAC {mac} of network {network} belongs to {identity}")]
    MacTaken {
        /// The MAC.
        mac: MacAddr,
        /// The network.
        network: NetworkName,
        /// Who has it.
        identity: Identity,
    },
    /// Every MAC that could be derived for the addresses is another binding's.
    #[error("every MAC that belongs to {} in network {network} is taken", shown(.addresses))]
    NoMac {
        /// The network.
        network: NetworkName,
        /// The addresses that need one.
        addresses: Vec<IpAddr>,
    },
    /// The living binding has another MAC.
    #[error("{identity} is bound to MAC {bound} in network {network}, {mac} was asked for")]
    MacDiffers {
        /// The requested MAC.
        mac: MacAddr,
        /// The MAC it has.
        bound: MacAddr,
        /// The identity.
        identity: Identity,
        /// The network.
        network: NetworkName,
    },
    /// A living sandbox of another Pod uses the same identity.
    #[error("{identity} is attached to network {network} by another Pod, {pod} (sandbox {})", .attachment.sandbox)]
    IdentityInUse {
        /// The identity.
        identity: Identity,
        /// The network.
        network: NetworkName,
        /// The Pod that has it.
        pod: PodKey,
        /// The attachment that has it.
        attachment: Attachment,
    },
    /// The same sandbox has the binding on another interface.
    #[error("{identity} is attached to network {network} already, by interface {} of the same sandbox {} ({})",
        .attachment.ifname, .attachment.sandbox, .attachment.cni_network)]
    AlreadyAttached {
        /// The identity.
        identity: Identity,
        /// The network.
        network: NetworkName,
        /// The attachment that has it.
        attachment: Attachment,
    },
    /// The attachment has addresses of another identity.
    #[error("interface {} of sandbox {} is attached to {identity} already", .attachment.ifname, .attachment.sandbox)]
    AttachmentTaken {
        /// The attachment.
        attachment: Attachment,
        /// Whose it is.
        identity: Identity,
    },
}

fn shown(addresses: &[IpAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(", ")
}

fn names(pools: &[PoolName]) -> String {
    let names: Vec<_> = pools.iter().map(PoolName::as_str).collect();
    names.join(", ")
}

fn pairs(configured: &[(NetworkName, RackName)]) -> String {
    if configured.is_empty() {
        return "none".to_owned();
    }
    let pairs: Vec<_> = configured
        .iter()
        .map(|(network, rack)| format!("{network} in rack {rack}"))
        .collect();
    pairs.join(", ")
}

fn next(next_free: Option<&Timestamp>) -> String {
    next_free
        .map(|time| format!(" (the next until {time})"))
        .unwrap_or_default()
}

impl AllocateError {
    /// Its class.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Contradictory { .. } => Reason::InvalidRequest,
            Self::NoRack(unknown) if unknown.passing => Reason::NotYet,
            Self::NoRack(_) | Self::NoPool { .. } => Reason::NoPool,
            Self::Exhausted { .. } => Reason::Exhausted,
            Self::AddressTaken { .. }
            | Self::AddressDiffers { .. }
            | Self::IdentityInUse { .. } => Reason::AddressTaken,
            Self::AddressOutside { .. } | Self::BoundOutside { .. } => Reason::AddressOutside,
            Self::AddressConflict { .. } => Reason::AddressConflict,
            Self::MacTaken { .. } | Self::NoMac { .. } | Self::MacDiffers { .. } => {
                Reason::MacTaken
            }
            Self::AlreadyAttached { .. } | Self::AttachmentTaken { .. } => Reason::AlreadyAttached,
            Self::Unclaimed { .. } | Self::HalfCome { .. } => Reason::NotYet,
        }
    }

    /// What an operator does about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Contradictory { .. } => {
                "name each interface and each network once, and at most one address per family".to_owned()
            }
            Self::NoRack(unknown) => unknown.advice.clone(),
            Self::NoPool {
                network,
                rack,
                node,
                label,
                claiming,
                ..
            } => advice(Some(network), node, rack, label.as_ref(), *claiming),
            Self::Exhausted { held, .. } if *held > 0 => {
                "add a range to the pool, or free held addresses nobody needs (`berth-ipamd list --state held`)".to_owned()
            }
            Self::Exhausted { .. } => "add a range to the pool".to_owned(),
            Self::AddressTaken {
                address, holder, ..
            } => holder.advice(*address),
            Self::AddressDiffers {
                bound, identity, ..
            } => format!(
                "ask for {bound}, or delete the Pod of {identity} and run `berth-ipamd release {bound}` first"
            ),
            Self::AddressOutside { .. } => {
                "ask for an address that is handed out, or correct the pool's ranges and exclusions".to_owned()
            }
            Self::AddressConflict {
                address,
                foreign_mac,
                ..
            } => format!(
                "find the host with MAC {foreign_mac} and take {address} away from it; the address is usable again once nobody answers for it"
            ),
            Self::BoundOutside { address, .. } => format!(
                "put {address} back into a pool's ranges, or run `berth-ipamd release {address}` to let the Pod have another address"
            ),
            Self::MacTaken { .. } | Self::NoMac { .. } => "ask for another MAC".to_owned(),
            Self::MacDiffers {
                bound, identity, ..
            } => format!("ask for {bound}, or free the address of {identity} first"),
            Self::IdentityInUse {
                identity,
                attachment,
                ..
            } => format!(
                "delete the Pod that uses {identity} first; if it is gone, its sandbox {} waits for CNI DEL or GC",
                attachment.sandbox
            ),
            Self::AlreadyAttached { .. } => {
                "one Pod can join a network once; remove the second interface from the configuration".to_owned()
            }
            Self::Unclaimed { .. } | Self::HalfCome { .. } => TRIED_AGAIN.to_owned(),
            Self::AttachmentTaken { .. } => {
                "the runtime must delete the interface (CNI DEL) before it adds it for another Pod".to_owned()
            }
        }
    }
}
