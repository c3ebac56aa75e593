//! What the API server refuses of a set: what contradicts itself, and what kubelet could never do in place.
//!
//! `updatedReplicas` may be more than `replicas`: `kubectl scale` writes `replicas` alone and must not be refused for it. What of
//! the template is written here is what rules need to see; the rest of it is kept as it is.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::names;
use crate::rule::rule;

/// Labels that each Pod gets from the controllers.
const LABELS: [&str; 2] = [names::REVISION_LABEL, names::POD_INDEX_LABEL];

/// Annotations that each Pod gets from the controllers or its node's agent.
const ANNOTATIONS: [&str; 5] = [
    names::LOSSLESS_ANNOTATION,
    names::RELEASE_ANNOTATION,
    names::PROTECTIONS_ANNOTATION,
    names::REPORT_CONTAINERS_ANNOTATION,
    names::CONTAINERS_ANNOTATION,
];

const LABELS_OF_TEMPLATE: &str = "self.template.?metadata.?labels";

/// Of the spec: the selector and the template agree, and nothing in the template is the controllers'.
pub(super) fn spec() -> Value {
    let labels = LABELS_OF_TEMPLATE;
    let own = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
        names.join(", ")
    };
    json!([
        rule(
            format!(
                "self.selector.?matchLabels.orValue({{}}).all(k, {labels}[?k].orValue('') == self.selector.matchLabels[k] && {labels}[?k].hasValue())"
            ),
            "selector.matchLabels: template.metadata.labels must have each of these labels with this value, else the set would not know its own Pods"
        ),
        rule(
            format!(
                "self.selector.?matchExpressions.orValue([]).all(e, e.operator == 'In' ? {labels}[?e.key].hasValue() && {labels}[?e.key].orValue('') in e.?values.orValue([]) \
                 : e.operator == 'NotIn' ? !({labels}[?e.key].hasValue() && {labels}[?e.key].orValue('') in e.?values.orValue([])) \
                 : {labels}[?e.key].hasValue() == (e.operator == 'Exists'))"
            ),
            "selector.matchExpressions: template.metadata.labels must match them, else the set would not know its own Pods"
        ),
        rule(
            format!("![{}].exists(k, {labels}[?k].hasValue())", own(&LABELS)),
            "template.metadata.labels: controller-revision-hash and apps.kubernetes.io/pod-index are set by the controllers; leave them out"
        ),
        rule(
            format!(
                "![{}].exists(k, self.template.?metadata.?annotations[?k].hasValue())",
                own(&ANNOTATIONS)
            ),
            "template.metadata.annotations: berth.dev/lossless, release, protections, report-containers and containers are set by the controllers and agents; leave them out"
        ),
        rule(
            "self.template.spec.?restartPolicy.orValue('Always') == 'Always'",
            "template.spec.restartPolicy must be Always: otherwise kubelet would not start a replaced container again"
        ),
        rule(
            "!self.template.spec.?activeDeadlineSeconds.hasValue()",
            "template.spec.activeDeadlineSeconds must not be set: the Pods of a set do not end by themselves"
        ),
    ])
}

/// Of the selector.
pub(super) fn selector() -> Value {
    json!([
        rule(
            "self == oldSelf",
            "the selector of a set cannot be changed: it says which Pods are its own; make another set"
        ),
        rule(
            "self.?matchLabels.orValue({}).size() + self.?matchExpressions.orValue([]).size() > 0",
            "an empty selector would select every Pod of the namespace; name at least one label"
        ),
        rule(
            "self.?matchExpressions.orValue([]).all(e, (e.operator in ['In', 'NotIn']) == (e.?values.orValue([]).size() > 0))",
            "matchExpressions: In and NotIn need values, Exists and DoesNotExist have none"
        ),
    ])
}

/// The template: what rules see of it, and everything else as it is.
pub(super) fn template(_: &mut SchemaGenerator) -> Schema {
    let container = json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "required": ["name", "image"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"},
            "image": {"type": "string", "minLength": 1, "maxLength": 512},
        },
    });
    let containers = |least: u32| {
        json!({
            "type": "array",
            "minItems": least,
            "maxItems": 32,
            "items": container,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        })
    };
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "required": ["spec"],
        "properties": {
            "metadata": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "properties": {
                    "labels": {"type": "object", "maxProperties": 64, "additionalProperties": {"type": "string", "maxLength": 63}},
                    "annotations": {"type": "object", "maxProperties": 64, "additionalProperties": {"type": "string", "maxLength": 65536}},
                },
            },
            "spec": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "required": ["containers"],
                "properties": {
                    "restartPolicy": {"type": "string", "enum": ["Always", "OnFailure", "Never"]},
                    "activeDeadlineSeconds": {"type": "integer", "format": "int64", "minimum": 1},
                    "containers": containers(1),
                    "initContainers": containers(0),
                },
            },
        },
    })
}
