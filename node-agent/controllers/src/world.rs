//! The world as the API server's watches tell it: Nodes, `StatefulSet`s, claims, pools, `NodeHealth`s; of each what the decisions need.
//!
//! Only a leader watches, so that a cluster pays once. **Always holds:** nothing is decided on a world that is not complete
//! ([`World::is_complete`]); a list that begins anew replaces the old one at its end, not piece by piece. A view may be old: who
//! does harm by that asks the API server again ([`crate::read`]).

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use proto_crd::claim::Claim;
use proto_crd::pool::Pool;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _};
use tracing::{debug, warn};

use crate::claim::ClaimView;
use crate::lean::{HealthView, LeanHealth, LeanNode, LeanSet, NodeView, SetView};
use crate::metrics::ControllersMetrics;
use crate::pool::PoolView;

/// Objects of one answer of a list: some hundred kilobytes.
const PAGE: u32 = 500;

/// Namespace and name.
pub(crate) type Key = (String, String);

/// Everything that is watched.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// By name.
    pub(crate) nodes: Cache<String, NodeView>,
    /// By namespace and name.
    pub(crate) sets: Cache<Key, SetView>,
    /// By name.
    pub(crate) claims: Cache<String, ClaimView>,
    /// By name.
    pub(crate) pools: Cache<String, PoolView>,
    /// By node. Only peers are chosen by them, so nothing else waits for them.
    pub(crate) healths: Cache<String, HealthView>,
}

impl World {
    /// Whether every list has been read to its end.
    pub(crate) fn is_complete(&self) -> bool {
        self.nodes.is_complete
            && self.sets.is_complete
            && self.claims.is_complete
            && self.pools.is_complete
    }
}

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    items: BTreeMap<K, V>,
    /// A list that is being read.
    pending: Option<BTreeMap<K, V>>,
    is_complete: bool,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            pending: None,
            is_complete: false,
        }
    }
}

impl<K: Ord, V: PartialEq> Cache<K, V> {
    /// What is known.
    pub(crate) const fn items(&self) -> &BTreeMap<K, V> {
        &self.items
    }

    /// Whether a list has been read to its end.
    pub(crate) const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Takes what a watch says. Answers whether anything that is kept is different now.
    pub(crate) fn apply(&mut self, event: Event<(K, V)>) -> bool {
        match event {
            Event::Init => {
                self.pending = Some(BTreeMap::new());
                false
            }
            Event::InitApply((key, value)) => {
                self.pending.get_or_insert_default().insert(key, value);
                false
            }
            Event::InitDone => {
                let listed = self.pending.take().unwrap_or_default();
                let is_news = !self.is_complete || listed != self.items;
                self.items = listed;
                self.is_complete = true;
                is_news
            }
            Event::Apply((key, value)) => {
                let is_news = self.items.get(&key) != Some(&value);
                self.items.insert(key, value);
                is_news
            }
            Event::Delete((key, _)) => self.items.remove(&key).is_some(),
        }
    }
}

/// A world that is kept up to date by [`Watch::run`]. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct WorldHandle {
    world: Arc<Mutex<World>>,
    changes: watch::Receiver<u64>,
}

impl WorldHandle {
    /// The world now. Never held across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what was different.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

/// Keeps a world up to date.
pub(crate) struct Watch {
    client: Client,
    namespace: String,
    rack_label: String,
    world: Arc<Mutex<World>>,
    changes: watch::Sender<u64>,
    metrics: ControllersMetrics,
}

impl Watch {
    /// A world of which nothing is known yet.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        rack_label: &str,
        metrics: ControllersMetrics,
    ) -> (Self, WorldHandle) {
        let world = Arc::new(Mutex::new(World::default()));
        let (changes, seen) = watch::channel(0);
        let handle = WorldHandle {
            world: Arc::clone(&world),
            changes: seen,
        };
        let watch = Self {
            client,
            namespace: namespace.to_owned(),
            rack_label: rack_label.to_owned(),
            world,
            changes,
            metrics,
        };
        (watch, handle)
    }

    /// Watches; has no end of its own.
    ///
    /// # Cancellation
    /// Ends the watches; what was seen stays.
    pub(crate) async fn run(&self) {
        let config = || watcher::Config::default().page_size(PAGE);
        let nodes = watcher(Api::<LeanNode>::all(self.client.clone()), config());
        let sets = watcher(Api::<LeanSet>::all(self.client.clone()), config());
        let claims = Api::<Claim>::namespaced(self.client.clone(), &self.namespace);
        let pools = Api::<Pool>::namespaced(self.client.clone(), &self.namespace);
        let healths = Api::<LeanHealth>::namespaced(self.client.clone(), &self.namespace);
        let node_view = |node: &LeanNode| {
            let home = node.home(&self.rack_label);
            let view = NodeView {
                home,
                ..node.into()
            };
            (node.name_any(), view)
        };
        tokio::join!(
            self.follow("nodes", nodes, node_view, |world| &mut world.nodes),
            self.follow(
                "statefulsets",
                sets,
                |set: &LeanSet| {
                    let key = (set.namespace().unwrap_or_default(), set.name_any());
                    (key, set.into())
                },
                |world| &mut world.sets
            ),
            self.follow(
                "claims",
                watcher(claims, config()),
                |claim: &Claim| (claim.name_any(), claim.into()),
                |world| &mut world.claims
            ),
            self.follow(
                "pools",
                watcher(pools, config()),
                |pool: &Pool| (pool.name_any(), pool.into()),
                |world| &mut world.pools
            ),
            self.follow(
                "nodehealths",
                watcher(healths, config()),
                |health: &LeanHealth| (health.name_any(), health.into()),
                |world| &mut world.healths
            ),
        );
    }

    async fn follow<T, K: Ord, V: PartialEq>(
        &self,
        kind: &'static str,
        events: impl Stream<Item = watcher::Result<Event<T>>> + Send,
        keep: impl Fn(&T) -> (K, V),
        cache: impl Fn(&mut World) -> &mut Cache<K, V>,
    ) {
        // Several leaders in a row, or several watches of one, must not list all at once after an API server's restart.
        tokio::time::sleep(Duration::from_millis(spread())).await;
        let mut events = pin!(events.default_backoff());
        let mut is_told = false;
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    if is_told {
                        debug!(kind, error = %root(&error), "watch failed again");
                    } else {
                        warn!(kind, error = %root(&error), "watch failed; trying on");
                        is_told = true;
                    }
                    continue;
                }
            };
            is_told = false;
            if matches!(event, Event::Init) {
                self.metrics.listed();
            }
            let event = kept(event, &keep);
            let is_news = {
                let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
                cache(&mut world).apply(event)
            };
            if is_news {
                self.changes.send_modify(|count| *count += 1);
            }
        }
    }
}

fn kept<T, K, V>(event: Event<T>, keep: impl Fn(&T) -> (K, V)) -> Event<(K, V)> {
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(keep(&object)),
        Event::Apply(object) => Event::Apply(keep(&object)),
        Event::Delete(object) => Event::Delete(keep(&object)),
    }
}

/// Up to half a second.
fn spread() -> u64 {
    RandomState::new().build_hasher().finish() % 500
}

/// The innermost cause. Errors of this client print their causes themselves: the chain would say everything twice.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(items: &[(&'static str, u8)]) -> Cache<&'static str, u8> {
        let mut cache = Cache::default();
        list(&mut cache, items);
        cache
    }

    fn list(cache: &mut Cache<&'static str, u8>, items: &[(&'static str, u8)]) -> bool {
        let mut is_news = cache.apply(Event::Init);
        for item in items {
            is_news |= cache.apply(Event::InitApply(*item));
        }
        is_news | cache.apply(Event::InitDone)
    }

    #[test]
    fn a_new_list_replaces_the_old_one_at_its_end() {
        let mut cache = cache(&[("a", 1), ("b", 2)]);
        cache.apply(Event::Init);
        cache.apply(Event::InitApply(("c", 3)));
        assert_eq!(cache.items().len(), 2);
        assert!(cache.apply(Event::InitDone));
        assert_eq!(cache.items(), &[("c", 3)].into());
    }

    #[test]
    fn only_what_is_different_is_news() {
        let mut cache = cache(&[("a", 1)]);
        for (event, is_news) in [
            (Event::Apply(("a", 1)), false),
            (Event::Apply(("a", 2)), true),
            (Event::Delete(("b", 0)), false),
            (Event::Delete(("a", 2)), true),
        ] {
            assert_eq!(cache.apply(event.clone()), is_news, "{event:?}");
        }
        assert!(!list(&mut cache, &[]));
        // The first list is news also when it is empty: from now on something can be decided.
        assert!(list(&mut Cache::default(), &[]));
    }
}
