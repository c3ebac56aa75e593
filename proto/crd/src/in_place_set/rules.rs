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

/// Of the spec: the selector and the template agree, and nothing in the template is the controllers'.
///
/// What a rule may cost is reckoned from the bounds of the lists it goes through, which are not seen through `orValue`: hence `has`.
pub(super) fn spec() -> Value {
    let has_labels = "has(self.template.metadata) && has(self.template.metadata.labels)";
    let has_annotations = "has(self.template.metadata) && has(self.template.metadata.annotations)";
    let labels = "self.template.metadata.labels";
    let has = format!("({has_labels} && e.key in {labels})");
    let one_of = format!("({has} && has(e.values) && {labels}[e.key] in e.values)");
    let list = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
        names.join(", ")
    };
    json!([
        rule(
            format!(
                "!has(self.selector.matchLabels) || self.selector.matchLabels.all(k, {has_labels} && k in {labels} && {labels}[k] == self.selector.matchLabels[k])"
            ),
            "selector.matchLabels: template.metadata.labels must have each of these labels with this value, else the set would not know its own Pods"
        ),
        rule(
            format!(
                "!has(self.selector.matchExpressions) || self.selector.matchExpressions.all(e, \
                 e.operator == 'In' ? {one_of} : e.operator == 'NotIn' ? !{one_of} : {has} == (e.operator == 'Exists'))"
            ),
            "selector.matchExpressions: template.metadata.labels must match them, else the set would not know its own Pods"
        ),
        rule(
            format!(
                "!({has_labels}) || ![{}].exists(k, k in {labels})",
                list(&LABELS)
            ),
            "template.metadata.labels: controller-revision-hash and apps.kubernetes.io/pod-index are set by the controllers; leave them out"
        ),
        rule(
            format!(
                "!({has_annotations}) || ![{}].exists(k, k in self.template.metadata.annotations)",
                list(&ANNOTATIONS)
            ),
            "template.metadata.annotations: berth.dev/lossless, release, protections, report-containers and containers are set by the controllers and agents; leave them out"
        ),
        rule(
            "!has(self.template.spec.restartPolicy) || self.template.spec.restartPolicy == 'Always'",
            "template.spec.restartPolicy must be Always: otherwise kubelet would not start a replaced container again"
        ),
        rule(
            "!has(self.template.spec.activeDeadlineSeconds)",
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
            "has(self.matchLabels) && size(self.matchLabels) > 0 || has(self.matchExpressions) && size(self.matchExpressions) > 0",
            "an empty selector would select every Pod of the namespace; name at least one label"
        ),
        rule(
            "!has(self.matchExpressions) || self.matchExpressions.all(e, (e.operator in ['In', 'NotIn']) == (has(e.values) && size(e.values) > 0))",
            "matchExpressions: In and NotIn need values, Exists and DoesNotExist have none"
        ),
    ])
}

/// Of the finalizers that are awaited: only what has this prefix is known to go when traffic does.
pub(super) fn protections() -> Value {
    let prefix = names::PROTECTION_PREFIX.replace('.', r"\\.");
    json!([rule(
        format!("self.all(p, p.matches('^{prefix}[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$'))"),
        "protections are finalizers with the prefix protection.berth.dev/: of no other one is it known that it goes when somebody sends no traffic any more"
    )])
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
