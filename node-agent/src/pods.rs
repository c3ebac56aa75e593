//! The Pods of this node, as a watch tells them; of each what the agent's parts need.
//!
//! One watch for all parts. A view may be old: who does harm by that reads the Pod live first. That a container was not ready for a
//! moment is not lost between two looks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipamd_daemon::Tasks;
use k8s_openapi::api::core::v1::Pod;
use kube::core::ObjectMeta;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, Resource};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::contact::Contact;
use crate::follow::follow;

/// Objects of one answer of a list: a node has some hundred Pods at most.
const PAGE: u32 = 100;

/// A Pod as it is read: a few fields of it.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[resource(inherit = Pod)]
pub(crate) struct LeanPod {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: LeanPodSpec,
    #[serde(default)]
    pub(crate) status: LeanPodStatus,
}

/// Of `spec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeanPodSpec {
    pub(crate) node_name: String,
    pub(crate) host_network: bool,
    pub(crate) restart_policy: String,
    pub(crate) readiness_gates: Vec<LeanReadinessGate>,
    pub(crate) containers: Vec<LeanContainer>,
}

/// Of `spec.readinessGates`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeanReadinessGate {
    pub(crate) condition_type: String,
}

/// Of `spec.containers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeanContainer {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) restart_policy: Option<String>,
    pub(crate) restart_policy_rules: Vec<LeanRestartRule>,
}

/// Of `restartPolicyRules`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LeanRestartRule {
    pub(crate) action: String,
}

/// Of `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeanPodStatus {
    #[serde(rename = "podIP")]
    pub(crate) pod_ip: String,
    pub(crate) phase: String,
    pub(crate) conditions: Vec<LeanCondition>,
    pub(crate) container_statuses: Vec<LeanContainerStatus>,
}

/// Of `status.conditions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LeanCondition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) message: Option<String>,
}

/// Of `status.containerStatuses`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeanContainerStatus {
    pub(crate) name: String,
    #[serde(rename = "containerID")]
    pub(crate) container_id: Option<String>,
    pub(crate) started: Option<bool>,
    pub(crate) ready: bool,
    pub(crate) state: LeanContainerState,
}

/// Of a container's `state`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LeanContainerState {
    pub(crate) waiting: Option<LeanWaiting>,
}

/// Of `state.waiting`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LeanWaiting {
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
}

impl LeanPod {
    /// Its namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its UID.
    pub(crate) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// A condition of it.
    pub(crate) fn condition(&self, kind: &str) -> Option<&LeanCondition> {
        let mut conditions = self.status.conditions.iter();
        conditions.find(|condition| condition.kind == kind)
    }

    /// Whether it has a readiness gate.
    pub(crate) fn has_gate(&self, kind: &str) -> bool {
        let mut gates = self.spec.readiness_gates.iter();
        gates.any(|gate| gate.condition_type == kind)
    }
}

impl LeanContainerStatus {
    /// The container's id as the runtime names it; empty: none.
    pub(crate) fn runtime_id(&self) -> &str {
        let id = self.container_id.as_deref().unwrap_or_default();
        id.split_once("://").map_or(id, |(_, id)| id)
    }
}

/// The Pods as they were last told. Clones are the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Pods {
    told: Arc<Mutex<Told>>,
    changes: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Told {
    /// By UID.
    pods: BTreeMap<String, Arc<LeanPod>>,
    /// By UID of the Pod: containers that were seen not to be ready since somebody last asked.
    unready: BTreeMap<String, BTreeSet<String>>,
    /// A list that is being read.
    pending: Option<BTreeMap<String, Arc<LeanPod>>>,
    is_complete: bool,
}

impl Pods {
    /// Counts what was told.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Whether the list was read to its end at least once.
    pub(crate) fn is_complete(&self) -> bool {
        self.told().is_complete
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<LeanPod>> {
        self.told().pods.values().cloned().collect()
    }

    /// Which containers of a Pod were seen not to be ready since this was last asked.
    pub(crate) fn take_unready(&self, uid: &str) -> BTreeSet<String> {
        self.told().unready.remove(uid).unwrap_or_default()
    }

    /// These, and no others any more.
    #[cfg(test)]
    pub(crate) fn of(pods: Vec<LeanPod>) -> Self {
        let mut told = Told::default();
        told.apply(Event::Init);
        let pods = pods.into_iter();
        pods.for_each(|pod| told.apply(Event::InitApply(pod)));
        told.apply(Event::InitDone);
        Self {
            told: Arc::new(Mutex::new(told)),
            changes: watch::channel(0).1,
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn apply(&mut self, event: Event<LeanPod>) {
        match event {
            Event::Init => self.pending = Some(BTreeMap::new()),
            Event::InitApply(pod) => {
                let pod = self.noted(pod);
                let pending = self.pending.get_or_insert_default();
                pending.insert(pod.uid().to_owned(), pod);
            }
            Event::InitDone => {
                self.pods = self.pending.take().unwrap_or_default();
                let pods = &self.pods;
                self.unready.retain(|uid, _| pods.contains_key(uid));
                self.is_complete = true;
            }
            Event::Apply(pod) => {
                let pod = self.noted(pod);
                self.pods.insert(pod.uid().to_owned(), pod);
            }
            Event::Delete(pod) => {
                self.pods.remove(pod.uid());
                self.unready.remove(pod.uid());
            }
        }
    }

    fn noted(&mut self, mut pod: LeanPod) -> Arc<LeanPod> {
        // More than half of a Pod's bytes, and nobody's business here.
        pod.metadata.managed_fields = None;
        let statuses = pod.status.container_statuses.iter();
        let unready = statuses.filter(|status| !status.ready);
        let names: Vec<String> = unready.map(|status| status.name.clone()).collect();
        if !names.is_empty() {
            let noted = self.unready.entry(pod.uid().to_owned()).or_default();
            noted.extend(names);
        }
        Arc::new(pod)
    }
}

/// Watches the Pods of a node. Who keeps when the API server was heard is told of every answer.
pub(crate) fn spawn_pods(tasks: &Tasks, client: Client, node: &str, contact: Contact) -> Pods {
    let told = Arc::new(Mutex::new(Told::default()));
    let (sender, changes) = watch::channel(0);
    let pods = Pods {
        told: Arc::clone(&told),
        changes,
    };
    let config = Config::default()
        .fields(&format!("spec.nodeName={node}"))
        .page_size(PAGE);
    let token = tasks.token();
    tasks.spawn("pods", async move {
        let events = watcher(Api::<LeanPod>::all(client), config);
        let watching = follow("Pods of this node", events, |event| {
            // That one is of before the question.
            if !matches!(event, Event::Init) {
                contact.heard();
            }
            told.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .apply(event);
            sender.send_modify(|count| *count += 1);
        });
        tokio::select! {
            () = token.cancelled() => {}
            () = watching => {}
        }
    });
    pods
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, ready: bool) -> LeanPod {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "shop", "namespace": "prod", "uid": uid},
            "spec": {
                "nodeName": "n1", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                "readinessGates": [{"conditionType": "berth.dev/ServiceReady"}],
                "containers": [{"name": "main", "image": "shop:1"}],
            },
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
                "containerStatuses": [{
                    "name": "main", "ready": ready, "started": true, "containerID": "containerd://c1",
                    "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn fields_are_read_as_kubernetes_writes_them() {
        let pod = pod("u1", true);
        assert_eq!(
            (pod.namespace(), pod.name(), pod.uid()),
            ("prod", "shop", "u1")
        );
        assert!(pod.has_gate("berth.dev/ServiceReady") && !pod.has_gate("other"));
        assert_eq!(pod.condition("Ready").unwrap().status, "False");
        assert_eq!(pod.status.container_statuses[0].runtime_id(), "c1");
    }

    #[test]
    fn a_moment_of_not_being_ready_is_told_once() {
        let mut told = Told::default();
        told.apply(Event::Apply(pod("u1", false)));
        told.apply(Event::Apply(pod("u1", true)));
        assert_eq!(told.unready.remove("u1"), Some(["main".to_owned()].into()));
        told.apply(Event::Apply(pod("u1", true)));
        assert_eq!(told.unready.get("u1"), None);
    }

    #[test]
    fn a_new_list_replaces_the_old_one_at_its_end() {
        let mut told = Told::default();
        told.apply(Event::Apply(pod("u1", false)));
        told.apply(Event::Init);
        told.apply(Event::InitApply(pod("u2", true)));
        assert!(told.pods.contains_key("u1") && !told.is_complete);
        told.apply(Event::InitDone);
        assert_eq!(told.pods.keys().collect::<Vec<_>>(), ["u2"]);
        assert!(told.is_complete && told.unready.is_empty());
    }
}
