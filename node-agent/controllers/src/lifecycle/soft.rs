//! Soft eviction and its end, as what is written to a Pod. Pure.
//!
//! The Pod is marked, and its owner makes another one beside it: an `InPlaceSet` because it sees the mark, a `ReplicaSet` because the
//! label by which it selects is taken off, so that it releases the Pod. **Always holds:** nothing that a Pod runs by is changed; what
//! is taken off is remembered in the same write. Each is a merge patch for [`Writer`](crate::write::Writer), which names UID and
//! version.
//!
//! Seen with Kubernetes 1.36 (API server, controller-manager): the `ReplicaSet` lets the Pod go (no ownerReference is left) and makes
//! another within 1.6 s; a `Deployment` tells one ready less until that one is. The Pod stays in its Service's `EndpointSlice`, and a
//! `PodDisruptionBudget` goes on to count it as healthy while its Ready is True. With the label back, the `ReplicaSet` takes it up
//! again within a second and ends what is not ready, then what is youngest: with a ready replacement, the replacement. A rollout
//! meanwhile does not touch a released Pod; a `ReplicaSet` that wants none ends it as soon as it takes it up. One whose
//! `ReplicaSet` is deleted is nobody's, and outlives it: who soft-evicted it ends it.

use std::collections::BTreeMap;

use kube::core::ObjectMeta;
use node_agent_lifecycle::decision::DecisionId;
use node_agent_lifecycle::observation::{AddressPolicy, Owner};
use proto_crd::names;
use serde_json::{Value, json};

use super::owner::{TEMPLATE_HASH_LABEL, address_policy, owner};

/// Why there is nothing to write.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SoftEvictError {
    /// Another one must not run beside it.
    #[error("no other Pod may run beside it: its owner or its addresses do not allow one")]
    Alone,
    /// It has the mark.
    #[error("it is marked already")]
    Marked,
    /// It lacks the mark.
    #[error("it is not marked")]
    Unmarked,
    /// What was taken off cannot be read.
    #[error(
        "annotation {} is no map of labels: put the label {TEMPLATE_HASH_LABEL} back by hand, and remove the annotation",
        names::RELEASED_LABELS_ANNOTATION
    )]
    ReadLabels(#[source] serde_json::Error),
}

/// What is written so that the Pod does not count any more.
///
/// # Errors
/// See [`SoftEvictError`].
pub(crate) fn soft_evict(pod: &ObjectMeta, decision: DecisionId) -> Result<Value, SoftEvictError> {
    if is_soft_evicted(pod) {
        return Err(SoftEvictError::Marked);
    }
    if address_policy(pod) == AddressPolicy::Keep {
        return Err(SoftEvictError::Alone);
    }
    let mark = decision.to_string();
    if owner(pod) == Owner::InPlaceSet {
        let annotations = json!({ names::SOFT_EVICTED_ANNOTATION: mark });
        return Ok(json!({"metadata": {"annotations": annotations}}));
    }
    let labels = pod.labels.as_ref();
    let Some(hash) = labels.and_then(|labels| labels.get(TEMPLATE_HASH_LABEL)) else {
        return Err(SoftEvictError::Alone);
    };
    let released = json!({ TEMPLATE_HASH_LABEL: hash }).to_string();
    Ok(json!({"metadata": {
        "labels": { TEMPLATE_HASH_LABEL: null },
        "annotations": {
            names::SOFT_EVICTED_ANNOTATION: mark,
            names::RELEASED_LABELS_ANNOTATION: released,
        },
    }}))
}

/// What is written so that the Pod counts again: its owner ends what is too much.
///
/// # Errors
/// See [`SoftEvictError`].
pub(crate) fn readopt(pod: &ObjectMeta) -> Result<Value, SoftEvictError> {
    if !is_soft_evicted(pod) {
        return Err(SoftEvictError::Unmarked);
    }
    let annotation = |key| pod.annotations.as_ref()?.get(key);
    let Some(released) = annotation(names::RELEASED_LABELS_ANNOTATION) else {
        let annotations = json!({ names::SOFT_EVICTED_ANNOTATION: null });
        return Ok(json!({"metadata": {"annotations": annotations}}));
    };
    let released: BTreeMap<String, String> =
        serde_json::from_str(released).map_err(SoftEvictError::ReadLabels)?;
    Ok(json!({"metadata": {
        "labels": released,
        "annotations": {
            names::SOFT_EVICTED_ANNOTATION: null,
            names::RELEASED_LABELS_ANNOTATION: null,
        },
    }}))
}

/// Whether the Pod does not count any more.
pub(crate) fn is_soft_evicted(pod: &ObjectMeta) -> bool {
    let annotations = pod.annotations.as_ref();
    annotations.is_some_and(|all| all.contains_key(names::SOFT_EVICTED_ANNOTATION))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECISION: DecisionId = DecisionId {
        term: 3,
        sequence: 17,
    };

    fn pod(kind: &str, api_version: &str, more: &Value) -> ObjectMeta {
        let mut all = json!({
            "name": "web-7d-x", "generateName": "web-7d-", "namespace": "shop", "uid": "u", "resourceVersion": "5",
            "labels": {"app": "web", "pod-template-hash": "7d"},
            "ownerReferences": [{"apiVersion": api_version, "kind": kind, "name": "web-7d", "uid": "o", "controller": true}],
        });
        for (key, value) in more.as_object().unwrap() {
            all[key] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    /// As the API server merges it.
    fn merged(pod: &ObjectMeta, patch: &Value) -> ObjectMeta {
        let mut all = serde_json::to_value(pod).unwrap();
        for map in ["labels", "annotations"] {
            let changes = patch["metadata"][map].as_object();
            for (key, value) in changes.into_iter().flatten() {
                if value.is_null() {
                    all[map].as_object_mut().unwrap().remove(key);
                } else {
                    all[map][key] = value.clone();
                }
            }
        }
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn a_replica_sets_pod_is_released_by_its_template_hash_and_gets_it_back() {
        let before = pod("ReplicaSet", "apps/v1", &json!({"annotations": {"a": "b"}}));
        let patch = soft_evict(&before, DECISION).unwrap();
        let expected = json!({"metadata": {
            "labels": {"pod-template-hash": null},
            "annotations": {
                "berth.dev/soft-evicted": "3-17", "berth.dev/released-labels": "{\"pod-template-hash\":\"7d\"}",
            },
        }});
        assert_eq!(patch, expected);
        let mut released = merged(&before, &patch);
        released.owner_references = None;
        assert!(is_soft_evicted(&released));
        let mut back = merged(&released, &readopt(&released).unwrap());
        back.owner_references.clone_from(&before.owner_references);
        assert_eq!(back, before);
    }

    #[test]
    fn an_in_place_sets_pod_is_marked_and_nothing_else() {
        let before = pod(
            "InPlaceSet",
            "berth.dev/v1alpha1",
            &json!({"annotations": {"a": "b"}}),
        );
        let patch = soft_evict(&before, DECISION).unwrap();
        let annotations = json!({"berth.dev/soft-evicted": "3-17"});
        assert_eq!(patch, json!({"metadata": {"annotations": annotations}}));
        let marked = merged(&before, &patch);
        assert_eq!(merged(&marked, &readopt(&marked).unwrap()), before);
    }

    #[test]
    fn what_must_run_alone_is_never_marked_and_nothing_is_marked_twice() {
        let nothing = json!({});
        for (kind, api_version, more) in [
            ("StatefulSet", "apps/v1", &nothing),
            ("DaemonSet", "apps/v1", &nothing),
            ("Job", "batch/v1", &nothing),
            ("ReplicaSet", "apps/v1", &json!({"labels": {"app": "web"}})),
            (
                "ReplicaSet",
                "apps/v1",
                &json!({"annotations": {"berth.dev/addresses": "10.0.0.5"}}),
            ),
            (
                "InPlaceSet",
                "berth.dev/v1alpha1",
                &json!({"annotations": {"berth.dev/rack-change": "wait"}}),
            ),
        ] {
            let refused = soft_evict(&pod(kind, api_version, more), DECISION);
            assert!(matches!(refused, Err(SoftEvictError::Alone)), "{kind}");
        }
        let marked = json!({"annotations": {"berth.dev/soft-evicted": "1-1"}});
        let marked = pod("ReplicaSet", "apps/v1", &marked);
        let refused = soft_evict(&marked, DECISION);
        assert!(matches!(refused, Err(SoftEvictError::Marked)));
    }

    #[test]
    fn what_is_not_marked_or_not_readable_is_not_given_back() {
        let plain = pod("ReplicaSet", "apps/v1", &json!({}));
        assert!(matches!(readopt(&plain), Err(SoftEvictError::Unmarked)));
        let broken = json!({"annotations": {"berth.dev/soft-evicted": "1-1", "berth.dev/released-labels": "[]"}});
        let broken = pod("ReplicaSet", "apps/v1", &broken);
        let refused = readopt(&broken).unwrap_err();
        assert!(refused.to_string().contains("by hand"), "{refused}");
    }
}
