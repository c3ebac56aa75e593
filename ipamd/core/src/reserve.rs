//! An operator's reservations: for an identity that has no Pod yet, or for nobody.

use std::net::IpAddr;
use std::sync::Arc;

use proto_ids::{Identity, MacAddr, NetworkName};

use crate::allocate::{AllocateError, Choice};
use crate::binding::{Addresses, Binding, Origin, State};
use crate::book::Book;
use crate::change::{AddressRecord, AddressUse, Change, Record};
use crate::draft::Draft;
use crate::range::Family;
use crate::refusal::Reason;
use crate::time::Timestamp;
use crate::view::BindingView;

/// What an operator wants reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveRequest {
    /// The network.
    pub network: NetworkName,
    /// The address; `None`: any free one (for an identity: one per family).
    pub address: Option<IpAddr>,
    /// For whom; `None`: for nobody.
    pub identity: Option<Identity>,
    /// The MAC; only with an identity.
    pub mac: Option<MacAddr>,
    /// The operator's note.
    pub note: String,
}

/// A reservation as it will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservePlan {
    /// What is reserved, as an operator sees it afterwards.
    pub bindings: Vec<BindingView>,
    /// What makes it so.
    pub changes: Vec<Change>,
}

/// Why a reservation is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// A MAC was given, but no identity that could have it.
    #[error("a MAC cannot be reserved for nobody")]
    MacWithoutIdentity,
    /// The address cannot be had.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
}

impl ReserveError {
    /// Its class.
    pub fn reason(&self) -> Reason {
        match self {
            Self::MacWithoutIdentity => Reason::InvalidRequest,
            Self::Allocate(error) => error.reason(),
        }
    }

    /// What an operator does about it.
    pub fn advice(&self) -> String {
        match self {
            Self::MacWithoutIdentity => "name the identity, or leave the MAC out".to_owned(),
            Self::Allocate(error) => error.advice(),
        }
    }
}

impl Book {
    /// Reserves an address for an identity, or sets one aside.
    ///
    /// # Errors
    /// As for [`Book::allocate`].
    pub fn reserve(
        &self,
        request: &ReserveRequest,
        now: Timestamp,
    ) -> Result<ReservePlan, ReserveError> {
        if request.mac.is_some() && request.identity.is_none() {
            return Err(ReserveError::MacWithoutIdentity);
        }
        let choice = Choice::new(self, &request.network, request.identity.as_ref())?;
        let mut draft = Draft::new(self, now);
        let addresses = match &request.identity {
            None => vec![set_aside(&choice, request, &mut draft)?],
            Some(identity) => {
                let reserved = reserve_for(identity, &choice, request, &mut draft)?;
                reserved.addresses.iter().collect()
            }
        };
        let changes = draft.into_changes();
        // The view of the plan's own outcome, so that the operator sees what the book will say.
        let mut after = self.clone();
        after.apply(&changes);
        let bindings = addresses
            .into_iter()
            .flat_map(|address| after.who(address))
            .filter(|view| view.network == request.network)
            .collect();
        Ok(ReservePlan { bindings, changes })
    }
}

fn set_aside(
    choice: &Choice<'_>,
    request: &ReserveRequest,
    draft: &mut Draft<'_>,
) -> Result<IpAddr, AllocateError> {
    let family = match request.address {
        Some(address) => Some(Family::of(address)),
        None => choice.families().next(),
    };
    // A network without families has no pool, and is refused before.
    let address = choice.address(family.unwrap_or(Family::V4), request.address)?;
    draft.put(Record::Address(AddressRecord {
        network: request.network.clone(),
        address,
        state: AddressUse::SetAside {
            since: draft.now(),
            note: request.note.clone(),
        },
    }));
    Ok(address)
}

fn reserve_for(
    identity: &Identity,
    choice: &Choice<'_>,
    request: &ReserveRequest,
    draft: &mut Draft<'_>,
) -> Result<Binding, AllocateError> {
    let network = &request.network;
    let reservation = Some(request.note.as_str().into());
    if let Some(bound) = choice.network.tables.bindings.get(identity) {
        refuse_other_wishes(identity, bound, request)?;
        let state = match &bound.state {
            State::HeldUntil(_) => State::Held,
            other => other.clone(),
        };
        let reserved = Binding {
            reservation,
            state,
            ..bound.clone()
        };
        draft.put_binding(network, identity, &reserved);
        return Ok(reserved);
    }
    let mut addresses = Addresses::default();
    match request.address {
        Some(address) => {
            addresses.set(choice.address(Family::of(address), Some(address))?);
        }
        None => {
            for family in choice.families() {
                addresses.set(choice.address(family, None)?);
            }
        }
    }
    let reserved = Binding {
        addresses,
        mac: choice.mac(addresses, request.mac)?,
        rack: Arc::clone(choice.rack),
        origin: Origin::Reserved,
        policy: None,
        reservation,
        since: draft.now(),
        state: State::Held,
    };
    draft.put_binding(network, identity, &reserved);
    Ok(reserved)
}

fn refuse_other_wishes(
    identity: &Identity,
    bound: &Binding,
    request: &ReserveRequest,
) -> Result<(), AllocateError> {
    if let Some(address) = request.address
        && !bound.addresses.iter().any(|bound| bound == address)
    {
        let same_family = bound.addresses.get(Family::of(address));
        return Err(AllocateError::AddressDiffers {
            address,
            bound: same_family
                .or_else(|| bound.addresses.iter().next())
                .unwrap_or(address),
            identity: identity.clone(),
            network: request.network.clone(),
        });
    }
    match request.mac {
        Some(mac) if mac != bound.mac => Err(AllocateError::MacDiffers {
            mac,
            bound: bound.mac,
            identity: identity.clone(),
            network: request.network.clone(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
