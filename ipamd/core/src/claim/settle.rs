//! What a write to the API server makes true here.

use std::net::IpAddr;
use std::sync::Arc;

use proto_ids::{NetworkName, RackName};

use super::{Claim, ClaimRecord, ClaimWrite, ClaimedBinding, Holding, Tenure};
use crate::binding::{Addresses, Binding, State};
use crate::book::{Book, Entry, Tables};
use crate::change::{Change, Former, Record, RecordKey};
use crate::draft::{Draft, Rest};
use crate::rule::Hold;
use crate::time::Timestamp;

impl Book {
    /// A write was done, and the API server answered what the claim is now (`None`: it is gone). To be told only of answers that
    /// came within [`super::ANSWER_LIMIT`], and before anything else is planned for this claim.
    ///
    /// # Guarantees
    /// The only way for an address to become this node's. A binding that comes with it is held here as soon as all its
    /// addresses have come.
    pub fn claim_written(
        &self,
        (network, address): (&NetworkName, IpAddr),
        write: &ClaimWrite,
        claim: Option<&Claim>,
        now: Timestamp,
    ) -> Vec<Change> {
        let mut draft = Draft::new(self, now);
        let tables = self.network(network).map(|network| &network.tables);
        let known = tables.and_then(|tables| tables.claims.get(&address));
        let me = &self.settings().settings().node;
        match claim {
            Some(claim) if claim.content.node == *me => {
                let same = known.is_some_and(|holding| {
                    holding.uid == claim.uid && holding.epoch == claim.content.epoch
                });
                if !same {
                    let arrival = Arrival {
                        book: self,
                        tables,
                        network,
                        address,
                        now,
                    };
                    arrival.settle(claim, &mut draft);
                }
            }
            // Asked for, given, or let go.
            _ => {
                let leaves = !matches!(write, ClaimWrite::Create(_));
                if leaves && known.is_some() {
                    draft.remove(RecordKey::Claim {
                        network: network.clone(),
                        address,
                    });
                }
            }
        }
        draft.into_changes()
    }
}

impl Book {
    /// What a claim brought and still waits: taken into the book where nothing is missing any more, as when the rack is known only now;
    /// forgotten where something newer is here. Nothing where it is to wait on.
    pub(super) fn settle_later(
        &self,
        (network, address): (&NetworkName, IpAddr),
        holding: &Holding,
        now: Timestamp,
    ) -> Option<Vec<Change>> {
        let brought = holding.incoming.as_deref()?;
        let arrival = Arrival {
            book: self,
            tables: self.network(network).map(|network| &network.tables),
            network,
            address,
            now,
        };
        let mut draft = Draft::new(self, now);
        if arrival.is_known(brought) {
            let settled = Holding {
                incoming: None,
                ..holding.clone()
            };
            arrival.put(address, settled, &mut draft);
            arrival.rest(brought, &mut draft);
        } else if !arrival.complete(holding, brought, &mut draft) {
            return None;
        }
        Some(draft.into_changes())
    }
}

/// An address that has become this node's.
struct Arrival<'a> {
    book: &'a Book,
    tables: Option<&'a Tables>,
    network: &'a NetworkName,
    address: IpAddr,
    now: Timestamp,
}

impl Arrival<'_> {
    fn settle(&self, claim: &Claim, draft: &mut Draft<'_>) {
        let brought = claim.content.binding.as_ref();
        let incoming = brought.filter(|brought| !self.is_known(brought));
        if let Some(brought) = brought.filter(|_| incoming.is_none()) {
            self.rest(brought, draft);
        }
        let holding = Holding {
            uid: claim.uid.clone(),
            epoch: claim.content.epoch,
            tenure: Tenure::Owned,
            incoming: incoming.cloned().map(Box::new),
        };
        self.put(self.address, holding.clone(), draft);
        if let Some(brought) = incoming {
            self.complete(&holding, brought, draft);
        }
    }

    /// Takes a binding into the book when all its addresses have come. Answers whether it did. Without a rack there is no place for it.
    fn complete(&self, holding: &Holding, brought: &ClaimedBinding, draft: &mut Draft<'_>) -> bool {
        let Ok(rack) = self.book.rack() else {
            return false;
        };
        let Some(siblings) = self.siblings(brought) else {
            return false;
        };
        self.hold(brought, rack, draft);
        for (address, holding) in siblings.into_iter().chain([(self.address, holding)]) {
            let settled = Holding {
                incoming: None,
                ..holding.clone()
            };
            self.put(address, settled, draft);
        }
        true
    }

    fn put(&self, address: IpAddr, holding: Holding, draft: &mut Draft<'_>) {
        draft.put(Record::Claim(ClaimRecord {
            network: self.network.clone(),
            address,
            holding,
        }));
    }

    /// The identity has a binding here already, or the address another one: what is here is newer.
    fn is_known(&self, brought: &ClaimedBinding) -> bool {
        let own = self.book.binding(self.network, &brought.identity);
        let taken = |address: &IpAddr| {
            self.tables
                .is_some_and(|tables| tables.holder(*address).is_some())
        };
        own.is_some() || brought.addresses.iter().any(taken)
    }

    /// What the address was brought with is forgotten: as after any binding that ends, it is nobody's for a while.
    fn rest(&self, brought: &ClaimedBinding, draft: &mut Draft<'_>) {
        let is_free = self.tables.is_none_or(|tables| {
            let entry = tables.entries.get(&self.address);
            let is_free = matches!(entry, None | Some(Entry::Retired(_)));
            is_free && !tables.conflicts.contains_key(&self.address)
        });
        if is_free {
            let former = Former {
                identity: brought.identity.clone(),
                mac: brought.mac,
            };
            draft.vacate(self.network, self.address, former, Rest::Quarantine);
        }
    }

    /// The other addresses of a binding, when all of them have come.
    fn siblings(&self, brought: &ClaimedBinding) -> Option<Vec<(IpAddr, &Holding)>> {
        let others = brought.addresses.iter();
        others
            .filter(|&&address| address != self.address)
            .map(|&address| {
                let holding = self.tables?.claims.get(&address)?;
                let comes = holding.incoming.as_ref();
                let same = comes.is_some_and(|incoming| incoming.identity == brought.identity);
                (holding.tenure == Tenure::Owned && same).then_some((address, holding))
            })
            .collect()
    }

    /// The binding is held here: its Pod is on its way, or comes back one day.
    fn hold(&self, brought: &ClaimedBinding, rack: &Arc<RackName>, draft: &mut Draft<'_>) {
        let settings = self.book.settings().settings();
        let state = if brought.reservation.is_some() {
            State::Held
        } else if brought.attached {
            let policy = brought.policy.as_deref();
            match settings.hold_by(policy, &brought.identity, &brought.origin) {
                Hold::Forever => State::Held,
                Hold::For(duration) => State::HeldUntil(self.now.after(duration)),
                // It would not be held, but its Pod is expected.
                Hold::None => State::HeldUntil(self.now.after(super::EXPECTED)),
            }
        } else {
            State::held(brought.until)
        };
        let addresses: Addresses = brought.addresses.iter().copied().collect();
        let binding = Binding {
            addresses,
            mac: brought.mac,
            rack: Arc::clone(rack),
            origin: brought.origin.clone(),
            policy: brought.policy.clone(),
            reservation: brought.reservation.as_deref().map(Box::from),
            since: self.now,
            state,
        };
        draft.put_binding(self.network, &brought.identity, &binding);
    }
}
