//! The nodes themselves: their objects, the Leases of their agents, and their power.
//!
//! A node without power says nothing more. What Kubernetes' controllers would write about it after 40 s is written at once; of a
//! silent one nothing is.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use proto_crd::names;
use proto_crd::time::Timestamp;
use serde_json::{Value, json};
use tests_testbed::ApiProxy;

use super::{Driver, now};
use crate::watch::Kind;
use crate::write::{Job, MERGE, Purpose, STRATEGIC};

/// How often an agent says that it lives, and how long that holds.
const RENEW: Duration = Duration::from_secs(25);
const HOLDS_SECONDS: u32 = 120;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/berth-system/leases";

/// What is known of a node.
pub(super) struct Node {
    number: usize,
    pub(super) alive: bool,
    pub(super) images: BTreeSet<String>,
    /// Pods that were bound to it.
    pub(super) bound: usize,
    renewed: Option<Timestamp>,
}

impl Node {
    pub(super) const fn new(number: usize) -> Self {
        Self {
            number,
            alive: true,
            images: BTreeSet::new(),
            bound: 0,
            renewed: None,
        }
    }

    pub(super) fn address(&self) -> String {
        address(self.number)
    }
}

fn address(number: usize) -> String {
    format!("10.60.{}.{}", number / 250, number % 250 + 1)
}

/// Makes the objects of all nodes; those that are there stay.
pub(crate) fn create(proxy: &ApiProxy, names: &[String]) -> Result<()> {
    for (number, name) in names.iter().enumerate() {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", names::RACK_LABEL: "a",
            }},
            "status": {
                "addresses": [{"type": "InternalIP", "address": address(number)}],
                "conditions": [ready("True")],
                "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "256"},
                "capacity": {"cpu": "64", "memory": "256Gi", "pods": "256"},
                "nodeInfo": {
                    "kubeletVersion": "v1.36.3", "operatingSystem": "linux", "architecture": "amd64", "bootID": "1",
                    "containerRuntimeVersion": "containerd://2.4.2", "kernelVersion": "6.1", "osImage": "fake",
                    "machineID": "fake", "systemUUID": "fake", "kubeProxyVersion": "",
                },
            },
        });
        let answer = proxy.call("POST", "/api/v1/nodes", Some(&node))?;
        ensure!(
            matches!(answer.status, 201 | 409),
            "make Node {name}: {answer:?}"
        );
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": names::NAMESPACE},
            "spec": renewal(name),
        });
        let answer = proxy.call("POST", LEASES, Some(&lease))?;
        ensure!(
            matches!(answer.status, 201 | 409),
            "make Lease {name}: {answer:?}"
        );
    }
    Ok(())
}

fn ready(status: &str) -> Value {
    let time = now().to_string();
    json!({
        "type": "Ready", "status": status, "lastHeartbeatTime": time, "lastTransitionTime": time,
        "reason": "Fake", "message": "",
    })
}

/// A Lease's times have microseconds.
fn renewal(name: &str) -> Value {
    let time = now().to_string().replace('Z', ".000000Z");
    json!({"holderIdentity": name, "leaseDurationSeconds": HOLDS_SECONDS, "renewTime": time})
}

impl Driver {
    /// A number that nothing had before.
    pub(super) fn next_id(&mut self) -> String {
        self.last_id += 1;
        format!("{:064x}", self.last_id)
    }

    /// What lives says so.
    pub(super) fn renew_leases(&mut self) {
        let now = now();
        let mut due = Vec::new();
        for (name, node) in self.nodes.iter_mut().filter(|(_, node)| node.alive) {
            if node.renewed.is_none_or(|at| now.since(at) >= RENEW) {
                node.renewed = Some(now);
                due.push(name.clone());
            }
        }
        for name in due {
            let body = json!({"spec": renewal(&name)});
            self.send(other(MERGE, format!("{LEASES}/{name}"), body));
        }
    }

    /// Nothing is heard of a node, or it is heard again; what runs on it runs on.
    pub(super) fn silence(&mut self, name: &str, silent: bool) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.alive = !silent;
            node.renewed = None;
        }
    }

    /// A node loses its power, or has it again.
    pub(super) fn power(&mut self, name: &str, on: bool) {
        let Some(node) = self.nodes.get_mut(name).filter(|it| it.alive != on) else {
            return;
        };
        node.alive = on;
        node.renewed = None;
        let status = if on { "True" } else { "Unknown" };
        let body = json!({"status": {"conditions": [ready(status)]}});
        let path = format!("/api/v1/nodes/{name}/status");
        self.send(other(STRATEGIC, path, body));
        let pods = self.pods.iter().filter(|(_, pod)| pod.is_on(name));
        let pods: Vec<_> = pods.map(|(key, _)| key.clone()).collect();
        for key in pods {
            if on {
                let sandbox = self.next_id();
                let held = self.pods.get_mut(&key).and_then(|it| it.held.as_mut());
                if let Some(held) = held {
                    held.lose_power(sandbox, now());
                }
            } else {
                let condition =
                    json!({"type": "Ready", "status": "False", "reason": "NodeNotReady"});
                let body = json!({"status": {"conditions": [condition]}});
                let path = format!("{}/status", Kind::Pod.object(&key.1, &key.2));
                self.send(other(STRATEGIC, path, body));
            }
        }
    }
}

fn other(form: &'static str, path: String, body: Value) -> Job {
    Job {
        key: (Kind::Pod, String::new(), path.clone()),
        purpose: Purpose::Other,
        verb: "PATCH",
        form,
        path,
        body,
    }
}
