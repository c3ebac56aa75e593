//! A Pod `shop` with running containers `a`, `b`, `c`, and one request for it, to be changed by each test.

use std::collections::BTreeSet;
use std::time::Duration;

use proto_crd::container_restart::{
    ContainerRestartSpec, ContainerRestartStatus, Strategy, Target,
};
use proto_crd::time::Timestamp;

use super::{Decision, plan};
use crate::backoff::BackOff;
use crate::observed::{
    ContainerState, Gate, LiveContainer, Observed, PodContainer, PodFacts, PodView, RestartPolicy,
    Runtime, Sandbox,
};
use crate::prestop::{Hook, StopSpec};
use crate::queue::Turn;

/// Seconds after the start of the story.
pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_milliseconds((1_000_000 + seconds) * 1000)
}

pub(super) fn live(
    name: &str,
    id: &str,
    restart_count: u32,
    state: ContainerState,
) -> LiveContainer {
    let created_at = match state {
        ContainerState::Running { started_at } | ContainerState::Exited { started_at, .. } => {
            started_at
        }
        ContainerState::Created | ContainerState::Unknown => at(999_999),
    };
    LiveContainer {
        name: name.to_owned(),
        id: id.to_owned(),
        created_at,
        state,
        stop: Ok(StopSpec {
            hash: 1,
            restart_count,
            grace: Duration::from_secs(30),
            hook: Some(Hook::Sleep(Duration::from_secs(3))),
        }),
    }
}

pub(super) fn running(started: u64) -> ContainerState {
    ContainerState::Running {
        started_at: at(started),
    }
}

pub(super) fn exited(started: u64, finished: u64, exit_code: i32) -> ContainerState {
    ContainerState::Exited {
        started_at: at(started),
        finished_at: at(finished),
        exit_code,
        reason: if exit_code == 0 { "Completed" } else { "Error" }.to_owned(),
    }
}

fn pod_container(name: &str) -> PodContainer {
    PodContainer {
        name: name.to_owned(),
        restart_policy: None,
        restarts_all: false,
        id: format!("{name}0"),
        started: true,
        ready: true,
        waiting: None,
    }
}

/// At 2000 s, ten seconds after a request for these containers was made.
pub(super) fn seen(containers: &[&str]) -> Observed {
    let names = ["a", "b", "c"];
    Observed {
        spec: ContainerRestartSpec {
            node_name: "n1".to_owned(),
            pod_name: "shop".to_owned(),
            pod_uid: "uid".to_owned(),
            containers: containers
                .iter()
                .map(|name| Target {
                    name: (*name).to_owned(),
                })
                .collect(),
            strategy: Strategy::default(),
            active_deadline_seconds: None,
            ttl_seconds_after_finished: Some(60),
        },
        status: ContainerRestartStatus::default(),
        created_at: at(1990),
        deleting: false,
        turn: Turn::Now,
        node: "n1".to_owned(),
        pod: PodView::Seen(PodFacts {
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
                pod_ready: true,
            },
            containers: names.map(pod_container).to_vec(),
        }),
        runtime: Some(Runtime {
            sandbox: Some(Sandbox {
                id: "box".to_owned(),
                ready: true,
                ips: vec!["10.0.0.7".to_owned()],
                mac: Some("02:00:0a:00:00:07".to_owned()),
            }),
            containers: names
                .map(|name| live(name, &format!("{name}0"), 0, running(0)))
                .to_vec(),
        }),
        stopping: BTreeSet::new(),
        watching_since: at(0),
        back_off: BackOff::default(),
        kubelet_started_at: None,
        now: at(2000),
    }
}

impl Observed {
    pub(super) fn pod(&mut self) -> &mut PodFacts {
        match &mut self.pod {
            PodView::Seen(pod) => pod,
            other => panic!("the Pod is {other:?}"),
        }
    }

    pub(super) fn of_pod(&mut self, name: &str) -> &mut PodContainer {
        let containers = &mut self.pod().containers;
        containers
            .iter_mut()
            .find(|container| container.name == name)
            .unwrap()
    }

    pub(super) fn runtime(&mut self) -> &mut Runtime {
        self.runtime.as_mut().unwrap()
    }

    pub(super) fn sandbox(&mut self) -> &mut Sandbox {
        self.runtime().sandbox.as_mut().unwrap()
    }

    pub(super) fn live(&mut self, id: &str) -> &mut LiveContainer {
        let containers = &mut self.runtime().containers;
        containers
            .iter_mut()
            .find(|container| container.id == id)
            .unwrap()
    }

    /// Plans, and keeps the status as it would be stored.
    pub(super) fn look(&mut self, now: u64) -> Decision {
        self.now = at(now);
        let decision = plan(self);
        let stored = serde_json::to_string(&decision.status).unwrap();
        self.status = serde_json::from_str(&stored).unwrap();
        decision
    }

    /// The container ends.
    pub(super) fn ends(&mut self, id: &str, finished: u64, exit_code: i32) {
        let container = self.live(id);
        let ContainerState::Running { started_at } = container.state else {
            panic!("{id} does not run");
        };
        container.state = exited(0, finished, exit_code);
        if let ContainerState::Exited {
            started_at: start, ..
        } = &mut container.state
        {
            *start = started_at;
        }
        let name = container.name.clone();
        let pod = self.of_pod(&name);
        (pod.started, pod.ready) = (false, false);
    }

    /// kubelet starts the next one, and it is ready.
    pub(super) fn comes_back(&mut self, name: &str, number: u32, started: u64) {
        let id = format!("{name}{number}");
        self.runtime()
            .containers
            .push(live(name, &id, number, running(started)));
        let pod = self.of_pod(name);
        (pod.id, pod.started, pod.ready) = (id, true, true);
    }
}
