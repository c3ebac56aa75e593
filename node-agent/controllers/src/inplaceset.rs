//! `InPlaceSet`s: looked at one by one when something of theirs changed, decided by [`node_agent_inplace`], carried out here.
//!
//! **Always holds:** a set is looked at by one worker at a time, and what its writes answered is known before it is looked at again;
//! before a Pod's containers are replaced or it is deleted it is read once more. Nothing else of the controllers waits for this.

mod body;
mod carry;
mod lean;
mod leftovers;
mod look;
mod nodes;
mod orphans;
mod queue;
mod racks;
mod statuses;
mod stock;
mod tell;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use kube::Client;
use node_agent_inplace::plan::plan;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::fleet::FleetHandle;
use crate::metrics::{Controller, ControllersMetrics, PassResult};
use crate::read::{ReadError, Reader};
use crate::reign::Reign;
use crate::world::{Key, WorldHandle};
use crate::write::{WriteError, Writer};
use carry::{DeedError, Outcome};
use leftovers::Leftovers;
use look::Memory;
use nodes::Nodes;
use queue::Queue;
use statuses::Statuses;
use stock::{StockHandle, StockWatch};
use tell::Told;

/// Sets that are looked at at once: most of the time they wait for their turn to write.
const WORKERS: usize = 16;
/// Writes under way or waiting for their turn: two thirds of a second of the pace, which others wait at most.
const DEEDS: usize = 32;
/// A look may take a tenth of a core.
const SHARE: u32 = 10;
/// Every set, all the same.
const IDLE: Duration = Duration::from_secs(600);
/// After somebody was faster: his change is seen soon.
const OVERTAKEN: Duration = Duration::from_millis(200);

/// The controller of sets.
pub(crate) struct InPlaceSets {
    pub(crate) client: Client,
    pub(crate) writer: Writer,
    pub(crate) fleet: FleetHandle,
    pub(crate) world: WorldHandle,
    /// Where Berth's own objects are.
    pub(crate) namespace: String,
    /// Label of a Node: its rack.
    pub(crate) rack_label: String,
    /// Who tells in Events.
    pub(crate) instance: String,
    pub(crate) metrics: ControllersMetrics,
}

/// Why a set was not looked at.
#[derive(Debug, thiserror::Error)]
enum PassError {
    /// Something could not be asked.
    #[error("asking what there is")]
    Read(#[source] ReadError),
    /// Something was not written.
    #[error("writing")]
    Write(#[source] WriteError),
    /// A Pod is not as it would have to be.
    #[error("a Pod")]
    Pod(#[source] Box<DeedError>),
}

/// What the workers share.
struct Work {
    reader: Reader,
    writer: Writer,
    fleet: FleetHandle,
    /// Looked at for where replacements go, and waited for by nobody.
    world: WorldHandle,
    stock: StockHandle,
    nodes: Nodes,
    namespace: String,
    rack_label: String,
    instance: String,
    metrics: ControllersMetrics,
    queue: Mutex<Queue>,
    /// Something is in the queue that was not.
    queued: Notify,
    memory: Mutex<Memory>,
    leftovers: Mutex<Leftovers>,
    told: Mutex<Told>,
    statuses: Mutex<Statuses>,
    turns: Arc<Semaphore>,
    reign: Reign,
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

impl InPlaceSets {
    /// Works until the reign is over.
    pub(crate) async fn run(self, reign: Reign) {
        let reader = Reader::new(self.client.clone());
        let (watch, stock) = StockWatch::new(self.client, &self.namespace, self.metrics.clone());
        let work = Arc::new(Work {
            nodes: Nodes::new(reader.clone(), &self.namespace),
            reader,
            writer: self.writer,
            fleet: self.fleet,
            world: self.world,
            stock,
            namespace: self.namespace,
            rack_label: self.rack_label,
            instance: self.instance,
            metrics: self.metrics,
            queue: Mutex::default(),
            queued: Notify::new(),
            memory: Mutex::default(),
            leftovers: Mutex::default(),
            told: Mutex::default(),
            statuses: Mutex::default(),
            turns: Arc::new(Semaphore::new(DEEDS)),
            reign,
        });
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            workers.spawn(Arc::clone(&work).work());
        }
        let marking = async { tokio::join!(work.mark(), work.sweep()) };
        tokio::select! {
            // Four lists and their parsers.
            () = Box::pin(watch.run()) => {}
            _ = marking => {}
        }
        // Each ends between two writes. One that panicked takes the process with it.
        while let Some(ended) = workers.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Work {
    /// Puts into the queue what changed, until the reign is over.
    async fn mark(&self) {
        let mut pods = self.fleet.changes();
        let mut others = self.stock.changes();
        let mut all_due = Instant::now() + IDLE;
        while self.reign.goes_on() {
            if Instant::now() >= all_due {
                all_due = Instant::now() + IDLE;
                self.queue_all();
            }
            pods.mark_unchanged();
            others.mark_unchanged();
            let is_complete = self.fleet.lock().is_complete() && self.stock.lock().is_complete();
            if is_complete {
                self.queue_changed();
            }
            tokio::select! {
                _ = pods.changed() => {}
                _ = others.changed() => {}
                () = self.reign.until(all_due) => {}
            }
        }
        self.queued.notify_waiters();
    }

    /// Until everything is known nothing is decided; then all that changed until then is looked at.
    fn queue_changed(&self) {
        let mut changed = self.fleet.lock().take_changed_sets();
        {
            let mut stock = self.stock.lock();
            changed.extend(stock.take_changed());
            let memory = lock(&self.memory);
            // Pods have names like those of sets that are none.
            changed.retain(|key| stock.sets().contains_key(key) || memory.knows(key));
        }
        if changed.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut queue = lock(&self.queue);
        for set in changed {
            queue.changed(set, now);
        }
        self.metrics.sets_wait(queue.waiting(now));
        drop(queue);
        self.queued.notify_waiters();
    }

    fn queue_all(&self) {
        let sets: Vec<Key> = self.stock.lock().sets().keys().cloned().collect();
        let now = Instant::now();
        let mut queue = lock(&self.queue);
        for set in sets {
            queue.changed(set, now);
        }
        drop(queue);
        self.queued.notify_waiters();
    }

    /// Looks at sets, until the reign is over.
    async fn work(self: Arc<Self>) {
        while self.reign.goes_on() {
            let queued = self.queued.notified();
            let (taken, due) = {
                let mut queue = lock(&self.queue);
                let now = Instant::now();
                let taken = queue.take(now);
                self.metrics.sets_wait(queue.waiting(now));
                (taken, queue.next_due())
            };
            let Some(set) = taken else {
                let then = due.unwrap_or_else(|| Instant::now() + IDLE);
                tokio::select! {
                    () = queued => {}
                    () = self.reign.until(then) => {}
                }
                continue;
            };
            let outcome = Self::pass(&self, &set).await;
            self.ended(set, outcome);
        }
    }

    fn ended(&self, set: Key, outcome: Result<(Outcome, Duration), PassError>) {
        let result = match &outcome {
            Ok(_) => PassResult::done,
            Err(_) => PassResult::failed,
        };
        self.metrics.passed(Controller::inplaceset, result);
        let (namespace, name) = (set.0.clone(), set.1.clone());
        let now = Instant::now();
        let mut queue = lock(&self.queue);
        match outcome {
            Ok((outcome, took)) => {
                let again = match (outcome.is_overtaken, outcome.look_again) {
                    (true, then) => Some(then.map_or(OVERTAKEN, |then| then.min(OVERTAKEN))),
                    (false, then) => then,
                };
                queue.done(set, now, again, took * SHARE);
            }
            Err(error) => {
                if self.reign.goes_on() {
                    warn!(namespace, set = name, error = %chain(&error), "set not seen to; trying on");
                }
                queue.failed(set, now);
            }
        }
        drop(queue);
        self.queued.notify_waiters();
        // What the answers to writes said is noted, and no news any more when the watch tells it: nobody else would look.
        self.queue_changed();
    }

    /// Looks at one set. Answers also how long deciding took.
    async fn pass(this: &Arc<Self>, key: &Key) -> Result<(Outcome, Duration), PassError> {
        let began = Instant::now();
        let Some(mut look) = this.look(key) else {
            lock(&this.memory).forget(key);
            return Ok((Outcome::default(), began.elapsed()));
        };
        let took = began.elapsed();
        let nodes = std::mem::take(&mut look.nodes_to_ask);
        if !nodes.is_empty() {
            let well = this.reign.unless_over(this.nodes.ask_all(nodes)).await;
            let Some(well) = well else {
                return Ok((Outcome::default(), took));
            };
            let asked = well.map_err(PassError::Read)?;
            look.surroundings.nodes_well = asked.well;
            look.surroundings.sidecars_stay = asked.sidecars_stay;
        }
        let began = Instant::now();
        let planned = plan(&look.set, &look.pods, &look.surroundings, look::now());
        let took = took + began.elapsed();
        lock(&this.memory).detached(key, &planned.detached, began);
        if !planned.deeds.is_empty() {
            debug!(
                namespace = key.0,
                set = key.1,
                deeds = planned.deeds.len(),
                "set looked at"
            );
        }
        let outcome = Self::carry_out(this, look, planned).await?;
        Ok((outcome, took))
    }
}
