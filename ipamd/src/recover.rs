//! From a store and a node to a book that agrees with both, before anything is served.
//!
//! [`plan`] is pure. It frees nothing on missing evidence: an attachment ends only because the node booted since, or because a
//! tombstone says so. A port that exists is taken into the book whatever the book thinks of it, so that its addresses are
//! never handed out. After the store was lost, the results that libcni keeps are taken in as well, and every address of ours
//! that nothing speaks for rests as long as its pool's quarantine: it may have been in use a moment ago, by an interface that
//! has no port of ours (a delegated plugin's), and while it rests the wire is listened to.

pub(crate) mod results;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipamd_core::{
    AddressRange, AddressRecord, AddressUse, AdoptError, AdoptedInterface, BindingState,
    BindingView, Book, Change, Ended, Former, ListFilter, Record, Timestamp, ViewState,
};
use ipnet::IpNet;
use proto_ids::{Attachment, Identity, IfName, MacAddr, PodKey};

use crate::ledger::WithoutPort;
use crate::links::{Port, Ports};
use results::Cached;

/// Resting addresses per pool after a loss: the first of them, which would be handed out first. A pool that is larger
/// cannot rest whole; what of it was in use was taken from its beginning.
const REST_LIMIT: usize = 4096;

/// What was observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Whether the node booted since the store was last written.
    pub(crate) rebooted: bool,
    /// The host-side ports.
    pub(crate) ports: Ports,
    /// What tombstones say ended.
    pub(crate) ended: Vec<Attachment>,
    /// The results libcni keeps, when the store was lost.
    pub(crate) cached: Option<Vec<Cached>>,
}

/// What recovery does.
#[derive(Clone, Debug)]
pub(crate) struct Recovered {
    /// The book that agrees.
    pub(crate) book: Book,
    /// What leads to it from the one given, in order.
    pub(crate) changes: Vec<Change>,
    /// What was found.
    pub(crate) report: Report,
}

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Attachments that the boot ended.
    pub(crate) ended_by_boot: usize,
    /// Attachments that tombstones ended.
    pub(crate) ended_by_tombstone: usize,
    /// Interfaces that were taken into the book.
    pub(crate) adopted: usize,
    /// Attachments of the book without a port. They stay: a delegated plugin's interface has none.
    pub(crate) without_port: WithoutPort,
    /// Addresses that rest because nothing speaks for them.
    pub(crate) resting: usize,
    /// What an operator should know, one line each.
    pub(crate) findings: Vec<String>,
}

/// The changes that make the book agree with what was observed.
pub(crate) fn plan(book: Book, observed: &Observed, now: Timestamp) -> Recovered {
    let mut recovery = Recovery {
        book,
        now,
        changes: Vec::new(),
        report: Report::default(),
    };
    if observed.rebooted {
        let plan = recovery.book.reboot(now);
        recovery.report.ended_by_boot = plan.ended.len();
        recovery.make(plan.changes);
    }
    let ended: BTreeSet<&Attachment> = observed.ended.iter().collect();
    for attachment in &ended {
        let plan = recovery.book.end(attachment, Ended::Released, now);
        recovery.report.ended_by_tombstone += usize::from(plan.known);
        recovery.make(plan.changes);
    }
    recovery.ports(&observed.ports, &ended);
    if let Some(cached) = &observed.cached {
        recovery.cached(cached, &observed.ports, &ended);
        recovery.rest();
    } else {
        recovery.report.without_port = without_port(&recovery.book, &observed.ports);
    }
    Recovered {
        book: recovery.book,
        changes: recovery.changes,
        report: recovery.report,
    }
}

/// The attachments for which no port speaks, each with what is said of it.
pub(crate) fn without_port(book: &Book, ports: &Ports) -> WithoutPort {
    let there = interfaces_of(ports);
    let bindings = book.records().filter_map(|record| match record {
        Record::Binding(binding) => Some(binding),
        _ => None,
    });
    let missing = bindings.filter_map(|binding| match binding.state {
        BindingState::Attached {
            attachment, ifname, ..
        } if !there.contains(&(&attachment, &ifname)) => {
            let line = format!(
                "{} is attached to sandbox {} ({ifname}), for which there is no port on the node",
                binding.identity, attachment.sandbox
            );
            Some(((attachment, ifname), line))
        }
        _ => None,
    });
    missing.collect()
}

struct Recovery {
    book: Book,
    now: Timestamp,
    changes: Vec<Change>,
    report: Report,
}

impl Recovery {
    fn make(&mut self, changes: Vec<Change>) {
        self.book.apply(&changes);
        self.changes.extend(changes);
    }

    fn find(&mut self, finding: String) {
        self.report.findings.push(finding);
    }

    fn ports(&mut self, ports: &Ports, ended: &BTreeSet<&Attachment>) {
        for (name, reason) in &ports.unreadable {
            self.find(format!(
                "port {name} is ours, but what is attached to it cannot be read: {reason}"
            ));
        }
        for Port { name, alias } in &ports.ports {
            if ended.contains(&alias.attachment) {
                self.find(format!(
                    "port {name} of sandbox {} was to be removed and is still there",
                    alias.attachment.sandbox
                ));
                continue;
            }
            let interface = AdoptedInterface {
                attachment: alias.attachment.clone(),
                ifname: alias.ifname.clone(),
                network: alias.network.clone(),
                mac: alias.mac,
                addresses: alias.addresses.iter().map(IpNet::addr).collect(),
                pod: alias.identity.as_ref().and_then(pod_of),
                identity: alias.identity.clone(),
                pod_uid: None,
            };
            self.adopt(interface, &format!("port {name}"));
        }
    }

    fn cached(&mut self, cached: &[Cached], ports: &Ports, ended: &BTreeSet<&Attachment>) {
        let there = interfaces_of(ports);
        for result in cached {
            match result {
                Cached::Unreadable { path, reason } => self.find(format!(
                    "result {} cannot be read, so its sandbox's addresses are not known: {reason}",
                    path.display()
                )),
                Cached::Result(result) if ended.contains(&result.attachment) => {}
                Cached::Result(result) => {
                    let interfaces = result.interfaces(self.book.settings().settings());
                    let unheard = interfaces.into_iter().filter(|interface| {
                        !there.contains(&(&interface.attachment, &interface.ifname))
                    });
                    for interface in unheard {
                        self.adopt(interface, &format!("result {}", result.path.display()));
                    }
                }
            }
        }
    }

    fn adopt(&mut self, interface: AdoptedInterface, source: &str) {
        let refused = match self.book.adopt(&interface, self.now) {
            Ok(plan) => {
                self.report.adopted += usize::from(!plan.changes.is_empty());
                return self.make(plan.changes);
            }
            Err(error) => error,
        };
        self.find(format!("{source}: {refused}"));
        // The book keeps what it has. What the interface has besides must not be handed out either.
        if matches!(refused, AdoptError::AttachedElsewhere { .. }) {
            let nameless = AdoptedInterface {
                identity: None,
                pod: None,
                ..interface
            };
            if let Ok(plan) = self.book.adopt(&nameless, self.now) {
                self.report.adopted += 1;
                return self.make(plan.changes);
            }
            return self.set_aside(&nameless);
        }
        self.set_aside(&interface);
    }

    /// Keeps those addresses of an interface that the book does not know out of circulation.
    fn set_aside(&mut self, interface: &AdoptedInterface) {
        for address in &interface.addresses {
            let bound = self.book.who(*address).iter().any(|view| {
                let resting = matches!(view.state, ViewState::Quarantined | ViewState::Conflicting);
                view.network == interface.network && !resting
            });
            if bound {
                continue;
            }
            let note = format!(
                "on interface {} of sandbox {}, which the book does not know",
                interface.ifname, interface.attachment.sandbox
            );
            self.make(vec![Change::Put(Record::Address(AddressRecord {
                network: interface.network.clone(),
                address: *address,
                state: AddressUse::SetAside {
                    since: self.now,
                    note,
                },
            }))]);
        }
    }

    /// Lets every address rest that nothing speaks for.
    fn rest(&mut self) {
        let settings = self.book.settings().clone();
        for pool in &settings.settings().pools {
            let ranges = if pool.ranges.is_empty() {
                vec![AddressRange::from(pool.subnet)]
            } else {
                pool.ranges.clone()
            };
            let addresses: Vec<_> = ranges
                .iter()
                .flat_map(addresses)
                .filter(|address| !pool.exclude.iter().any(|range| range.contains(*address)))
                .filter(|address| pool.gateway != Some(*address))
                .take(REST_LIMIT + 1)
                .collect();
            if addresses.len() > REST_LIMIT {
                self.find(format!(
                    "pool {} is too large to rest whole: only its first {REST_LIMIT} addresses do",
                    pool.name
                ));
            }
            let known: BTreeSet<IpAddr> = self
                .book
                .list(&ListFilter {
                    network: Some(pool.network.clone()),
                    ..ListFilter::default()
                })
                .iter()
                .map(|view: &BindingView| view.address)
                .collect();
            let mut changes = Vec::new();
            for address in addresses.into_iter().take(REST_LIMIT) {
                if known.contains(&address) {
                    continue;
                }
                changes.push(Change::Put(Record::Address(AddressRecord {
                    network: pool.network.clone(),
                    address,
                    state: AddressUse::Quarantined {
                        since: self.now,
                        until: self.now.after(pool.quarantine),
                        former: Former {
                            identity: unknown(),
                            mac: MacAddr::derived(address),
                        },
                    },
                })));
            }
            self.report.resting += changes.len();
            self.make(changes);
        }
    }
}

/// The interfaces that ports speak for.
fn interfaces_of(ports: &Ports) -> BTreeSet<(&Attachment, &IfName)> {
    let ports = ports.ports.iter();
    ports
        .map(|port| (&port.alias.attachment, &port.alias.ifname))
        .collect()
}

/// Stands for whoever had an address before the store was lost.
fn unknown() -> Identity {
    "lost-with-the-store"
        .parse()
        .unwrap_or_else(|_| unreachable!("printable characters"))
}

/// The Pod that an identity names, if it has the form of one.
fn pod_of(identity: &Identity) -> Option<PodKey> {
    identity.as_str().parse().ok()
}

/// The addresses of a range in order.
fn addresses(range: &AddressRange) -> Box<dyn Iterator<Item = IpAddr>> {
    match (range.first(), range.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            Box::new((u32::from(first)..=u32::from(last)).map(|bits| IpAddr::V4(bits.into())))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            Box::new((u128::from(first)..=u128::from(last)).map(|bits| IpAddr::V6(bits.into())))
        }
        _ => Box::new(std::iter::empty()),
    }
}

/// Whether anything of these shows that the node had a store before.
pub(crate) fn shows_a_past(observed: &Observed, book: &Book) -> bool {
    let cached = observed.cached.iter().flatten().any(|result| match result {
        Cached::Result(result) => !result.interfaces(book.settings().settings()).is_empty(),
        Cached::Unreadable { .. } => false,
    });
    cached || !observed.ports.ports.is_empty() || !observed.ports.unreadable.is_empty()
}

#[cfg(test)]
mod tests;
