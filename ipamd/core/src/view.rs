//! What an operator sees of the book.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use proto_ids::{Attachment, Identity, IfName, MacAddr, NetworkName, PodUid, PoolName, RackName};

use crate::book::Book;
use crate::time::Timestamp;

/// One address that is not simply free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingView {
    /// The address.
    pub address: IpAddr,
    /// The network.
    pub network: NetworkName,
    /// The pool; `None`: the address is in no configured pool.
    pub pool: Option<PoolName>,
    /// The rack it belongs to; `None`: unknown.
    pub rack: Option<RackName>,
    /// Its state.
    pub state: ViewState,
    /// Who has or had it.
    pub identity: Option<Identity>,
    /// The MAC of the binding, or of the one before.
    pub mac: Option<MacAddr>,
    /// The CNI ADD, while attached.
    pub attachment: Option<Attachment>,
    /// The interface inside the Pod, while attached.
    pub ifname: Option<IfName>,
    /// The Pod's UID, where the runtime named one.
    pub pod_uid: Option<PodUid>,
    /// Since when it is in its state.
    pub since: Timestamp,
    /// Until when; `None`: no end is set.
    pub until: Option<Timestamp>,
    /// The operator's note; the conflict's foreign MAC.
    pub note: String,
}

/// The state of an address as an operator names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ViewState {
    /// A sandbox has it.
    Attached,
    /// Kept for an identity to come back.
    Held,
    /// Held because an operator reserved it, for an identity or for nobody.
    Reserved,
    /// Released for good, resting.
    Quarantined,
    /// A foreign host uses it, and nobody of ours has it.
    Conflicting,
}

impl ViewState {
    /// All states.
    pub const ALL: [Self; 5] = [
        Self::Attached,
        Self::Held,
        Self::Reserved,
        Self::Quarantined,
        Self::Conflicting,
    ];

    /// The state's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Held => "held",
            Self::Reserved => "reserved",
            Self::Quarantined => "quarantined",
            Self::Conflicting => "conflicting",
        }
    }
}

impl fmt::Display for ViewState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a text is not a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of attached, held, reserved, quarantined, conflicting")]
pub struct ParseStateError(String);

impl FromStr for ViewState {
    type Err = ParseStateError;

    fn from_str(text: &str) -> Result<Self, ParseStateError> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| ParseStateError(text.chars().take(32).collect()))
    }
}

/// Which addresses [`Book::list`] shows; what is `None` does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Of this pool.
    pub pool: Option<PoolName>,
    /// Of this network.
    pub network: Option<NetworkName>,
    /// In this state.
    pub state: Option<ViewState>,
}

impl Book {
    /// All addresses that are not simply free, by network and address.
    pub fn list(&self, filter: &ListFilter) -> Vec<BindingView> {
        let _ = filter;
        todo!()
    }

    /// Who has an address now, once for each network that knows it.
    pub fn who(&self, address: IpAddr) -> Vec<BindingView> {
        let _ = address;
        todo!()
    }

    /// What an identity has and had: living bindings and quarantined addresses.
    pub fn why(&self, identity: &Identity) -> Vec<BindingView> {
        let _ = identity;
        todo!()
    }

    /// Addresses of bindings that are in no configured pool of their network: known, kept, but not handed out again.
    pub fn strays(&self) -> Vec<BindingView> {
        todo!()
    }
}
