//! Pods, Nodes and Events, as far as addresses are concerned. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use proto_crd::names;
use serde::Serialize;

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSeen {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// The node that it is bound to.
    pub(crate) node: Option<String>,
    /// Its phase, as kubelet tells it.
    pub(crate) phase: String,
    /// It is being deleted.
    pub(crate) deleting: bool,
    /// It uses its node's network.
    pub(crate) host_network: bool,
    /// The addresses that it has, as kubelet tells it.
    pub(crate) addresses: Vec<IpAddr>,
    /// Its annotations that are Berth's.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Kind and name of the controller that made it.
    pub(crate) owner: Option<(String, String)>,
}

impl PodSeen {
    /// What of it matters here.
    pub(crate) fn of(pod: &Pod) -> Self {
        let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
        let ips = status.and_then(|it| it.pod_ips.as_ref());
        let prefix = format!("{}/", names::GROUP);
        let controller = pod.owner_references().iter();
        let mut controller = controller.filter(|it| it.controller == Some(true));
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            node: spec.and_then(|it| it.node_name.clone()),
            phase: status.and_then(|it| it.phase.clone()).unwrap_or_default(),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            host_network: spec.and_then(|it| it.host_network).unwrap_or(false),
            addresses: ips
                .into_iter()
                .flatten()
                .filter_map(|it| it.ip.parse().ok())
                .collect(),
            annotations: pod
                .annotations()
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            owner: controller
                .next()
                .map(|it| (it.kind.clone(), it.name.clone())),
        }
    }

    /// `namespace/name`.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// What its addresses stick to.
    pub(crate) fn identity(&self) -> String {
        let named = self.annotations.get(names::IDENTITY_ANNOTATION);
        let named = named.map(|it| it.trim()).filter(|it| !it.is_empty());
        named.map_or_else(|| self.key(), ToOwned::to_owned)
    }

    /// It has ended for good.
    pub(crate) fn has_ended(&self) -> bool {
        self.phase == "Succeeded" || self.phase == "Failed"
    }
}

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeSeen {
    /// Its name.
    pub(crate) name: String,
    /// The rack that its label names.
    pub(crate) rack: Option<String>,
    /// Whether its kubelet says that it is ready; `None`: nobody knows.
    pub(crate) ready: Option<bool>,
    /// The same in words, with since when.
    pub(crate) readiness: String,
    /// Somebody has said that it is shut down (taint `node.kubernetes.io/out-of-service`).
    pub(crate) out_of_service: bool,
}

impl NodeSeen {
    /// What of it matters here.
    pub(crate) fn of(node: &Node, rack_label: &str) -> Self {
        let conditions = node.status.as_ref().and_then(|it| it.conditions.as_ref());
        let mut ready = conditions.into_iter().flatten();
        let ready = ready.find(|it| it.type_ == "Ready");
        let since = ready.and_then(|it| it.last_transition_time.as_ref());
        let taints = node.spec.as_ref().and_then(|it| it.taints.as_ref());
        Self {
            name: node.name_any(),
            rack: node
                .labels()
                .get(rack_label)
                .filter(|rack| !rack.is_empty())
                .cloned(),
            ready: ready.and_then(|it| match it.status.as_str() {
                "True" => Some(true),
                "False" => Some(false),
                _ => None,
            }),
            readiness: ready.map_or_else(
                || "no kubelet has reported on it yet".to_owned(),
                |it| {
                    let since = since.map_or_else(String::new, |time| format!(" since {}", time.0));
                    let message = it.message.as_deref().filter(|it| !it.is_empty());
                    let message = message.map_or_else(String::new, |it| format!(" ({it})"));
                    format!("Ready={}{since}{message}", it.status)
                },
            ),
            out_of_service: taints
                .into_iter()
                .flatten()
                .any(|it| it.key == names::OUT_OF_SERVICE_TAINT),
        }
    }
}

/// An Event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventSeen {
    /// When it was last so.
    pub(crate) time: Option<Timestamp>,
    /// Normal or Warning.
    pub(crate) kind: String,
    /// Why, for programs.
    pub(crate) reason: String,
    /// What was so.
    pub(crate) message: String,
    /// Who says it.
    pub(crate) by: String,
}

impl EventSeen {
    /// What of it matters here.
    pub(crate) fn of(event: &Event) -> Self {
        let series = event.series.as_ref();
        let series = series.and_then(|it| it.last_observed_time.as_ref());
        let last = event.last_timestamp.as_ref().map(|it| it.0);
        let once = event.event_time.as_ref().map(|it| it.0);
        let component = event.reporting_component.clone();
        let source = event.source.as_ref().and_then(|it| it.component.clone());
        Self {
            time: series.map(|it| it.0).or(last).or(once),
            kind: event.type_.clone().unwrap_or_default(),
            reason: event.reason.clone().unwrap_or_default(),
            message: event.message.clone().unwrap_or_default(),
            by: component
                .filter(|it| !it.is_empty())
                .or(source)
                .unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
