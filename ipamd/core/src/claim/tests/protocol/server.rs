//! The API server as the nodes know it: objects with versions, optimistic locking, and all the past that a late view can show.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::{Claim, ClaimContent, ClaimWrite};

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done; the claim is like this now, or gone.
    Done(Box<Option<Claim>>),
    /// There is one already, or it is not as it was seen.
    Conflict,
}

/// What others than the nodes write.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    fenced: bool,
    released: bool,
}

#[derive(Debug, Default)]
pub(super) struct Server {
    claims: BTreeMap<IpAddr, Claim>,
    past: BTreeMap<IpAddr, Vec<Option<Claim>>>,
    count: u64,
}

impl Server {
    pub(super) fn get(&self, address: IpAddr) -> Option<&Claim> {
        self.claims.get(&address)
    }

    pub(super) fn claims(&self) -> impl Iterator<Item = (IpAddr, &Claim)> {
        self.claims.iter().map(|(&address, claim)| (address, claim))
    }

    /// Everything that was ever the case with an address, the first of it that there was nothing.
    pub(super) fn past(&self, address: IpAddr) -> Vec<Option<Claim>> {
        let mut all = vec![None];
        all.extend(self.past.get(&address).into_iter().flatten().cloned());
        all
    }

    pub(super) fn write(&mut self, address: IpAddr, write: &ClaimWrite) -> Outcome {
        let seen =
            |claim: &Claim, uid: &str, version: &str| claim.uid == uid && claim.version == version;
        match write {
            ClaimWrite::Create(content) => {
                if self.claims.contains_key(&address) {
                    return Outcome::Conflict;
                }
                self.count += 1;
                let uid = format!("u{}", self.count);
                self.put(address, uid, content.clone(), Marks::default())
            }
            ClaimWrite::Update {
                uid,
                version,
                content,
                unfence,
            } => match self.claims.get(&address) {
                Some(claim) if seen(claim, uid, version) => {
                    // What the admission policy demands.
                    assert!(
                        !unfence || claim.fenced,
                        "a fence that is not there is taken away"
                    );
                    let is_question = claim.content.asked_by != content.asked_by
                        && claim.content.node == content.node;
                    let marks = Marks {
                        fenced: claim.fenced && !unfence,
                        released: claim.released && is_question,
                    };
                    self.put(address, uid.clone(), content.clone(), marks)
                }
                _ => Outcome::Conflict,
            },
            ClaimWrite::Delete { uid, version } => match self.claims.get(&address) {
                Some(claim) if seen(claim, uid, version) => {
                    self.claims.remove(&address);
                    self.past.entry(address).or_default().push(None);
                    Outcome::Done(Box::new(None))
                }
                _ => Outcome::Conflict,
            },
        }
    }

    /// Sets or takes away the mark on every claim of a node.
    pub(super) fn fence(&mut self, node: &str, fenced: bool) {
        let of_node = self
            .claims()
            .filter(|(_, claim)| claim.content.node.as_str() == node && claim.fenced != fenced);
        let found: Vec<_> = of_node
            .map(|(address, claim)| (address, claim.clone()))
            .collect();
        for (address, claim) in found {
            let marks = Marks {
                fenced,
                released: claim.released,
            };
            self.put(address, claim.uid, claim.content, marks);
        }
    }

    /// The controllers see a binding that is held for nobody.
    pub(super) fn release(&mut self, address: IpAddr) {
        if let Some(claim) = self.claims.get(&address).cloned()
            && claim
                .content
                .binding
                .as_ref()
                .is_some_and(|binding| !binding.attached)
        {
            let marks = Marks {
                fenced: claim.fenced,
                released: true,
            };
            self.put(address, claim.uid, claim.content, marks);
        }
    }

    fn put(
        &mut self,
        address: IpAddr,
        uid: String,
        content: ClaimContent,
        marks: Marks,
    ) -> Outcome {
        self.count += 1;
        let claim = Claim {
            uid,
            version: self.count.to_string(),
            content,
            fenced: marks.fenced,
            released: marks.released,
            deleting: false,
        };
        self.claims.insert(address, claim.clone());
        self.past
            .entry(address)
            .or_default()
            .push(Some(claim.clone()));
        Outcome::Done(Box::new(Some(claim)))
    }
}
