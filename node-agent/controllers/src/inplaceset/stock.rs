//! The sets and what is theirs besides Pods: revisions, requests to restart containers, images asked of nodes. Watched for this
//! controller alone.
//!
//! **Always holds:** as in the [fleet](crate::fleet): nothing is decided before every list has been read to its end, and a view may be
//! old. Whatever is different marks its set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::core::ObjectMeta;
use kube::runtime::watcher::{Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use proto_crd::container_restart::ContainerRestart;
use proto_crd::image_pull::ImagePull;
use proto_crd::in_place_set::InPlaceSet;
use proto_crd::names;
use tokio::sync::watch;

use super::lean::{LeanRevision, PullSeen};
use crate::follow::{config, follow, kept};
use crate::metrics::ControllersMetrics;
use crate::mirror::{Change, Mirror, Mirrored, version_of};
use crate::world::Key;

/// What is known of sets and what is theirs.
#[derive(Debug, Default)]
pub(super) struct Stock {
    sets: Mirror<InPlaceSet>,
    revisions: Mirror<LeanRevision>,
    restarts: Mirror<ContainerRestart>,
    pulls: Mirror<PullSeen>,
    marks: Marks,
}

/// Which sets are to be looked at again, and whose the images on nodes are.
#[derive(Debug, Default)]
struct Marks {
    changed: BTreeSet<Key>,
    /// Sets, by UID.
    sets: BTreeMap<String, Key>,
    /// Nodes that were asked for something, by the UID of the set.
    nodes: BTreeMap<String, BTreeSet<String>>,
}

impl Stock {
    /// Whether every list has been read to its end.
    pub(super) const fn is_complete(&self) -> bool {
        self.sets.is_complete()
            && self.revisions.is_complete()
            && self.restarts.is_complete()
            && self.pulls.is_complete()
    }

    /// The sets, by namespace and name.
    pub(super) const fn sets(&self) -> &BTreeMap<Key, Arc<InPlaceSet>> {
        self.sets.items()
    }

    /// The revisions of a set.
    pub(super) fn revisions_of<'a>(
        &'a self,
        set: &'a InPlaceSet,
    ) -> impl Iterator<Item = &'a Arc<LeanRevision>> {
        named_after(self.revisions.items(), set)
    }

    /// One of them.
    pub(super) fn revision(&self, (namespace, name): &Key) -> Option<Arc<LeanRevision>> {
        self.revisions.get(namespace, name).cloned()
    }

    /// The revisions that a former set of this name left behind: nobody's, or still said to be that set's.
    ///
    /// A watch of revisions that lags behind that of Pods must not make Pods of a revision that is there look like Pods of none.
    pub(super) fn orphans_of<'a>(
        &'a self,
        set: &'a InPlaceSet,
    ) -> impl Iterator<Item = &'a Arc<LeanRevision>> {
        let (key, uid) = (set.key(), set.metadata.uid.as_deref());
        let named = beginning_as(self.revisions.items(), set);
        named.filter(move |item| {
            let mut owners = item.metadata.owner_references.iter().flatten();
            let is_free = match owner(&item.metadata) {
                Some((of, former)) => of == key && Some(former) != uid,
                None => !owners.any(|owner| owner.controller == Some(true)),
            };
            let is_leaving = item.metadata.deletion_timestamp.is_some();
            let label = item.labels().get(names::IN_PLACE_SET_LABEL);
            is_free && !is_leaving && label == Some(&key.1)
        })
    }

    /// The requests to restart containers of a set.
    pub(super) fn restarts_of<'a>(
        &'a self,
        set: &'a InPlaceSet,
    ) -> impl Iterator<Item = &'a Arc<ContainerRestart>> {
        named_after(self.restarts.items(), set)
    }

    /// The nodes that a set asked for images.
    pub(super) fn nodes_asked_by(&self, uid: &str) -> impl Iterator<Item = &String> {
        self.marks.nodes.get(uid).into_iter().flatten()
    }

    /// What is asked of a node, and what has become of it.
    pub(super) fn pull(&self, namespace: &str, node: &str) -> Option<&Arc<PullSeen>> {
        self.pulls.get(namespace, node)
    }

    /// UIDs of sets that are gone and that nodes were asked for something by.
    pub(super) fn gone_askers(&self) -> Vec<String> {
        let askers = self.marks.nodes.keys();
        let gone = askers.filter(|uid| !self.marks.sets.contains_key(*uid));
        gone.cloned().collect()
    }

    /// The sets of which something is different since this was last asked.
    pub(super) fn take_changed(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.marks.changed)
    }

    fn take_set(&mut self, event: Event<(Key, Arc<InPlaceSet>)>) -> bool {
        let marks = &mut self.marks;
        self.sets.take(event, |change| marks.set(change))
    }

    fn take_revision(&mut self, event: Event<(Key, Arc<LeanRevision>)>) -> bool {
        let marks = &mut self.marks;
        self.revisions.take(event, |change| marks.owned(change))
    }

    fn take_restart(&mut self, event: Event<(Key, Arc<ContainerRestart>)>) -> bool {
        let marks = &mut self.marks;
        self.restarts.take(event, |change| marks.owned(change))
    }

    fn take_pull(&mut self, event: Event<(Key, Arc<PullSeen>)>) -> bool {
        let marks = &mut self.marks;
        self.pulls.take(event, |change| marks.pull(change))
    }

    /// Takes what the answer to a write said of a set.
    pub(super) fn saw_set(&mut self, set: &InPlaceSet) {
        let marks = &mut self.marks;
        self.sets.saw(trimmed(set), |change| marks.set(change));
    }

    /// Takes what the answer to a write said of a revision.
    pub(super) fn saw_revision(&mut self, revision: &LeanRevision) {
        let marks = &mut self.marks;
        let revision = trimmed(revision);
        self.revisions.saw(revision, |change| marks.owned(change));
    }

    /// A revision was deleted.
    pub(super) fn forget_revision(&mut self, key: &Key, uid: &str) {
        let marks = &mut self.marks;
        self.revisions
            .forget(key, uid, |change| marks.owned(change));
    }

    /// Takes what the answer to a write said of a request to restart containers.
    pub(super) fn saw_restart(&mut self, restart: &ContainerRestart) {
        let marks = &mut self.marks;
        let restart = trimmed(restart);
        self.restarts.saw(restart, |change| marks.owned(change));
    }

    /// Takes what the answer to a write said of what is asked of a node.
    pub(super) fn saw_pull(&mut self, pull: &ImagePull) {
        let marks = &mut self.marks;
        self.pulls.saw(pull.into(), |change| marks.pull(change));
    }
}

impl Marks {
    fn set(&mut self, (was, is): Change<'_, InPlaceSet>) {
        if let Some(uid) = was.and_then(|it| it.uid())
            && is.is_none_or(|it| it.metadata.uid.as_ref() != Some(&uid))
        {
            self.sets.remove(&uid);
        }
        if let Some(set) = is {
            self.sets.insert(set.uid().unwrap_or_default(), set.key());
        }
        let keys = [was, is].into_iter().flatten().map(|it| it.key());
        self.changed.extend(keys);
    }

    fn owned<V: Owned>(&mut self, (was, is): Change<'_, V>) {
        let owners = [was, is].into_iter().flatten();
        let owners = owners.filter_map(|it| owner(it.metadata()));
        self.changed.extend(owners.map(|(key, _)| key));
    }

    fn pull(&mut self, (was, is): Change<'_, PullSeen>) {
        let askers = |pull: Option<&Arc<PullSeen>>| -> BTreeSet<String> {
            let askers = pull.into_iter().flat_map(|pull| pull.asked.keys());
            askers.cloned().collect()
        };
        let (before, after) = (askers(was), askers(is));
        let Some(node) = is.or(was).map(|pull| pull.node.clone()) else {
            return;
        };
        for uid in before.difference(&after) {
            if let Some(nodes) = self.nodes.get_mut(uid) {
                nodes.remove(&node);
                if nodes.is_empty() {
                    self.nodes.remove(uid);
                }
            }
        }
        for uid in &after {
            let nodes = self.nodes.entry(uid.clone()).or_default();
            nodes.insert(node.clone());
        }
        let sets = before.union(&after).filter_map(|uid| self.sets.get(uid));
        self.changed.extend(sets.cloned());
    }
}

/// What belongs to a set.
trait Owned {
    fn metadata(&self) -> &ObjectMeta;
}

impl Owned for LeanRevision {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Owned for ContainerRestart {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// Key and UID of the set that controls an object.
fn owner(metadata: &ObjectMeta) -> Option<(Key, &str)> {
    let mut owners = metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    let group = owner.api_version.split_once('/').map(|(group, _)| group);
    let is_set = owner.kind == "InPlaceSet" && group == Some(names::GROUP);
    let namespace = metadata.namespace.clone().unwrap_or_default();
    is_set.then(|| ((namespace, owner.name.clone()), owner.uid.as_str()))
}

/// What a set controls has names that begin with its own.
fn named_after<'a, V: Owned>(
    items: &'a BTreeMap<Key, Arc<V>>,
    set: &'a InPlaceSet,
) -> impl Iterator<Item = &'a Arc<V>> {
    let uid = set.metadata.uid.as_deref();
    beginning_as(items, set).filter(move |item| owner(item.metadata()).map(|(_, uid)| uid) == uid)
}

/// Whatever has such a name.
fn beginning_as<'a, V>(
    items: &'a BTreeMap<Key, Arc<V>>,
    set: &'a InPlaceSet,
) -> impl Iterator<Item = &'a Arc<V>> {
    let (namespace, name) = set.key();
    let first = (namespace.clone(), format!("{name}-"));
    let stem = first.1.clone();
    let named = items.range(first..);
    let named = named.take_while(move |((in_namespace, named), _)| {
        *in_namespace == namespace && named.starts_with(&stem)
    });
    named.map(|(_, item)| item)
}

fn trimmed<K: kube::ResourceExt + Clone>(object: &K) -> K {
    let mut object = object.clone();
    object.meta_mut().managed_fields = None;
    object
}

impl Mirrored for InPlaceSet {
    fn key(&self) -> Key {
        (self.namespace().unwrap_or_default(), self.name_any())
    }

    fn id(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    fn version(&self) -> u64 {
        version_of(self)
    }
}

impl Mirrored for ContainerRestart {
    fn key(&self) -> Key {
        (self.namespace().unwrap_or_default(), self.name_any())
    }

    fn id(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    fn version(&self) -> u64 {
        version_of(self)
    }
}

/// A stock that is kept up to date by [`StockWatch::run`]. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct StockHandle {
    stock: Arc<Mutex<Stock>>,
    changes: watch::Receiver<u64>,
}

impl StockHandle {
    /// The stock now. Never held across an await; where the fleet is locked too, that comes first.
    pub(super) fn lock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what was different.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

/// Keeps a stock up to date.
pub(super) struct StockWatch {
    client: Client,
    namespace: String,
    stock: Arc<Mutex<Stock>>,
    changes: watch::Sender<u64>,
    metrics: ControllersMetrics,
}

impl StockWatch {
    /// A stock of which nothing is known yet.
    pub(super) fn new(
        client: Client,
        namespace: &str,
        metrics: ControllersMetrics,
    ) -> (Self, StockHandle) {
        let stock = Arc::new(Mutex::new(Stock::default()));
        let (changes, seen) = watch::channel(0);
        let handle = StockHandle {
            stock: Arc::clone(&stock),
            changes: seen,
        };
        let watch = Self {
            client,
            namespace: namespace.to_owned(),
            stock,
            changes,
            metrics,
        };
        (watch, handle)
    }

    /// Watches; has no end of its own.
    ///
    /// # Cancellation
    /// Ends the watches; what was seen stays.
    pub(super) async fn run(&self) {
        let client = || self.client.clone();
        // Of these two kinds a cluster has thousands that are no set's.
        let of_sets = || config().labels(names::IN_PLACE_SET_LABEL);
        let sets = watcher(Api::<InPlaceSet>::all(client()), config());
        let revisions = watcher(Api::<LeanRevision>::all(client()), of_sets());
        let restarts = watcher(Api::<ContainerRestart>::all(client()), of_sets());
        let pulls = Api::<ImagePull>::namespaced(client(), &self.namespace);
        let pulls = watcher(pulls, config());
        let take_set = |event: Event<InPlaceSet>| {
            let event = kept(&event, |set| (set.key(), Arc::new(trimmed(set))));
            self.note(|stock| stock.take_set(event));
        };
        let take_revision = |event: Event<LeanRevision>| {
            let event = kept(&event, |it| (it.key(), Arc::new(trimmed(it))));
            self.note(|stock| stock.take_revision(event));
        };
        let take_restart = |event: Event<ContainerRestart>| {
            let event = kept(&event, |it| (it.key(), Arc::new(trimmed(it))));
            self.note(|stock| stock.take_restart(event));
        };
        let take_pull = |event: Event<ImagePull>| {
            let event = kept(&event, |it| {
                let pull = PullSeen::from(it);
                (pull.key(), Arc::new(pull))
            });
            self.note(|stock| stock.take_pull(event));
        };
        let metrics = &self.metrics;
        tokio::join!(
            follow("inplacesets", sets, metrics, take_set),
            follow("controllerrevisions", revisions, metrics, take_revision),
            follow("containerrestarts", restarts, metrics, take_restart),
            follow("imagepulls", pulls, metrics, take_pull),
        );
    }

    fn note(&self, change: impl FnOnce(&mut Stock) -> bool) {
        let is_news = {
            let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut stock)
        };
        if is_news {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

#[cfg(test)]
mod tests;
