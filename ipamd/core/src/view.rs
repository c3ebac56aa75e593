//! What an operator sees of the book.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use proto_ids::{Attachment, Identity, IfName, MacAddr, NetworkName, PodUid, PoolName, RackName};

use crate::binding::Binding;
use crate::book::{Book, Entry, Network, PoolBook};
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
        let network = |name: &NetworkName| filter.network.as_ref().is_none_or(|want| want == name);
        self.networks()
            .filter(|(name, _)| network(name))
            .flat_map(|(name, network)| views(name, network))
            .filter(|view| filter.state.is_none_or(|state| view.state == state))
            .filter(|view| filter.pool.is_none() || view.pool == filter.pool)
            .collect()
    }

    /// Who has an address now, once for each network that knows it.
    pub fn who(&self, address: IpAddr) -> Vec<BindingView> {
        self.networks()
            .filter_map(|(name, network)| view(name, network, address))
            .collect()
    }

    /// What an identity has and had: living bindings and quarantined addresses.
    pub fn why(&self, identity: &Identity) -> Vec<BindingView> {
        self.networks()
            .flat_map(|(name, network)| {
                let tables = &network.tables;
                let bound = tables.bindings.get(identity);
                let bound = bound.into_iter().flat_map(|bound| bound.addresses.iter());
                let rested = tables.quarantined_after(identity);
                bound
                    .chain(rested.into_iter().map(|(address, _)| address))
                    .filter_map(|address| view(name, network, address))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Addresses of bindings that are in no configured pool of their network: known, kept, but not handed out again.
    pub fn strays(&self) -> Vec<BindingView> {
        self.networks()
            .flat_map(|(name, network)| {
                let entries = network.tables.entries.iter();
                entries
                    .filter(|(address, entry)| {
                        matches!(entry, Entry::Bound(_)) && network.pool_of(**address).is_none()
                    })
                    .filter_map(move |(&address, _)| view(name, network, address))
            })
            .collect()
    }
}

fn views<'a>(
    name: &'a NetworkName,
    network: &'a Network,
) -> impl Iterator<Item = BindingView> + 'a {
    let tables = &network.tables;
    let addresses: BTreeSet<_> = tables
        .entries
        .keys()
        .chain(tables.conflicts.keys())
        .copied()
        .collect();
    addresses
        .into_iter()
        .filter_map(move |address| view(name, network, address))
}

/// The address as an operator sees it; `None`: simply free.
pub(crate) fn view(name: &NetworkName, network: &Network, address: IpAddr) -> Option<BindingView> {
    let tables = &network.tables;
    let conflict = tables.conflicts.get(&address);
    let pool = network.pool_of(address).map(PoolBook::pool);
    let blank = BindingView {
        address,
        network: name.clone(),
        pool: pool.map(|pool| pool.name.clone()),
        rack: pool.map(|pool| pool.rack.clone()),
        state: ViewState::Conflicting,
        identity: None,
        mac: None,
        attachment: None,
        ifname: None,
        pod_uid: None,
        since: Timestamp::default(),
        until: None,
        note: conflict
            .map(|conflict| format!("used by foreign MAC {}", conflict.foreign_mac))
            .unwrap_or_default(),
    };
    match tables.entries.get(&address) {
        Some(Entry::Bound(identity)) => {
            let binding = tables.bindings.get(identity)?;
            Some(bound(blank, identity, binding))
        }
        Some(Entry::Quarantined(quarantine)) => Some(BindingView {
            state: ViewState::Quarantined,
            identity: Some(quarantine.former.identity.clone()),
            mac: Some(quarantine.former.mac),
            since: quarantine.since,
            until: Some(quarantine.until),
            ..blank
        }),
        Some(Entry::SetAside(set_aside)) => Some(BindingView {
            state: ViewState::Reserved,
            since: set_aside.since,
            note: joined([&set_aside.note, &blank.note]),
            ..blank
        }),
        Some(Entry::Retired(_)) | None => conflict.map(|conflict| BindingView {
            since: conflict.since,
            ..blank
        }),
    }
}

fn bound(blank: BindingView, identity: &Identity, binding: &Binding) -> BindingView {
    let attached = binding.state.attached();
    let reservation = binding.reservation.as_deref();
    let note = reservation.unwrap_or_default();
    BindingView {
        rack: blank.rack.clone().or_else(|| Some((*binding.rack).clone())),
        state: match (attached, reservation) {
            (Some(_), _) => ViewState::Attached,
            (None, Some(_)) => ViewState::Reserved,
            (None, None) => ViewState::Held,
        },
        identity: Some(identity.clone()),
        mac: Some(binding.mac),
        attachment: attached.map(|attached| attached.attachment.clone()),
        ifname: attached.map(|attached| attached.ifname.clone()),
        pod_uid: attached.and_then(|attached| attached.pod_uid.clone()),
        since: binding.since,
        until: binding.state.until(),
        note: joined([note, &blank.note]),
        ..blank
    }
}

fn joined(notes: [&str; 2]) -> String {
    let notes: Vec<_> = notes.into_iter().filter(|note| !note.is_empty()).collect();
    notes.join("; ")
}

#[cfg(test)]
mod tests;
