//! Which containers run, told on the Pods of this node that ask for it (`berth.dev/report-containers: "true"`): the annotation
//! `berth.dev/containers`, of which specification each is that the Pod names, of which the one is that runs, and its id.
//!
//! Tells and decides nothing. Written when it would be another text, and only on a Pod of the UID that was looked at; taken away
//! from a Pod that does not ask any more. What the runtime does not say is not told as if nothing ran.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipamd_daemon::{Tasks, chain};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use node_agent_cri::{CallRuntimeError, ContainerFilter, ContainerState, Runtime};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use proto_crd::names;
use serde_json::json;
use tracing::{info, warn};

mod plan;

use self::plan::{Write, asks, plan};
use crate::pods::{LeanPod, Pods};

/// What happens within it is looked at once: a Pod that starts changes many times a second.
const PAUSE: Duration = Duration::from_millis(200);

/// When what failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// A runtime that takes longer to list a Pod's containers has trouble of its own.
const RUNTIME_DEADLINE: Duration = Duration::from_secs(5);

/// kubelet's label of a container: the UID of its Pod.
const POD_UID: &str = "io.kubernetes.pod.uid";

/// What reports are made with.
pub(crate) struct ContainerReports {
    /// The API.
    pub(crate) client: Client,
    /// This node's Pods.
    pub(crate) pods: Pods,
    /// The runtime.
    pub(crate) runtime: Runtime,
    /// What is counted.
    pub(crate) metrics: ContainerMetrics,
}

/// Reports written, and what failed. Clones count into the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerMetrics {
    reports: Family<Labels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    result: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
enum Outcome {
    written,
    runtime_failed,
    api_failed,
}

impl ContainerMetrics {
    /// Registers them.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "container_reports",
            "Reports of a Pod's containers on the Pod",
            metrics.reports.clone(),
        );
        metrics
    }

    fn count(&self, result: Outcome) {
        self.reports.get_or_create(&Labels { result }).inc();
    }
}

/// Why a Pod's containers are not told.
#[derive(Debug, thiserror::Error)]
enum ReportContainersError {
    /// The runtime does not say.
    #[error("asking the runtime which containers run")]
    Look(#[source] CallRuntimeError),
    /// The API server does not take it.
    #[error("writing the annotation berth.dev/containers of the Pod")]
    Tell(#[source] kube::Error),
}

/// Reports what runs in this node's Pods.
pub(crate) fn spawn_container_reports(tasks: &Tasks, reports: ContainerReports) {
    let token = tasks.token();
    tasks.spawn("container reports", async move {
        let mut changes = reports.pods.changes();
        let mut looked = BTreeMap::new();
        loop {
            // What failed is tried again; what has not changed since it was told costs nothing.
            reports.pass(&mut looked).await;
            let retry = tokio::time::sleep(AGAIN);
            tokio::select! {
                () = token.cancelled() => return,
                told = changes.changed() => if told.is_err() {
                    // The watch has ended with its task, which ends the process.
                    return;
                },
                () = retry => continue,
            }
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    });
}

/// Versions of Pods that were looked at and told, by UID.
type Looked = BTreeMap<String, String>;

impl ContainerReports {
    /// Looks at every Pod that has changed.
    async fn pass(&self, looked: &mut Looked) {
        let pods = self.pods.all();
        let here: BTreeSet<&str> = pods.iter().map(|pod| pod.uid()).collect();
        looked.retain(|uid, _| here.contains(uid.as_str()));
        // It would say no more of the others, and each would wait for its deadline.
        let mut runtime_says_nothing = false;
        for pod in pods.iter().filter(|pod| asks(pod).is_some()) {
            if runtime_says_nothing && asks(pod) == Some(true) {
                continue;
            }
            let version = pod.metadata.resource_version.clone().unwrap_or_default();
            if looked.get(pod.uid()) == Some(&version) {
                continue;
            }
            match self.report(pod).await {
                Ok(()) => {
                    looked.insert(pod.uid().to_owned(), version);
                }
                Err(error) => {
                    let pod = format!("{}/{}", pod.namespace(), pod.name());
                    warn!(pod, error = %chain(&error), "a Pod's containers are not reported; trying again");
                    runtime_says_nothing |= matches!(error, ReportContainersError::Look(_));
                }
            }
        }
    }

    async fn report(&self, pod: &Arc<LeanPod>) -> Result<(), ReportContainersError> {
        let running = match asks(pod) {
            Some(true) => {
                let filter = ContainerFilter {
                    state: Some(ContainerState::Running),
                    labels: [(POD_UID.to_owned(), pod.uid().to_owned())].into(),
                    ..ContainerFilter::default()
                };
                let listed = self.runtime.containers(filter, RUNTIME_DEADLINE).await;
                listed.map_err(|error| {
                    self.metrics.count(Outcome::runtime_failed);
                    ReportContainersError::Look(error)
                })?
            }
            Some(false) | None => Vec::new(),
        };
        let Some(write) = plan(pod, &running) else {
            return Ok(());
        };
        self.tell(pod, &write).await
    }

    async fn tell(&self, pod: &LeanPod, write: &Write) -> Result<(), ReportContainersError> {
        let text = match write {
            Write::Set(text) => Some(text),
            Write::Remove => None,
        };
        let patch = json!({
            "metadata": {"uid": pod.uid(), "annotations": {names::CONTAINERS_ANNOTATION: text}},
        });
        let params = PatchParams {
            field_manager: Some(names::AGENT_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = Api::<LeanPod>::namespaced(self.client.clone(), pod.namespace());
        let asked = api
            .patch_status(pod.name(), &params, &Patch::Merge(patch))
            .await;
        let name = format!("{}/{}", pod.namespace(), pod.name());
        match asked {
            Ok(_) => {
                self.metrics.count(Outcome::written);
                info!(pod = name, "containers reported");
                Ok(())
            }
            // The watch tells of that too. What conflicts is tried again.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                info!(
                    pod = name,
                    message = status.message,
                    "the Pod has gone before its containers were reported"
                );
                Ok(())
            }
            Err(error) => {
                self.metrics.count(Outcome::api_failed);
                Err(ReportContainersError::Tell(error))
            }
        }
    }
}
