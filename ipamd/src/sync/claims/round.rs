//! One round: what the book decides about all claims, and what of it is sent now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipamd_core::{ClaimPlan, ClaimWait, ClaimWrite, Pool, Settings};
use proto_crd::claim::claim_name;
use proto_ids::Identity;
use tracing::{error, warn};

use super::Driver;
use super::board::{Need, Search, Stamp};
use super::object::{self, Writer};
use super::requests::{Ask, Call};
use super::survey::Survey;
use crate::ledger::claims::{Place, Question, Round, Seen, Wanted};
use crate::sync::outbox::Topic;

/// How long it counts that another node has a claim.
const OTHERS_COUNT: Duration = Duration::from_secs(300);
/// Another node's claim that is waited for is read again after half of the time for which it has been as it is, within these.
const LOOK_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

impl Driver {
    /// Decides about everything, and sends what may be sent. Answers whether it is to be done again at once.
    pub(super) async fn round(&mut self) -> bool {
        let now = Instant::now();
        let needs = self.needs();
        let coming = self.shared.board().coming();
        self.remember_others(now);
        let strays = self
            .sweep
            .strays()
            .iter()
            .map(|place| (place.clone(), true));
        let question = Question {
            seen: self.views.snapshot(),
            pods: needs.iter().map(|need| need.wanted.clone()).collect(),
            warm: self.parts.warm,
            others: self
                .others
                .iter()
                .map(|(place, (bound, _))| (place.clone(), *bound))
                .chain(strays)
                .collect(),
            coming,
        };
        let Ok(round) = self.parts.ledger.plan_claims(question).await else {
            // It recovers, or is ending.
            self.wake = Instant::now() + Duration::from_secs(1);
            return false;
        };
        for place in &round.committed {
            self.views.touch(place, Instant::now());
        }
        self.owned.clone_from(&round.owned);
        self.wake = now + Duration::from_secs(60);
        let active = self.dispatch(&round);
        self.search(&needs, &round);
        self.tell(&round);
        self.hunt();
        self.forget(&active);
        if !round.committed.is_empty() {
            self.shared.arrive();
        }
        !round.committed.is_empty()
    }

    /// Pods that are bound here, and ADDs that wait.
    fn needs(&mut self) -> Vec<Need> {
        let settings = self.parts.ledger.status().borrow().settings.clone();
        let view = self.parts.pods.borrow_and_update();
        let bound = view
            .pods()
            .filter(|facts| !facts.deleting && facts.problems.is_empty());
        let mut needs: Vec<_> = bound
            .map(|facts| Need {
                wanted: Wanted {
                    identity: facts.identity.clone(),
                    networks: facts.networks.clone(),
                    addresses: facts.addresses.clone(),
                },
                stamp: Some(facts.uid.to_string()),
                sticky: facts.is_sticky_by(settings.settings()),
            })
            .collect();
        drop(view);
        let board = self.shared.board();
        for waiting in board.needs() {
            let same = |need: &&mut Need| need.wanted.identity == waiting.wanted.identity;
            match needs.iter_mut().find(same) {
                // The ADD says which networks it is, and of which Pod.
                Some(need) => *need = waiting.clone(),
                None => needs.push(waiting.clone()),
            }
        }
        needs
    }

    fn remember_others(&mut self, now: Instant) {
        for (place, seen) in self.views.snapshot().iter() {
            match &seen.claim {
                Some(claim) if claim.content.node != self.parts.node => {
                    let bound = claim.content.binding.is_some();
                    self.others.insert(place.clone(), (bound, now));
                }
                _ => {
                    self.others.remove(place);
                }
            }
        }
        self.others
            .retain(|_, (_, heard)| now.saturating_duration_since(*heard) < OTHERS_COUNT);
        self.barred.retain(|_, until| *until > now);
        let views = &self.views;
        self.read.retain(|place, _| views.seen(place).is_some());
    }

    /// Sends what was decided, what Pods wait for first. Answers the places about which there is something to do.
    fn dispatch(&mut self, round: &Round) -> BTreeSet<Place> {
        let now = Instant::now();
        let settings = self.parts.ledger.status().borrow().settings.clone();
        let settings = settings.settings();
        self.sweep(settings);
        let hurry = !round.missing.is_empty();
        let mut active: BTreeSet<Place> = self.look.iter().chain(&self.busy).cloned().collect();
        let pending = self.shared.board().pending();
        active.extend(pending.iter().cloned());
        let mut todo: Vec<(bool, Place, Option<ClaimWrite>)> = Vec::new();
        let mut waits = BTreeMap::new();
        for place in &self.look {
            todo.push((hurry || pending.contains(place), place.clone(), None));
        }
        for (place, plan) in &round.plans {
            active.insert(place.clone());
            if self.look.contains(place) {
                continue;
            }
            match plan {
                ClaimPlan::Idle | ClaimPlan::Commit(_) => {}
                ClaimPlan::Look => todo.push((true, place.clone(), None)),
                ClaimPlan::Write(write) => {
                    let urgent = self.is_urgent(place, write, hurry);
                    todo.push((urgent, place.clone(), Some(write.clone())));
                }
                ClaimPlan::Wait(wait) => {
                    waits.insert(place.clone(), wait.clone());
                    let read = self.read.get(place).copied();
                    let due = self.views.seen(place).map(|seen| look_again(seen, read));
                    if let Some(due) = due.filter(|_| is_others(wait)) {
                        if due <= now {
                            todo.push((true, place.clone(), None));
                        }
                        self.wake = self.wake.min(due.max(now + LOOK_PAUSES.0));
                    }
                }
            }
        }
        self.parts.metrics.set_waiting(waits.len());
        self.shared.board().waits = waits;
        self.transmit(todo, settings);
        active
    }

    /// Sends what may be sent now, what somebody waits for first.
    fn transmit(&mut self, mut todo: Vec<(bool, Place, Option<ClaimWrite>)>, settings: &Settings) {
        let now = Instant::now();
        todo.sort_by_key(|(urgent, ..)| !urgent);
        for (urgent, place, write) in todo {
            let is_new = matches!(write, Some(ClaimWrite::Create(_)));
            // What a list says is the cause of another round.
            let later = is_new
                && (self.is_surveyed(&place, settings) || !self.sweep.lets(&place, settings));
            if later || self.connection.is_none() || self.busy.contains(&place) {
                continue;
            }
            if let Some(until) = self.barred.get(&place) {
                self.wake = self.wake.min(*until);
                continue;
            }
            if !self.pace.take(urgent, self.calls.len(), now) {
                self.wake = self.wake.min(self.pace.next(now));
                continue;
            }
            if let Some(call) = self.call(&place, write, settings) {
                self.busy.insert(place);
                self.send(call);
            }
        }
    }

    /// Whether the claims of the place's pool are being listed.
    fn is_surveyed(&self, place: &Place, settings: &Settings) -> bool {
        let survey = pool_of(settings, place).and_then(|pool| self.surveys.get(&pool.name));
        survey.is_some_and(Survey::is_under_way)
    }

    /// Whether a Pod, here or elsewhere, waits for a write.
    fn is_urgent(&self, place: &Place, write: &ClaimWrite, hurry: bool) -> bool {
        match write {
            ClaimWrite::Create(content) => hurry || content.binding.is_some(),
            ClaimWrite::Delete { .. } => false,
            ClaimWrite::Update { content, .. } => {
                let seen = self.views.seen(place).and_then(|seen| seen.claim.as_ref());
                let stays = seen.is_some_and(|claim| {
                    claim.content.node == content.node && claim.content.epoch == content.epoch
                });
                // What stays here is only written down; a question, or what changes hands, somebody waits for.
                !stays || content.node != self.parts.node
            }
        }
    }

    /// The request of a decision; `None`: it cannot be made, and the claim is read first.
    fn call(
        &mut self,
        place: &Place,
        write: Option<ClaimWrite>,
        settings: &Settings,
    ) -> Option<Call> {
        let uid = self.connection.as_ref()?.uid.clone();
        let writer = Writer {
            node: &self.parts.node,
            uid: uid.as_deref(),
        };
        let seen = self.views.object(place);
        let pool = pool_of(settings, place);
        let named = seen.and_then(|object| object.metadata.name.clone());
        let name = named.or_else(|| Some(claim_name(pool?.name.as_str(), place.1)))?;
        let Some(write) = write else {
            return Some(Call {
                ask: Ask::Look(place.clone()),
                name,
                object: None,
            });
        };
        let is_seen = |version: &String| {
            seen.filter(|it| it.metadata.resource_version.as_ref() == Some(version))
        };
        let object = match &write {
            ClaimWrite::Create(content) => Some(object::create(pool?, place.1, content, writer)),
            ClaimWrite::Update {
                version,
                content,
                unfence,
                ..
            } => is_seen(version).map(|seen| object::update(seen, content, *unfence, writer)),
            ClaimWrite::Delete { version, .. } => is_seen(version).cloned(),
        };
        let Some(object) = object else {
            self.look.insert(place.clone());
            self.wake = Instant::now();
            return None;
        };
        Some(Call {
            ask: Ask::Write(place.clone(), Box::new(write)),
            name,
            object: Some(Box::new(object)),
        })
    }

    /// Asks who has bindings of identities that may have one elsewhere.
    fn search(&mut self, needs: &[Need], round: &Round) {
        let now = Instant::now();
        let open: Vec<(Identity, Stamp)> = {
            let mut board = self.shared.board();
            let needed = needs.iter().map(|need| need.wanted.identity.clone());
            board.refresh(&needed.collect(), |place, identity| {
                self.views.comes(place, identity, &self.owned)
            });
            let wanted = needs.iter().filter(|need| {
                need.sticky
                    && round.unready.contains(&need.wanted.identity)
                    && board.search(&need.wanted.identity, &need.stamp, now) == Search::Open
            });
            let pairs = wanted.map(|need| (need.wanted.identity.clone(), need.stamp.clone()));
            pairs.collect()
        };
        for (identity, stamp) in open {
            if self.connection.is_none() || self.finding.contains_key(&identity) {
                continue;
            }
            if !self.pace.take(true, self.calls.len(), now) {
                self.wake = self
                    .wake
                    .min(self.pace.next(now) + Duration::from_millis(5));
                continue;
            }
            self.finding.insert(identity.clone(), stamp);
            self.send(Call {
                ask: Ask::Find(identity),
                name: String::new(),
                object: None,
            });
        }
    }

    /// Says what an operator must know.
    fn tell(&mut self, round: &Round) {
        let mut standing = BTreeSet::new();
        for (place, plan) in &round.plans {
            let (topic, note) = match plan {
                ClaimPlan::Wait(ClaimWait::Lost(node)) => (
                    Topic::AddressLost,
                    format!(
                        "address {} is node {node}'s, and a sandbox here has it still: this node was declared dead while it lived; \
                         delete the Pod that has it here",
                        place.1
                    ),
                ),
                ClaimPlan::Wait(ClaimWait::FencedHere) => (
                    Topic::NodeFenced,
                    format!(
                        "this node was declared dead, and hands out what it had no more (address {}); if it is well, run \
                         `kubectl berth unfence {}`",
                        place.1, self.parts.node
                    ),
                ),
                _ => continue,
            };
            standing.insert(place.clone());
            if self.told.insert(place.clone()) {
                error!(network = %place.0, address = %place.1, "{note}");
                self.parts.events.put(topic, note);
            }
        }
        self.told.retain(|place| standing.contains(place));
        let starved = round.short.iter();
        let starved: BTreeSet<_> = starved
            .filter(|network| round.missing.contains_key(*network))
            .cloned()
            .collect();
        for network in starved.difference(&self.starved) {
            let note = format!(
                "Pods wait for addresses of network {network}, and every one of the rack's pools is claimed: add a range to the \
                 pool, or release addresses that nobody needs (`kubectl berth pools`, `kubectl berth ips --held`)"
            );
            warn!(%network, "{note}");
            self.parts.events.put(Topic::PoolExhausted, note);
        }
        self.starved = starved;
        self.shared.board().short.clone_from(&round.short);
    }

    /// Claims of others about which there is nothing to do.
    fn forget(&mut self, active: &BTreeSet<Place>) {
        let node = &self.parts.node;
        let is_own = |seen: &Seen| {
            let claim = seen.claim.as_ref();
            claim.is_some_and(|claim| claim.content.node == *node)
        };
        self.views
            .keep(|place, seen| active.contains(place) || is_own(seen));
        let own = self
            .views
            .snapshot()
            .values()
            .filter(|seen| is_own(seen))
            .count();
        self.parts.metrics.set_own(own);
    }
}

/// When another node's claim is to be read again.
fn look_again(seen: &Seen, read: Option<Instant>) -> Instant {
    let last = read.unwrap_or(seen.since);
    let stood = last.saturating_duration_since(seen.since);
    last + (stood / 2).clamp(LOOK_PAUSES.0, LOOK_PAUSES.1)
}

const fn is_others(wait: &ClaimWait) -> bool {
    matches!(
        wait,
        ClaimWait::Holder(_) | ClaimWait::Asked { .. } | ClaimWait::Fence(_)
    )
}

pub(super) fn pool_of<'a>(settings: &'a Settings, (network, address): &Place) -> Option<&'a Pool> {
    let mut pools = settings.pools.iter();
    pools.find(|pool| pool.network == *network && pool.subnet.contains(address))
}
