//! Addresses for one CNI ADD: all interfaces, or a refusal that names its cause.
//!
//! Interfaces of one request are on different networks, so each is decided against the book alone; the first refusal
//! refuses the whole.

mod choose;
mod error;
mod interface;

use std::collections::BTreeSet;

use proto_ids::{AllocateRequest, Grant, Identity};

use crate::binding::{Addresses, Origin};
use crate::book::Book;
use crate::change::Change;
use crate::draft::Draft;
use crate::policy::PodPolicy;
use crate::time::Timestamp;

pub(crate) use choose::Choice;
pub use error::AllocateError;

/// What an ADD is answered, once the changes are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocatePlan {
    /// The answer.
    pub grant: Grant,
    /// What makes it so; empty when the same ADD was answered before.
    pub changes: Vec<Change>,
}

impl Book {
    /// Addresses for one CNI ADD, all interfaces or none.
    ///
    /// # Guarantees
    /// Asked again for the same attachment, the answer is the same and nothing changes. An identity with a living
    /// binding gets its addresses and MAC; a newer sandbox takes them over from an older one of the same Pod.
    ///
    /// # Errors
    /// When any interface cannot have what it asks for; nothing is handed out then.
    pub fn allocate(
        &self,
        request: &AllocateRequest,
        now: Timestamp,
    ) -> Result<AllocatePlan, AllocateError> {
        self.allocate_for(request, &PodPolicy::default(), now)
    }

    /// As [`Self::allocate`], for a Pod that decides itself what becomes of its addresses.
    ///
    /// # Errors
    /// As for [`Self::allocate`].
    pub fn allocate_for(
        &self,
        request: &AllocateRequest,
        policy: &PodPolicy,
        now: Timestamp,
    ) -> Result<AllocatePlan, AllocateError> {
        consistent(request)?;
        let identity = request.effective_identity();
        let origin = origin(request, &identity);
        let mut draft = Draft::new(self, now);
        let mut moved_from = None;
        let mut interfaces = Vec::with_capacity(request.interfaces.len());
        self.refuse_foreign_attachment(request, &identity)?;
        for interface in &request.interfaces {
            let ask = interface::Ask {
                request,
                interface,
                identity: &identity,
                origin: &origin,
                policy,
            };
            let answer = ask.plan(self, &mut draft)?;
            interfaces.push(answer.grant);
            moved_from = moved_from.or(answer.moved_from);
        }
        Ok(AllocatePlan {
            grant: Grant {
                identity,
                interfaces,
                moved_from,
            },
            changes: draft.into_changes(),
        })
    }

    fn refuse_foreign_attachment(
        &self,
        request: &AllocateRequest,
        identity: &Identity,
    ) -> Result<(), AllocateError> {
        let foreign = self
            .attached_to(&request.attachment)
            .find(|&(network, other)| {
                other != identity
                    && self
                        .binding(network, other)
                        .is_some_and(|binding| binding.origin != Origin::Adopted)
            });
        match foreign {
            None => Ok(()),
            Some((_, other)) => Err(AllocateError::AttachmentTaken {
                attachment: request.attachment.clone(),
                identity: other.clone(),
            }),
        }
    }
}

pub(crate) fn origin(request: &AllocateRequest, identity: &Identity) -> Origin {
    match (&request.identity, &request.pod) {
        (_, Some(pod)) if Identity::from(pod) == *identity => Origin::Pod,
        (Some(_), pod) => Origin::Named {
            pod: pod.clone().map(Box::new),
        },
        (None, _) => Origin::Sandbox,
    }
}

/// Refuses a request that no book could grant.
fn consistent(request: &AllocateRequest) -> Result<(), AllocateError> {
    let contradictory = |problem| Err(AllocateError::Contradictory { problem });
    let mut ifnames = BTreeSet::new();
    let mut networks = BTreeSet::new();
    if request.interfaces.is_empty() {
        return contradictory("it names no interface".to_owned());
    }
    for interface in &request.interfaces {
        let (ifname, network) = (&interface.ifname, &interface.network);
        if !ifnames.insert(ifname) {
            return contradictory(format!("interface {ifname} is named twice"));
        }
        if !networks.insert(network) {
            return contradictory(format!("network {network} is named twice"));
        }
        let addresses = &interface.addresses;
        if !addresses.is_empty() && Addresses::one_per_family(addresses).is_none() {
            return contradictory(format!(
                "{ifname} asks for more than one address of a family"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
