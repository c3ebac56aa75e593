//! A binding: identity and network → addresses, MAC, rack; and the states it can be in.

use std::net::IpAddr;

use proto_ids::{Attachment, Identity, IfName, MacAddr, NetworkName, PodKey, PodUid, RackName};
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Where an identity comes from; decides whether its bindings are held.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The identity is the Pod, written `namespace/name`.
    Pod,
    /// The Pod named an identity of its own.
    Named {
        /// The Pod that named it.
        pod: Option<PodKey>,
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
