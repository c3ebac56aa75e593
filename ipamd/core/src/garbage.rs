//! Attachments whose sandbox is gone without a DEL: what of them ends, and what an operator must look at.
//!
//! [`Book::garbage`] compares the book with one [`Look`] at the node: the runtime's sandboxes and the ports. It ends an
//! attachment only on positive evidence, which is all of: a Pod's ADD made it; two whole answers of the runtime, some time
//! apart, without the sandbox; no port of the sandbox on the node; and an age beyond that of any ADD still under way, since a
//! runtime lists a sandbox only when its network is made. An answer that cannot be whole is none. Everything else that does not
//! fit is a finding, and nothing is done about it.

mod compare;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use proto_ids::{Attachment, Identity, PortAlias, SandboxId};

use crate::book::Book;
use crate::change::{Change, Ended};
use crate::draft::Draft;
use crate::time::Timestamp;
use compare::{Comparison, Gone};

/// What was seen on the node at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// When the runtime was asked, by a clock that never goes back; only differences count.
    pub at: Duration,
    /// All sandboxes that the runtime knows, running or not.
    pub sandboxes: BTreeMap<SandboxId, Sandbox>,
    /// The ports of ours, by their names.
    pub ports: BTreeMap<String, PortAlias>,
    /// Ports of ours that do not say whose they are, with the reason.
    pub unreadable_ports: Vec<(String, String)>,
}

/// A sandbox, as its runtime describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// Whether it runs. One that does not is not gone: its DEL is still to come.
    pub running: bool,
    /// Its Pod, as `namespace/name`.
    pub pod: String,
    /// The addresses the runtime believes it has, where it was asked for them.
    pub addresses: Vec<IpAddr>,
}

/// How much evidence is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Two looks that say the same are at least so long apart.
    pub apart: Duration,
    /// No ADD is under way for so long.
    pub age: Duration,
}

/// Something that did not fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doubt {
    /// The runtime does not know the sandbox.
    Sandboxless(Attachment),
    /// A running sandbox has lost its port.
    Portless(Attachment),
    /// A port speaks for an attachment that the book does not have.
    Port(String),
    /// A running sandbox has an address of ours that the book did not give it.
    Sandbox(SandboxId),
}

/// What earlier looks left open: since when each of it is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts(BTreeMap<Doubt, Duration>);

/// An attachment that ends because its sandbox is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedAttachment {
    /// The CNI ADD.
    pub attachment: Attachment,
    /// Whose it was.
    pub identity: Identity,
    /// The addresses it had.
    pub addresses: Vec<IpAddr>,
    /// What shows that it is gone.
    pub evidence: String,
}

/// What a comparison comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GarbagePlan {
    /// The attachments it ends.
    pub ended: Vec<EndedAttachment>,
    /// What makes it so.
    pub changes: Vec<Change>,
    /// What an operator should look at, one line each, with what to do.
    pub findings: Vec<String>,
    /// Why the look is no evidence, if it is none.
    pub flaw: Option<String>,
    /// For the next comparison.
    pub doubts: Doubts,
}

impl Book {
    /// Compares the book with what was seen. `doubts` are what the comparison before left open.
    pub fn garbage(
        &self,
        look: &Look,
        doubts: &Doubts,
        patience: Patience,
        now: Timestamp,
    ) -> GarbagePlan {
        if look.may_be_of_first_pods() && compare::is_young(self, patience, now) {
            return GarbagePlan::default();
        }
        if let Some(flaw) = look.flaw() {
            // What was doubted before is doubted anew after it: two looks in a row count.
            return GarbagePlan {
                findings: vec![format!(
                    "sandboxes and book cannot be compared, so that nothing is freed: {flaw}"
                )],
                flaw: Some(flaw),
                ..GarbagePlan::default()
            };
        }
        let comparison = Comparison::of(self, look, patience, now);
        let confirmed = |doubt: &Doubt| {
            let since = doubts.0.get(doubt)?;
            let apart = look.at.saturating_sub(*since);
            (apart >= patience.apart).then_some(apart)
        };
        let mut plan = GarbagePlan::default();
        let mut draft = Draft::new(self, now);
        for Gone {
            attachment,
            identity,
            age,
        } in comparison.gone
        {
            let doubt = Doubt::Sandboxless(attachment.clone());
            let Some(apart) = confirmed(&doubt).filter(|_| age >= patience.age) else {
                plan.doubts.keep(doubt, doubts, look);
                continue;
            };
            let addresses = draft.end(attachment, Ended::SandboxGone);
            plan.ended.push(EndedAttachment {
                evidence: format!(
                    "the runtime did not know sandbox {} in two answers {} apart, of {} sandboxes the last; \
                     no port of it is on the node; it was attached {} ago",
                    attachment.sandbox,
                    seconds(apart),
                    look.sandboxes.len(),
                    seconds(age),
                ),
                attachment: attachment.clone(),
                identity: identity.clone(),
                addresses,
            });
        }
        plan.changes = draft.into_changes();
        for (doubt, line) in comparison.oddities {
            if confirmed(&doubt).is_some() {
                plan.findings.push(line);
            }
            plan.doubts.keep(doubt, doubts, look);
        }
        plan
    }

    /// The running sandboxes of a look of which the book has no attachment: whether they have addresses of ours is to be asked.
    pub fn unknown_sandboxes<'a>(
        &self,
        sandboxes: &'a BTreeMap<SandboxId, Sandbox>,
    ) -> Vec<&'a SandboxId> {
        let known: BTreeSet<_> = self.attachments().map(|it| &it.sandbox).collect();
        let running = sandboxes.iter().filter(|(_, sandbox)| sandbox.running);
        running
            .map(|(id, _)| id)
            .filter(|id| !known.contains(id))
            .collect()
    }
}

impl Look {
    /// Whether nothing speaks for the runtime: as on a node whose first Pods are being made, since it lists a sandbox only when its
    /// network is there.
    fn may_be_of_first_pods(&self) -> bool {
        self.unreadable_ports.is_empty() && self.sandboxes.is_empty()
    }

    /// Why it is evidence of nothing.
    fn flaw(&self) -> Option<String> {
        if let Some((name, reason)) = self.unreadable_ports.first() {
            return Some(format!(
                "port {name} does not say whose it is ({reason}); find its Pod, or remove it with `ip link del {name}`"
            ));
        }
        if self.sandboxes.is_empty() {
            return Some(
                "the runtime lists no sandbox at all: it begins anew, has lost what it knew, or is not the one \
                 that runs the node's Pods; see the key `runtime`"
                    .to_owned(),
            );
        }
        let mut ports = self.ports.values().map(|port| &port.attachment.sandbox);
        let knows_one = self.ports.is_empty() || ports.any(|id| self.sandboxes.contains_key(id));
        (!knows_one).then(|| {
            "the runtime lists none of the sandboxes whose ports are on the node: it has lost what it knew, or is \
             not the one that runs the node's Pods; see the key `runtime`"
                .to_owned()
        })
    }
}

impl Doubts {
    /// Whether nothing is doubted: there is nothing to look at soon.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn keep(&mut self, doubt: Doubt, before: &Self, look: &Look) {
        let since = before.0.get(&doubt).copied().unwrap_or(look.at);
        self.0.insert(doubt, since);
    }
}

/// Whole seconds: nobody wants to read nanoseconds.
fn seconds(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

#[cfg(test)]
mod tests;
