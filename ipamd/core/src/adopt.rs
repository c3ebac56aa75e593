//! Interfaces that exist, taken into the book: what recovery finds on the node when the store does not know it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proto_ids::{Attachment, Identity, IfName, MacAddr, NetworkName, PodKey, PodUid, RackName};

use crate::binding::{Addresses, Attached, Binding, Origin, State};
use crate::book::Book;
use crate::change::{Change, Ended, Former};
use crate::draft::{Draft, Rest};
use crate::range::Family;
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
        holder: Box<Holder>,
    },
    /// Its addresses are in no pool of this node, whose rack is not known.
    #[error("interface {ifname} of sandbox {} has {}, which is in no pool of this node, and the node's rack is not known",
        .attachment.sandbox, joined(.addresses))]
    NoRack {
        /// The CNI ADD.
        attachment: Attachment,
        /// The interface.
        ifname: IfName,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
    /// The identity has other addresses in the book, attached to a sandbox.
    #[error("interface {ifname} of sandbox {} belongs to {identity}, which has {} on sandbox {}",
        .attachment.sandbox, joined(.bound), .other.sandbox)]
    AttachedElsewhere {
        /// The CNI ADD.
        attachment: Attachment,
        /// The interface.
        ifname: IfName,
        /// The identity.
        identity: Identity,
        /// The addresses it has.
        bound: Vec<IpAddr>,
        /// The attachment it has it on.
        other: Box<Attachment>,
    },
}

fn joined(addresses: &[IpAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(", ")
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
        let Some(addresses) = Addresses::one_per_family(&interface.addresses) else {
            return Err(AdoptError::Addresses {
                attachment: interface.attachment.clone(),
                ifname: interface.ifname.clone(),
                count: interface.addresses.len(),
            });
        };
        let mut draft = Draft::new(self, now);
        let holder = self.one_holder(interface, addresses)?;
        let identity = match (&interface.identity, &holder) {
            (Some(identity), _) => identity.clone(),
            // Whoever has the address in the book is who has it on the interface: nobody else could get it.
            (None, Some((holder, _))) => (*holder).clone(),
            (None, None) => self.placeholder(interface),
        };
        let own = self.binding(&interface.network, &identity);
        match holder {
            Some((holder, bound)) if *holder == identity => {
                interface.reattach(&identity, bound, addresses, &mut draft)?;
            }
            Some((holder, bound)) if !interface.names(bound) => {
                return Err(interface.taken(holder, bound, addresses));
            }
            nobody_or_unnamed => {
                // What exists is right: addresses held for the identity are not those it has.
                if let Some(own) = own {
                    interface.refuse_attached(&identity, own)?;
                    let network = &interface.network;
                    draft.dissolve(network, &identity, own, Ended::Attached, Rest::Quarantine);
                }
                let rack = self.rack_of(&interface.network, &interface.addresses);
                // What is in no pool is never handed out: nothing is lost.
                let rack = rack.ok_or_else(|| AdoptError::NoRack {
                    attachment: interface.attachment.clone(),
                    ifname: interface.ifname.clone(),
                    addresses: interface.addresses.clone(),
                })?;
                let binding = interface.binding(rack, &identity, addresses, now);
                match nobody_or_unnamed {
                    Some(unnamed) => {
                        draft.rename(&interface.network, unnamed, (&identity, &binding));
                        interface.vacate_replaced(unnamed, addresses, &mut draft);
                    }
                    None => draft.put_binding(&interface.network, &identity, &binding),
                }
            }
        }
        Ok(AdoptPlan {
            identity,
            changes: draft.into_changes(),
        })
    }

    /// Who has the interface's addresses in the book; it must be one for all of them.
    fn one_holder(
        &self,
        interface: &AdoptedInterface,
        addresses: Addresses,
    ) -> Result<Option<(&Identity, &Binding)>, AdoptError> {
        let Some(network) = self.network(&interface.network) else {
            return Ok(None);
        };
        let mut holders = addresses
            .iter()
            .filter_map(|address| network.tables.holder(address));
        let Some((first, bound)) = holders.next() else {
            return Ok(None);
        };
        match holders.find(|(other, _)| *other != first) {
            Some((other, bound)) => Err(interface.taken(other, bound, addresses)),
            None => Ok(Some((first, bound))),
        }
    }

    /// A name for an interface that has none: its sandbox, and the interface where the sandbox has several.
    fn placeholder(&self, interface: &AdoptedInterface) -> Identity {
        let AdoptedInterface {
            attachment,
            ifname,
            network,
            ..
        } = interface;
        let sandbox = Identity::from(&attachment.sandbox);
        if self.binding(network, &sandbox).is_none() {
            return sandbox;
        }
        // 8 + 255 + 1 + 15 bytes at most, all printable: always an identity.
        format!("{sandbox}/{ifname}").parse().unwrap_or(sandbox)
    }
}

impl AdoptedInterface {
    fn origin(&self, identity: &Identity) -> Origin {
        match (&self.identity, &self.pod) {
            (_, Some(pod)) if Identity::from(pod) == *identity => Origin::Pod,
            (None, _) => Origin::Adopted,
            (Some(_), Some(pod)) => Origin::Named {
                pod: Some(Box::new(pod.clone())),
            },
            (Some(identity), None) if *identity == Identity::from(&self.attachment.sandbox) => {
                Origin::Sandbox
            }
            // The alias tells the identity alone. One that reads as a Pod is one, unless somebody named a Pod's name.
            (Some(identity), None) if identity.as_str().parse::<PodKey>().is_ok() => Origin::Pod,
            (Some(_), None) => Origin::Named { pod: None },
        }
    }

    fn state(&self) -> State {
        State::Attached(Box::new(Attached {
            attachment: self.attachment.clone(),
            ifname: self.ifname.clone(),
            pod_uid: self.pod_uid.clone(),
        }))
    }

    fn binding(
        &self,
        rack: Arc<RackName>,
        identity: &Identity,
        addresses: Addresses,
        now: Timestamp,
    ) -> Binding {
        Binding {
            addresses,
            mac: self.mac,
            rack,
            origin: self.origin(identity),
            policy: None,
            reservation: None,
            since: now,
            state: self.state(),
        }
    }

    /// Whether this tells the name of what was adopted without one.
    fn names(&self, bound: &Binding) -> bool {
        bound.origin == Origin::Adopted && self.is(bound)
    }

    fn is(&self, bound: &Binding) -> bool {
        bound.state.attached().is_some_and(|attached| {
            attached.attachment == self.attachment && attached.ifname == self.ifname
        })
    }

    fn reattach(
        &self,
        identity: &Identity,
        bound: &Binding,
        addresses: Addresses,
        draft: &mut Draft<'_>,
    ) -> Result<(), AdoptError> {
        // An address the interface lacks stays bound: it comes back with the next ADD.
        let mut all = bound.addresses;
        addresses.iter().for_each(|address| all.set(address));
        let known = self.is(bound);
        if known && all == bound.addresses {
            return Ok(());
        }
        if !known {
            self.refuse_attached(identity, bound)?;
            draft.audit(&self.network, identity, bound, Ended::Attached);
        }
        let attached = Binding {
            addresses: all,
            mac: self.mac,
            since: if known { bound.since } else { draft.now() },
            state: self.state(),
            ..bound.clone()
        };
        draft.put_binding(&self.network, identity, &attached);
        self.vacate_replaced((identity, bound), all, draft);
        Ok(())
    }

    /// Lets the addresses rest that a binding had and the interface has not.
    fn vacate_replaced(
        &self,
        (identity, before): (&Identity, &Binding),
        after: Addresses,
        draft: &mut Draft<'_>,
    ) {
        for address in before.addresses.iter() {
            if after.get(Family::of(address)) != Some(address) {
                let former = Former {
                    identity: identity.clone(),
                    mac: before.mac,
                };
                draft.vacate(&self.network, address, former, Rest::Quarantine);
            }
        }
    }

    fn refuse_attached(&self, identity: &Identity, bound: &Binding) -> Result<(), AdoptError> {
        match bound.state.attached() {
            None => Ok(()),
            Some(attached) => Err(AdoptError::AttachedElsewhere {
                attachment: self.attachment.clone(),
                ifname: self.ifname.clone(),
                identity: identity.clone(),
                bound: bound.addresses.iter().collect(),
                other: Box::new(attached.attachment.clone()),
            }),
        }
    }

    fn taken(&self, holder: &Identity, bound: &Binding, addresses: Addresses) -> AdoptError {
        let address = addresses
            .iter()
            .find(|&address| bound.addresses.get(Family::of(address)) == Some(address))
            .or_else(|| addresses.iter().next());
        AdoptError::AddressTaken {
            attachment: self.attachment.clone(),
            ifname: self.ifname.clone(),
            address: address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            holder: Box::new(match bound.state.attached() {
                Some(attached) => Holder::Attached {
                    identity: holder.clone(),
                    attachment: attached.attachment.clone(),
                },
                None => Holder::Held {
                    identity: holder.clone(),
                    until: bound.state.until(),
                },
            }),
        }
    }
}

#[cfg(test)]
mod tests;
