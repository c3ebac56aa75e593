//! One thread that has everything the nodes know, and decides what is written next; watches and writes are other threads' work.
//!
//! Always holds: of one object at most one write is under way, and the next is decided when its answer is there. What is refused
//! is decided anew from what the watch tells; what fails otherwise is noted, for the test to see.

mod node;
mod pod;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use proto_crd::time::Timestamp;
use serde_json::{Value, json};

use self::node::Node;
pub(crate) use self::node::create as create_nodes;
use self::pod::Pod;
use crate::agent::pull::Pulls;
use crate::agent::restart::Restart;
use crate::kubelet::container::Around;
use crate::kubelet::grace;
use crate::rules::{Fault, Faults, Of, Pace};
use crate::watch::Kind;
use crate::write::{Done, Job, MERGE, Purpose};

/// An object: kind, namespace, name.
pub(crate) type Key = (Kind, String, String);

/// What the driver is told.
#[derive(Debug)]
pub(crate) enum Input {
    Listed(Kind, Vec<Value>),
    Changed(Kind, Value),
    Gone(Kind, Value),
    /// A watch ended, and begins anew.
    Interrupted(String),
    Written(Done),
    Order(Order),
}

/// What a test wants.
#[derive(Debug)]
pub(crate) enum Order {
    Fault(Of, Option<Fault>),
    Alias(String, String),
    Power(String, bool),
    Silence(String, bool),
    /// An image goes from every node.
    Forget(String),
    Over,
}

/// What others may look at.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// Calls that were made.
    pub(crate) writes: AtomicU64,
    /// What was answered that is not as it should be.
    pub(crate) trouble: Mutex<Vec<String>>,
    /// Why the last watch that ended did: an API server ends them by and by, and may be away.
    pub(crate) interrupted: Mutex<Option<String>>,
}

/// Troubles that are kept.
const TROUBLES: usize = 100;

/// When what was refused is tried again, if the watch tells nothing before.
const AGAIN: Duration = Duration::from_millis(200);

/// Everything the nodes know.
pub(crate) struct Driver {
    pace: Pace,
    faults: Faults,
    nodes: BTreeMap<String, Node>,
    pods: HashMap<Key, Pod>,
    pulls: HashMap<Key, Held<Pulls>>,
    restarts: HashMap<Key, Held<Restart>>,
    due: BTreeSet<(Timestamp, Key)>,
    /// Under a Pod's name, as berth-ipamd keeps them.
    addresses: HashMap<(String, String), String>,
    last_id: u64,
    jobs: Sender<Job>,
    shown: Arc<Shown>,
}

/// An object with what the agent knows of it.
struct Held<T> {
    object: Value,
    known: T,
    busy: bool,
}

impl Driver {
    pub(crate) fn new(
        names: &[String],
        pace: Pace,
        (jobs, shown): (Sender<Job>, Arc<Shown>),
    ) -> Self {
        let nodes = names.iter().enumerate();
        Self {
            pace,
            faults: Faults::default(),
            nodes: nodes
                .map(|(number, name)| (name.clone(), Node::new(number)))
                .collect(),
            pods: HashMap::new(),
            pulls: HashMap::new(),
            restarts: HashMap::new(),
            due: BTreeSet::new(),
            addresses: HashMap::new(),
            last_id: 0,
            jobs,
            shown,
        }
    }

    /// Until it is told to end.
    pub(crate) fn run(mut self, told: &Receiver<Input>) {
        self.renew_leases();
        loop {
            let wait = match self.due.first() {
                Some((at, _)) => at.since(now()),
                None => Duration::from_secs(1),
            };
            let mut next = match told.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut touched = BTreeSet::new();
            while let Some(input) = next {
                if matches!(input, Input::Order(Order::Over)) {
                    return;
                }
                self.hear(input, &mut touched);
                next = told.try_recv().ok();
            }
            let now = now();
            while let Some((at, key)) = self.due.first().cloned()
                && at <= now
            {
                self.due.remove(&(at, key.clone()));
                touched.insert(key);
            }
            for key in touched {
                self.look(&key);
            }
            self.renew_leases();
        }
    }

    fn hear(&mut self, input: Input, touched: &mut BTreeSet<Key>) {
        match input {
            Input::Listed(kind, objects) => {
                let there: BTreeSet<Key> = objects.iter().map(|it| key(kind, it)).collect();
                let known: Vec<Key> = self.known(kind);
                for gone in known.into_iter().filter(|it| !there.contains(it)) {
                    self.forget(&gone);
                }
                for object in objects {
                    touched.insert(self.keep(kind, object));
                }
            }
            Input::Changed(kind, object) => {
                touched.insert(self.keep(kind, object));
            }
            Input::Gone(kind, object) => {
                let key = key(kind, &object);
                self.forget(&key);
                touched.extend(self.restarts_of(&key));
            }
            Input::Interrupted(why) => {
                let last = self.shown.interrupted.lock();
                *last.unwrap_or_else(PoisonError::into_inner) = Some(why);
            }
            Input::Written(done) => self.written(done, touched),
            Input::Order(order) => self.order(order, touched),
        }
    }

    fn order(&mut self, order: Order, touched: &mut BTreeSet<Key>) {
        match order {
            Order::Fault(of, fault) => self.faults.set(of, fault),
            Order::Alias(image, of) => self.faults.alias(image, of),
            Order::Forget(image) => {
                for node in self.nodes.values_mut() {
                    node.images.remove(&image);
                }
            }
            Order::Power(node, on) => self.power(&node, on),
            Order::Silence(node, silent) => self.silence(&node, silent),
            Order::Over => return,
        }
        for kind in Kind::ALL {
            touched.extend(self.known(kind));
        }
    }

    fn known(&self, kind: Kind) -> Vec<Key> {
        match kind {
            Kind::Pod => self.pods.keys().cloned().collect(),
            Kind::Pull => self.pulls.keys().cloned().collect(),
            Kind::Restart => self.restarts.keys().cloned().collect(),
        }
    }

    fn keep(&mut self, kind: Kind, object: Value) -> Key {
        let key = key(kind, &object);
        match kind {
            Kind::Pod => match self.pods.get_mut(&key) {
                Some(pod) => pod.see(object),
                None => {
                    self.pods.insert(key.clone(), Pod::new(object));
                }
            },
            Kind::Pull => keep(&mut self.pulls, &key, object),
            Kind::Restart => keep(&mut self.restarts, &key, object),
        }
        key
    }

    fn forget(&mut self, key: &Key) {
        self.pods.remove(key);
        self.pulls.remove(key);
        self.restarts.remove(key);
    }

    fn look(&mut self, key: &Key) {
        let due = match key.0 {
            Kind::Pod => {
                let due = self.look_at_pod(key);
                for restart in self.restarts_of(key) {
                    self.look(&restart);
                }
                due
            }
            Kind::Pull => self.look_at_pull(key),
            Kind::Restart => self.look_at_restart(key),
        };
        if let Some(due) = due {
            self.due.insert((due, key.clone()));
        }
    }

    fn restarts_of(&self, pod: &Key) -> Vec<Key> {
        let (_, namespace, name) = pod;
        let all = self.restarts.iter().filter(|(key, it)| {
            key.1 == *namespace && it.object["spec"]["podName"] == name.as_str()
        });
        all.map(|(key, _)| key.clone()).collect()
    }

    fn look_at_pull(&mut self, key: &Key) -> Option<Timestamp> {
        let held = self.pulls.get_mut(key).filter(|it| !it.busy)?;
        let node = self.nodes.get_mut(&key.2).filter(|it| it.alive)?;
        let around = (&self.pace, &self.faults, now());
        let step = held.known.step(&held.object, &mut node.images, around);
        if let Some(status) = step.status {
            held.busy = true;
            self.verdict(key, &status);
        }
        step.due
    }

    fn look_at_restart(&mut self, key: &Key) -> Option<Timestamp> {
        let held = self.restarts.get_mut(key).filter(|it| !it.busy)?;
        let spec = &held.object["spec"];
        let node = spec["nodeName"].as_str().unwrap_or_default();
        let node = self.nodes.get_mut(node).filter(|it| it.alive)?;
        let name = spec["podName"].as_str().unwrap_or_default().to_owned();
        let of = (Kind::Pod, key.1.clone(), name);
        let path = format!("{}/{}", of.1, of.2);
        let pod = self.pods.get_mut(&of);
        let pod = pod.and_then(|pod| Some((&pod.object, pod.held.as_mut()?)));
        let around = Around {
            pod: &path,
            ending: false,
            grace: pod.as_ref().map(|(pod, _)| grace(pod)).unwrap_or_default(),
            pace: &self.pace,
            faults: &self.faults,
            images: &mut node.images,
            last_id: &mut self.last_id,
            now: now(),
        };
        let step = held.known.step(&held.object, pod, &around);
        // What was stopped is the Pod's to see.
        self.due.insert((now().after(Duration::from_millis(1)), of));
        if let Some(status) = step.status {
            held.busy = true;
            self.verdict(key, &status);
        }
        step.due
    }

    fn verdict(&self, key: &Key, status: &Value) {
        let path = format!("{}/status", key.0.object(&key.1, &key.2));
        self.send(Job {
            key: key.clone(),
            purpose: Purpose::Verdict(status.clone()),
            verb: "PATCH",
            form: MERGE,
            path,
            body: json!({"status": status}),
        });
    }

    fn send(&self, job: Job) {
        self.shown.writes.fetch_add(1, Ordering::Relaxed);
        // When the writers are gone, so are we in a moment.
        let _ = self.jobs.send(job);
    }

    fn written(&mut self, done: Done, touched: &mut BTreeSet<Key>) {
        let is_done = matches!(done.status, 200..=202);
        let is_expected = is_done || matches!(done.status, 404 | 409);
        if !is_expected {
            let Done { status, body, .. } = &done;
            self.trouble(format!(
                "{:?} of {:?}: {status} {body}",
                done.purpose, done.key
            ));
        }
        match done.key.0 {
            Kind::Pod => self.pod_written(&done, is_done),
            Kind::Pull => {
                if let Some(held) = self.pulls.get_mut(&done.key) {
                    held.busy = false;
                    if let (Purpose::Verdict(status), true) = (done.purpose, is_done) {
                        held.known.told(status);
                    }
                }
            }
            Kind::Restart => {
                if let Some(held) = self.restarts.get_mut(&done.key) {
                    held.busy = false;
                    if let (Purpose::Verdict(status), true) = (done.purpose, is_done) {
                        held.known.told(status);
                    }
                }
            }
        }
        if is_done {
            touched.insert(done.key);
        } else {
            self.due.insert((now().after(AGAIN), done.key));
        }
    }

    fn trouble(&self, what: String) {
        let mut all = self
            .shown
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if all.len() < TROUBLES {
            all.push(what);
        }
    }
}

fn keep<T: Default>(all: &mut HashMap<Key, Held<T>>, key: &Key, object: Value) {
    let uid = object["metadata"]["uid"].clone();
    match all.get_mut(key) {
        Some(held) if held.object["metadata"]["uid"] == uid => held.object = object,
        _ => {
            let known = T::default();
            let busy = false;
            all.insert(
                key.clone(),
                Held {
                    object,
                    known,
                    busy,
                },
            );
        }
    }
}

fn key(kind: Kind, object: &Value) -> Key {
    let metadata = &object["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
    (kind, text("namespace"), text("name"))
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let milliseconds = since.unwrap_or_default().as_millis();
    Timestamp::from_unix_milliseconds(u64::try_from(milliseconds).unwrap_or_default())
}
