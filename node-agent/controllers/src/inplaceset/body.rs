//! What each write says, as the API server is told it. Pure.

use std::time::Duration;

use kube::Resource as _;
use kube::core::ObjectMeta;
use node_agent_inplace::operation::Operation;
use node_agent_inplace::pod::Gate;
use node_agent_restart::gate::{HoldError, Holders};
use proto_crd::in_place_set::InPlaceSet;
use proto_crd::names;
use proto_crd::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::fleet::LeanPod;

/// How long a request to restart containers is kept after its end: long enough to be looked at.
const RESTART_TTL_SECONDS: u32 = 3600;
/// Pull secrets that a node takes for one image.
const SECRETS_LIMIT: usize = 4;

/// What a set is called as a holder of a Pod's gate.
pub(super) fn holder_of(set: &str) -> String {
    format!("InPlaceSet/{set}")
}

/// Who an object is of.
pub(super) fn owner_of(set: &InPlaceSet) -> Value {
    json!({
        "apiVersion": format!("{}/{}", names::GROUP, names::VERSION),
        "kind": InPlaceSet::kind(&()),
        "name": set.metadata.name,
        "uid": set.metadata.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The annotations of an operation; nothing: it is over.
pub(super) fn annotations(
    operation: Option<&Operation>,
    protections: Option<&[String]>,
) -> Map<String, Value> {
    let mut annotations = Map::new();
    let text = operation.map(Operation::text);
    annotations.insert(names::LOSSLESS_ANNOTATION.to_owned(), text.into());
    if let Some(operation) = operation {
        let release = operation.release_id.clone();
        annotations.insert(names::RELEASE_ANNOTATION.to_owned(), release.into());
    }
    if let Some(protections) = protections {
        let list = json!(protections).to_string();
        annotations.insert(names::PROTECTIONS_ANNOTATION.to_owned(), list.into());
    }
    annotations
}

/// The annotations alone.
pub(super) fn stamp(annotations: &Map<String, Value>) -> Value {
    json!({"metadata": {"annotations": annotations}})
}

/// Whether the set enters the holders of a Pod's gate, or leaves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Enter,
    Leave,
}

/// The gate's condition and the annotations, as one patch of the Pod's status.
///
/// # Errors
/// [`HoldError`]: somebody set the condition by hand, or too many hold the Pod.
pub(super) fn gate(
    gate: &Gate,
    hold: Hold,
    holder: &str,
    annotations: &Map<String, Value>,
    now: Timestamp,
) -> Result<Value, HoldError> {
    let mut patch = stamp(annotations);
    // A Pod without the gate is held by nobody.
    if !gate.declared {
        return Ok(patch);
    }
    let holders = gate.holders()?;
    let holders: Holders = match hold {
        Hold::Enter => holders.enter(holder, now)?,
        Hold::Leave => holders.leave(holder),
    };
    let mut condition = json!({
        "type": names::SERVICE_READY_GATE,
        "status": holders.status(),
        "reason": holders.reason(),
        "message": holders.message(),
    });
    if gate.status.as_deref() != Some(holders.status()) {
        condition["lastTransitionTime"] = now.to_string().into();
    }
    patch["status"] = json!({"conditions": [condition]});
    Ok(patch)
}

/// The owners of what comes to a set, from nobody or from a set that is no more.
pub(super) fn adopted(metadata: &ObjectMeta, set: &InPlaceSet) -> Value {
    let mut owners = owners(metadata);
    owners.retain(|owner| owner["controller"] != true);
    owners.push(owner_of(set));
    json!({"metadata": {"ownerReferences": owners}})
}

/// The owners of a Pod that leaves its set.
pub(super) fn orphaned(pod: &LeanPod, set: &InPlaceSet) -> Value {
    let mut owners = owners(&pod.metadata);
    let uid = json!(set.metadata.uid);
    owners.retain(|owner| owner["uid"] != uid);
    json!({"metadata": {"ownerReferences": owners}})
}

fn owners(metadata: &ObjectMeta) -> Vec<Value> {
    let owners = metadata.owner_references.iter().flatten();
    owners.map(|owner| json!(owner)).collect()
}

/// A revision.
pub(super) fn revision(
    set: &InPlaceSet,
    name: &str,
    hash: &str,
    number: i64,
    template: &Value,
) -> Value {
    // The set's selector finds them too, as those of other workloads are found.
    let mut labels: Map<String, Value> = set
        .spec
        .selector
        .match_labels
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    labels.insert(names::REVISION_LABEL.to_owned(), hash.into());
    labels.insert(
        names::IN_PLACE_SET_LABEL.to_owned(),
        set.metadata.name.clone().into(),
    );
    json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner_of(set)]},
        "data": {"spec": {"template": template}},
        "revision": number,
    })
}

/// Which Pod a request to restart containers is for, and where it runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct RestartOf<'a> {
    pub(super) name: &'a str,
    pub(super) pod: &'a str,
    pub(super) uid: &'a str,
    pub(super) node: &'a str,
}

/// A request to restart containers. The Pod is held unready by the set already.
pub(super) fn restart(
    set: &InPlaceSet,
    of: RestartOf<'_>,
    containers: &[String],
    deadline: Duration,
) -> Value {
    let containers = containers.iter().map(|name| json!({"name": name}));
    json!({
        "apiVersion": format!("{}/{}", names::GROUP, names::VERSION), "kind": "ContainerRestart",
        "metadata": {
            "name": of.name,
            "labels": {names::IN_PLACE_SET_LABEL: set.metadata.name},
            "ownerReferences": [owner_of(set)],
        },
        "spec": {
            "nodeName": of.node, "podName": of.pod, "podUID": of.uid,
            "containers": containers.collect::<Vec<_>>(),
            "activeDeadlineSeconds": deadline.as_secs().max(1),
            "ttlSecondsAfterFinished": RESTART_TTL_SECONDS,
        },
    })
}

/// What is applied to ask a node for images.
pub(super) fn pull(set: &InPlaceSet, node: &str, images: &[String], requested_by: &str) -> Value {
    let secrets = &set.spec.template["spec"]["imagePullSecrets"];
    let secrets = secrets.as_array().into_iter().flatten();
    let secrets = secrets.filter_map(|secret| secret["name"].as_str());
    // Found in the namespace of pull secrets, if they are there under the same names.
    let secrets: Vec<_> = secrets.take(SECRETS_LIMIT).collect();
    let entries: Vec<_> = images
        .iter()
        .map(|image| {
            let mut entry = json!({
                "image": image,
                "pullPolicy": "IfNotPresent",
                "requestedBy": requested_by,
                "timeoutSeconds": set.spec.pre_pull_timeout_seconds,
            });
            if !secrets.is_empty() {
                entry["pullSecrets"] = json!(secrets);
            }
            entry
        })
        .collect();
    let mut object = no_pull(node);
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    object["metadata"]["annotations"] = json!({asked_for(uid): requested_by});
    object["spec"] = json!({"images": entries});
    object
}

/// The annotation of an `ImagePull` that says for which release a set asks.
pub(super) fn asked_for(uid: &str) -> String {
    format!("{}{uid}", names::ASKED_FOR_ANNOTATIONS)
}

/// What is applied to ask for nothing any more: no field stays the set's.
pub(super) fn no_pull(node: &str) -> Value {
    json!({
        "apiVersion": format!("{}/{}", names::GROUP, names::VERSION), "kind": "ImagePull",
        "metadata": {"name": node},
    })
}

/// The list of a node that nobody asked for anything yet.
pub(super) fn first_pull(node: &str) -> Value {
    let mut object = no_pull(node);
    object["spec"] = json!({"nodeName": node});
    object
}

#[cfg(test)]
mod tests {
    use node_agent_inplace::operation::{Kind, State};

    use super::*;

    fn set() -> InPlaceSet {
        serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet",
            "metadata": {"name": "shop", "namespace": "prod", "uid": "s1"},
            "spec": {
                "selector": {"matchLabels": {"app": "shop"}},
                "template": {"spec": {"imagePullSecrets": [{"name": "bank"}]}},
            },
        }))
        .unwrap()
    }

    fn operation() -> Operation {
        serde_json::from_value(json!({
            "op": "Upgrade", "releaseId": "r1", "toRevision": "bb", "state": "Draining", "since": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    fn at() -> Timestamp {
        "2026-01-01T00:00:05Z".parse().unwrap()
    }

    fn free() -> Gate {
        Gate {
            declared: true,
            status: Some("True".to_owned()),
            message: String::new(),
            since: None,
        }
    }

    #[test]
    fn annotations_say_how_far_it_is_and_are_taken_away_at_the_end() {
        let operation = operation();
        assert_eq!(
            (operation.op, operation.state),
            (Kind::Upgrade, State::Draining)
        );
        let written = annotations(Some(&operation), Some(&["a".to_owned()]));
        assert_eq!(written["berth.dev/release"], "r1");
        assert_eq!(written["berth.dev/protections"], r#"["a"]"#);
        let read = Operation::parse(written["berth.dev/lossless"].as_str().unwrap());
        assert_eq!(read.unwrap(), operation);
        let over = annotations(None, None);
        assert_eq!(Value::from(over), json!({"berth.dev/lossless": null}));
    }

    #[test]
    fn a_gate_is_held_by_the_set_s_name_and_given_back() {
        let holder = holder_of("shop");
        let held = gate(&free(), Hold::Enter, &holder, &Map::new(), at()).unwrap();
        let condition = &held["status"]["conditions"][0];
        assert_eq!(condition["status"], "False");
        assert_eq!(condition["lastTransitionTime"], "2026-01-01T00:00:05Z");
        let message = condition["message"].as_str().unwrap().to_owned();
        assert_eq!(
            message,
            r#"[{"holder":"InPlaceSet/shop","since":"2026-01-01T00:00:05Z"}]"#
        );

        let by_us = Gate {
            status: Some("False".to_owned()),
            message,
            ..free()
        };
        // Held already: no transition.
        let again = gate(&by_us, Hold::Enter, &holder, &Map::new(), at()).unwrap();
        assert_eq!(
            again["status"]["conditions"][0]["lastTransitionTime"],
            Value::Null
        );
        let back = gate(&by_us, Hold::Leave, &holder, &Map::new(), at()).unwrap();
        assert_eq!(back["status"]["conditions"][0]["status"], "True");

        let by_hand = Gate {
            message: "repair".to_owned(),
            ..by_us
        };
        assert!(gate(&by_hand, Hold::Leave, &holder, &Map::new(), at()).is_err());
        let without = Gate::default();
        let patch = gate(&without, Hold::Enter, &holder, &Map::new(), at()).unwrap();
        assert_eq!(patch["status"], Value::Null);
    }

    #[test]
    fn a_pod_keeps_its_other_owners() {
        let pod = |owners: Value| -> LeanPod {
            serde_json::from_value(
                json!({"metadata": {"name": "shop-0", "ownerReferences": owners}}),
            )
            .unwrap()
        };
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c1"});
        let adopted = adopted(&pod(json!([other])).metadata, &set());
        let owners = adopted["metadata"]["ownerReferences"].clone();
        assert_eq!(owners[0]["uid"], "c1");
        assert_eq!(
            (&owners[1]["uid"], &owners[1]["controller"]),
            (&json!("s1"), &json!(true))
        );
        let orphaned = orphaned(&pod(owners), &set());
        assert_eq!(orphaned["metadata"]["ownerReferences"], json!([other]));
        assert_eq!(
            super::orphaned(&pod(json!([owner_of(&set())])), &set())["metadata"]["ownerReferences"],
            json!([])
        );
    }

    #[test]
    fn what_belongs_to_a_set_says_so() {
        let template = json!({"spec": {"containers": []}});
        let revision = revision(&set(), "shop-aa", "aa", 4, &template);
        let labels = &revision["metadata"]["labels"];
        assert_eq!(
            labels,
            &json!({"app": "shop", "controller-revision-hash": "aa", "berth.dev/in-place-set": "shop"})
        );
        assert_eq!(revision["data"]["spec"]["template"], template);
        assert_eq!(
            revision["metadata"]["ownerReferences"][0]["kind"],
            "InPlaceSet"
        );
        let of = RestartOf {
            name: "shop-0-r1",
            pod: "shop-0",
            uid: "u1",
            node: "n1",
        };
        let restart = restart(&set(), of, &["app".to_owned()], Duration::from_secs(600));
        let parsed: proto_crd::container_restart::ContainerRestart =
            serde_json::from_value(restart).unwrap();
        assert_eq!(parsed.spec.pod_uid, "u1");
        assert_eq!(parsed.spec.containers[0].name, "app");
        assert_eq!(parsed.spec.active_deadline_seconds, Some(600));
    }

    #[test]
    fn images_are_asked_for_with_the_set_s_secrets_and_given_up_whole() {
        let asked = pull(&set(), "n1", &["app:2".to_owned()], "r1");
        assert_eq!(
            asked["spec"],
            json!({"images": [{
                "image": "app:2", "pullPolicy": "IfNotPresent", "requestedBy": "r1", "timeoutSeconds": 600, "pullSecrets": ["bank"],
            }]})
        );
        assert!(no_pull("n1").get("spec").is_none());
        assert_eq!(first_pull("n1")["spec"], json!({"nodeName": "n1"}));
    }
}
