//! Claims: in a cluster, a node hands out only the addresses it has claimed.
//!
//! A [`Claim`] is an object of the API server, one per address; creating it is the lock. A [`Tenure`] is what this node has
//! stored about a claim of its own. **Always holds:** an address is handed out only under [`Tenure::Owned`]; a node owns only by
//! the answer to a write of its own, never by something it merely read; before it gives an address away, it has forgotten it
//! durably. Views of the API server may be arbitrarily old: no decision ends a tenure or a binding unless the view is
//! [consistent](Sight::consistent).
//!
//! Two assumptions, which the caller keeps: requests for one claim follow one another, and an answer that took longer than
//! [`ANSWER_LIMIT`] is thrown away (the claim is looked at again).

mod ahead;
mod plan;
mod settle;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use proto_ids::{Identity, MacAddr, NetworkName, NodeName};
use serde::{Deserialize, Serialize};

use crate::binding::{Binding, Origin};
use crate::book::Book;
use crate::change::Change;
use crate::policy::PodPolicy;
use crate::time::Timestamp;

pub use ahead::ClaimAhead;

/// An answer that took longer says what was true, not what is: a fence may have been set and have settled since.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A fenced claim is taken over only when its mark has stood for so long: longer than any answer to its holder is believed.
pub const FENCE_SETTLES: Duration = Duration::from_secs(30);

/// Another node's question on a claim is replaced only when it has stood for so long: two nodes that want the same identity must
/// not write in turn as fast as they can.
pub const ASK_SETTLES: Duration = Duration::from_secs(10);

/// The clocks of nodes differ; a deadline that does no more is not worth a write.
const DEADLINE_TOLERANCE: Duration = Duration::from_secs(30);

/// A binding that no rule holds, but that moved to this node for its Pod, waits so long for that Pod: as long as the resting
/// time of a pool where nothing is said.
pub(crate) const EXPECTED: Duration = Duration::from_secs(600);

/// A claim as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The object's UID: another one is another claim, even under the same name.
    pub uid: String,
    /// The object's resource version.
    pub version: String,
    /// What the nodes wrote.
    pub content: ClaimContent,
    /// The holder was declared dead, by an operator or the lifecycle controllers.
    pub fenced: bool,
    /// An operator or the controllers want the binding ended that is held with it: nobody wants it any more.
    pub released: bool,
    /// Somebody deleted it; it goes when its holder lets it go, and a binding that is held with it goes too.
    pub deleting: bool,
}

/// What nodes write into a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimContent {
    /// The holder.
    pub node: NodeName,
    /// Counts the changes of holder.
    pub epoch: u64,
    /// The binding that the address belongs to, as the holder last wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<ClaimedBinding>,
    /// The node that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<NodeName>,
}

/// A binding as it travels with its claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedBinding {
    /// What the addresses stick to.
    pub identity: Identity,
    /// Its MAC.
    pub mac: MacAddr,
    /// All its addresses, IPv4 first: each has a claim of its own, and all travel.
    pub addresses: Vec<IpAddr>,
    /// Where the identity comes from.
    pub origin: Origin,
    /// What its Pod says of it, and who owns the Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Box<PodPolicy>>,
    /// An operator's reservation, with his note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<String>,
    /// Whether a sandbox has it.
    pub attached: bool,
    /// Until when it is held; `None`: for ever, or attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What a node has stored about a claim of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRecord {
    /// The network.
    pub network: NetworkName,
    /// The address.
    pub address: IpAddr,
    /// How it stands.
    #[serde(flatten)]
    pub holding: Holding,
}

/// A claim of this node's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The claim's UID.
    pub uid: String,
    /// The claim's epoch when it became this node's.
    pub epoch: u64,
    /// What this node may do with it.
    pub tenure: Tenure,
    /// A binding that came with it and waits for its other addresses; until then nobody gets the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incoming: Option<Box<ClaimedBinding>>,
}

/// What a node may do with an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tenure {
    /// It hands the address out.
    Owned,
    /// The node booted: somebody may have declared it dead meanwhile. Nothing is handed out until the claim was read.
    Doubted,
    /// Forgotten here, and being given to another node.
    Giving {
        /// To whom, unless another node asks by then.
        to: NodeName,
        /// The binding that travels with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        binding: Option<Box<ClaimedBinding>>,
    },
    /// Forgotten here, and being deleted.
    Returning,
}

/// What is known of one address at the API server.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The network.
    pub network: &'a NetworkName,
    /// The address.
    pub address: IpAddr,
    /// The claim; `None`: there is none.
    pub claim: Option<&'a Claim>,
    /// It is the answer to a consistent read that was sent after the last change of this claim here; else it may be old.
    pub consistent: bool,
    /// How long this node has seen it like this.
    pub unchanged: Duration,
}

/// What this node wants of claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Identities whose Pods are bound to this node.
    pub identities: BTreeSet<(NetworkName, Identity)>,
    /// Addresses to be claimed: warm ones, and those that Pods asked for.
    pub addresses: BTreeSet<(NetworkName, IpAddr)>,
    /// Owned and free addresses to be given back.
    pub surplus: BTreeSet<(NetworkName, IpAddr)>,
}

/// What is to be done about one claim. After everything but [`ClaimPlan::Idle`] and [`ClaimPlan::Wait`], it is asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimPlan {
    /// Nothing.
    Idle,
    /// Read the claim consistently.
    Look,
    /// Store and apply changes of the book.
    Commit(Vec<Change>),
    /// Write to the API server; the answer goes to [`crate::Book::claim_written`].
    Write(ClaimWrite),
    /// Nothing can be done before something else happens.
    Wait(ClaimWait),
}

/// A write to the API server. All but creation name UID and version: they succeed only if the claim is as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimWrite {
    /// Create the claim; it fails where there is one.
    Create(ClaimContent),
    /// Replace its content. Where the holder writes, its release mark goes: it was obeyed, or came too late.
    Update {
        /// Of this UID only.
        uid: String,
        /// At this version only.
        version: String,
        /// The new content.
        content: ClaimContent,
        /// Takes the fence mark away: the fenced holder loses it to this node.
        unfence: bool,
    },
    /// Let it go.
    Delete {
        /// Of this UID only.
        uid: String,
        /// At this version only.
        version: String,
    },
}

/// What a claim waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimWait {
    /// Another node has it and was asked: it gives it when its binding is detached there.
    Holder(NodeName),
    /// Another node has it and is asked by a third one.
    Asked {
        /// Who has it.
        holder: NodeName,
        /// Who asks.
        by: NodeName,
    },
    /// The holder was declared dead just now.
    Fence(NodeName),
    /// This node was declared dead: it hands the address out no more.
    FencedHere,
    /// A sandbox here has an address that is another node's now: this node was declared dead while it lived.
    Lost(NodeName),
    /// Somebody deleted a claim that is in use here.
    Deleting,
}

impl Book {
    /// Every address about whose claim there may be something to do: those with a claim, those that are bound, and those that a
    /// binding waits for.
    pub fn claim_places(&self) -> BTreeSet<(NetworkName, IpAddr)> {
        let mut places = BTreeSet::new();
        for (name, network) in self.networks() {
            let tables = &network.tables;
            let bound = tables.bindings.values();
            let bound = bound.flat_map(|binding| binding.addresses.iter());
            let coming = tables.incoming.iter();
            let coming = coming.filter_map(|address| tables.claims.get(address)?.incoming.as_ref());
            let coming = coming.flat_map(|incoming| incoming.addresses.iter().copied());
            let all = tables.claims.keys().copied().chain(bound).chain(coming);
            places.extend(all.map(|address| (name.clone(), address)));
        }
        places
    }

    /// Whether what is bound here says who has the address: its claim is this node's by an answer that is stored, and nothing that came
    /// with it waits.
    pub fn owns(&self, network: &NetworkName, address: IpAddr, claim: &Claim) -> bool {
        let holding = self
            .network(network)
            .and_then(|network| network.tables.claims.get(&address));
        holding.is_some_and(|holding| {
            holding.tenure == Tenure::Owned
                && holding.incoming.is_none()
                && holding.uid == claim.uid
                && holding.epoch == claim.content.epoch
        })
    }

    /// Whether the identity has a binding in a network here, whole and this node's to hand out.
    pub fn has_ready(&self, network: &NetworkName, identity: &Identity) -> bool {
        let Some(binding) = self.binding(network, identity) else {
            return false;
        };
        let tables = self.network(network).map(|network| &network.tables);
        binding
            .addresses
            .iter()
            .all(|address| tables.is_some_and(|tables| tables.may_hand_out(address)))
    }
}

impl ClaimedBinding {
    /// Whether both mean the same. The deadline of a hold goes through wall clocks and whole seconds: one that differs by less than
    /// [`DEADLINE_TOLERANCE`] is the same.
    pub(crate) fn says_same(&self, other: &Self) -> bool {
        let same_until = match (self.until, other.until) {
            (Some(one), Some(two)) => one.since(two).max(two.since(one)) < DEADLINE_TOLERANCE,
            (one, two) => one == two,
        };
        let timeless = |binding: &Self| Self {
            until: None,
            ..binding.clone()
        };
        same_until && timeless(self) == timeless(other)
    }

    pub(crate) fn of(identity: &Identity, binding: &Binding) -> Self {
        Self {
            identity: identity.clone(),
            mac: binding.mac,
            addresses: binding.addresses.iter().collect(),
            origin: binding.origin.clone(),
            policy: binding.policy.clone(),
            reservation: binding.reservation.as_deref().map(str::to_owned),
            attached: binding.state.attached().is_some(),
            until: binding.state.until(),
        }
    }
}

#[cfg(test)]
mod tests;
