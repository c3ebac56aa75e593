//! One look against the book: what is gone, and what does not fit.
//!
//! Says what one look shows; whether that is enough is decided by who compares several.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto_ids::{Attachment, CniNetworkName, Identity, SandboxId};

use super::{Doubt, Look, Patience};
use crate::binding::{Binding, Origin};
use crate::book::Book;
use crate::time::Timestamp;

/// An attachment of a Pod of which neither runtime nor ports know.
pub(super) struct Gone<'a> {
    pub(super) attachment: &'a Attachment,
    pub(super) identity: &'a Identity,
    pub(super) age: Duration,
}

/// What one look shows.
pub(super) struct Comparison<'a> {
    pub(super) gone: Vec<Gone<'a>>,
    /// What does not fit, with the words for it.
    pub(super) oddities: Vec<(Doubt, String)>,
}

/// An attachment as the book has it.
struct Known<'a> {
    identity: &'a Identity,
    of_pod: bool,
    age: Duration,
}

impl<'a> Comparison<'a> {
    pub(super) fn of(book: &'a Book, look: &Look, patience: Patience, now: Timestamp) -> Self {
        let known = known(book, now);
        let mut comparison = Self {
            gone: Vec::new(),
            oddities: Vec::new(),
        };
        let ports: BTreeMap<&SandboxId, &String> = look
            .ports
            .iter()
            .map(|(name, port)| (&port.attachment.sandbox, name))
            .collect();
        // Interfaces of other plugins, which take only addresses from here, have no port: theirs is never missed.
        let wired = look.ports.values();
        let wired: BTreeSet<_> = wired.map(|port| &port.attachment.cni_network).collect();
        for (attachment, known) in &known {
            comparison.attachment(attachment, known, look, &ports, &wired, patience);
        }
        comparison.ports(&known, look);
        comparison.sandboxes(book, &known, look);
        comparison
    }

    fn attachment(
        &mut self,
        attachment: &'a Attachment,
        known: &Known<'a>,
        look: &Look,
        ports: &BTreeMap<&SandboxId, &String>,
        wired: &BTreeSet<&CniNetworkName>,
        patience: Patience,
    ) {
        let (identity, id) = (known.identity, &attachment.sandbox);
        match (look.sandboxes.get(id), ports.get(id)) {
            // Whoever is no Pod is not this runtime's: `cnitool`, another runtime on the same node.
            (None, None) if known.of_pod => self.gone.push(Gone {
                attachment,
                identity,
                age: known.age,
            }),
            (None, Some(port)) if known.of_pod && known.age >= patience.age => {
                let line = format!(
                    "{identity} is attached to sandbox {id}, which the runtime does not know, but its port {port} is on the \
                     node, so that its addresses stay taken; make sure that nothing of it runs, then \
                     `ip link del {port}`: they are freed soon after"
                );
                let doubt = Doubt::Sandboxless(attachment.clone());
                self.oddities.push((doubt, line));
            }
            (Some(sandbox), None) if sandbox.running && wired.contains(&attachment.cni_network) => {
                let line = format!(
                    "{identity} runs in sandbox {id}, but its port is gone from the node, so that it has no network; \
                     delete the Pod: the next one keeps its addresses as configured"
                );
                self.oddities
                    .push((Doubt::Portless(attachment.clone()), line));
            }
            _ => {}
        }
    }

    fn ports(&mut self, known: &BTreeMap<&'a Attachment, Known<'a>>, look: &Look) {
        for (name, port) in &look.ports {
            if known.contains_key(&port.attachment) {
                continue;
            }
            let id = &port.attachment.sandbox;
            let addresses: Vec<_> = port.addresses.iter().map(ToString::to_string).collect();
            let addresses = addresses.join(", ");
            let line = if look.sandboxes.contains_key(id) {
                format!(
                    "port {name} of sandbox {id} has {addresses}, but the book has no such attachment; restart \
                     berth-ipamd: it takes ports into its book"
                )
            } else {
                format!(
                    "port {name} has {addresses} for sandbox {id}, which neither book nor runtime know; make sure that \
                     nothing of it runs, then `ip link del {name}`"
                )
            };
            self.oddities.push((Doubt::Port(name.clone()), line));
        }
    }

    fn sandboxes(&mut self, book: &Book, known: &BTreeMap<&'a Attachment, Known<'a>>, look: &Look) {
        let known: BTreeSet<_> = known.keys().map(|attachment| &attachment.sandbox).collect();
        for (id, sandbox) in &look.sandboxes {
            let ours = sandbox.addresses.iter().find(|&&address| {
                let mut networks = book.networks();
                networks.any(|(_, network)| network.pool_of(address).is_some())
            });
            let Some(address) = ours.filter(|_| sandbox.running && !known.contains(id)) else {
                continue;
            };
            let line = format!(
                "sandbox {id} of Pod {} has {address} by the runtime's word, which is in a pool of ours, but the book has no \
                 such attachment: two Pods may come to have it; delete that Pod",
                sandbox.pod
            );
            self.oddities.push((Doubt::Sandbox(id.clone()), line));
        }
    }
}

fn known(book: &Book, now: Timestamp) -> BTreeMap<&Attachment, Known<'_>> {
    let mut known = BTreeMap::new();
    for attachment in book.attachments() {
        let bound = book.attached_to(attachment);
        let bound = bound
            .filter_map(|(network, identity)| Some((identity, book.binding(network, identity)?)));
        for (identity, binding) in bound {
            let age = now.since(binding.since);
            let of_pod = is_of_pod(binding);
            let entry = known.entry(attachment).or_insert(Known {
                identity,
                of_pod,
                age,
            });
            entry.of_pod &= of_pod;
            entry.age = entry.age.min(age);
        }
    }
    known
}

/// Whether the ADD of everything that is attached may still be under way.
pub(super) fn is_young(book: &Book, patience: Patience, now: Timestamp) -> bool {
    known(book, now).values().all(|it| it.age < patience.age)
}

/// Whether a runtime of Pods made it: those name the Pod in the ADD, others do not.
fn is_of_pod(binding: &Binding) -> bool {
    let has_uid = binding
        .state
        .attached()
        .is_some_and(|attached| attached.pod_uid.is_some());
    has_uid || matches!(binding.origin, Origin::Pod | Origin::Named { pod: Some(_) })
}
