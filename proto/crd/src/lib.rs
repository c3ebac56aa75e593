//! Berth's custom resources, one file a Kind, and every name that Kubernetes objects of ours carry.
//!
//! A contract between processes: us and the API server, an old version of us and a new one. Fields are only ever added,
//! never given another meaning. Every text and list has a bound, so that an object has one. The manifests under
//! `install/manifests/crds` are generated from here and never edited. No client, no IO, no behaviour.

pub mod claim;
pub mod condition;
pub mod container_restart;
pub mod image_pull;
pub mod in_place_set;
pub mod lifecycle_freeze;
pub mod lifecycle_policy;
pub mod names;
pub mod node_decision;
pub mod node_health;
pub mod peer;
pub mod pod_containers;
pub mod pool;
mod rule;
pub mod time;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::claim::Claim;
use crate::container_restart::ContainerRestart;
use crate::image_pull::ImagePull;
use crate::in_place_set::InPlaceSet;
use crate::lifecycle_freeze::LifecycleFreeze;
use crate::lifecycle_policy::LifecyclePolicy;
use crate::node_decision::NodeDecision;
use crate::node_health::NodeHealth;
use crate::pool::Pool;

/// The custom resource definitions that a cluster gets, each with its file's name, in the order of the files' names.
pub fn manifests() -> Vec<(String, Value)> {
    let mut files: Vec<_> = [
        Claim::crd(),
        ContainerRestart::crd(),
        ImagePull::crd(),
        InPlaceSet::crd(),
        LifecycleFreeze::crd(),
        LifecyclePolicy::crd(),
        NodeDecision::crd(),
        NodeHealth::crd(),
        Pool::crd(),
    ]
    .iter()
    .map(manifest)
    .collect();
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    files
}

fn manifest(definition: &CustomResourceDefinition) -> (String, Value) {
    let name = definition.metadata.name.as_deref().unwrap_or_default();
    // A definition is plain data; its conversion has no way to fail.
    let mut value = serde_json::to_value(definition).unwrap_or_default();
    drop_unsigned_formats(&mut value);
    (format!("{name}.yaml"), value)
}

/// The API server knows no unsigned formats and warns of each at every apply; `minimum` and `maximum` say the same.
fn drop_unsigned_formats(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let unsigned = |format: &str| format.starts_with("uint");
            if fields
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(unsigned)
            {
                fields.remove("format");
            }
            fields.values_mut().for_each(drop_unsigned_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_unsigned_formats),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_named_after_its_definition_and_holds_it() {
        let files = manifests();
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "claims.berth.dev.yaml",
                "containerrestarts.berth.dev.yaml",
                "imagepulls.berth.dev.yaml",
                "inplacesets.berth.dev.yaml",
                "lifecyclefreezes.berth.dev.yaml",
                "lifecyclepolicies.berth.dev.yaml",
                "nodedecisions.berth.dev.yaml",
                "nodehealths.berth.dev.yaml",
                "pools.berth.dev.yaml"
            ]
        );
        for (name, value) in &files {
            assert_eq!(value["kind"], "CustomResourceDefinition", "{name}");
            assert_eq!(value["spec"]["group"], names::GROUP, "{name}");
            assert_eq!(value["spec"]["scope"], "Namespaced", "{name}");
        }
    }

    #[test]
    fn every_text_and_list_has_a_bound() {
        for (name, value) in manifests() {
            let mut unbounded = Vec::new();
            for version in value["spec"]["versions"].as_array().unwrap() {
                let schema = &version["schema"]["openAPIV3Schema"];
                collect_unbounded(schema, "", &mut unbounded);
            }
            assert!(unbounded.is_empty(), "{name}: {unbounded:?}");
        }
    }

    #[test]
    fn no_format_is_one_that_the_api_server_warns_of() {
        for (name, value) in manifests() {
            let text = value.to_string();
            assert!(!text.contains("\"uint"), "{name}");
            let numbers = text.contains("\"type\":\"integer\"");
            assert_eq!(text.contains("\"maximum\""), numbers, "{name}");
        }
    }

    fn collect_unbounded(schema: &Value, path: &str, found: &mut Vec<String>) {
        match schema["type"].as_str() {
            Some("string") => {
                let bounded = ["maxLength", "enum", "format"];
                if !bounded.iter().any(|bound| schema.get(bound).is_some()) {
                    found.push(path.to_owned());
                }
            }
            Some("array") => {
                if schema.get("maxItems").is_none() {
                    found.push(path.to_owned());
                }
                collect_unbounded(&schema["items"], &format!("{path}[]"), found);
            }
            Some("integer") if schema.get("minimum").is_none() => found.push(path.to_owned()),
            _ => {}
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            collect_unbounded(property, &format!("{path}.{name}"), found);
        }
    }
}
