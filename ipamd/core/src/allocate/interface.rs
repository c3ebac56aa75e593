//! One interface of an ADD: repeated, taken over, named, or new.

use std::net::IpAddr;
use std::sync::Arc;

use proto_ids::{
    AllocateRequest, AssignedAddress, Attachment, Identity, InterfaceGrant, InterfaceRequest,
};

use super::AllocateError;
use super::choose::Choice;
use crate::binding::{Addresses, Attached, Binding, Origin, State};
use crate::book::Book;
use crate::change::Ended;
use crate::draft::{Draft, Rest};
use crate::policy::PodPolicy;
use crate::range::Family;

/// One interface with what all interfaces of its request share.
pub(crate) struct Ask<'a> {
    pub(crate) request: &'a AllocateRequest,
    pub(crate) interface: &'a InterfaceRequest,
    pub(crate) identity: &'a Identity,
    pub(crate) origin: &'a Origin,
    pub(crate) policy: &'a PodPolicy,
}

pub(crate) struct Answer {
    pub(crate) grant: InterfaceGrant,
    pub(crate) moved_from: Option<Attachment>,
}

/// Where the addresses of a binding belong now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// To pools of this node's rack.
    Here,
    /// To another rack.
    OtherRack,
    /// To no pool of this rack, although they were bound here: the settings lost them.
    Nowhere(IpAddr),
}

impl Ask<'_> {
    pub(crate) fn plan(&self, book: &Book, draft: &mut Draft<'_>) -> Result<Answer, AllocateError> {
        let choice = Choice::new(book, &self.interface.network, Some(self.identity))?;
        let placeholders = self.placeholders(&choice);
        let Some(bound) = book.binding(choice.name, self.identity) else {
            return self.name_or_bind(&choice, placeholders, draft);
        };
        self.drop_placeholders(placeholders, draft);
        if let Some(attached) = bound.state.attached() {
            if self.is_repeated(attached) {
                return self.repeat(&choice, bound);
            }
            self.refuse_live(attached, bound)?;
        }
        match choice.placement(bound) {
            Placement::Nowhere(address) => Err(AllocateError::BoundOutside {
                address,
                network: choice.name.clone(),
                identity: self.identity.clone(),
            }),
            Placement::OtherRack => self.replace(&choice, bound, draft),
            Placement::Here => self.take_over(&choice, bound, draft),
        }
    }

    /// The node is in another rack now: the old addresses rest, the identity gets others here.
    fn replace(
        &self,
        choice: &Choice<'_>,
        bound: &Binding,
        draft: &mut Draft<'_>,
    ) -> Result<Answer, AllocateError> {
        draft.dissolve(
            choice.name,
            self.identity,
            bound,
            Ended::RackChanged,
            Rest::Quarantine,
        );
        let answer = self.bind(choice, draft)?;
        Ok(Answer {
            moved_from: attachment(bound),
            ..answer
        })
    }

    fn is_repeated(&self, attached: &Attached) -> bool {
        attached.attachment == self.request.attachment && attached.ifname == self.interface.ifname
    }

    /// A binding never changes its addresses and MAC, so a wish for others is refused, not half-granted.
    fn refuse_other_wishes(&self, bound: &Binding) -> Result<(), AllocateError> {
        let (identity, network) = (self.identity.clone(), self.interface.network.clone());
        for &address in &self.interface.addresses {
            match bound.addresses.get(Family::of(address)) {
                Some(bound) if bound != address => {
                    return Err(AllocateError::AddressDiffers {
                        address,
                        bound,
                        identity,
                        network,
                    });
                }
                _ => {}
            }
        }
        match self.interface.mac {
            Some(mac) if mac != bound.mac => Err(AllocateError::MacDiffers {
                mac,
                bound: bound.mac,
                identity,
                network,
            }),
            _ => Ok(()),
        }
    }

    /// A sandbox that lives may lose its addresses only to a newer sandbox of the same Pod.
    fn refuse_live(&self, attached: &Attached, bound: &Binding) -> Result<(), AllocateError> {
        let attachment = &attached.attachment;
        if attachment.sandbox == self.request.attachment.sandbox {
            return Err(AllocateError::AlreadyAttached {
                identity: self.identity.clone(),
                network: self.interface.network.clone(),
                attachment: attachment.clone(),
            });
        }
        match (bound.origin.pod(self.identity), &self.request.pod) {
            (Some(theirs), Some(ours)) if theirs != *ours => Err(AllocateError::IdentityInUse {
                identity: self.identity.clone(),
                network: self.interface.network.clone(),
                pod: theirs,
                attachment: attachment.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn repeat(&self, choice: &Choice<'_>, bound: &Binding) -> Result<Answer, AllocateError> {
        self.refuse_other_wishes(bound)?;
        // Granted as before even if the node is in another rack now, or a foreign host appeared meanwhile.
        Ok(Answer {
            grant: self.grant(choice, bound)?,
            moved_from: None,
        })
    }

    fn take_over(
        &self,
        choice: &Choice<'_>,
        bound: &Binding,
        draft: &mut Draft<'_>,
    ) -> Result<Answer, AllocateError> {
        self.refuse_other_wishes(bound)?;
        for address in bound.addresses.iter() {
            choice.claimed(address)?;
            choice.undisputed(address)?;
        }
        let mut addresses = bound.addresses;
        // A family that got its first pool, or was left out of a reservation.
        for family in choice.families() {
            if addresses.get(family).is_none() {
                addresses.set(choice.address(family, self.wish(family))?);
            }
        }
        self.refuse_families_without_pool(choice)?;
        let ended = if bound.state.attached().is_some() {
            Ended::Moved
        } else {
            Ended::Attached
        };
        draft.audit(choice.name, self.identity, bound, ended);
        let binding = Binding {
            addresses,
            origin: self.origin.clone(),
            policy: self.policy.boxed(),
            ..self.attached(choice, bound, draft)
        };
        draft.put_binding(choice.name, self.identity, &binding);
        Ok(Answer {
            grant: self.grant(choice, &binding)?,
            moved_from: attachment(bound),
        })
    }

    /// What recovery found on this attachment and could not name.
    fn placeholders<'a>(&self, choice: &Choice<'a>) -> Vec<(&'a Identity, &'a Binding)> {
        let book = choice.book;
        book.attached_to(&self.request.attachment)
            .filter(|&(network, identity)| network == choice.name && identity != self.identity)
            .filter_map(|(network, identity)| Some((identity, book.binding(network, identity)?)))
            .collect()
    }

    /// The identity has nothing here yet: the ADD of an adopted interface tells whose it is, any other is new.
    fn name_or_bind(
        &self,
        choice: &Choice<'_>,
        mut placeholders: Vec<(&Identity, &Binding)>,
        draft: &mut Draft<'_>,
    ) -> Result<Answer, AllocateError> {
        let is_this = |&(_, bound): &(&Identity, &Binding)| {
            let attached = bound.state.attached();
            attached.is_some_and(|attached| self.is_repeated(attached))
                && choice.placement(bound) == Placement::Here
        };
        let Some(index) = placeholders.iter().position(is_this) else {
            self.drop_placeholders(placeholders, draft);
            return self.bind(choice, draft);
        };
        let (placeholder, bound) = placeholders.remove(index);
        self.drop_placeholders(placeholders, draft);
        self.refuse_other_wishes(bound)?;
        let named = Binding {
            origin: self.origin.clone(),
            policy: self.policy.boxed(),
            ..self.attached(choice, bound, draft)
        };
        draft.rename(choice.name, (placeholder, bound), (self.identity, &named));
        Ok(Answer {
            grant: self.grant(choice, &named)?,
            moved_from: None,
        })
    }

    /// The ADD makes the interface anew, so what was found on it before is over.
    fn drop_placeholders(&self, placeholders: Vec<(&Identity, &Binding)>, draft: &mut Draft<'_>) {
        let network = &self.interface.network;
        for (placeholder, bound) in placeholders {
            draft.dissolve(network, placeholder, bound, Ended::Named, Rest::Quarantine);
        }
    }

    fn bind(&self, choice: &Choice<'_>, draft: &mut Draft<'_>) -> Result<Answer, AllocateError> {
        choice.refuse_half_come(self.identity)?;
        self.refuse_families_without_pool(choice)?;
        let mut addresses = Addresses::default();
        for family in choice.families() {
            addresses.set(choice.address(family, self.wish(family))?);
        }
        let binding = Binding {
            addresses,
            mac: choice.mac(addresses, self.interface.mac)?,
            rack: Arc::clone(choice.rack),
            origin: self.origin.clone(),
            policy: self.policy.boxed(),
            reservation: None,
            since: draft.now(),
            state: self.state(),
        };
        draft.put_binding(choice.name, self.identity, &binding);
        Ok(Answer {
            grant: self.grant(choice, &binding)?,
            moved_from: None,
        })
    }

    fn wish(&self, family: Family) -> Option<IpAddr> {
        let mut wishes = self.interface.addresses.iter();
        wishes
            .find(|&&address| Family::of(address) == family)
            .copied()
    }

    fn refuse_families_without_pool(&self, choice: &Choice<'_>) -> Result<(), AllocateError> {
        let mut wishes = self.interface.addresses.iter();
        wishes
            .find(|&&address| {
                choice
                    .families()
                    .all(|family| family != Family::of(address))
            })
            .map_or(Ok(()), |&address| choice.requested(address))
    }

    /// The binding as it is, on this interface from now on.
    fn attached(&self, choice: &Choice<'_>, bound: &Binding, draft: &Draft<'_>) -> Binding {
        Binding {
            // Its addresses are of this rack, whatever the rack was called when they were bound.
            rack: Arc::clone(choice.rack),
            since: draft.now(),
            state: self.state(),
            ..bound.clone()
        }
    }

    fn state(&self) -> State {
        State::Attached(Box::new(Attached {
            attachment: self.request.attachment.clone(),
            ifname: self.interface.ifname.clone(),
            pod_uid: self.request.pod_uid.clone(),
        }))
    }

    fn grant(
        &self,
        choice: &Choice<'_>,
        binding: &Binding,
    ) -> Result<InterfaceGrant, AllocateError> {
        let mut grant = InterfaceGrant {
            ifname: self.interface.ifname.clone(),
            network: choice.name.clone(),
            rack: (*binding.rack).clone(),
            mac: binding.mac,
            addresses: Vec::new(),
            routes: Vec::new(),
        };
        for address in binding.addresses.iter() {
            let pool =
                choice
                    .network
                    .pool_of(address)
                    .ok_or_else(|| AllocateError::BoundOutside {
                        address,
                        network: choice.name.clone(),
                        identity: self.identity.clone(),
                    })?;
            let pool = pool.pool();
            grant.rack = pool.rack.clone();
            grant.addresses.push(AssignedAddress {
                address: pool.with_prefix(address),
                gateway: pool.gateway,
                pool: pool.name.clone(),
            });
            grant.routes.extend(pool.routes.iter().cloned());
        }
        Ok(grant)
    }
}

fn attachment(bound: &Binding) -> Option<Attachment> {
    let attached = bound.state.attached()?;
    Some(attached.attachment.clone())
}

impl Choice<'_> {
    /// Where the addresses of a binding belong now.
    pub(crate) fn placement(&self, bound: &Binding) -> Placement {
        let here = |address: IpAddr| self.pools().any(|pool| pool.hands_out(address));
        let Some(stray) = bound.addresses.iter().find(|&address| !here(address)) else {
            return Placement::Here;
        };
        let other_rack = match self.network.pool_of(stray) {
            Some(_) => true,
            None => bound.rack != *self.rack,
        };
        if other_rack {
            Placement::OtherRack
        } else {
            Placement::Nowhere(stray)
        }
    }
}
