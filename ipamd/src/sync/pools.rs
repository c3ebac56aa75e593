//! The pools of this node's rack, where they are objects of the cluster: watched, judged one by one, and put into the settings.
//!
//! Always: a Pool that cannot be used takes no other with it, and what was in use before goes on where it can; no pool is
//! given up while an address of it is attached or held here, be it of a rack in which the node was before; what is in use is
//! remembered beside the store, and a list that was read wins over it. Never: a pool of another rack.

mod convert;
mod file;
mod plan;

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use ipamd_core::{Displaced, NodeRack, RackUnknown, ValidSettings};
use ipamd_daemon::chain;
use kube::Api;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use prometheus_client::metrics::gauge::Gauge;
use proto_crd::names::NAMESPACE;
use proto_crd::pool::Pool as PoolKind;
use proto_ids::{NodeName, RackName};
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tracing::{error, info, warn};

use super::ANSWER_DEADLINE;
use super::api::{Connection, another};
use super::events::EventsHandle;
use super::node::Observed;
use super::outbox::Topic;
use file::PoolsFile;
use plan::{PoolObject, PoolPlan, RefusedPool, UsedPool, plan};

/// What the API server says of pools.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The Pools of a rack.
    listed: Option<(RackName, Arc<[PoolObject]>)>,
    /// Why they cannot be asked for now, and what an operator does about it.
    trouble: Option<(String, String)>,
}

impl Seen {
    fn of(&self, rack: &RackName) -> Option<&[PoolObject]> {
        let (listed, objects) = self.listed.as_ref()?;
        (listed == rack).then_some(objects)
    }

    /// Why nothing is known of a rack's pools.
    fn awaited(&self, node: &NodeName, rack: &RackName) -> RackUnknown {
        let (cause, advice) = match &self.trouble {
            None => (
                format!("the pools of rack {rack}, the rack of node {node}, are being read"),
                "try again in a moment".to_owned(),
            ),
            Some((problem, advice)) => (
                format!(
                    "the pools of rack {rack}, the rack of node {node}, are not known, and {problem}"
                ),
                advice.clone(),
            ),
        };
        RackUnknown {
            cause,
            advice,
            passing: true,
        }
    }
}

/// Tells that the API server could not be asked. Answers whether that is new.
pub(super) fn tell_trouble(seen: &watch::Sender<Seen>, observed: &Observed) -> bool {
    let Observed::Away { problem, advice } = observed else {
        return false;
    };
    let trouble = Some((problem.clone(), advice.clone()));
    seen.send_if_modified(|seen| {
        let is_new = seen.trouble != trouble;
        seen.trouble = trouble;
        is_new
    })
}

/// Watches the Pools of whatever rack the node is in, until it is dropped.
pub(super) async fn run(
    mut racks: watch::Receiver<NodeRack>,
    mut connections: watch::Receiver<Option<Connection>>,
    seen: watch::Sender<Seen>,
) {
    loop {
        let rack = racks.borrow_and_update().name().cloned();
        let connection = connections.borrow_and_update().clone();
        tokio::select! {
            () = follow(rack.as_ref(), connection.as_ref(), &seen) => {}
            Ok(()) = racks.changed() => {}
            () = another(&mut connections, connection.as_ref()) => {}
        }
    }
}

/// Follows the Pools of one rack by one connection. A failed watch begins anew by itself.
async fn follow(
    rack: Option<&RackName>,
    connection: Option<&Connection>,
    seen: &watch::Sender<Seen>,
) {
    let (Some(rack), Some(connection)) = (rack, connection) else {
        return std::future::pending().await;
    };
    // By parts: one Pool that a newer version wrote must not hide the others.
    let kind = ApiResource::erase::<PoolKind>(&());
    let pools = Api::<DynamicObject>::namespaced_with(connection.client.clone(), NAMESPACE, &kind);
    let of_rack = watcher::Config::default().fields(&format!("spec.rack={rack}"));
    let mut events = pin!(watcher(pools, of_rack).default_backoff());
    let (mut objects, mut listing) = (BTreeMap::new(), BTreeMap::new());
    // For the first answer: after it, the API server has something to say or not.
    let mut deadline = Some(ANSWER_DEADLINE);
    loop {
        let next = match deadline {
            Some(deadline) => tokio::time::timeout(deadline, events.next()).await,
            None => Ok(events.next().await),
        };
        let failed = match next {
            Ok(Some(Ok(event))) => {
                if !take(event, &mut objects, &mut listing) {
                    continue;
                }
                None
            }
            Ok(Some(Err(error))) => Some(connection.failed(&error)),
            // The stream has no end of its own.
            Ok(None) => return std::future::pending().await,
            Err(_) => Some(connection.silent(ANSWER_DEADLINE)),
        };
        deadline = None;
        if let Some(failed) = failed {
            if let Observed::Away { problem, advice } = &failed
                && tell_trouble(seen, &failed)
            {
                warn!(error = problem, advice, "pools cannot be watched");
            }
            continue;
        }
        let objects: Arc<[_]> = objects.values().cloned().collect();
        let listed = Some((rack.clone(), objects));
        seen.send_if_modified(|seen| {
            // The status of a Pool changes more often than what it says.
            let is_new = seen.listed != listed || seen.trouble.is_some();
            *seen = Seen {
                listed,
                trouble: None,
            };
            is_new
        });
    }
}

/// Answers whether the objects are those of a moment.
fn take(
    event: Event<DynamicObject>,
    objects: &mut BTreeMap<String, PoolObject>,
    listing: &mut BTreeMap<String, PoolObject>,
) -> bool {
    let is_part = matches!(event, Event::Init | Event::InitApply(_));
    match event {
        Event::Init => listing.clear(),
        Event::InitApply(object) => insert(listing, object),
        Event::InitDone => *objects = std::mem::take(listing),
        Event::Apply(object) => insert(objects, object),
        Event::Delete(object) => {
            objects.remove(&object.metadata.name.unwrap_or_default());
        }
    }
    !is_part
}

fn insert(objects: &mut BTreeMap<String, PoolObject>, object: DynamicObject) {
    let object = PoolObject::of(object);
    objects.insert(object.name.clone(), object);
}

/// The pools that were in use last.
#[derive(Debug)]
pub(crate) struct Remembered {
    file: PoolsFile,
    used: Vec<UsedPool>,
}

impl Remembered {
    /// What lies beside a store; `None`: with these settings pools are no objects of the cluster.
    pub(crate) fn load(store: &Path, settings: &ValidSettings) -> Option<Self> {
        let settings = settings.settings();
        let file = settings
            .claiming
            .then(|| PoolsFile::new(store.to_owned(), &settings.node))?;
        let used = file.load();
        Some(Self { file, used })
    }

    /// The settings with these pools.
    pub(crate) fn settings(&self, base: &ValidSettings) -> ValidSettings {
        with_pools(base, &self.used).unwrap_or_else(|| base.clone())
    }
}

/// Where the settings have their pools from.
#[derive(Debug)]
pub(crate) struct PoolSource {
    seen: watch::Receiver<Seen>,
    used: Vec<UsedPool>,
    refused: Vec<RefusedPool>,
    /// A pool is used only for the sake of addresses that are in use here.
    keeps: bool,
    file: Arc<PoolsFile>,
    /// Whether the disk knows what `used` says.
    stored: bool,
    events: EventsHandle,
    refusals: Gauge,
}

impl PoolSource {
    /// `remembered` is what is used before the first answer.
    pub(crate) fn new(
        seen: watch::Receiver<Seen>,
        remembered: Remembered,
        events: EventsHandle,
        refusals: Gauge,
    ) -> Self {
        Self {
            seen,
            used: remembered.used,
            refused: Vec::new(),
            keeps: false,
            file: Arc::new(remembered.file),
            stored: true,
            events,
            refusals,
        }
    }

    /// Told whenever the API server says something new.
    pub(crate) fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }

    /// What was said so far is being dealt with.
    pub(crate) fn mark_seen(&mut self) {
        self.seen.mark_unchanged();
    }

    /// Whether something is left that time alone changes.
    pub(crate) const fn is_pending(&self) -> bool {
        self.keeps || !self.stored
    }

    /// The settings with the pools that follow from what was seen, and that plan; `None`: what is used stays.
    /// `stuck` are addresses that are in use here and would be in no pool.
    pub(crate) fn compose(
        &self,
        base: &ValidSettings,
        rack: NodeRack,
        stuck: &[Displaced],
    ) -> (ValidSettings, Option<PoolPlan>) {
        let seen = self.seen.borrow();
        let Some(name) = rack.name() else {
            return (self.unchanged(base).with_rack(rack), None);
        };
        if let Some(listed) = seen.of(name) {
            let plan = plan(name, listed, &self.used, stuck);
            match with_pools(base, &plan.used) {
                Some(settings) => return (settings.with_rack(rack), Some(plan)),
                None => return (self.unchanged(base).with_rack(rack), None),
            }
        }
        if self.used.iter().any(|used| used.pool.rack == *name) {
            return (self.unchanged(base).with_rack(rack), None);
        }
        // That there is none is not known either.
        let unknown = seen.awaited(&base.settings().node, name);
        let unknown = NodeRack::Unknown(Box::new(unknown));
        (self.unchanged(base).with_rack(unknown), None)
    }

    fn unchanged(&self, base: &ValidSettings) -> ValidSettings {
        with_pools(base, &self.used).unwrap_or_else(|| base.clone())
    }

    /// A plan is in force: remembers it, and tells what of it an operator must know.
    pub(crate) async fn adopt(&mut self, plan: PoolPlan) {
        self.keeps = plan.keeps;
        if plan.refused != self.refused {
            for refused in &plan.refused {
                if !self.refused.contains(refused) {
                    warn!(pool = refused.name, error = %refused, "pool refused");
                }
            }
            for was in &self.refused {
                if plan.refused.iter().all(|refused| refused.name != was.name) {
                    info!(pool = was.name, "pool is not refused any more");
                }
            }
            match note(&plan.refused) {
                Some(note) => self.events.put(Topic::PoolRefused, note),
                None => self.events.withdraw(Topic::PoolRefused),
            }
            let count = i64::try_from(plan.refused.len());
            self.refusals.set(count.unwrap_or(i64::MAX));
            self.refused = plan.refused;
        }
        if plan.used != self.used {
            self.used = plan.used;
            self.stored = false;
        }
        self.store().await;
    }

    async fn store(&mut self) {
        if self.stored {
            return;
        }
        let (file, used) = (Arc::clone(&self.file), self.used.clone());
        match tokio::task::spawn_blocking(move || file.store(&used)).await {
            Ok(Ok(())) => self.stored = true,
            Ok(Err(error)) => warn!(error = %chain(&error), "pools in use cannot be stored"),
            Err(error) => warn!(%error, "pools in use cannot be stored"),
        }
    }
}

/// The settings with these pools.
fn with_pools(base: &ValidSettings, used: &[UsedPool]) -> Option<ValidSettings> {
    let pools = used.iter().map(|used| used.pool.clone()).collect();
    match base.with_pools(pools) {
        Ok(settings) => Some(settings),
        Err(errors) => {
            // Each was judged beside the others: not to be expected.
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            error!(error = errors.join("; "), "pools contradict each other");
            None
        }
    }
}

fn note(refused: &[RefusedPool]) -> Option<String> {
    let first = refused.first()?;
    let all: Vec<_> = refused.iter().map(ToString::to_string).collect();
    Some(format!("{}; {}", all.join("; "), first.advice()))
}
