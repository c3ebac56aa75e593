//! The Pod that a set makes of a template, and the one patch that changes it in place.

use std::collections::{BTreeMap, BTreeSet};

use proto_crd::in_place_set::InPlaceSetSpec;
use proto_crd::names;
use serde_json::{Map, Value, json};

use super::canonical;
use crate::plan::{PodPatch, RackWish, Revision, SetView};

/// Weight of the wish to be where the Pod was: more than any other.
const NEAR_WEIGHT: u32 = 100;
/// Weight of the wish to be in no dark rack.
const AWAY_WEIGHT: u32 = 100;
/// Weight of the wish to be where there are addresses: elsewhere it would not start.
const ADDRESSES_WEIGHT: u32 = 50;
/// How many racks a wish names.
const RACKS_LIMIT: usize = 256;

/// Which Pod a patch is for; it is refused where the Pod was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precondition<'a> {
    /// Its UID.
    pub uid: &'a str,
    /// Its version.
    pub version: &'a str,
}

/// What a Pod is made for, and where.
#[derive(Clone, Copy, Debug, Default)]
pub struct Making<'a> {
    /// The release that it belongs to.
    pub release: Option<&'a str>,
    /// The node that it is to be on if it fits there.
    pub near: Option<&'a str>,
    /// The UID of the soft-evicted Pod that it is made for, and where it is better off than that one.
    pub replaces: Option<(&'a str, &'a RackWish)>,
}

/// The Pod of an ordinal as a set makes it, without a namespace.
pub fn pod_of(set: &SetView, revision: &Revision, ordinal: u32, making: Making<'_>) -> Value {
    let Making {
        release,
        near,
        replaces,
    } = making;
    let template = canonical(&revision.template);
    let name = pod_name(&set.name, ordinal);
    let mut labels = entries(&template["metadata"]["labels"]);
    labels.insert(names::REVISION_LABEL.into(), revision.hash.clone().into());
    labels.insert(names::POD_INDEX_LABEL.into(), ordinal.to_string().into());
    let mut annotations = entries(&template["metadata"]["annotations"]);
    annotations.insert(names::REPORT_CONTAINERS_ANNOTATION.into(), "true".into());
    if let Some(protections) = protections(&set.spec) {
        annotations.insert(names::PROTECTIONS_ANNOTATION.into(), protections.into());
    }
    if let Some(release) = release {
        annotations.insert(names::RELEASE_ANNOTATION.into(), release.into());
    }
    if let Some((uid, _)) = replaces {
        annotations.insert(names::REPLACES_ANNOTATION.into(), uid.into());
    }
    let mut spec = entries(&template["spec"]);
    // For its name in DNS (with a `subdomain`) a Pod must say what its host name is.
    spec.entry("hostname")
        .or_insert_with(|| name.clone().into());
    add_gate(&mut spec);
    if let Some(node) = near {
        // By the Node's name, not by its label `kubernetes.io/hostname`, which may be another.
        let here = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
        prefer(&mut spec, NEAR_WEIGHT, &json!({ "matchFields": here }));
    }
    if let Some((_, racks)) = replaces {
        prefer_racks(&mut spec, racks);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": format!("{}/{}", names::GROUP, names::VERSION),
                "kind": "InPlaceSet",
                "name": set.name,
                "uid": set.uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": spec,
    })
}

/// What the Pod of an ordinal is called.
pub fn pod_name(set: &str, ordinal: u32) -> String {
    format!("{set}-{ordinal}")
}

/// The finalizers that are expected on a Pod, as it says itself; nothing, where its traffic is nobody's concern.
fn protections(spec: &InPlaceSetSpec) -> Option<String> {
    let lossless = spec.lossless.as_ref()?;
    // A list of texts: there is nothing that JSON could not say.
    serde_json::to_string(&lossless.protections).ok()
}

/// The one patch of an in-place change (a strategic merge: lists of containers are merged by name). `more`: annotations that
/// belong to it.
pub fn patch_of(
    pod: Precondition<'_>,
    patch: &PodPatch,
    more: &BTreeMap<String, Option<String>>,
) -> Value {
    let mut labels = patch.labels.clone();
    labels.insert(names::REVISION_LABEL.into(), Some(patch.revision.clone()));
    let mut annotations = patch.annotations.clone();
    annotations.extend(more.clone());
    let mut whole = json!({
        "metadata": {
            "uid": pod.uid,
            "resourceVersion": pod.version,
            "labels": labels,
        },
    });
    if !annotations.is_empty() {
        whole["metadata"]["annotations"] = json!(annotations);
    }
    for (field, images) in [
        ("containers", &patch.images),
        ("initContainers", &patch.init_images),
    ] {
        if !images.is_empty() {
            let images = images.iter();
            whole["spec"][field] = images
                .map(|(name, image)| json!({"name": name, "image": image}))
                .collect();
        }
    }
    whole
}

fn entries(object: &Value) -> Map<String, Value> {
    object.as_object().cloned().unwrap_or_default()
}

fn add_gate(spec: &mut Map<String, Value>) {
    let gate = json!({"conditionType": names::SERVICE_READY_GATE});
    let gates = spec.entry("readinessGates").or_insert_with(|| json!([]));
    if let Some(gates) = gates.as_array_mut()
        && !gates.contains(&gate)
    {
        gates.push(gate);
    }
}

/// Wishes, which the scheduler weighs: where there is no room elsewhere a dark rack is as good as none.
fn prefer_racks(spec: &mut Map<String, Value>, racks: &RackWish) {
    let mut wish = |operator: &str, racks_named: &BTreeSet<String>, weight| {
        // A list that is cut would say something else.
        if !racks_named.is_empty() && racks_named.len() <= RACKS_LIMIT {
            let racks_named =
                json!([{"key": racks.label, "operator": operator, "values": racks_named}]);
            prefer(spec, weight, &json!({ "matchExpressions": racks_named }));
        }
    };
    wish("NotIn", &racks.away_from, AWAY_WEIGHT);
    wish("In", &racks.with_addresses, ADDRESSES_WEIGHT);
}

fn prefer(spec: &mut Map<String, Value>, weight: u32, preference: &Value) {
    let wish = json!({ "weight": weight, "preference": preference });
    let mut affinity = spec.get("affinity").cloned().unwrap_or_else(|| json!({}));
    let wishes = &mut affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
    match wishes.as_array_mut() {
        Some(wishes) => wishes.push(wish),
        None => *wishes = json!([wish]),
    }
    spec.insert("affinity".to_owned(), affinity);
}
