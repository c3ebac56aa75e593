//! A driver as the README wants it, with every way to fail; and the promises, asserted at each of its steps.

use std::collections::BTreeMap;
use std::time::Duration;

use proto_crd::container_restart::{
    BackOffPolicy, ContainerRestartSpec, ContainerRestartStatus, FailurePolicy, Phase, Strategy,
    Target,
};
use proto_crd::time::Timestamp;

use super::world::{NAMES, World};
use crate::backoff::BackOff;
use crate::observed::{Observed, PodView};
use crate::plan::{Decision, Step, StopOrder, plan};
use crate::queue::{Turn, Waiting, turns};

/// When the driver ends in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    BeforeStore,
    BeforeStep,
    AfterStep,
}

/// How one look at the world goes.
pub(super) struct Sight {
    /// How many reports of the Pod it is behind; none: the Pod is not known.
    pub(super) age: Option<usize>,
    pub(super) runtime: bool,
    pub(super) stale_status: bool,
    pub(super) crash: Option<Crash>,
}

const CLEAR: Sight = Sight {
    age: Some(0),
    runtime: true,
    stale_status: false,
    crash: None,
};

/// A stop under way: the hook, then TERM.
pub(super) struct Flight {
    order: StopOrder,
    term_at: Timestamp,
}

pub(super) struct Request {
    name: String,
    spec: ContainerRestartSpec,
    created_at: Timestamp,
    deleting: bool,
    /// Every status that was ever stored, newest last.
    stored: Vec<String>,
    /// The sandbox when it was accepted.
    sandbox: Option<u32>,
    /// By container: what was stopped.
    stopped: BTreeMap<String, String>,
    resumed: BTreeMap<String, String>,
    /// By container: which id it was seen ready with, without a gap, since when.
    ready: BTreeMap<String, (String, Timestamp)>,
    /// When the Pod was first seen after the last gap.
    watching_since: Option<Timestamp>,
    next_look: Timestamp,
    finished: bool,
}

impl Request {
    fn status(&self, back: usize) -> ContainerRestartStatus {
        let index = self.stored.len().saturating_sub(1 + back);
        serde_json::from_str(&self.stored[index]).unwrap()
    }

    fn deadline(&self) -> Timestamp {
        self.created_at.after(self.spec.deadline())
    }
}

impl World {
    pub(super) fn asks(&mut self, containers: usize, strategy: u8, deadline: u32) {
        if self.requests.len() == 3 {
            return;
        }
        let bit = |number: u8| strategy & (1 << number) != 0;
        let spec = ContainerRestartSpec {
            node_name: "n1".to_owned(),
            pod_name: "shop".to_owned(),
            pod_uid: "uid".to_owned(),
            containers: (0..NAMES.len())
                .filter(|index| containers & (1 << index) != 0)
                .map(|index| Target {
                    name: NAMES[index].to_owned(),
                })
                .collect(),
            strategy: Strategy {
                ordered: bit(0),
                failure_policy: if bit(1) {
                    FailurePolicy::Ignore
                } else {
                    FailurePolicy::Fail
                },
                termination_grace_period_seconds: bit(2).then_some(3),
                unready_grace_period_seconds: bit(3).then_some(3),
                min_started_seconds: bit(4).then_some(4),
                force: bit(5),
                max_back_off_seconds: bit(6).then_some(100),
                back_off_policy: if bit(7) {
                    BackOffPolicy::Refuse
                } else {
                    BackOffPolicy::Wait
                },
            },
            active_deadline_seconds: Some(deadline),
            ttl_seconds_after_finished: None,
        };
        self.requests.push(Request {
            name: format!("r{}", self.requests.len()),
            spec,
            created_at: self.now,
            deleting: false,
            stored: vec![serde_json::to_string(&ContainerRestartStatus::default()).unwrap()],
            sandbox: None,
            stopped: BTreeMap::new(),
            resumed: BTreeMap::new(),
            ready: BTreeMap::new(),
            watching_since: None,
            next_look: self.now,
            finished: false,
        });
        self.changed = true;
    }

    pub(super) fn deletes(&mut self, request: usize) {
        if let Some(request) = self.requests.get_mut(request) {
            request.deleting = true;
            self.changed = true;
        }
    }

    pub(super) fn driver_restarts(&mut self) {
        self.flights.clear();
        (0..self.requests.len()).for_each(|index| self.gap(index));
    }

    /// What is seen from now on does not continue what was seen before.
    fn gap(&mut self, index: usize) {
        let request = &mut self.requests[index];
        request.watching_since = None;
        request.ready.clear();
        request.next_look = self.now;
    }

    pub(super) fn flights_go_on(&mut self) {
        for flight in std::mem::take(&mut self.flights) {
            if self.now < flight.term_at {
                self.flights.push(flight);
            } else if flight.term_at < flight.order.not_after {
                let index = NAMES
                    .iter()
                    .position(|name| **name == flight.order.container)
                    .unwrap();
                if self.current(index).id == flight.order.id {
                    self.ends(index, 0);
                }
            }
        }
    }

    pub(super) fn look_at_all(&mut self) {
        (0..self.requests.len()).for_each(|request| self.look(request, &CLEAR));
    }

    /// Looks, stores, does.
    pub(super) fn look(&mut self, index: usize, sight: &Sight) {
        if index >= self.requests.len() || self.requests[index].finished {
            return;
        }
        let seen = self.observe(index, sight);
        self.remember_ready(index, &seen);
        let decision = plan(&seen);
        self.judge(index, &seen, &decision);
        if sight.crash == Some(Crash::BeforeStore) {
            return self.driver_restarts();
        }
        if decision.status != seen.status {
            if sight.stale_status && seen.status != self.requests[index].status(0) {
                return self.gap(index);
            }
            self.store(index, &decision.status);
        }
        if sight.crash == Some(Crash::BeforeStep) {
            return self.driver_restarts();
        }
        self.requests[index].next_look = decision.look_again.unwrap_or(self.now);
        self.act(index, &seen, decision);
        if sight.crash == Some(Crash::AfterStep) {
            self.driver_restarts();
        }
    }

    fn observe(&self, index: usize, sight: &Sight) -> Observed {
        let request = &self.requests[index];
        // The gate, and whether the Pod is there, are read live.
        let pod = match sight.age {
            None => PodView::Unknown,
            Some(_) if !self.pod_is_there => PodView::Gone,
            Some(age) => {
                let mut facts = self.said[self.said.len().saturating_sub(1 + age)].clone();
                facts.gate.held = self.held.contains(&index);
                facts.gate.pod_ready = self.unready_since.is_none();
                PodView::Seen(facts)
            }
        };
        Observed {
            spec: request.spec.clone(),
            status: request.status(usize::from(sight.stale_status)),
            created_at: request.created_at,
            deleting: request.deleting,
            turn: self.turn(index),
            node: "n1".to_owned(),
            pod,
            runtime: sight.runtime.then(|| self.runtime()),
            stopping: self
                .flights
                .iter()
                .map(|flight| flight.order.id.clone())
                .collect(),
            watching_since: request.watching_since.unwrap_or(self.now),
            back_off: BackOff::default(),
            kubelet_started_at: Some(self.kubelet_started_at),
            now: self.now,
        }
    }

    fn turn(&self, index: usize) -> Turn {
        let living: Vec<(usize, ContainerRestartStatus)> = (0..self.requests.len())
            .filter(|index| !self.requests[*index].deleting)
            .map(|index| (index, self.requests[index].status(0)))
            .collect();
        let waiting: Vec<Waiting<'_>> = living
            .iter()
            .map(|(index, status)| Waiting {
                name: &self.requests[*index].name,
                created_at: self.requests[*index].created_at,
                spec: &self.requests[*index].spec,
                status,
            })
            .collect();
        let place = living.iter().position(|(other, _)| *other == index);
        place.map_or(Turn::Now, |place| turns(&waiting)[place].clone())
    }

    fn remember_ready(&mut self, index: usize, seen: &Observed) {
        let PodView::Seen(pod) = &seen.pod else {
            return;
        };
        self.requests[index].watching_since.get_or_insert(seen.now);
        let ready = &mut self.requests[index].ready;
        for container in &pod.containers {
            let known = ready
                .get(&container.name)
                .is_some_and(|(id, _)| *id == container.id);
            if !container.ready {
                ready.remove(&container.name);
            } else if !known {
                ready.insert(container.name.clone(), (container.id.clone(), seen.now));
            }
        }
    }

    /// What must hold of every decision, stored or not.
    fn judge(&self, index: usize, seen: &Observed, decision: &Decision) {
        let request = &self.requests[index];
        if seen.status.phase.is_final() {
            assert_eq!(decision.status, seen.status, "what has ended stays");
        }
        match &decision.step {
            Step::Wait { message } => assert!(!message.is_empty(), "it says what it waits for"),
            Step::Stop(_) | Step::ResumeStop(_) => {
                assert!(
                    seen.now < request.deadline(),
                    "nothing is stopped after the deadline"
                );
                assert!(
                    !request.deleting,
                    "nothing is stopped for a request that is deleted"
                );
                assert_ne!(decision.status, seen.status, "a stop is stored first");
            }
            Step::RefuseForGood(_) | Step::Failed(_) => {
                assert_eq!(decision.status.phase, Phase::Failed);
            }
            Step::Succeeded => assert_eq!(decision.status.phase, Phase::Succeeded),
            _ => {}
        }
        let over = decision.status.phase.is_final() || request.deleting;
        let may_go_on = over || decision.step == Step::ReleaseUnready;
        assert!(
            seen.now < request.deadline() || may_go_on,
            "it ends at its deadline: {:?}",
            decision.step
        );
        let ends =
            matches!(decision.step, Step::Finished { .. }) || decision.status.phase.is_final();
        assert!(ends || request.deleting || decision.look_again.is_some());
    }

    fn store(&mut self, index: usize, status: &ContainerRestartStatus) {
        let request = &mut self.requests[index];
        if status.has_begun() && request.sandbox.is_none() {
            request.sandbox = Some(self.sandbox);
        }
        request.stored.push(serde_json::to_string(status).unwrap());
        self.changed = true;
    }

    fn act(&mut self, index: usize, seen: &Observed, decision: Decision) {
        match decision.step {
            Step::Stop(order) => {
                self.may_stop(index, &order);
                let request = &mut self.requests[index];
                let before = request
                    .stopped
                    .insert(order.container.clone(), order.id.clone());
                assert_eq!(before, None, "one stop of a container for a request");
                assert!(!request.resumed.contains_key(&order.container));
                let term_at = self.now.after(Duration::from_secs(2));
                self.flights.push(Flight { order, term_at });
            }
            Step::ResumeStop(order) => {
                let in_flight = self
                    .flights
                    .iter()
                    .any(|flight| flight.order.id == order.id);
                assert!(!in_flight, "nobody carries it out");
                let request = &mut self.requests[index];
                let stopped = request.stopped.get(&order.container);
                assert!(
                    stopped.is_none_or(|id| *id == order.id),
                    "the same container"
                );
                let before = request
                    .resumed
                    .insert(order.container.clone(), order.id.clone());
                assert_eq!(before, None, "finished once");
                self.flights.push(Flight {
                    order,
                    term_at: self.now,
                });
            }
            Step::WaitUnready { hold: true, .. } => {
                self.held.insert(index);
            }
            Step::ReleaseUnready => {
                self.held.remove(&index);
            }
            Step::Succeeded => self.really_succeeded(index, seen),
            Step::RefuseForGood(failure) => {
                let request = &self.requests[index];
                assert!(
                    request.stopped.is_empty() && request.resumed.is_empty(),
                    "{failure:?}"
                );
            }
            Step::Finished { .. } => {
                assert!(!self.held.contains(&index), "the gate is given back");
                self.requests[index].finished = true;
            }
            Step::WaitUnready { .. }
            | Step::WaitBackoff { .. }
            | Step::Wait { .. }
            | Step::Failed(_) => {}
        }
        self.tell();
    }

    fn may_stop(&self, index: usize, order: &StopOrder) {
        let request = &self.requests[index];
        let others = self.requests.iter().enumerate().filter(|(other, request)| {
            let status = request.status(0);
            *other != index && !request.deleting && status.has_begun() && !status.phase.is_final()
        });
        assert_eq!(others.count(), 0, "one request for a Pod at a time");
        let status = request.status(0);
        let old = status
            .containers
            .iter()
            .find(|container| container.name == order.container);
        assert_eq!(
            old.unwrap().old_container_id,
            order.id,
            "only what ran when it was accepted"
        );
        if let Some(grace) = request.spec.strategy.unready_grace() {
            let unready = self.unready_since.map(|since| self.now.since(since));
            assert!(
                self.held.contains(&index) && unready >= Some(grace),
                "unready first: {unready:?}"
            );
        }
        if request.spec.strategy.ordered {
            let earlier = status
                .containers
                .iter()
                .take_while(|container| container.name != order.container);
            for container in earlier {
                let place = NAMES
                    .iter()
                    .position(|name| **name == container.name)
                    .unwrap();
                let failed = container.reason.is_some();
                assert!(
                    failed || self.current(place).id != container.old_container_id,
                    "in order"
                );
            }
        }
    }

    fn really_succeeded(&self, index: usize, seen: &Observed) {
        let request = &self.requests[index];
        assert_eq!(request.sandbox, Some(self.sandbox), "the same sandbox");
        assert!(self.pod_is_there && !self.held.contains(&index));
        for container in &request.status(0).containers {
            let place = NAMES
                .iter()
                .position(|name| **name == container.name)
                .unwrap();
            let truth = self.current(place);
            assert!(
                truth.runs() && truth.id != container.old_container_id,
                "another container runs"
            );
            assert_eq!(truth.id, container.new_container_id);
            let (id, since) = &request.ready[&container.name];
            assert_eq!(*id, truth.id, "it was seen ready");
            let ready = seen.now.since(*since);
            assert!(
                ready >= request.spec.strategy.min_started(),
                "ready for {ready:?} without a gap"
            );
        }
    }

    /// Nothing goes wrong any more, and the driver looks when something happens or when it was told to.
    pub(super) fn heal(&mut self) {
        let last = self
            .requests
            .iter()
            .map(Request::deadline)
            .max()
            .unwrap_or(self.now);
        let end = last.max(self.now).after(Duration::from_secs(3));
        while self.now <= end && self.requests.iter().any(|request| !request.finished) {
            self.pass();
            let changed = std::mem::take(&mut self.changed);
            for index in 0..self.requests.len() {
                if changed || self.now >= self.requests[index].next_look {
                    self.look(index, &CLEAR);
                }
            }
        }
        for request in &self.requests {
            assert!(request.finished, "it ends: {:?}", request.status(0));
            assert!(request.deleting || request.status(0).phase.is_final());
        }
        assert!(self.held.is_empty(), "the gate is given back");
    }

    pub(super) fn count(&self, phase: Phase) -> usize {
        self.requests
            .iter()
            .filter(|request| request.status(0).phase == phase)
            .count()
    }

    pub(super) fn stops(&self) -> usize {
        self.requests
            .iter()
            .map(|request| request.stopped.len())
            .sum()
    }

    pub(super) fn resumed(&self) -> usize {
        self.requests
            .iter()
            .map(|request| request.resumed.len())
            .sum()
    }
}
