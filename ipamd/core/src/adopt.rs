//! Interfaces that exist, taken into the book: what recovery finds on the node when the store does not know it.

use std::net::IpAddr;

use proto_ids::{Attachment, Identity, IfName, MacAddr, NetworkName, PodKey, PodUid};

use crate::book::Book;
use crate::change::Change;
use crate::refusal::Holder;
use crate::time::Timestamp;

/// An interface that exists, as its host-side port or a cached result tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedInterface {
    /// The CNI ADD that made it.
    pub attachment: Attachment,
    /// The interface inside the Pod.
    pub ifname: IfName,
    /// The network.
    pub network: NetworkName,
    /// Its MAC.
    pub mac: MacAddr,
    /// Its addresses, at most one per family.
    pub addresses: Vec<IpAddr>,
    /// What the addresses stick to; `None`: unknown, a placeholder of the sandbox's is used.
    pub identity: Option<Identity>,
    /// The Pod, where known.
    pub pod: Option<PodKey>,
    /// The Pod's UID, where known.
    pub pod_uid: Option<PodUid>,
}

/// How an interface comes into the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptPlan {
    /// The identity it is attached to in the book afterwards.
    pub identity: Identity,
    /// What makes it so; empty when the book agrees already.
    pub changes: Vec<Change>,
}

/// Why an interface cannot come into the book as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdoptError {
    /// Nothing to adopt, or two addresses of one family.
    #[error("interface {ifname} of sandbox {} has {count} addresses; one per family can be adopted", .attachment.sandbox)]
    Addresses {
        /// The CNI ADD.
        attachment: Attachment,
        /// The interface.
        ifname: IfName,
        /// How many addresses it has.
        count: usize,
    },
    /// Somebody else has the address in the book.
    #[error("interface {ifname} of sandbox {} has {address}, which is {holder}", .attachment.sandbox)]
    AddressTaken {
        /// The CNI ADD.
        attachment: Attachment,
        /// The interface.
        ifname: IfName,
        /// The address.
        address: IpAddr,
        /// Who has it.
        holder: Holder,
    },
    /// The identity has other addresses in the book, attached to a sandbox.
    #[error("interface {ifname} of sandbox {} belongs to {identity}, which has {} on sandbox {}", .attachment.sandbox, .bound, .other.sandbox)]
    AttachedElsewhere {
        /// The CNI ADD.
        attachment: Attachment,
        /// The interface.
        ifname: IfName,
        /// The identity.
        identity: Identity,
        /// An address it has.
        bound: IpAddr,
        /// The attachment it has it on.
        other: Attachment,
    },
}

impl Book {
    /// Takes an interface that exists into the book, so that its addresses are never given to anybody else.
    ///
    /// # Errors
    /// When the book knows better; the book stays as it is.
    pub fn adopt(
        &self,
        interface: &AdoptedInterface,
        now: Timestamp,
    ) -> Result<AdoptPlan, AdoptError> {
        let _ = (interface, now);
        todo!()
    }
}
