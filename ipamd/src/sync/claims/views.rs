//! What is known of claims: own ones by a watch, others by reading them.
//!
//! Always: an older version never replaces a newer one; a view is consistent only when it answers a read that was sent after the
//! last change of its claim here. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use proto_crd::claim::Claim as Object;
use proto_ids::{Identity, NodeName};

use super::object::{ReadClaimError, read};
use crate::ledger::claims::{Place, Seen};

/// What a read or a write answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A watch: as old as it may be.
    Watch,
    /// A consistent read, or a write, that was sent at this time.
    Answer(Instant),
}

/// All that is known.
#[derive(Debug)]
pub(super) struct Views {
    node: NodeName,
    seen: Arc<BTreeMap<Place, Seen>>,
    objects: BTreeMap<Place, Object>,
    /// When something was last changed here, or sent, about a claim.
    touched: BTreeMap<Place, Instant>,
}

impl Views {
    pub(super) fn new(node: NodeName) -> Self {
        Self {
            node,
            seen: Arc::default(),
            objects: BTreeMap::new(),
            touched: BTreeMap::new(),
        }
    }

    /// For a round of decisions.
    pub(super) fn snapshot(&self) -> Arc<BTreeMap<Place, Seen>> {
        Arc::clone(&self.seen)
    }

    pub(super) fn object(&self, place: &Place) -> Option<&Object> {
        self.objects.get(place)
    }

    pub(super) fn seen(&self, place: &Place) -> Option<&Seen> {
        self.seen.get(place)
    }

    /// A claim was seen. Answers its place, and whether anything is new.
    pub(super) fn see(
        &mut self,
        mut object: Object,
        source: Source,
        now: Instant,
    ) -> Result<(Place, bool), ReadClaimError> {
        let (place, claim) = read(&object)?;
        object.metadata.managed_fields = None;
        let known = self.seen.get(&place).and_then(|seen| seen.claim.as_ref());
        if let Some(known) = known
            && is_older(&claim.version, &known.version)
        {
            return Ok((place, false));
        }
        let same = known.is_some_and(|known| known.version == claim.version);
        let consistent = self.is_consistent(&place, source);
        let old = self.seen.get(&place);
        if same && source == Source::Watch {
            return Ok((place, false));
        }
        let since = match old {
            Some(old) if same => old.since,
            _ => now,
        };
        let seen = Seen {
            claim: Some(claim),
            consistent,
            since,
        };
        Arc::make_mut(&mut self.seen).insert(place.clone(), seen);
        self.objects.insert(place.clone(), object);
        Ok((place, true))
    }

    /// A read found no claim.
    pub(super) fn see_none(&mut self, place: &Place, source: Source, now: Instant) {
        let consistent = self.is_consistent(place, source);
        let seen = Seen {
            claim: None,
            consistent,
            since: now,
        };
        Arc::make_mut(&mut self.seen).insert(place.clone(), seen);
        self.objects.remove(place);
    }

    /// The watch says that an own claim is gone, or another node's.
    pub(super) fn leaves(&mut self, object: &Object, now: Instant) -> Option<Place> {
        let (place, claim) = read(object).ok()?;
        let known = self.seen.get(&place)?.claim.as_ref()?;
        if is_older(&claim.version, &known.version) || known.content.node != self.node {
            return None;
        }
        self.see_none(&place, Source::Watch, now);
        Some(place)
    }

    /// Own claims that a whole list, sent at `sent`, does not have: what was believed of them is out of date.
    pub(super) fn missing_from(&self, listed: &BTreeSet<Place>) -> Vec<Place> {
        let own = self.seen.iter().filter(|(_, seen)| {
            let claim = seen.claim.as_ref();
            claim.is_some_and(|claim| claim.content.node == self.node)
        });
        own.map(|(place, _)| place)
            .filter(|place| !listed.contains(place))
            .cloned()
            .collect()
    }

    /// Something changes about a claim: what was read before says nothing about what is after.
    pub(super) fn touch(&mut self, place: &Place, now: Instant) {
        self.touched.insert(place.clone(), now);
        if let Some(seen) = Arc::make_mut(&mut self.seen).get_mut(place) {
            seen.consistent = false;
        }
    }

    /// Forgets claims about which there is nothing to do.
    pub(super) fn keep(&mut self, wanted: impl Fn(&Place, &Seen) -> bool) {
        if self.seen.iter().all(|(place, seen)| wanted(place, seen)) {
            return;
        }
        Arc::make_mut(&mut self.seen).retain(|place, seen| wanted(place, seen));
        let seen = &self.seen;
        self.objects.retain(|place, _| seen.contains_key(place));
        self.touched.retain(|place, _| seen.contains_key(place));
    }

    /// Whether a claim with a binding of this identity comes here: another node has it, or has given it and the book does not know yet.
    /// `owned` are the places about which the book knows.
    pub(super) fn comes(
        &self,
        place: &Place,
        identity: &Identity,
        owned: &BTreeSet<Place>,
    ) -> bool {
        let claim = self.seen(place).and_then(|seen| seen.claim.as_ref());
        claim.is_some_and(|claim| {
            let binding = claim.content.binding.as_ref();
            let is_known = claim.content.node == self.node && owned.contains(place);
            !is_known && binding.is_some_and(|binding| binding.identity == *identity)
        })
    }

    fn is_consistent(&self, place: &Place, source: Source) -> bool {
        match source {
            Source::Watch => false,
            Source::Answer(sent) => self
                .touched
                .get(place)
                .is_none_or(|&touched| touched <= sent),
        }
    }
}

/// Whether a version is of before another. Of one kind of objects they are numbers that grow (Kubernetes 1.35 guarantees it; etcd
/// always did); what is none is never older.
fn is_older(one: &str, other: &str) -> bool {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => one < other,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
