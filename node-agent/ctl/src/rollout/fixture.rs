//! A set, its revisions and its Pods for tests.

use proto_crd::in_place_set::InPlaceSet;
use serde_json::{Value, json};

use crate::cluster::sets::{OperationSeen, PodOfSet, RevisionSeen};

/// Four Pods at revision `bb`, whose template the set has; all is done.
pub(super) fn set(change: impl FnOnce(&mut Value)) -> InPlaceSet {
    let mut set = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet",
        "metadata": {"name": "shop", "namespace": "prod", "uid": "u1", "resourceVersion": "42", "generation": 3},
        "spec": {
            "replicas": 4, "selector": {"matchLabels": {"app": "shop"}}, "template": template("shop:v2"),
        },
        "status": {
            "observedGeneration": 3, "replicas": 4, "readyReplicas": 4, "availableReplicas": 4,
            "updatedReplicas": 4, "updatedReadyReplicas": 4, "currentRevision": "bb", "updateRevision": "bb",
            "labelSelector": "app=shop",
        },
    });
    change(&mut set);
    serde_json::from_value(set).unwrap()
}

/// A release from `aa` to `bb` in this phase.
pub(super) fn release(phase: &str, fields: &Value) -> Value {
    let mut release = json!({
        "id": "R-3", "phase": phase, "fromRevision": "aa", "toRevision": "bb", "startedAt": "2026-01-01T00:00:00Z",
    });
    for (key, value) in fields.as_object().unwrap() {
        release[key] = value.clone();
    }
    release
}

/// A template with this image.
pub(super) fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "shop"}},
        "spec": {"containers": [{"name": "main", "image": image}, {"name": "side", "image": "side:v1"}]},
    })
}

/// Revisions 1 (`aa`) and 2 (`bb`).
pub(super) fn revisions() -> Vec<RevisionSeen> {
    [("aa", 1, "shop:v1"), ("bb", 2, "shop:v2")]
        .map(|(hash, number, image)| RevisionSeen {
            name: format!("shop-{hash}"),
            hash: hash.to_owned(),
            number,
            created: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            template: Some(template(image)),
        })
        .into()
}

/// A Pod of the set; `state` of what is under way, if anything is.
pub(super) fn pod(ordinal: u32, revision: &str, state: Option<&str>) -> PodOfSet {
    PodOfSet {
        name: format!("shop-{ordinal}"),
        revision: revision.to_owned(),
        deleting: false,
        operation: state.map(|state| OperationSeen {
            state: state.to_owned(),
            since: Some("2026-01-01T00:00:10Z".parse().unwrap()),
            failure: None,
        }),
    }
}
