//! The way to the wire for who grants addresses: names a segment, and lets the first Pod on it wait until its addresses
//! were asked for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proto_ids::{IfName, NetworkName};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::debug;

use super::Guard;

/// How long the first Pod of a segment waits at most: the bridge has just been made, its carrier comes a little later,
/// then the first addresses are asked for and their answers waited for.
const SEARCH: Duration = Duration::from_millis(500);
/// Segments that are remembered as searched; a node has a few.
const LIMIT: usize = 256;
/// Names that wait to be looked at; what does not fit is named again by the next Pod.
const QUEUE: usize = 64;

/// A link on which a network is heard, as `berth` names it when it asks for addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NamedSegment {
    pub(super) network: NetworkName,
    pub(super) link: IfName,
}

/// Segments whose next addresses have been asked for.
#[derive(Clone, Debug)]
pub(super) struct Searched(Arc<watch::Sender<BTreeSet<NamedSegment>>>);

impl Searched {
    /// The segment has been searched, or there is no use in waiting for it.
    pub(super) fn insert(&self, segment: NamedSegment) {
        self.0
            .send_if_modified(|all| all.len() < LIMIT && all.insert(segment));
    }

    /// The segment is gone; one of the same name will be another.
    pub(super) fn remove(&self, segment: &NamedSegment) {
        self.0.send_if_modified(|all| all.remove(segment));
    }

    fn contains(&self, segment: &NamedSegment) -> bool {
        let all = self.0.borrow();
        all.contains(segment) || all.len() >= LIMIT
    }
}

/// The way to the wire. Clones lead to the same.
#[derive(Clone, Debug)]
pub(crate) struct WireHandle {
    guards: watch::Receiver<Arc<[Guard]>>,
    named: mpsc::Sender<NamedSegment>,
    searched: Searched,
}

impl WireHandle {
    /// A handle, and what it says.
    pub(super) fn new(
        guards: watch::Receiver<Arc<[Guard]>>,
    ) -> (Self, mpsc::Receiver<NamedSegment>, Searched) {
        let (named, receiver) = mpsc::channel(QUEUE);
        let searched = Searched(Arc::new(watch::Sender::new(BTreeSet::new())));
        let handle = Self {
            guards,
            named,
            searched: searched.clone(),
        };
        (handle, receiver, searched)
    }

    /// A handle where no wire is watched: nobody is asked, nobody waits.
    pub(crate) fn unwatched() -> Self {
        Self::new(watch::channel(Arc::default()).1).0
    }

    /// Names the link on which a network is heard. The first time it waits until the addresses handed out next have been
    /// asked for there, half a second at most; from then on they are asked for ahead of time, and nobody waits.
    ///
    /// # Cancellation
    /// Safe: the segment stays named.
    pub(crate) async fn hear(&self, network: &NetworkName, link: &IfName) {
        let segment = NamedSegment {
            network: network.clone(),
            link: link.clone(),
        };
        let guarded = (self.guards.borrow().iter()).any(|guard| guard.network == *network);
        if !guarded || self.searched.contains(&segment) {
            return;
        }
        let mut searched = self.searched.0.subscribe();
        if self.named.try_send(segment.clone()).is_err() {
            return;
        }
        let found = searched.wait_for(|all| all.contains(&segment));
        if timeout(SEARCH, found).await.is_err() {
            debug!(%network, %link, "addresses are granted before the segment was searched");
            self.searched.insert(segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn guards() -> Arc<[Guard]> {
        let guard = Guard {
            network: "external".parse().unwrap(),
            subnet: "10.20.1.0/24".parse().unwrap(),
        };
        Arc::new([guard])
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(work)
    }

    async fn hear(wire: &WireHandle, network: &str) -> Duration {
        let begin = Instant::now();
        wire.hear(&network.parse().unwrap(), &"br0".parse().unwrap())
            .await;
        begin.elapsed()
    }

    #[test]
    fn first_call_waits_for_the_search_and_later_ones_do_not() {
        run(async {
            let (wire, mut named, searched) = WireHandle::new(watch::channel(guards()).1);
            let search = async {
                let segment = named.recv().await.unwrap();
                assert_eq!(segment.link.as_str(), "br0");
                searched.insert(segment.clone());
                segment
            };
            let (waited, segment) = tokio::join!(hear(&wire, "external"), search);
            assert!(waited < SEARCH, "{waited:?}");
            hear(&wire, "external").await;
            assert!(named.try_recv().is_err(), "not named again");

            searched.remove(&segment);
            let (_, again) = tokio::join!(hear(&wire, "external"), async {
                let again = named.recv().await.unwrap();
                searched.insert(again.clone());
                again
            });
            assert_eq!(again, segment, "a segment that went away is searched anew");
        });
    }

    #[test]
    fn segment_that_cannot_be_searched_is_waited_for_once_and_not_for_ever() {
        run(async {
            let (wire, mut named, _searched) = WireHandle::new(watch::channel(guards()).1);
            assert!(hear(&wire, "external").await >= SEARCH);
            assert!(named.try_recv().is_ok());
            hear(&wire, "external").await;
            assert!(named.try_recv().is_err(), "nobody waits a second time");
        });
    }

    #[test]
    fn nobody_waits_where_nothing_is_guarded_or_watched() {
        run(async {
            let (wire, mut named, _searched) = WireHandle::new(watch::channel(guards()).1);
            hear(&wire, "internal").await;
            assert!(named.try_recv().is_err());
            hear(&WireHandle::unwatched(), "external").await;
            drop(named);
            assert!(hear(&wire, "external").await < SEARCH, "the wire ended");
        });
    }
}
