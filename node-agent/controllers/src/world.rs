//! The world as the API server's watches tell it: Nodes, `StatefulSet`s, `InPlaceSet`s, claims, pools, `NodeHealth`s; of each what the
//! decisions need.
//!
//! Only a leader watches, so that a cluster pays once. **Always holds:** nothing is decided on a world that is not complete
//! ([`World::is_complete`]); a list that begins anew replaces the old one at its end, not piece by piece. A view may be old: who
//! does harm by that asks the API server again ([`crate::read`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use node_agent_lifecycle::observation::Report;
use proto_crd::claim::Claim;
use proto_crd::pool::Pool;
use tokio::sync::watch;
use tokio_stream::Stream;

use crate::cache::Cache;
use crate::claim::ClaimView;
use crate::follow::{config, follow, kept};
use crate::lean::{HealthView, LeanHealth, LeanInPlaceSet, LeanNode, LeanSet, NodeView, SetView};
use crate::lifecycle::report::report;
use crate::metrics::ControllersMetrics;
use crate::pool::PoolView;

/// Namespace and name.
pub(crate) type Key = (String, String);

/// Everything that is watched.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// By name.
    pub(crate) nodes: Cache<String, NodeView>,
    /// By namespace and name.
    pub(crate) sets: Cache<Key, SetView>,
    /// By namespace and name. What they own is wanted until they are known, so nothing waits for them.
    pub(crate) in_place_sets: Cache<Key, SetView>,
    /// By name.
    pub(crate) claims: Cache<String, ClaimView>,
    /// By name.
    pub(crate) pools: Cache<String, PoolView>,
    /// By node. Only peers are chosen by them, so nothing else waits for them.
    pub(crate) healths: Cache<String, HealthView>,
    /// By node: what its agent reports. Ten thousand of them change all the time, which is nobody's news: who needs them looks.
    pub(crate) reports: Cache<String, Option<Report>>,
}

impl World {
    /// Whether every list has been read to its end.
    pub(crate) fn is_complete(&self) -> bool {
        self.nodes.is_complete()
            && self.sets.is_complete()
            && self.claims.is_complete()
            && self.pools.is_complete()
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
        let nodes = watcher(Api::<LeanNode>::all(self.client.clone()), config());
        let sets = watcher(Api::<LeanSet>::all(self.client.clone()), config());
        let in_place_sets = watcher(Api::<LeanInPlaceSet>::all(self.client.clone()), config());
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
                "inplacesets",
                in_place_sets,
                |set: &LeanInPlaceSet| {
                    let key = (set.namespace().unwrap_or_default(), set.name_any());
                    (key, set.into())
                },
                |world| &mut world.in_place_sets
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
            self.follow_healths(watcher(healths, config())),
        );
    }

    async fn follow_healths(
        &self,
        events: impl Stream<Item = watcher::Result<Event<LeanHealth>>> + Send,
    ) {
        let take = |event: Event<LeanHealth>| {
            let reports = kept(&event, |health| (health.name_any(), report(health)));
            let healths = kept(&event, |health| (health.name_any(), health.into()));
            let is_news = {
                let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
                world.reports.apply(reports);
                world.healths.apply(healths)
            };
            if is_news {
                self.changes.send_modify(|count| *count += 1);
            }
        };
        follow("nodehealths", events, &self.metrics, take).await;
    }

    async fn follow<T, K: Ord, V: PartialEq>(
        &self,
        kind: &'static str,
        events: impl Stream<Item = watcher::Result<Event<T>>> + Send,
        keep: impl Fn(&T) -> (K, V),
        cache: impl Fn(&mut World) -> &mut Cache<K, V>,
    ) {
        let take = |event: Event<T>| {
            let event = kept(&event, &keep);
            let is_news = {
                let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
                cache(&mut world).apply(event)
            };
            if is_news {
                self.changes.send_modify(|count| *count += 1);
            }
        };
        follow(kind, events, &self.metrics, take).await;
    }
}
