//! What is to be done about one claim, by what is stored here, what is seen there and what is wanted.
//!
//! Pure, and safe under any view of the API server, however old: see [`super`].

use std::sync::Arc;

use proto_ids::{Identity, NodeName};

use super::{
    ASK_SETTLES, Claim, ClaimContent, ClaimPlan, ClaimWait, ClaimWrite, ClaimedBinding,
    FENCE_SETTLES, Holding, Sight, Tenure, Wishes,
};
use crate::binding::Binding;
use crate::book::{Book, Class, Tables};
use crate::change::{Ended, Record, RecordKey};
use crate::claim::ClaimRecord;
use crate::draft::{Draft, Rest};
use crate::time::Timestamp;

impl Book {
    /// What is to be done about the claim of one address.
    pub fn plan_claim(&self, sight: &Sight<'_>, wishes: &Wishes, now: Timestamp) -> ClaimPlan {
        let network = self.network(sight.network);
        let tables = network.map(|network| &network.tables);
        let case = Case {
            book: self,
            me: &self.settings().settings().node,
            sight,
            wishes,
            now,
            tables,
            holder: tables.and_then(|tables| tables.holder(sight.address)),
        };
        let holding = tables.and_then(|tables| tables.claims.get(&sight.address));
        match (holding, sight.claim) {
            (None, None) => case.nobodys(),
            (None, Some(claim)) if claim.content.node == *case.me => case.ours_by_name(claim),
            (None, Some(claim)) => case.foreign(claim),
            (Some(holding), claim) => match &holding.tenure {
                Tenure::Owned => case.owned(holding, claim),
                Tenure::Doubted => case.doubted(holding, claim),
                Tenure::Giving { to, binding } => case.giving(claim, to, binding.as_deref()),
                Tenure::Returning => case.returning(holding, claim),
            },
        }
    }
}

/// One address with everything that decides.
struct Case<'a> {
    book: &'a Book,
    me: &'a NodeName,
    sight: &'a Sight<'a>,
    wishes: &'a Wishes,
    now: Timestamp,
    tables: Option<&'a Tables>,
    holder: Option<(&'a Arc<Identity>, &'a Binding)>,
}

impl Case<'_> {
    /// No claim, no tenure.
    fn nobodys(&self) -> ClaimPlan {
        // A binding without a claim was found on the node's ports after its store was lost.
        if self.holder.is_none() && !self.is_wanted() {
            return ClaimPlan::Idle;
        }
        self.create(1)
    }

    /// The claim names this node, which does not know of it: an answer was lost, or the store. The epoch moves on, so that
    /// nothing this node ever sent before can still take effect.
    fn ours_by_name(&self, claim: &Claim) -> ClaimPlan {
        if claim.fenced {
            return ClaimPlan::Wait(ClaimWait::FencedHere);
        }
        if claim.deleting && self.holder.is_none() {
            return delete(claim);
        }
        // What is found here is newer than what was written.
        let binding = self.claimed().or_else(|| claim.content.binding.clone());
        update(
            claim,
            ClaimContent {
                node: self.me.clone(),
                epoch: claim.content.epoch.saturating_add(1),
                binding,
                asked_by: claim.content.asked_by.clone(),
            },
        )
    }

    /// Another node's claim.
    fn foreign(&self, claim: &Claim) -> ClaimPlan {
        let content = &claim.content;
        if self.holder.is_some() {
            return self.lost(claim);
        }
        let asked_here = content.asked_by.as_ref() == Some(self.me);
        if let Some(awaiting) = self.awaiting()
            && content
                .binding
                .as_ref()
                .is_some_and(|binding| binding.identity != awaiting.identity)
        {
            return self.look_or(|| self.do_without(awaiting));
        }
        if !self.is_wanted_with(content) {
            if asked_here && !claim.fenced {
                return ask(claim, None);
            }
            return ClaimPlan::Idle;
        }
        if claim.fenced {
            if self.sight.unchanged < FENCE_SETTLES {
                return ClaimPlan::Wait(ClaimWait::Fence(content.node.clone()));
            }
            return take(claim, self.me);
        }
        match &content.asked_by {
            Some(asker) if asker == self.me => {
                ClaimPlan::Wait(ClaimWait::Holder(content.node.clone()))
            }
            Some(asker) if self.sight.unchanged < ASK_SETTLES => {
                ClaimPlan::Wait(ClaimWait::Asked {
                    holder: content.node.clone(),
                    by: asker.clone(),
                })
            }
            _ => ask(claim, Some(self.me.clone())),
        }
    }

    fn owned(&self, holding: &Holding, claim: Option<&Claim>) -> ClaimPlan {
        let Some(claim) = claim else {
            return self.gone(holding);
        };
        if claim.content.node != *self.me {
            return self.lost(claim);
        }
        if !is_of(claim, holding) {
            return self.look_or(|| self.ours_by_name(claim));
        }
        if claim.fenced {
            return self.fenced_here(claim);
        }
        if let Some(asker) = &claim.content.asked_by
            && self.can_go()
        {
            return self.give(asker);
        }
        if (claim.released || claim.deleting) && self.is_held() {
            return self.look_or(|| self.release());
        }
        let place = (self.sight.network, self.sight.address);
        if let Some(changes) = self.book.settle_later(place, holding, self.now) {
            return ClaimPlan::Commit(changes);
        }
        let claimed = match &holding.incoming {
            Some(incoming) => Some((**incoming).clone()),
            None => self.claimed(),
        };
        if differ(claim.content.binding.as_ref(), claimed.as_ref())
            || (claim.released && !self.is_incoming())
        {
            return update(
                claim,
                ClaimContent {
                    binding: claimed,
                    ..claim.content.clone()
                },
            );
        }
        let key = (self.sight.network.clone(), self.sight.address);
        let unwanted = claim.deleting || self.wishes.surplus.contains(&key);
        if unwanted && self.is_free() {
            return self.keep_as(holding, Tenure::Returning);
        }
        if claim.deleting {
            return ClaimPlan::Wait(ClaimWait::Deleting);
        }
        ClaimPlan::Idle
    }

    /// The node booted: a consistent view decides whether the address is still its own.
    fn doubted(&self, holding: &Holding, claim: Option<&Claim>) -> ClaimPlan {
        let Some(claim) = claim else {
            return self.gone(holding);
        };
        if claim.content.node != *self.me {
            return self.lost(claim);
        }
        if claim.fenced {
            return self.look_or(|| ClaimPlan::Wait(ClaimWait::FencedHere));
        }
        self.look_or(|| {
            if is_of(claim, holding) {
                self.keep_as(holding, Tenure::Owned)
            } else {
                self.ours_by_name(claim)
            }
        })
    }

    /// Forgotten here: the API server is told until it agrees. A node gets what it no longer asks for: it keeps it for the
    /// identity, and nothing has to come back.
    fn giving(
        &self,
        claim: Option<&Claim>,
        to: &NodeName,
        binding: Option<&ClaimedBinding>,
    ) -> ClaimPlan {
        let Some(claim) = claim else {
            return self.look_or(|| {
                ClaimPlan::Write(ClaimWrite::Create(ClaimContent {
                    node: self.me.clone(),
                    epoch: 1,
                    binding: binding.cloned(),
                    asked_by: None,
                }))
            });
        };
        if claim.content.node != *self.me {
            return self.look_or(|| self.commit(|draft| self.drop_tenure(draft)));
        }
        if claim.fenced {
            // Whoever takes it over finds the binding as it was last written.
            return ClaimPlan::Wait(ClaimWait::FencedHere);
        }
        let asker = claim.content.asked_by.as_ref();
        update(
            claim,
            ClaimContent {
                node: asker.unwrap_or(to).clone(),
                epoch: claim.content.epoch.saturating_add(1),
                binding: binding.cloned(),
                asked_by: None,
            },
        )
    }

    /// Forgotten here: deleted, unless somebody wants it meanwhile.
    fn returning(&self, holding: &Holding, claim: Option<&Claim>) -> ClaimPlan {
        let is_same = |claim: &&Claim| claim.content.node == *self.me && claim.uid == holding.uid;
        let Some(claim) = claim.filter(is_same) else {
            return self.look_or(|| self.commit(|draft| self.drop_tenure(draft)));
        };
        if claim.fenced {
            return ClaimPlan::Wait(ClaimWait::FencedHere);
        }
        let taker = match &claim.content.asked_by {
            Some(asker) => Some(asker),
            None if self.is_wanted() && !claim.deleting => Some(self.me),
            None => None,
        };
        match taker {
            None => delete(claim),
            Some(taker) => update(
                claim,
                ClaimContent {
                    node: taker.clone(),
                    epoch: claim.content.epoch.saturating_add(1),
                    binding: None,
                    asked_by: None,
                },
            ),
        }
    }

    /// A claim of this node's that is not there.
    fn gone(&self, holding: &Holding) -> ClaimPlan {
        self.look_or(|| {
            if self.is_free() {
                return self.commit(|draft| self.drop_tenure(draft));
            }
            self.create(holding.epoch.saturating_add(1))
        })
    }

    /// A claim that is another node's, although this one has, or had, the address.
    fn lost(&self, claim: &Claim) -> ClaimPlan {
        self.look_or(|| {
            let has_tenure = self
                .tables
                .is_some_and(|tables| tables.claims.contains_key(&self.sight.address));
            if self.is_attached() && !has_tenure {
                return ClaimPlan::Wait(ClaimWait::Lost(claim.content.node.clone()));
            }
            self.commit(|draft| {
                self.drop_tenure(draft);
                if !self.is_attached() {
                    self.forget(draft, Ended::Lost);
                }
            })
        })
    }

    /// This node is declared dead and lives: what no sandbox has, it lets go.
    fn fenced_here(&self, claim: &Claim) -> ClaimPlan {
        if self.is_attached() {
            return ClaimPlan::Wait(ClaimWait::FencedHere);
        }
        let claimed = self.claimed();
        if differ(claim.content.binding.as_ref(), claimed.as_ref()) {
            return update(
                claim,
                ClaimContent {
                    binding: claimed,
                    ..claim.content.clone()
                },
            );
        }
        self.commit(|draft| {
            self.drop_tenure(draft);
            self.forget(draft, Ended::Lost);
        })
    }

    /// Forgets the address, and with it its binding and the binding's other addresses: what remains is that they are being given.
    fn give(&self, to: &NodeName) -> ClaimPlan {
        let claims = self.tables.map(|tables| &tables.claims);
        let incoming = claims.and_then(|claims| claims.get(&self.sight.address)?.incoming.clone());
        let binding = incoming.or_else(|| self.claimed().map(Box::new));
        let addresses = match &binding {
            Some(binding) => binding.addresses.clone(),
            None => vec![self.sight.address],
        };
        self.commit(|draft| {
            self.forget(draft, Ended::Given);
            for address in addresses {
                let Some(holding) = claims.and_then(|claims| claims.get(&address)) else {
                    continue;
                };
                draft.remove(RecordKey::Address {
                    network: self.sight.network.clone(),
                    address,
                });
                draft.put(Record::Claim(ClaimRecord {
                    network: self.sight.network.clone(),
                    address,
                    holding: Holding {
                        tenure: Tenure::Giving {
                            to: to.clone(),
                            binding: binding.clone(),
                        },
                        incoming: None,
                        ..holding.clone()
                    },
                }));
            }
        })
    }

    /// An address that a binding brought by other claims waits for is somebody else's: the binding goes on without it.
    fn do_without(&self, awaiting: &ClaimedBinding) -> ClaimPlan {
        let mut rest = awaiting.clone();
        rest.addresses
            .retain(|&address| address != self.sight.address);
        let Some(tables) = self.tables else {
            return ClaimPlan::Idle;
        };
        self.commit(|draft| {
            for &address in &rest.addresses {
                if let Some(holding) = tables.claims.get(&address)
                    && holding.incoming.as_deref() == Some(awaiting)
                {
                    draft.put(Record::Claim(ClaimRecord {
                        network: self.sight.network.clone(),
                        address,
                        holding: Holding {
                            incoming: Some(Box::new(rest.clone())),
                            ..holding.clone()
                        },
                    }));
                }
            }
        })
    }

    fn keep_as(&self, holding: &Holding, tenure: Tenure) -> ClaimPlan {
        let kept = Holding {
            tenure,
            ..holding.clone()
        };
        self.commit(|draft| self.put(draft, kept))
    }

    fn put(&self, draft: &mut Draft<'_>, holding: Holding) {
        draft.put(Record::Claim(ClaimRecord {
            network: self.sight.network.clone(),
            address: self.sight.address,
            holding,
        }));
    }

    fn drop_tenure(&self, draft: &mut Draft<'_>) {
        draft.remove(RecordKey::Claim {
            network: self.sight.network.clone(),
            address: self.sight.address,
        });
    }

    /// Ends what is known of the address: binding, quarantine, age.
    fn forget(&self, draft: &mut Draft<'_>, ended: Ended) {
        let (network, address) = (self.sight.network, self.sight.address);
        if let Some((identity, binding)) = self.holder {
            // Its other addresses rest: whoever has this one wants them too.
            draft.dissolve(network, identity, binding, ended, Rest::Quarantine);
        }
        draft.remove(RecordKey::Address {
            network: network.clone(),
            address,
        });
    }

    /// Ends a held binding that nobody wants any more; its addresses rest, and stay this node's.
    fn release(&self) -> ClaimPlan {
        self.commit(|draft| {
            if let Some((identity, binding)) = self.holder {
                let network = self.sight.network;
                draft.dissolve(
                    network,
                    identity,
                    binding,
                    Ended::Unwanted,
                    Rest::Quarantine,
                );
            }
        })
    }

    fn commit(&self, fill: impl FnOnce(&mut Draft<'_>)) -> ClaimPlan {
        let mut draft = Draft::new(self.book, self.now);
        fill(&mut draft);
        ClaimPlan::Commit(draft.into_changes())
    }

    fn create(&self, epoch: u64) -> ClaimPlan {
        ClaimPlan::Write(ClaimWrite::Create(ClaimContent {
            node: self.me.clone(),
            epoch,
            binding: self.claimed().or_else(|| self.awaiting().cloned()),
            asked_by: None,
        }))
    }

    /// What cannot be taken back is decided on a consistent view only.
    fn look_or(&self, then: impl FnOnce() -> ClaimPlan) -> ClaimPlan {
        if self.sight.consistent {
            then()
        } else {
            ClaimPlan::Look
        }
    }

    fn claimed(&self) -> Option<ClaimedBinding> {
        let (identity, binding) = self.holder?;
        Some(ClaimedBinding::of(identity, binding))
    }

    fn is_attached(&self) -> bool {
        self.holder
            .is_some_and(|(_, binding)| binding.state.attached().is_some())
    }

    /// A binding is kept for an identity that is not there.
    fn is_held(&self) -> bool {
        self.holder
            .is_some_and(|(_, binding)| binding.state.attached().is_none())
    }

    fn class(&self) -> Option<Class> {
        Some(self.tables?.class(self.sight.address))
    }

    /// Nothing is known of the address that would be lost with its claim.
    fn is_free(&self) -> bool {
        !self.is_incoming()
            && matches!(
                self.class(),
                None | Some(Class::Fresh | Class::Retired(_) | Class::Unclaimed)
            )
    }

    /// No sandbox has it, nobody else may want it back, and no time has to pass.
    fn can_go(&self) -> bool {
        match self.class() {
            Some(Class::Attached | Class::Quarantined | Class::Conflicting) => false,
            // Set aside by an operator of this node.
            Some(Class::Held) => self.holder.is_some() || self.is_incoming(),
            _ => true,
        }
    }

    fn is_incoming(&self) -> bool {
        let tables = self.tables;
        tables.is_some_and(|tables| tables.incoming.contains(&self.sight.address))
    }

    /// The binding that waits for this address here.
    fn awaiting(&self) -> Option<&ClaimedBinding> {
        let tables = self.tables?;
        let brought = tables.incoming.iter();
        brought
            .filter_map(|address| tables.claims.get(address)?.incoming.as_deref())
            .find(|incoming| incoming.addresses.contains(&self.sight.address))
    }

    fn is_wanted(&self) -> bool {
        let key = (self.sight.network.clone(), self.sight.address);
        self.wishes.addresses.contains(&key) || self.awaiting().is_some()
    }

    fn is_wanted_with(&self, content: &ClaimContent) -> bool {
        let identity = content.binding.as_ref().map(|binding| &binding.identity);
        match identity {
            Some(identity) => {
                let key = (self.sight.network.clone(), identity.clone());
                self.wishes.identities.contains(&key) || self.awaiting().is_some()
            }
            // Whoever has it has no use for it yet.
            None => self.is_wanted(),
        }
    }
}

/// Whether the claim has to be written because of its binding.
fn differ(written: Option<&ClaimedBinding>, known: Option<&ClaimedBinding>) -> bool {
    match (written, known) {
        (Some(written), Some(known)) => !written.says_same(known),
        (written, known) => written.is_some() != known.is_some(),
    }
}

/// The claim is still the one that became this node's.
fn is_of(claim: &Claim, holding: &Holding) -> bool {
    claim.uid == holding.uid && claim.content.epoch == holding.epoch
}

fn update(claim: &Claim, content: ClaimContent) -> ClaimPlan {
    write(claim, content, false)
}

fn take(claim: &Claim, taker: &NodeName) -> ClaimPlan {
    let content = ClaimContent {
        node: taker.clone(),
        epoch: claim.content.epoch.saturating_add(1),
        binding: claim.content.binding.clone(),
        asked_by: None,
    };
    write(claim, content, true)
}

fn ask(claim: &Claim, asker: Option<NodeName>) -> ClaimPlan {
    let content = ClaimContent {
        asked_by: asker,
        ..claim.content.clone()
    };
    write(claim, content, false)
}

fn write(claim: &Claim, content: ClaimContent, unfence: bool) -> ClaimPlan {
    ClaimPlan::Write(ClaimWrite::Update {
        uid: claim.uid.clone(),
        version: claim.version.clone(),
        content,
        unfence,
    })
}

fn delete(claim: &Claim) -> ClaimPlan {
    ClaimPlan::Write(ClaimWrite::Delete {
        uid: claim.uid.clone(),
        version: claim.version.clone(),
    })
}
