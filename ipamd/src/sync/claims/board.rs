//! What ADDs wait for, and what the driver knows about it: the board between both. Pure, behind one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipamd_core::ClaimWait;
use proto_ids::{Identity, NetworkName, NodeName, RackName};

use crate::ledger::claims::{Place, Wanted};

/// How long it counts who has bindings of an identity, where no Pod's UID says which Pod asked.
const FOUND_COUNTS: Duration = Duration::from_secs(10);

/// Who asks: the UID of a Pod, where one is known. What was found for one Pod does not count for the next.
pub(super) type Stamp = Option<String>;

/// A Pod that needs addresses here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// What it needs.
    pub(super) wanted: Wanted,
    /// Which Pod.
    pub(super) stamp: Stamp,
    /// Its addresses are kept after it, so that another node may have them.
    pub(super) sticky: bool,
}

/// A binding of an identity in another rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// The network.
    pub(crate) network: NetworkName,
    /// The address.
    pub(crate) address: IpAddr,
    /// Its rack.
    pub(crate) rack: RackName,
    /// Who has it.
    pub(crate) node: NodeName,
}

/// What a list of an identity's claims said.
#[derive(Clone, Debug)]
struct Found {
    stamp: Stamp,
    at: Instant,
    /// Places of this rack that are other nodes'; they come here.
    pending: BTreeSet<Place>,
    elsewhere: Vec<Elsewhere>,
}

/// Where an identity's search stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// Not done for this Pod yet.
    Open,
    /// Other nodes of this rack have these.
    Coming(BTreeSet<Place>),
    /// Nobody in this rack has one; other racks have these.
    Clear(Vec<Elsewhere>),
}

/// The board.
#[derive(Debug, Default)]
pub(super) struct Board {
    needs: BTreeMap<u64, Need>,
    next: u64,
    found: BTreeMap<Identity, Found>,
    /// What each claim waits for.
    pub(super) waits: BTreeMap<Place, ClaimWait>,
    /// Networks in which too few addresses are left that nobody has.
    pub(super) short: BTreeSet<NetworkName>,
    /// Why the API server cannot be asked.
    pub(super) away: Option<String>,
    /// What it refused last.
    pub(super) refused: Option<String>,
}

impl Board {
    /// An ADD waits. Answers its number.
    pub(super) fn put(&mut self, need: Need) -> u64 {
        self.next += 1;
        self.needs.insert(self.next, need);
        self.next
    }

    /// It waits no more.
    pub(super) fn take(&mut self, number: u64) {
        self.needs.remove(&number);
    }

    /// All that wait.
    pub(super) fn needs(&self) -> impl Iterator<Item = &Need> {
        self.needs.values()
    }

    /// Where the search for an identity stands.
    pub(super) fn search(&self, identity: &Identity, stamp: &Stamp, now: Instant) -> Search {
        let Some(found) = self.found.get(identity) else {
            return Search::Open;
        };
        let counts = match stamp {
            Some(_) => found.stamp == *stamp,
            None => now.saturating_duration_since(found.at) < FOUND_COUNTS,
        };
        if !counts {
            return Search::Open;
        }
        if found.pending.is_empty() {
            Search::Clear(found.elsewhere.clone())
        } else {
            Search::Coming(found.pending.clone())
        }
    }

    /// A search is done.
    pub(super) fn found(
        &mut self,
        identity: Identity,
        stamp: Stamp,
        pending: BTreeSet<Place>,
        elsewhere: Vec<Elsewhere>,
        now: Instant,
    ) {
        let found = Found {
            stamp,
            at: now,
            pending,
            elsewhere,
        };
        self.found.insert(identity, found);
    }

    /// What comes is what is still another node's. When none is any more, it is searched again: what is not known here any more, as
    /// after a new list, may still be there. Identities that nobody needs here are forgotten.
    pub(super) fn refresh(
        &mut self,
        needed: &BTreeSet<Identity>,
        is_pending: impl Fn(&Place, &Identity) -> bool,
    ) {
        self.found.retain(|identity, found| {
            let was_coming = !found.pending.is_empty();
            found.pending.retain(|place| is_pending(place, identity));
            needed.contains(identity) && !(was_coming && found.pending.is_empty())
        });
    }

    /// Identities that other nodes of this rack have.
    pub(super) fn coming(&self) -> BTreeSet<Identity> {
        let coming = self
            .found
            .iter()
            .filter(|(_, found)| !found.pending.is_empty());
        coming.map(|(identity, _)| identity.clone()).collect()
    }

    /// Places that come here.
    pub(super) fn pending(&self) -> BTreeSet<Place> {
        let pending = self.found.values().flat_map(|found| &found.pending);
        pending.cloned().collect()
    }

    /// What an identity waits for, in words; `None`: nothing that is known here.
    pub(super) fn told(&self, identity: &Identity, stamp: &Stamp, now: Instant) -> Option<Told> {
        if let Search::Coming(places) = self.search(identity, stamp, now) {
            let known = places.iter().find_map(|place| {
                let wait = self.waits.get(place)?;
                Some(words(identity, place, wait))
            });
            let (_, address) = places.first()?;
            return Some(known.unwrap_or_else(|| Told {
                cause: format!(
                    "{identity} has address {address} on another node, which is being asked for it"
                ),
                advice: "nothing: the runtime tries again".to_owned(),
            }));
        }
        let away = self.away.as_ref().or(self.refused.as_ref())?;
        Some(Told {
            cause: format!(
                "who has addresses of {identity}, or has one to give, cannot be asked: {away}"
            ),
            advice: "see to it that this node reaches the API server; the runtime tries again"
                .to_owned(),
        })
    }
}

/// What an ADD waits for, and what an operator does about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) cause: String,
    pub(crate) advice: String,
}

fn words(identity: &Identity, (_, address): &Place, wait: &ClaimWait) -> Told {
    let (cause, advice) = match wait {
        ClaimWait::Holder(node) => (
            format!(
                "{identity} has address {address} on node {node}, which was asked for it and has not given it yet"
            ),
            format!(
                "node {node} gives it as soon as no sandbox there has it; if {node} is gone for good, make sure that it is off and run `kubectl berth fence {node}`"
            ),
        ),
        ClaimWait::Asked { holder, by } => (
            format!(
                "{identity} has address {address} on node {holder}, which node {by} asks for too"
            ),
            format!(
                "see which of both nodes the Pod belongs to; the runtime tries again, and this node asks after {by}"
            ),
        ),
        ClaimWait::Fence(node) => (
            format!(
                "{identity} has address {address} on node {node}, which was declared dead just now"
            ),
            format!(
                "nothing: it is taken over {} after the mark was seen",
                humantime::format_duration(ipamd_core::FENCE_SETTLES)
            ),
        ),
        ClaimWait::FencedHere => (
            format!(
                "this node was declared dead, and so address {address} of {identity} is not handed out here"
            ),
            "run `kubectl berth unfence` for this node, if it is well".to_owned(),
        ),
        ClaimWait::Lost(node) => (
            format!(
                "address {address} of {identity} is node {node}'s, though a sandbox here has it: this node was declared dead while it lived"
            ),
            "delete the Pod that has it here".to_owned(),
        ),
        ClaimWait::Deleting => (
            format!("the claim of address {address} was deleted while {identity} has it"),
            "nothing: it goes when the Pod is gone".to_owned(),
        ),
    };
    Told { cause, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        ("external".parse().unwrap(), "10.0.0.10".parse().unwrap())
    }

    fn identity() -> Identity {
        "t/db-0".parse().unwrap()
    }

    fn of(uid: &str) -> Stamp {
        Stamp::from(uid.to_owned())
    }

    #[test]
    fn what_was_found_for_one_pod_does_not_count_for_the_next() {
        let now = Instant::now();
        let mut board = Board::default();
        assert_eq!(board.search(&identity(), &of("u1"), now), Search::Open);
        board.found(identity(), of("u1"), [place()].into(), Vec::new(), now);
        let coming = Search::Coming([place()].into());
        assert_eq!(board.search(&identity(), &of("u1"), now), coming);
        assert_eq!(board.search(&identity(), &of("u2"), now), Search::Open);
        assert_eq!(board.search(&identity(), &None, now), coming);
        let later = now + FOUND_COUNTS;
        assert_eq!(board.search(&identity(), &None, later), Search::Open);
        assert_eq!(board.search(&identity(), &of("u1"), later), coming);
    }

    #[test]
    fn what_has_come_or_is_not_known_any_more_is_searched_again() {
        let now = Instant::now();
        let mut board = Board::default();
        board.found(identity(), of("u1"), [place()].into(), Vec::new(), now);
        let needed = [identity()].into();
        board.refresh(&needed, |_, _| true);
        assert_eq!(board.coming(), needed);
        assert_eq!(board.pending(), [place()].into());
        board.refresh(&needed, |_, _| false);
        assert_eq!(board.coming(), BTreeSet::new());
        assert_eq!(board.search(&identity(), &of("u1"), now), Search::Open);
        board.found(identity(), of("u1"), BTreeSet::new(), Vec::new(), now);
        board.refresh(&needed, |_, _| false);
        let clear = Search::Clear(Vec::new());
        assert_eq!(board.search(&identity(), &of("u1"), now), clear);
        board.refresh(&BTreeSet::new(), |_, _| true);
        assert_eq!(board.search(&identity(), &of("u1"), now), Search::Open);
    }

    #[test]
    fn what_is_waited_for_is_told_with_what_to_do() {
        let now = Instant::now();
        let mut board = Board::default();
        assert_eq!(board.told(&identity(), &of("u1"), now), None);
        board.found(identity(), of("u1"), [place()].into(), Vec::new(), now);
        let holder: NodeName = "n1".parse().unwrap();
        for (wait, cause, advice) in [
            (None, "which is being asked", "nothing"),
            (
                Some(ClaimWait::Holder(holder.clone())),
                "10.0.0.10 on node n1",
                "kubectl berth fence n1",
            ),
            (
                Some(ClaimWait::Asked {
                    holder: holder.clone(),
                    by: "n2".parse().unwrap(),
                }),
                "which node n2 asks for too",
                "which of both nodes",
            ),
            (
                Some(ClaimWait::Fence(holder.clone())),
                "declared dead",
                "30s",
            ),
            (
                Some(ClaimWait::FencedHere),
                "not handed out here",
                "unfence",
            ),
            (Some(ClaimWait::Lost(holder)), "node n1's", "delete the Pod"),
            (
                Some(ClaimWait::Deleting),
                "was deleted",
                "when the Pod is gone",
            ),
        ] {
            board.waits.clear();
            board.waits.extend(wait.map(|wait| (place(), wait)));
            let told = board.told(&identity(), &of("u1"), now).unwrap();
            assert!(told.cause.contains(cause), "{told:?}");
            assert!(told.advice.contains(advice), "{told:?}");
        }
        board.refresh(&[identity()].into(), |_, _| false);
        board.away = Some("it is away".to_owned());
        let told = board.told(&identity(), &of("u1"), now).unwrap();
        assert!(
            told.cause.contains("cannot be asked: it is away"),
            "{told:?}"
        );
    }
}
