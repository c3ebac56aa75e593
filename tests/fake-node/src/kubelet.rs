//! One Pod as kubelet and the runtime of its node have it: its sandbox, its containers, and what kubelet writes of them.
//!
//! Always holds: the sandbox and the addresses stay as long as the node has power; the addresses stay also then, and under
//! the Pod's name, as berth-ipamd keeps them. `Ready` is kubelet's: `ContainersReady` and every gate's condition as the API has it.
//! Only `restartPolicy: Always` is known; hooks sleep or take no time; an init container that is no sidecar ends at once.

pub(crate) mod container;
mod status;

use std::time::Duration;

use proto_crd::time::Timestamp;
use serde_json::Value;

use self::container::{Around, Container, Wanted};

/// A Pod on its node.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) uid: String,
    pub(crate) sandbox: String,
    pub(crate) ip: String,
    pub(crate) host_ip: String,
    /// When kubelet first saw it.
    pub(crate) since: Timestamp,
    /// Sidecars among them, by the order of the Pod: first `initContainers`, then `containers`.
    pub(crate) containers: Vec<Named>,
    /// The status kubelet wrote last, and when each condition became what it is.
    told: Option<Value>,
    changed: status::Changed,
}

/// What a Pod is given when it comes to its node.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) sandbox: String,
    pub(crate) ip: String,
    pub(crate) host_ip: String,
}

/// A container with its name.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) container: Container,
}

/// What kubelet does next.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Step {
    /// Writes this status.
    pub(crate) status: Option<Value>,
    /// Nothing runs any more and the API knows: the object may go.
    pub(crate) delete: bool,
    /// When something happens by itself.
    pub(crate) due: Option<Timestamp>,
}

impl Held {
    /// A Pod that comes to its node; nothing runs yet.
    pub(crate) fn new(pod: &Value, place: Place, now: Timestamp) -> Self {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        Self {
            uid: uid.to_owned(),
            sandbox: place.sandbox,
            ip: place.ip,
            host_ip: place.host_ip,
            since: now,
            containers: Vec::new(),
            told: None,
            changed: status::Changed::default(),
        }
    }

    /// Whatever is due of its containers, then what is to be written.
    pub(crate) fn step(&mut self, pod: &Value, around: &mut Around<'_>) -> Step {
        // What has failed (an evicted Pod) stays so: nothing of it runs again.
        if pod["status"]["phase"] == "Failed" && !around.ending {
            return Step {
                delete: false,
                status: None,
                due: None,
            };
        }
        let mut due = None;
        for wanted in wanted(pod) {
            let held = self.of(wanted.name);
            let next = held.step(&wanted, around);
            due = [due, next].into_iter().flatten().min();
        }
        let due = self
            .containers
            .iter()
            .filter_map(|it| status::turns(&it.container, around))
            .chain(due)
            .min();
        let status = status::status(self, pod, around);
        let is_told = self.told.as_ref() == Some(&status);
        let is_over = around.ending
            && self
                .containers
                .iter()
                .all(|it| it.container.run().is_none());
        Step {
            delete: is_told && is_over,
            status: (!is_told).then_some(status),
            due,
        }
    }

    /// The API server has taken this status.
    pub(crate) fn told(&mut self, status: Value) {
        self.told = Some(status);
    }

    /// The agent stops a container, if it is this one that runs.
    pub(crate) fn stop(&mut self, pod: &Value, name: &str, id: &str, around: &Around<'_>) {
        if let Some(wanted) = wanted(pod).into_iter().find(|it| it.name == name) {
            self.of(name).stop_run(id, &wanted, around);
        }
    }

    /// The node was without power: a new sandbox, and everything starts again.
    pub(crate) fn lose_power(&mut self, sandbox: String, now: Timestamp) {
        self.sandbox = sandbox;
        self.told = None;
        for held in &mut self.containers {
            held.container.lose_power(now);
        }
    }

    /// A container by its name.
    pub(crate) fn container(&self, name: &str) -> Option<&Container> {
        let mut all = self.containers.iter();
        all.find(|it| it.name == name).map(|it| &it.container)
    }

    fn of(&mut self, name: &str) -> &mut Container {
        let place = self.containers.iter().position(|it| it.name == name);
        let place = place.unwrap_or_else(|| {
            self.containers.push(Named {
                name: name.to_owned(),
                container: Container::default(),
            });
            self.containers.len() - 1
        });
        &mut self.containers[place].container
    }
}

/// Everything that kubelet keeps running: sidecars, then containers.
fn wanted(pod: &Value) -> Vec<Wanted<'_>> {
    let spec = &pod["spec"];
    let sidecars = items(&spec["initContainers"]).filter(|it| it["restartPolicy"] == "Always");
    sidecars
        .chain(items(&spec["containers"]))
        .map(|container| Wanted {
            name: container["name"].as_str().unwrap_or_default(),
            image: container["image"].as_str().unwrap_or_default(),
            pre_stop: container["lifecycle"]["preStop"]["sleep"]["seconds"]
                .as_u64()
                .map(Duration::from_secs)
                .unwrap_or_default(),
        })
        .collect()
}

/// How long the Pod's containers may take to end: what was asked for with its deletion, else what it says itself.
pub(crate) fn grace(pod: &Value) -> Duration {
    let asked = pod["metadata"]["deletionGracePeriodSeconds"].as_u64();
    let own = pod["spec"]["terminationGracePeriodSeconds"].as_u64();
    Duration::from_secs(asked.or(own).unwrap_or(30))
}

pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests;
