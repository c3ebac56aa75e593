//! One request as it is acted upon: the API's object, and what this node has stored about it.
//!
//! Only this node's agent writes a status. One that it stored here and the API does not have yet is therefore the newer one.

use kube::ResourceExt as _;
use node_agent_restart::gate::holder_of;
use node_agent_restart::queue::{Turn, Waiting, turns};
use proto_crd::container_restart::{
    ContainerRestart, ContainerRestartSpec, ContainerRestartStatus,
};
use proto_crd::names;
use proto_crd::time::Timestamp;

use super::journal::Entry;

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// What its next write is conditional upon.
    pub(super) version: String,
    pub(super) created_at: Timestamp,
    pub(super) spec: ContainerRestartSpec,
    pub(super) deleting: bool,
    pub(super) has_finalizer: bool,
    /// The newest status.
    pub(super) status: ContainerRestartStatus,
    /// The one that the API has, as far as is known.
    pub(super) told: ContainerRestartStatus,
}

impl From<&ContainerRestart> for Request {
    fn from(object: &ContainerRestart) -> Self {
        let meta = &object.metadata;
        let status = object.status.clone().unwrap_or_default();
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: object.name_any(),
            uid: meta.uid.clone().unwrap_or_default(),
            version: meta.resource_version.clone().unwrap_or_default(),
            created_at: created_at(object),
            spec: object.spec.clone(),
            deleting: meta.deletion_timestamp.is_some(),
            has_finalizer: object
                .finalizers()
                .iter()
                .any(|finalizer| finalizer == names::CONTAINER_RESTART_FINALIZER),
            told: status.clone(),
            status,
        }
    }
}

impl From<&Entry> for Request {
    fn from(entry: &Entry) -> Self {
        Self {
            namespace: entry.namespace.clone(),
            name: entry.name.clone(),
            uid: entry.uid.clone(),
            version: entry.version.clone(),
            created_at: entry.created_at,
            spec: entry.spec.clone(),
            deleting: false,
            has_finalizer: entry.has_finalizer,
            status: entry.status.clone(),
            told: entry.told.clone(),
        }
    }
}

impl Request {
    /// With what this node stored about it.
    pub(super) fn with(self, entry: Option<&Entry>) -> Self {
        match entry {
            Some(entry) if entry.is_ahead_of(&self.told) => Self {
                status: entry.status.clone(),
                ..self
            },
            _ => self,
        }
    }

    /// Whether the API has the newest status.
    pub(super) fn is_told(&self) -> bool {
        self.status == self.told
    }

    /// What it is called where it holds a Pod unready.
    pub(super) fn holder(&self) -> String {
        holder_of(&self.name)
    }

    /// Whether another one is for the same Pod.
    fn is_for_pod_of(&self, other: &Self) -> bool {
        self.namespace == other.namespace
            && self.spec.pod_name == other.spec.pod_name
            && self.spec.pod_uid == other.spec.pod_uid
    }
}

/// Whether it is a request's turn among all of this node.
pub(super) fn turn(request: &Request, all: &[Request]) -> Turn {
    let living: Vec<Waiting<'_>> = all
        .iter()
        .filter(|other| other.is_for_pod_of(request) && !other.deleting)
        .map(|other| Waiting {
            name: &other.name,
            created_at: other.created_at,
            spec: &other.spec,
            status: &other.status,
        })
        .collect();
    let place = living.iter().position(|other| other.name == request.name);
    let mut turns = turns(&living);
    place.map_or(Turn::Now, |place| turns.swap_remove(place))
}

fn created_at(object: &ContainerRestart) -> Timestamp {
    let seconds = object
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(0, |time| time.0.as_second());
    Timestamp::from_unix_milliseconds(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use proto_crd::container_restart::Phase;
    use serde_json::json;

    use super::*;

    fn object(name: &str, phase: &str) -> ContainerRestart {
        serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "ContainerRestart",
            "metadata": {
                "name": name, "namespace": "prod", "uid": format!("uid-{name}"), "resourceVersion": "7",
                "creationTimestamp": "1970-01-01T00:01:40Z",
                "finalizers": ["berth.dev/container-restart"],
            },
            "spec": {
                "nodeName": "n1", "podName": "shop", "podUID": "u", "containers": [{"name": "main"}],
            },
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    fn entry(request: &Request, phase: Phase) -> Entry {
        let mut entry = Entry::of(request);
        entry.status.phase = phase;
        entry
    }

    #[test]
    fn object_is_read_with_what_is_conditional_on_it() {
        let request = Request::from(&object("a", "Draining"));
        assert_eq!(
            (request.version.as_str(), request.uid.as_str()),
            ("7", "uid-a")
        );
        assert_eq!(request.created_at.to_string(), "1970-01-01T00:01:40Z");
        assert!(request.has_finalizer && !request.deleting && request.is_told());
        assert_eq!(request.holder(), "ContainerRestart/a");
    }

    #[test]
    fn what_this_node_stored_and_the_api_does_not_have_is_newer() {
        let request = Request::from(&object("a", "Draining"));
        let ahead = entry(&request, Phase::Recreating);
        let merged = request.clone().with(Some(&ahead));
        assert_eq!(merged.status.phase, Phase::Recreating);
        assert!(!merged.is_told());
        // What it sent without an answer may have arrived.
        let mut sent = ahead.clone();
        sent.told.phase = Phase::Pending;
        assert_eq!(
            request.clone().with(Some(&sent)).status.phase,
            Phase::Draining
        );
        sent.sent.push(request.told.clone());
        assert_eq!(
            request.clone().with(Some(&sent)).status.phase,
            Phase::Recreating
        );
        assert_eq!(request.clone().with(None), request);
    }

    #[test]
    fn requests_for_other_pods_do_not_come_first() {
        let mut all: Vec<Request> = ["a", "b"]
            .map(|name| Request::from(&object(name, "Pending")))
            .into();
        all[0].status.accepted_at = Some(all[0].created_at);
        assert_eq!(turn(&all[0], &all), Turn::Now);
        assert!(matches!(
            turn(&all[1], &all),
            Turn::After { position: 1, .. }
        ));
        all[0].spec.pod_uid = "other".to_owned();
        assert_eq!(turn(&all[1], &all), Turn::Now);
        all[0].spec.pod_uid = "u".to_owned();
        all[0].deleting = true;
        assert_eq!(turn(&all[1], &all), Turn::Now);
    }
}
