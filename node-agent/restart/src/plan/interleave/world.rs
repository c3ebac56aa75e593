//! A Pod with two containers as kubelet and the runtime treat it, second by second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto_crd::time::Timestamp;

use crate::observed::{
    ContainerState, Gate, LiveContainer, PodContainer, PodFacts, RestartPolicy, Runtime, Sandbox,
};
use crate::prestop::StopSpec;

use super::driver::{Flight, Request};

pub(super) const NAMES: [&str; 2] = ["a", "b"];

/// How long after its start a container is ready.
const READY_AFTER: Duration = Duration::from_secs(2);

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) containers: [Vec<Truth>; 2],
    /// kubelet's back-off: by container and image, the delay and the last start.
    back_off: BTreeMap<(usize, u64), (Duration, Timestamp)>,
    pub(super) kubelet_started_at: Timestamp,
    pub(super) pod_is_there: bool,
    pub(super) sandbox: u32,
    /// Which requests hold the gate.
    pub(super) held: BTreeSet<usize>,
    pub(super) unready_since: Option<Timestamp>,
    /// What the API server said of the Pod, newest last.
    pub(super) said: Vec<PodFacts>,
    pub(super) requests: Vec<Request>,
    pub(super) flights: Vec<Flight>,
    /// Something happened that a driver is told of.
    pub(super) changed: bool,
}

/// One container as it really is.
#[derive(Clone)]
pub(super) struct Truth {
    pub(super) id: String,
    count: u32,
    hash: u64,
    started_at: Timestamp,
    pub(super) finished: Option<(Timestamp, i32)>,
    /// From when on it is ready.
    ready_from: Timestamp,
}

impl Truth {
    pub(super) fn runs(&self) -> bool {
        self.finished.is_none()
    }
}

impl World {
    pub(super) fn new() -> Self {
        // Not on a whole second: what is stored loses the fraction.
        let now = Timestamp::from_unix_milliseconds(1_000_000_300);
        let first = |name: &str| {
            vec![Truth {
                id: format!("{name}-0"),
                count: 0,
                hash: 1,
                started_at: now,
                finished: None,
                ready_from: now.after(READY_AFTER),
            }]
        };
        let mut world = Self {
            now,
            containers: NAMES.map(first),
            back_off: BTreeMap::new(),
            kubelet_started_at: now,
            pod_is_there: true,
            sandbox: 0,
            held: BTreeSet::new(),
            unready_since: None,
            said: Vec::new(),
            requests: Vec::new(),
            flights: Vec::new(),
            changed: true,
        };
        world.tell();
        world
    }

    pub(super) fn current(&self, index: usize) -> &Truth {
        self.containers[index].last().unwrap()
    }

    fn is_ready(&self, index: usize) -> bool {
        let truth = self.current(index);
        truth.runs() && self.now >= truth.ready_from
    }

    /// One second.
    pub(super) fn pass(&mut self) {
        self.now = self.now.after(Duration::from_secs(1));
        self.flights_go_on();
        if self.pod_is_there {
            (0..NAMES.len()).for_each(|index| self.kubelet_starts(index));
        }
        self.tell();
    }

    /// `doBackOff`.
    fn kubelet_starts(&mut self, index: usize) {
        let truth = self.current(index).clone();
        let Some((finished_at, _)) = truth.finished else {
            return;
        };
        let key = (index, truth.hash);
        let forgotten = Duration::from_secs(600);
        let entry = self.back_off.get(&key).copied();
        let entry = entry.filter(|(_, last)| {
            finished_at.since(*last) <= forgotten && self.now.since(*last) <= forgotten
        });
        let delay = entry.map_or(Duration::ZERO, |(delay, _)| delay);
        if self.now.since(finished_at) < delay {
            return;
        }
        let base = Duration::from_secs(10);
        let next = entry.map_or(base, |(delay, _)| (delay * 2).min(Duration::from_secs(300)));
        self.back_off.insert(key, (next, self.now));
        self.start(index, truth.hash);
    }

    fn start(&mut self, index: usize, hash: u64) {
        let count = self.current(index).count + 1;
        let started = Truth {
            id: format!("{}-{count}", NAMES[index]),
            count,
            hash,
            started_at: self.now,
            finished: None,
            ready_from: self.now.after(READY_AFTER),
        };
        self.containers[index].push(started);
        self.changed = true;
    }

    pub(super) fn ends(&mut self, index: usize, exit_code: i32) {
        let now = self.now;
        let truth = self.containers[index].last_mut().unwrap();
        if truth.runs() {
            truth.finished = Some((now, exit_code));
            self.changed = true;
        }
        self.tell();
    }

    pub(super) fn flaps(&mut self, index: usize) {
        let until = self.now.after(Duration::from_secs(3));
        self.containers[index].last_mut().unwrap().ready_from = until;
        self.tell();
    }

    /// kubelet replaces the container by itself.
    pub(super) fn image_changes(&mut self, index: usize) {
        if self.pod_is_there {
            let hash = self.current(index).hash + 1;
            self.ends(index, 0);
            self.start(index, hash);
            self.tell();
        }
    }

    pub(super) fn kubelet_restarts(&mut self) {
        self.back_off.clear();
        self.kubelet_started_at = self.now;
    }

    pub(super) fn sandbox_changes(&mut self) {
        if self.pod_is_there {
            self.sandbox += 1;
            for index in 0..NAMES.len() {
                let hash = self.current(index).hash;
                self.ends(index, 137);
                self.start(index, hash);
            }
            self.tell();
        }
    }

    pub(super) fn pod_goes(&mut self) {
        self.pod_is_there = false;
        // Its gate goes with it.
        self.held.clear();
        self.changed = true;
        (0..NAMES.len()).for_each(|index| self.ends(index, 0));
    }

    /// kubelet reports the Pod.
    pub(super) fn tell(&mut self) {
        let ready = (0..NAMES.len()).all(|index| self.is_ready(index)) && self.held.is_empty();
        if ready {
            self.unready_since = None;
        } else {
            self.unready_since.get_or_insert(self.now);
        }
        let facts = self.facts(ready);
        if self.said.last() != Some(&facts) {
            self.said.push(facts);
            self.changed = true;
        }
    }

    fn facts(&self, pod_ready: bool) -> PodFacts {
        PodFacts {
            uid: "uid".to_owned(),
            node: "n1".to_owned(),
            is_static: false,
            deleting: false,
            ended: false,
            host_network: false,
            restart_policy: RestartPolicy::Always,
            gate: Gate {
                present: true,
                held: false,
                pod_ready,
            },
            containers: (0..NAMES.len())
                .map(|index| PodContainer {
                    name: NAMES[index].to_owned(),
                    restart_policy: None,
                    restarts_all: false,
                    id: self.current(index).id.clone(),
                    started: self.current(index).runs(),
                    ready: self.is_ready(index),
                    waiting: None,
                })
                .collect(),
        }
    }

    /// The runtime keeps the newest and the one before it.
    pub(super) fn runtime(&self) -> Runtime {
        let containers = (0..NAMES.len())
            .flat_map(|index| {
                let all = &self.containers[index];
                all[all.len().saturating_sub(2)..]
                    .iter()
                    .map(move |truth| live(NAMES[index], truth))
            })
            .collect();
        Runtime {
            sandbox: Some(Sandbox {
                id: format!("box-{}", self.sandbox),
                ready: self.pod_is_there,
                ips: vec!["10.0.0.7".to_owned()],
                mac: Some("02:00:0a:00:00:07".to_owned()),
            }),
            containers,
        }
    }
}

fn live(name: &str, truth: &Truth) -> LiveContainer {
    let started_at = truth.started_at;
    LiveContainer {
        name: name.to_owned(),
        id: truth.id.clone(),
        // Two may be created within one second; the count orders them.
        created_at: started_at.after(Duration::from_millis(truth.count.into())),
        state: truth.finished.map_or(
            ContainerState::Running { started_at },
            |(finished_at, exit_code)| ContainerState::Exited {
                started_at,
                finished_at,
                exit_code,
                reason: "Error".to_owned(),
            },
        ),
        stop: Ok(StopSpec {
            hash: truth.hash,
            restart_count: truth.count,
            grace: Duration::from_secs(5),
            hook: None,
        }),
    }
}
