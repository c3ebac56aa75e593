//! The status that kubelet writes of a Pod, as a strategic merge patch: conditions of others stay.

use std::collections::BTreeMap;
use std::time::Duration;

use proto_crd::time::Timestamp;
use serde_json::{Map, Value, json};

use super::container::{Around, Container, Ended, State};
use super::{Held, items};

/// How long the first answer of a pull is shown (`ErrImagePull`) before the back-off is (`ImagePullBackOff`).
const ERROR_SHOWN_FOR: Duration = Duration::from_secs(1);

/// Since when each condition is what it is.
pub(super) type Changed = BTreeMap<&'static str, (String, Timestamp)>;

/// When what is told of a container changes although it does not.
pub(super) fn turns(container: &Container, around: &Around<'_>) -> Option<Timestamp> {
    let State::Refused { since, .. } = &container.state else {
        return None;
    };
    Some(since.after(ERROR_SHOWN_FOR)).filter(|at| *at > around.now)
}

/// The status of a Pod now.
pub(super) fn status(held: &mut Held, pod: &Value, around: &Around<'_>) -> Value {
    let spec = &pod["spec"];
    let of = |list: &Value, held: &Held| -> Vec<Value> {
        items(list).map(|it| one(held, it, around)).collect()
    };
    let containers = of(&spec["containers"], held);
    let inits = of(&spec["initContainers"], held);
    let is_over = around.ending
        && held
            .containers
            .iter()
            .all(|it| it.container.run().is_none());
    let all_ready = [&containers, &inits]
        .into_iter()
        .flatten()
        .all(|it| it["ready"] == true);
    let all_started = held.containers.iter().all(|it| it.container.starts > 0);
    let phase = match (is_over, all_started) {
        (true, _) => "Succeeded",
        (false, true) => "Running",
        (false, false) => "Pending",
    };
    let conditions = conditions(&Facts {
        over: is_over,
        started: all_started,
        ready: all_ready,
        gate: missing_gate(pod),
    });
    let conditions: Vec<Value> = conditions
        .into_iter()
        .map(|it| it.json(&mut held.changed, around.now))
        .collect();
    let mut status = json!({
        "phase": phase, "conditions": conditions, "containerStatuses": containers,
        "hostIP": held.host_ip, "hostIPs": [{"ip": held.host_ip}], "podIP": held.ip, "podIPs": [{"ip": held.ip}],
        "startTime": held.since.to_string(),
        "observedGeneration": pod["metadata"]["generation"],
    });
    if !inits.is_empty() {
        status["initContainerStatuses"] = inits.into();
    }
    status
}

struct Facts {
    over: bool,
    started: bool,
    ready: bool,
    /// kubelet's words about a gate that keeps the Pod unready.
    gate: Option<String>,
}

struct Condition {
    kind: &'static str,
    /// None: it is True.
    because: Option<(&'static str, String)>,
}

fn conditions(facts: &Facts) -> [Condition; 3] {
    let over = facts.over.then_some(("PodCompleted", String::new()));
    let containers = over.or_else(|| {
        (!facts.ready).then(|| {
            (
                "ContainersNotReady",
                "containers with unready status".to_owned(),
            )
        })
    });
    let gate = facts.gate.clone();
    let ready = containers
        .clone()
        .or_else(|| gate.map(|words| ("ReadinessGatesNotReady", words)));
    let of = |kind, because| Condition { kind, because };
    let waiting = (!facts.started).then(|| ("ContainersNotInitialized", String::new()));
    [
        of("Initialized", waiting.filter(|_| !facts.over)),
        of("ContainersReady", containers),
        of("Ready", ready),
    ]
}

impl Condition {
    fn json(self, changed: &mut Changed, now: Timestamp) -> Value {
        let status = if self.because.is_none() {
            "True"
        } else {
            "False"
        };
        let since = changed
            .entry(self.kind)
            .and_modify(|was| {
                if was.0 != status {
                    *was = (status.to_owned(), now);
                }
            })
            .or_insert_with(|| (status.to_owned(), now));
        let (reason, message) = self.because.unwrap_or_default();
        // Null removes what the condition had: this is a patch.
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        json!({
            "type": self.kind, "status": status, "lastTransitionTime": since.1.to_string(),
            "reason": text(reason), "message": text(&message),
        })
    }
}

/// `GeneratePodReadyCondition` in kubelet's `status/generate.go`: a condition that is not there counts as False.
fn missing_gate(pod: &Value) -> Option<String> {
    items(&pod["spec"]["readinessGates"]).find_map(|gate| {
        let kind = gate["conditionType"].as_str().unwrap_or_default();
        let mut conditions = items(&pod["status"]["conditions"]);
        match conditions.find(|it| it["type"] == kind) {
            Some(condition) if condition["status"] == "True" => None,
            Some(_) => Some(format!(
                "the status of pod readiness gate \"{kind}\" is not \"True\", but False"
            )),
            None => Some(format!(
                "corresponding condition of pod readiness gate \"{kind}\" does not exist."
            )),
        }
    })
}

fn one(held: &Held, spec: &Value, around: &Around<'_>) -> Value {
    let name = spec["name"].as_str().unwrap_or_default();
    let image = spec["image"].as_str().unwrap_or_default();
    let Some(container) = held.container(name) else {
        return ended_init(held, name, image, around);
    };
    let mut told = json!({
        "name": name, "restartCount": container.starts.saturating_sub(1),
        "ready": container.is_ready(around), "started": container.run().is_some(),
        "image": image, "imageID": "", "state": state(container, around),
        "lastState": container.last.as_ref().map_or_else(|| json!({}), ended),
    });
    let of = container
        .run()
        .or_else(|| container.last.as_ref().map(|it| &it.run));
    if let Some(run) = of {
        told["image"] = run.image.clone().into();
        told["imageID"] = around.faults.image_id(&run.image).into();
        told["containerID"] = format!("containerd://{}", run.id).into();
    }
    told
}

/// An init container that is no sidecar: it ran when the Pod came, and does not run again.
fn ended_init(held: &Held, name: &str, image: &str, around: &Around<'_>) -> Value {
    let id = format!("containerd://{}-{name}", held.uid);
    let since = held.since.to_string();
    json!({
        "name": name, "restartCount": 0, "ready": true, "started": false, "image": image,
        "imageID": around.faults.image_id(image), "containerID": id,
        "state": {"terminated": {
            "exitCode": 0, "reason": "Completed", "containerID": id, "startedAt": since, "finishedAt": since,
        }},
        "lastState": {},
    })
}

fn state(container: &Container, around: &Around<'_>) -> Value {
    let waiting = |reason: &str, message: String| {
        let mut waiting = Map::from_iter([("reason".to_owned(), Value::from(reason))]);
        if !message.is_empty() {
            waiting.insert("message".to_owned(), message.into());
        }
        json!({"waiting": waiting})
    };
    if let Some(run) = container.run() {
        return json!({"running": {"startedAt": run.since.to_string()}});
    }
    match (&container.state, &container.last) {
        (State::Refused { image, since, .. }, _) => {
            if around.now < since.after(ERROR_SHOWN_FOR) {
                waiting("ErrImagePull", format!("{image}: not found"))
            } else {
                waiting(
                    "ImagePullBackOff",
                    format!("Back-off pulling image \"{image}\": {image}: not found"),
                )
            }
        }
        (State::Down { until, .. }, last) => {
            let from = last.as_ref().map_or(around.now, |it| it.at);
            let delay = until.since(from).as_secs();
            waiting(
                "CrashLoopBackOff",
                format!("back-off {delay}s restarting failed container"),
            )
        }
        (State::Idle, Some(last)) => ended(last),
        _ => waiting("ContainerCreating", String::new()),
    }
}

fn ended(last: &Ended) -> Value {
    let reason = if last.exit_code == 0 {
        "Completed"
    } else {
        "Error"
    };
    json!({"terminated": {
        "exitCode": last.exit_code, "reason": reason, "containerID": format!("containerd://{}", last.run.id),
        "startedAt": last.run.since.to_string(), "finishedAt": last.at.to_string(),
    }})
}
