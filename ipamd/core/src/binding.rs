//! A binding: identity and network → addresses, MAC, rack; and the states it can be in.
//!
//! [`BindingRecord`] is the stored form, [`Binding`] the small one in memory: a node may hold tens of thousands.
//! Both say the same; converting never fails and loses nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proto_ids::{Attachment, Identity, IfName, MacAddr, NetworkName, PodKey, PodUid, RackName};
use serde::{Deserialize, Serialize};

use crate::policy::PodPolicy;
use crate::range::Family;
use crate::time::Timestamp;

/// Where an identity comes from; decides whether its bindings are held.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The identity is the Pod, written `namespace/name`.
    Pod,
    /// The Pod named an identity of its own.
    Named {
        /// The Pod that named it; boxed, because few bindings have one and tens of thousands are kept.
        pod: Option<Box<PodKey>>,
    },
    /// There is no Pod: the identity is the sandbox. Never held.
    Sandbox,
    /// Found on an interface that exists, without a name. Never held; the next ADD of the attachment names it.
    Adopted,
    /// An operator reserved an address for an identity that no Pod has used yet.
    Reserved,
}

/// A binding as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingRecord {
    /// What the addresses stick to.
    pub identity: Identity,
    /// The network.
    pub network: NetworkName,
    /// The rack the addresses belonged to when they were bound.
    pub rack: RackName,
    /// The MAC, the same as long as the binding lives.
    pub mac: MacAddr,
    /// At most one per family, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Where the identity comes from.
    pub origin: Origin,
    /// What its Pod says of it, and who owns the Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Box<PodPolicy>>,
    /// An operator's reservation, with his note: held for ever, whatever the rules say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<String>,
    /// Since when it is in its state.
    pub since: Timestamp,
    /// Its state.
    pub state: BindingState,
}

/// The state of a living binding. A binding in quarantine lives on only as [`crate::Former`] of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindingState {
    /// A sandbox has the addresses on an interface.
    Attached {
        /// The CNI ADD.
        attachment: Attachment,
        /// The interface inside the Pod.
        ifname: IfName,
        /// The Pod's UID, where the runtime named one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pod_uid: Option<PodUid>,
    },
    /// Kept for the identity to come back.
    Held {
        /// Until when; `None`: for ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
}

/// A binding in memory, without its key (network and identity).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) addresses: Addresses,
    pub(crate) mac: MacAddr,
    pub(crate) rack: Arc<RackName>,
    pub(crate) origin: Origin,
    pub(crate) policy: Option<Box<PodPolicy>>,
    pub(crate) reservation: Option<Box<str>>,
    pub(crate) since: Timestamp,
    pub(crate) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Attached(Box<Attached>),
    Held,
    HeldUntil(Timestamp),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) attachment: Attachment,
    pub(crate) ifname: IfName,
    pub(crate) pod_uid: Option<PodUid>,
}

/// At most one address of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Addresses {
    pub(crate) fn get(self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4.map(IpAddr::V4),
            Family::V6 => self.v6.map(IpAddr::V6),
        }
    }

    pub(crate) fn set(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.v4 = Some(v4),
            IpAddr::V6(v6) => self.v6 = Some(v6),
        }
    }

    /// IPv4 first.
    pub(crate) fn iter(self) -> impl Iterator<Item = IpAddr> + Clone {
        Family::ALL
            .into_iter()
            .filter_map(move |family| self.get(family))
    }

    /// `None` when there are none, or two of one family.
    pub(crate) fn one_per_family(addresses: &[IpAddr]) -> Option<Self> {
        let collected: Self = addresses.iter().copied().collect();
        (!addresses.is_empty() && collected.iter().count() == addresses.len()).then_some(collected)
    }
}

impl FromIterator<IpAddr> for Addresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        let mut collected = Self::default();
        addresses
            .into_iter()
            .for_each(|address| collected.set(address));
        collected
    }
}

impl State {
    pub(crate) fn attached(&self) -> Option<&Attached> {
        match self {
            Self::Attached(attached) => Some(attached),
            Self::Held | Self::HeldUntil(_) => None,
        }
    }

    pub(crate) fn held(until: Option<Timestamp>) -> Self {
        until.map_or(Self::Held, Self::HeldUntil)
    }

    pub(crate) fn until(&self) -> Option<Timestamp> {
        match self {
            Self::HeldUntil(until) => Some(*until),
            Self::Attached(_) | Self::Held => None,
        }
    }
}

impl Binding {
    pub(crate) fn record(&self, network: &NetworkName, identity: &Identity) -> BindingRecord {
        BindingRecord {
            identity: identity.clone(),
            network: network.clone(),
            rack: (*self.rack).clone(),
            mac: self.mac,
            addresses: self.addresses.iter().collect(),
            origin: self.origin.clone(),
            policy: self.policy.clone(),
            reservation: self.reservation.as_deref().map(str::to_owned),
            since: self.since,
            state: match &self.state {
                State::Attached(attached) => BindingState::Attached {
                    attachment: attached.attachment.clone(),
                    ifname: attached.ifname.clone(),
                    pod_uid: attached.pod_uid.clone(),
                },
                held => BindingState::Held {
                    until: held.until(),
                },
            },
        }
    }

    /// The binding in memory; `own_rack` is shared where it is the record's.
    pub(crate) fn from_record(record: &BindingRecord, own_rack: Option<&Arc<RackName>>) -> Self {
        Self {
            addresses: record.addresses.iter().copied().collect(),
            mac: record.mac,
            rack: match own_rack {
                Some(own) if record.rack == **own => Arc::clone(own),
                _ => Arc::new(record.rack.clone()),
            },
            origin: record.origin.clone(),
            policy: record.policy.clone(),
            reservation: record.reservation.as_deref().map(Box::from),
            since: record.since,
            state: match &record.state {
                BindingState::Attached {
                    attachment,
                    ifname,
                    pod_uid,
                } => State::Attached(Box::new(Attached {
                    attachment: attachment.clone(),
                    ifname: ifname.clone(),
                    pod_uid: pod_uid.clone(),
                })),
                BindingState::Held { until } => State::held(*until),
            },
        }
    }
}

impl Origin {
    /// The Pod that uses the identity; `None` where none is known.
    pub(crate) fn pod(&self, identity: &Identity) -> Option<PodKey> {
        match self {
            Self::Pod => identity.as_str().parse().ok(),
            Self::Named { pod } => pod.as_deref().cloned(),
            Self::Sandbox | Self::Adopted | Self::Reserved => None,
        }
    }
}
