//! What a node's agent makes of a `ContainerRestart`: its containers are stopped once, and a verdict is given when others run and
//! are ready. All containers at once; the Pod's gate is left alone, and deadlines are.

use std::collections::BTreeMap;
use std::time::Duration;

use proto_crd::time::Timestamp;
use serde_json::{Value, json};

use crate::kubelet::container::{Around, State};
use crate::kubelet::{Held, items};

/// A request under way, or over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restart {
    /// Of each container, what was stopped for it.
    stopped: BTreeMap<String, String>,
    accepted: Option<Timestamp>,
    told: Option<Value>,
    is_over: bool,
}

/// What is written, and when to look again.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) status: Option<Value>,
    pub(crate) due: Option<Timestamp>,
}

impl Restart {
    /// By the request and its Pod as they were last told; what is to be stopped is stopped.
    pub(crate) fn step(
        &mut self,
        request: &Value,
        pod: Option<(&Value, &mut Held)>,
        around: &Around<'_>,
    ) -> Step {
        let phase = request["status"]["phase"].as_str().unwrap_or_default();
        if self.is_over || matches!(phase, "Succeeded" | "Failed") {
            self.is_over = true;
            return Step::default();
        }
        let now = around.now;
        let pod = pod.filter(|(_, held)| request["spec"]["podUID"] == held.uid.as_str());
        let (status, due) = match pod {
            None => (
                failed("PodGone", "the Pod is gone; make no new request", now),
                None,
            ),
            Some((pod, held)) => self.go_on(request, pod, held, around),
        };
        let is_told = self.told.as_ref() == Some(&status);
        Step {
            status: (!is_told).then_some(status),
            due,
        }
    }

    /// The API server has taken this status.
    pub(crate) fn told(&mut self, status: Value) {
        self.is_over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
        self.told = Some(status);
    }

    fn go_on(
        &mut self,
        request: &Value,
        pod: &Value,
        held: &mut Held,
        around: &Around<'_>,
    ) -> (Value, Option<Timestamp>) {
        let now = around.now;
        let accepted = *self.accepted.get_or_insert(now);
        let strategy = &request["spec"]["strategy"];
        let least = Duration::from_secs(strategy["minStartedSeconds"].as_u64().unwrap_or(5));
        let mut due = None;
        let mut all = Vec::new();
        for target in items(&request["spec"]["containers"]) {
            let name = target["name"].as_str().unwrap_or_default();
            let runs = held.container(name).and_then(|it| it.run()).cloned();
            if !self.stopped.contains_key(name) {
                let id = runs.as_ref().map(|run| run.id.clone()).unwrap_or_default();
                held.stop(pod, name, &id, around);
                self.stopped.insert(name.to_owned(), id);
            }
            let old = &self.stopped[name];
            let new = runs.filter(|run| run.id != *old);
            let until = new
                .as_ref()
                .map(|run| run.since.after(around.pace.ready + least));
            let is_ready = held.container(name).is_some_and(|it| it.is_ready(around));
            let is_done = is_ready && until.is_some_and(|until| now >= until);
            due = [due, until.filter(|until| *until > now)]
                .into_iter()
                .flatten()
                .min();
            let mut told = json!({
                "name": name, "oldContainerID": old, "killedAt": accepted.to_string(),
                "phase": if is_done { "Succeeded" } else { "Recreating" },
            });
            if let Some(run) = new {
                told["newContainerID"] = run.id.into();
                told["startedAt"] = run.since.to_string().into();
            }
            if let Some(State::Down { until, .. }) = held.container(name).map(|it| &it.state) {
                told["backoffUntil"] = until.to_string().into();
            }
            all.push(told);
        }
        let is_done = all.iter().all(|it| it["phase"] == "Succeeded");
        let mut status = json!({
            "phase": "Recreating", "acceptedAt": accepted.to_string(), "containers": all,
            "message": "for containers to be back",
        });
        if is_done {
            status["phase"] = "Succeeded".into();
            status["completedAt"] = now.rounded_up().to_string().into();
            status["message"] = "every container runs anew and is ready".into();
        }
        (status, due)
    }
}

fn failed(reason: &str, message: &str, now: Timestamp) -> Value {
    json!({
        "phase": "Failed", "reason": reason, "message": message,
        "completedAt": now.rounded_up().to_string(),
    })
}
