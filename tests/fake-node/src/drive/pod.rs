//! What is done about one Pod: bound, kept by its kubelet, told of by its agent.

use proto_crd::time::Timestamp;
use serde_json::{Value, json};

use super::{Driver, Key, now};
use crate::agent;
use crate::kubelet::container::Around;
use crate::kubelet::{Held, Place, Step, grace};
use crate::schedule::{Room, pick};
use crate::write::{Done, Job, MERGE, PLAIN, Purpose, STRATEGIC};

/// A Pod as the API has it, and as its node has it.
pub(super) struct Pod {
    pub(super) object: Value,
    pub(super) held: Option<Held>,
    busy: bool,
    /// kubelet has said its last word.
    deleted: bool,
}

impl Pod {
    pub(super) const fn new(object: Value) -> Self {
        Self {
            object,
            held: None,
            busy: false,
            deleted: false,
        }
    }

    /// A newer version of it, or another Pod of its name.
    pub(super) fn see(&mut self, object: Value) {
        let uid = &object["metadata"]["uid"];
        if self.object["metadata"]["uid"] != *uid {
            let busy = self.busy;
            *self = Self::new(object);
            self.busy = busy;
        } else if version(&object) >= version(&self.object) {
            self.object = object;
        }
    }

    fn node(&self) -> Option<&str> {
        self.object["spec"]["nodeName"].as_str()
    }

    pub(super) fn is_on(&self, node: &str) -> bool {
        self.node() == Some(node)
    }

    fn is_ending(&self) -> bool {
        !self.object["metadata"]["deletionTimestamp"].is_null()
    }
}

/// Versions of one resource are numbers that grow: since 1.35 the API says so.
fn version(object: &Value) -> u64 {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.and_then(|it| it.parse().ok()).unwrap_or(0)
}

impl Driver {
    pub(super) fn look_at_pod(&mut self, key: &Key) -> Option<Timestamp> {
        let pod = self.pods.get(key)?;
        if pod.busy || pod.deleted {
            return None;
        }
        let Some(name) = pod.node().map(str::to_owned) else {
            self.bind(key);
            return None;
        };
        let host_ip = self.nodes.get(&name).filter(|it| it.alive)?.address();
        if self.pods.get(key)?.held.is_none() {
            let place = Place {
                sandbox: self.next_id(),
                ip: self.address(key),
                host_ip,
            };
            let pod = self.pods.get_mut(key)?;
            pod.held = Some(Held::new(&pod.object, place, now()));
        }
        let pod = self.pods.get_mut(key)?;
        let ending = pod.is_ending();
        let Pod { object, held, .. } = pod;
        let held = held.as_mut()?;
        let path = format!("{}/{}", key.1, key.2);
        let mut around = Around {
            pod: &path,
            ending,
            grace: grace(object),
            pace: &self.pace,
            faults: &self.faults,
            images: &mut self.nodes.get_mut(&name)?.images,
            last_id: &mut self.last_id,
            now: now(),
        };
        let step = held.step(object, &mut around);
        let due = step.due;
        if let Some(job) = job(key, object, held, step) {
            pod.busy = true;
            self.send(job);
        }
        due
    }

    pub(super) fn pod_written(&mut self, done: &Done, is_done: bool) {
        let Some(pod) = self.pods.get_mut(&done.key) else {
            return;
        };
        if done.purpose == Purpose::Other {
            return;
        }
        pod.busy = false;
        if !is_done {
            return;
        }
        match &done.purpose {
            Purpose::Bind(node) => pod.object["spec"]["nodeName"] = node.clone().into(),
            Purpose::Delete => pod.deleted = true,
            Purpose::Status(status) => {
                if let Some(held) = &mut pod.held {
                    held.told(status.clone());
                }
            }
            _ => {}
        }
        // What the answer says is seen before the watch tells it: nothing is written twice.
        let answer = serde_json::from_str::<Value>(&done.body).unwrap_or_default();
        let is_it = answer["metadata"]["uid"] == pod.object["metadata"]["uid"];
        if answer["kind"] == "Pod" && is_it {
            pod.see(answer);
        }
    }

    /// The scheduler's part.
    fn bind(&mut self, key: &Key) {
        let Some(pod) = self.pods.get(key).filter(|pod| !pod.is_ending()) else {
            return;
        };
        let rooms: Vec<Room<'_>> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.alive)
            .map(|(name, node)| Room {
                name,
                pods: node.bound,
            })
            .collect();
        let Some(node) = pick(&pod.object, &rooms).map(str::to_owned) else {
            return;
        };
        let (_, namespace, name) = key;
        let body = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod.object["metadata"]["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        if let Some(pod) = self.pods.get_mut(key) {
            pod.busy = true;
        }
        if let Some(node) = self.nodes.get_mut(&node) {
            node.bound += 1;
        }
        self.send(Job {
            key: key.clone(),
            purpose: Purpose::Bind(node),
            verb: "POST",
            form: PLAIN,
            path: format!("{}/binding", key.0.object(namespace, name)),
            body,
        });
    }

    /// The address of a Pod's name: it outlives the Pod.
    fn address(&mut self, key: &Key) -> String {
        let count = self.addresses.len();
        let of = (key.1.clone(), key.2.clone());
        let address = self.addresses.entry(of);
        address
            .or_insert_with(|| format!("10.20.{}.{}", count / 250, count % 250 + 1))
            .clone()
    }
}

/// The next write about a Pod: kubelet's before the agent's.
fn job(key: &Key, pod: &Value, held: &Held, step: Step) -> Option<Job> {
    let path = key.0.object(&key.1, &key.2);
    let job = |purpose, form, path: String, body| Job {
        key: key.clone(),
        purpose,
        verb: "PATCH",
        form,
        path,
        body,
    };
    let of_status = format!("{path}/status");
    if let Some(status) = step.status {
        let body = json!({"metadata": {"uid": pod["metadata"]["uid"]}, "status": status});
        return Some(job(Purpose::Status(status), STRATEGIC, of_status, body));
    }
    if step.delete {
        let body = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
            "preconditions": {"uid": pod["metadata"]["uid"]},
        });
        let mut job = job(Purpose::Delete, PLAIN, path, body);
        job.verb = "DELETE";
        return Some(job);
    }
    if let Some(body) = agent::gate(pod, now()) {
        return Some(job(Purpose::Gate, STRATEGIC, of_status, body));
    }
    let body = agent::report(pod, held)?;
    Some(job(Purpose::Report, MERGE, path, body))
}
