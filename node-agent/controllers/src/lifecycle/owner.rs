//! What keeps a Pod, and whether another one may be made beside it. Pure.
//!
//! **Always holds:** what is not known to allow a Pod beside it does not: its name, its address or its volumes may be all that it is.

use kube::core::ObjectMeta;
use node_agent_lifecycle::observation::{AddressPolicy, Owner};
use proto_crd::names;

/// Label by which a `Deployment` tells its `ReplicaSet`s apart. Services and disruption budgets do not select by it, so that a Pod
/// which lacks it keeps its traffic.
pub(crate) const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";

/// What keeps the Pod. A `ReplicaSet`'s that was soft-evicted has no owner any more, and is still told as its.
pub(crate) fn owner(pod: &ObjectMeta) -> Owner {
    let mut owners = pod.owner_references.iter().flatten();
    let Some(owner) = owners.find(|owner| owner.controller == Some(true)) else {
        return if released(pod) {
            Owner::ReplicaSet
        } else {
            Owner::Other
        };
    };
    let group = owner.api_version.split_once('/').map(|(group, _)| group);
    match (group, owner.kind.as_str()) {
        (Some(names::GROUP), "InPlaceSet") => Owner::InPlaceSet,
        (Some("apps"), "ReplicaSet") => Owner::ReplicaSet,
        (Some("apps"), "StatefulSet") => Owner::StatefulSet,
        (Some("apps"), "DaemonSet") => Owner::DaemonSet,
        _ => Owner::Other,
    }
}

/// The name of the object that [`owner`] is about; none, where nothing keeps it.
pub(crate) fn owner_name(pod: &ObjectMeta) -> Option<&str> {
    let mut owners = pod.owner_references.iter().flatten();
    match owners.find(|owner| owner.controller == Some(true)) {
        Some(owner) => Some(&owner.name),
        // A ReplicaSet names its Pods so, and that stays when it has released one.
        None if released(pod) => pod.generate_name.as_deref()?.strip_suffix('-'),
        None => None,
    }
}

/// Whether another Pod may run beside it, with another address. The one place where that is said.
///
/// Not beside a Pod whose addresses are named one by one or that does not want others (`berth.dev/rack-change: wait`), nor beside
/// one whose identity is its own choice: two Pods of one identity would share it. Nor beside a `ReplicaSet`'s that cannot be
/// released without taking its Services' labels off.
pub(crate) fn address_policy(pod: &ObjectMeta) -> AddressPolicy {
    let annotation = |key| {
        let all = pod.annotations.as_ref();
        all.and_then(|all| all.get(key)).map(String::as_str)
    };
    let is_fixed = annotation(names::ADDRESSES_ANNOTATION).is_some()
        || annotation(names::IDENTITY_ANNOTATION).is_some()
        // What is not the one or the other is refused by the address daemons, so that its meaning is not known.
        || annotation(names::RACK_CHANGE_ANNOTATION)
            .is_some_and(|change| change != names::RACK_CHANGE_NEW_ADDRESS);
    let can_be_replaced = match owner(pod) {
        Owner::InPlaceSet => true,
        Owner::ReplicaSet => released(pod) || is_releasable(pod),
        Owner::StatefulSet | Owner::DaemonSet | Owner::Other => false,
    };
    if can_be_replaced && !is_fixed {
        AddressPolicy::New
    } else {
        AddressPolicy::Keep
    }
}

/// Its `ReplicaSet` releases it without that it loses traffic, and it is known whose it was then.
fn is_releasable(pod: &ObjectMeta) -> bool {
    let mut owners = pod.owner_references.iter().flatten();
    let set = owners.find(|owner| owner.controller == Some(true));
    let named = pod.generate_name.as_deref();
    let named = named.and_then(|name| name.strip_suffix('-'));
    let labels = pod.labels.as_ref();
    labels.is_some_and(|labels| labels.contains_key(TEMPLATE_HASH_LABEL))
        && set.is_some_and(|set| named == Some(&set.name))
}

fn released(pod: &ObjectMeta) -> bool {
    let annotations = pod.annotations.as_ref();
    annotations.is_some_and(|all| all.contains_key(names::RELEASED_LABELS_ANNOTATION))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(fields: &Value) -> ObjectMeta {
        let mut all =
            json!({"name": "web-7d-x", "namespace": "shop", "uid": "u", "resourceVersion": "5"});
        for (key, value) in fields.as_object().unwrap() {
            all[key] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    fn kept(api_version: &str, kind: &str, name: &str) -> Value {
        json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": "o", "controller": true}])
    }

    fn of_replica_set(more: &Value) -> ObjectMeta {
        let mut all = json!({
            "generateName": "web-7d-", "labels": {"app": "web", "pod-template-hash": "7d"},
            "ownerReferences": kept("apps/v1", "ReplicaSet", "web-7d"),
        });
        for (key, value) in more.as_object().unwrap() {
            all[key] = value.clone();
        }
        pod(&all)
    }

    #[test]
    fn a_pod_is_its_controllers_and_a_released_one_still_its_replica_sets() {
        let owned = |api, kind| pod(&json!({"ownerReferences": kept(api, kind, "o")}));
        let released = json!({"berth.dev/released-labels": "{}"});
        for (pod, expected) in [
            (owned("berth.dev/v1alpha1", "InPlaceSet"), Owner::InPlaceSet),
            (owned("other.dev/v1", "InPlaceSet"), Owner::Other),
            (owned("apps/v1", "ReplicaSet"), Owner::ReplicaSet),
            (owned("apps/v1", "StatefulSet"), Owner::StatefulSet),
            (owned("apps.kruise.io/v1", "StatefulSet"), Owner::Other),
            (owned("apps/v1", "DaemonSet"), Owner::DaemonSet),
            (owned("batch/v1", "Job"), Owner::Other),
            (owned("v1", "ReplicationController"), Owner::Other),
            (owned("v1", "Node"), Owner::Other),
            (pod(&json!({})), Owner::Other),
            (pod(&json!({"annotations": released})), Owner::ReplicaSet),
            // One that refers to it without being controlled by it is not its.
            (
                pod(
                    &json!({"ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "o", "uid": "o"}]}),
                ),
                Owner::Other,
            ),
        ] {
            assert_eq!(owner(&pod), expected, "{:?}", pod.owner_references);
        }
    }

    #[test]
    fn a_released_pod_still_tells_whose_it_was() {
        assert_eq!(owner_name(&of_replica_set(&json!({}))), Some("web-7d"));
        let released = of_replica_set(&json!({
            "ownerReferences": null, "annotations": {"berth.dev/released-labels": "{}"},
        }));
        assert_eq!(owner_name(&released), Some("web-7d"));
        let bare = of_replica_set(&json!({"ownerReferences": null}));
        assert_eq!(owner_name(&bare), None);
    }

    #[test]
    fn only_what_may_have_another_address_and_another_name_may_have_a_pod_beside_it() {
        let in_place = |annotations: Value| {
            pod(&json!({
                "ownerReferences": kept("berth.dev/v1alpha1", "InPlaceSet", "shop"), "annotations": annotations,
            }))
        };
        let owned = |api, kind| pod(&json!({"ownerReferences": kept(api, kind, "o")}));
        let with = |annotations: Value| of_replica_set(&json!({"annotations": annotations}));
        let bare = pod(&json!({}));
        for (pod, expected) in [
            (in_place(json!({})), AddressPolicy::New),
            (
                in_place(json!({"berth.dev/rack-change": "new-address"})),
                AddressPolicy::New,
            ),
            (
                in_place(json!({"berth.dev/rack-change": "wait"})),
                AddressPolicy::Keep,
            ),
            (
                in_place(json!({"berth.dev/rack-change": "?"})),
                AddressPolicy::Keep,
            ),
            (
                in_place(json!({"berth.dev/addresses": "10.0.0.5"})),
                AddressPolicy::Keep,
            ),
            (
                in_place(json!({"berth.dev/identity": "the-db"})),
                AddressPolicy::Keep,
            ),
            (of_replica_set(&json!({})), AddressPolicy::New),
            (
                with(json!({"berth.dev/addresses": "10.0.0.5"})),
                AddressPolicy::Keep,
            ),
            (
                with(json!({"berth.dev/rack-change": "wait"})),
                AddressPolicy::Keep,
            ),
            // A bare ReplicaSet's: to release it would take it out of its Services.
            (
                of_replica_set(&json!({"labels": {"app": "web"}})),
                AddressPolicy::Keep,
            ),
            // An adopted one does not tell whose it was.
            (
                of_replica_set(&json!({"generateName": null})),
                AddressPolicy::Keep,
            ),
            (owned("apps/v1", "StatefulSet"), AddressPolicy::Keep),
            (owned("apps/v1", "DaemonSet"), AddressPolicy::Keep),
            (owned("batch/v1", "Job"), AddressPolicy::Keep),
            (bare, AddressPolicy::Keep),
        ] {
            assert_eq!(address_policy(&pod), expected, "{pod:?}");
        }
        let released = json!({"berth.dev/released-labels": "{\"pod-template-hash\":\"7d\"}"});
        let released = of_replica_set(&json!({
            "ownerReferences": null, "labels": {"app": "web"}, "annotations": released,
        }));
        assert_eq!(address_policy(&released), AddressPolicy::New);
    }
}
