//! What is measured: ways to have a container run anew, and what each asks of the API server.

use serde_json::{Value, json};

/// A way to have a container run anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The runtime is asked to stop a container and to start another one; nobody else takes part.
    Runtime,
    /// A `ContainerRestart`: the Pod stays.
    Restart,
    /// An `InPlaceSet` releases another image, with the Pod's traffic led away and back.
    Release,
    /// The same without that.
    Lossy,
    /// The Pod is deleted, and its set makes another one on the same node.
    Recreate,
    /// `kubectl berth upgrade` to an image that the node does not have.
    Upgrade,
    /// An `InPlaceSet` releases an image that the node does not have.
    ReleaseAbsent,
    /// The image of the Pod that lives is changed, and nothing else is done.
    Patch,
    /// The Pod is deleted, and the next one has an image that the node does not have.
    RecreateUpgraded,
}

/// The set's name, and the only container's.
pub(crate) const SET: &str = "served";
pub(crate) const CONTAINER: &str = "app";

/// Where it serves.
pub(crate) const PORT: u16 = 7000;

/// What the node has.
pub(crate) const PRESENT: &str = "localhost/app:v1";
pub(crate) const OTHER: &str = "localhost/app:v2";

/// Serves until it is told to end, and ends at once then.
pub(crate) const SERVER: [&str; 3] = [
    "sh",
    "-c",
    "trap 'kill $!; exit 0' TERM; httpd -f -p 7000 & wait $!; while :; do wait; done",
];

impl Subject {
    pub(crate) const ALL: [Self; 9] = [
        Self::Runtime,
        Self::Restart,
        Self::Release,
        Self::Lossy,
        Self::Recreate,
        Self::Upgrade,
        Self::ReleaseAbsent,
        Self::Patch,
        Self::RecreateUpgraded,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Runtime => "the runtime alone: stop, create, start",
            Self::Restart => "image present: restart in place",
            Self::Release => "image present: InPlaceSet, lossless",
            Self::Lossy => "image present: InPlaceSet, not lossless",
            Self::Recreate => "image present: delete and recreate",
            Self::Upgrade => "image absent: upgrade in place, pulled before",
            Self::ReleaseAbsent => "image absent: InPlaceSet, lossless, pulled before",
            Self::Patch => "image absent: changed in place, pulled by kubelet",
            Self::RecreateUpgraded => "image absent: delete and recreate",
        }
    }

    /// Which one it is compared with.
    pub(crate) const fn peer(self) -> Option<Self> {
        match self {
            Self::Restart | Self::Release | Self::Lossy => Some(Self::Recreate),
            Self::Upgrade | Self::ReleaseAbsent => Some(Self::RecreateUpgraded),
            Self::Runtime | Self::Recreate | Self::Patch | Self::RecreateUpgraded => None,
        }
    }
}

/// A set of Pods on one node. Nothing happens to its Pods when its image is changed: only a deleted one is made anew.
pub(crate) fn set(count: usize, node: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": SET, "namespace": "default"},
        "spec": {
            "replicas": count, "serviceName": SET, "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": {"app": SET}},
            "template": template(node, image),
        },
    })
}

/// A set of such Pods that is changed in place: so many of them are to have this image. One may be unavailable at a time.
pub(crate) fn in_place_set(
    count: usize,
    node: &str,
    image: &str,
    lossless: bool,
    updated: usize,
) -> Value {
    let protocol = json!({"protections": ["protection.berth.dev/endpoints"]});
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet",
        "metadata": {"name": SET, "namespace": "default"},
        "spec": {
            "replicas": count, "updatedReplicas": updated, "upgradePolicy": "InPlaceOnly",
            "lossless": if lossless { protocol } else { Value::Null },
            "selector": {"matchLabels": {"app": SET}},
            "template": template(node, image),
        },
    })
}

/// The Service of either: what is led away and back is its traffic.
pub(crate) fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": SET, "namespace": "default"},
        "spec": {"selector": {"app": SET}, "ports": [{"port": PORT}]},
    })
}

fn template(node: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": SET}, "annotations": {"berth.dev/networks": "external"}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "automountServiceAccountToken": false, "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": CONTAINER, "image": image, "imagePullPolicy": "IfNotPresent",
                "command": SERVER,
                "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
            }],
        },
    })
}

/// The request to restart the container of a Pod.
pub(crate) fn request(name: &str, pod: &Value) -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "ContainerRestart",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": pod["spec"]["nodeName"],
            "podName": pod["metadata"]["name"], "podUID": pod["metadata"]["uid"],
            "containers": [{"name": CONTAINER}],
            "strategy": {"minStartedSeconds": 1},
        },
    })
}
