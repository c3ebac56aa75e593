//! The ledger's side of claims: one round of decisions over all of them, and what a write to the API server made true.
//!
//! What a round commits is on the disk before its writes are told to anybody. Times of claims are the wall clock's; the book's are
//! its own, and are translated here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipamd_core::{Claim, ClaimContent, ClaimPlan, ClaimWrite, Sight, Timestamp, Wishes};
use proto_ids::{Identity, NetworkName};

use super::error::Unavailable;
use super::handle::LedgerHandle;
use super::task::Access;
use super::transaction::Transaction;
use crate::clock::ClockBase;

/// Decisions about one claim in one round, so that a mistake ends in a log and not in a loop.
const STEPS: usize = 4;

/// A network's address: what a claim is about.
pub(crate) type Place = (NetworkName, IpAddr);

/// What is known of a claim.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The claim; `None`: there is none, or it is another node's.
    pub(crate) claim: Option<Claim>,
    /// It answers a consistent read that was sent after the last change here.
    pub(crate) consistent: bool,
    /// Since when it has been like this.
    pub(crate) since: Instant,
}

/// A Pod that is bound to this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What its addresses stick to.
    pub(crate) identity: Identity,
    /// The networks it joins; `None`: all.
    pub(crate) networks: Option<Vec<NetworkName>>,
    /// Addresses it asks for.
    pub(crate) addresses: Vec<IpAddr>,
}

/// What a round is decided by, besides the book.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// What is known of claims.
    pub(crate) seen: Arc<BTreeMap<Place, Seen>>,
    /// Pods of this node.
    pub(crate) pods: Vec<Wanted>,
    /// Free addresses to be kept in each network and family.
    pub(crate) warm: usize,
    /// Claims of other nodes, and whether a binding is on them.
    pub(crate) others: BTreeMap<Place, bool>,
    /// Identities that other nodes have, as far as is known: they come with their addresses.
    pub(crate) coming: BTreeSet<Identity>,
}

/// What a round decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    /// What is to be done about claims; neither idle ones nor commits.
    pub(crate) plans: Vec<(Place, ClaimPlan)>,
    /// Places about which something was committed: what was read before is not consistent any more.
    pub(crate) committed: BTreeSet<Place>,
    /// Networks in which fewer addresses are left unclaimed than are wanted.
    pub(crate) short: BTreeSet<NetworkName>,
    /// Pods that wait for addresses, by network.
    pub(crate) missing: BTreeMap<NetworkName, usize>,
    /// Identities that have no binding that may be used, in at least one network.
    pub(crate) unready: BTreeSet<Identity>,
    /// Places whose claims name this node, which knows: what the book says of them counts, and no binding that is on the claim still.
    pub(crate) owned: BTreeSet<Place>,
}

impl LedgerHandle {
    /// Decides about all claims, and commits what is to be forgotten or taken into use here.
    pub(crate) async fn plan_claims(&self, question: Question) -> Result<Round, Unavailable> {
        self.tell(Access::Release, move |book| round(book, &question))
            .await
    }

    /// A write was answered in time: makes true here what it means.
    pub(crate) async fn claim_written(
        &self,
        (network, address): Place,
        write: ClaimWrite,
        claim: Option<Claim>,
    ) -> Result<(), Unavailable> {
        self.tell(Access::Release, move |book| {
            let clock = book.clock().clone();
            let claim = claim.map(|claim| translated(claim, |time| clock.to_book(time)));
            let plan = book.book();
            let changes =
                plan.claim_written((&network, address), &write, claim.as_ref(), book.now());
            book.apply(&changes);
        })
        .await
    }

    /// Whether an identity has a binding that may be used in each of these networks.
    pub(crate) async fn has_ready(
        &self,
        identity: Identity,
        networks: Vec<NetworkName>,
    ) -> Result<bool, Unavailable> {
        self.tell(Access::Read, move |book| {
            let book = book.book();
            networks
                .iter()
                .all(|network| book.has_ready(network, &identity))
        })
        .await
    }
}

fn round(book: &mut Transaction<'_>, question: &Question) -> Round {
    let clock = book.clock().clone();
    let (wishes, mut round) = wishes(book, question);
    let mut places = book.book().claim_places();
    places.extend(question.seen.keys().cloned());
    places.extend(wishes.addresses.iter().cloned());
    for place in places {
        decide(book, question, &wishes, &place, &clock, &mut round);
    }
    let owned = question.seen.iter().filter(|((network, address), seen)| {
        let claim = seen.claim.as_ref();
        claim.is_some_and(|claim| book.book().owns(network, *address, claim))
    });
    round.owned = owned.map(|(place, _)| place.clone()).collect();
    round
}

fn decide(
    book: &mut Transaction<'_>,
    question: &Question,
    wishes: &Wishes,
    place: &Place,
    clock: &ClockBase,
    round: &mut Round,
) {
    let seen = question.seen.get(place);
    let claim = seen.and_then(|seen| seen.claim.clone());
    let claim = claim.map(|claim| translated(claim, |time| clock.to_book(time)));
    let mut consistent = seen.is_some_and(|seen| seen.consistent);
    for _ in 0..STEPS {
        let sight = Sight {
            network: &place.0,
            address: place.1,
            claim: claim.as_ref(),
            consistent,
            unchanged: seen.map(|seen| seen.since.elapsed()).unwrap_or_default(),
        };
        match book.book().plan_claim(&sight, wishes, book.now()) {
            ClaimPlan::Idle => return,
            ClaimPlan::Commit(changes) => {
                book.apply(&changes);
                round.committed.insert(place.clone());
                consistent = false;
            }
            ClaimPlan::Write(write) => {
                let write = to_wall(write, clock);
                round.plans.push((place.clone(), ClaimPlan::Write(write)));
                return;
            }
            plan => {
                round.plans.push((place.clone(), plan));
                return;
            }
        }
    }
}

/// What this node wants of claims, by its Pods and by what it keeps warm.
fn wishes(book: &Transaction<'_>, question: &Question) -> (Wishes, Round) {
    let mut wishes = Wishes::default();
    let mut round = Round::default();
    let book = book.book();
    let settings = book.settings().settings();
    let here = || settings.pools.iter().filter(|pool| settings.uses(pool));
    let all: BTreeSet<_> = here().map(|pool| pool.network.clone()).collect();
    for pod in &question.pods {
        let joins = |network: &&NetworkName| {
            let networks = pod.networks.as_ref();
            networks.is_none_or(|networks| networks.contains(network))
        };
        let joined: Vec<_> = all.iter().filter(joins).collect();
        let ready = |network: &&&NetworkName| book.has_ready(network, &pod.identity);
        // All networks of a Pod are granted at once. One that does not say which they are and has one has them all: there may be pools of
        // networks that no Pod of this node joins.
        let has_all = pod.networks.is_none() && joined.iter().any(|network| ready(&network));
        for network in joined.iter().filter(|network| !ready(network)) {
            round.unready.insert(pod.identity.clone());
            let key = ((*network).clone(), pod.identity.clone());
            wishes.identities.insert(key);
            if !has_all && !question.coming.contains(&pod.identity) {
                *round.missing.entry((*network).clone()).or_default() += 1;
            }
            let fits = |address: &&IpAddr| {
                here().any(|pool| pool.network == **network && pool.subnet.contains(*address))
            };
            let fixed = pod.addresses.iter().filter(fits);
            wishes
                .addresses
                .extend(fixed.map(|&address| ((*network).clone(), address)));
        }
    }
    let expected = |network: &NetworkName| round.missing.get(network).copied().unwrap_or_default();
    let ahead = book.claim_ahead(question.warm, expected, &question.others);
    wishes.addresses.extend(ahead.claim);
    wishes.surplus = ahead.surplus;
    round.short = ahead.short;
    (wishes, round)
}

/// A claim with the times of another clock.
fn translated(mut claim: Claim, clock: impl Fn(Timestamp) -> Timestamp) -> Claim {
    shift(&mut claim.content, clock);
    claim
}

fn to_wall(mut write: ClaimWrite, clock: &ClockBase) -> ClaimWrite {
    match &mut write {
        ClaimWrite::Create(content) | ClaimWrite::Update { content, .. } => {
            shift(content, |time| clock.to_wall(time));
        }
        ClaimWrite::Delete { .. } => {}
    }
    write
}

fn shift(content: &mut ClaimContent, clock: impl Fn(Timestamp) -> Timestamp) {
    if let Some(binding) = &mut content.binding {
        binding.until = binding.until.map(clock);
    }
}
