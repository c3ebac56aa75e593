use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::names;

fn schema() -> Value {
    let crd = serde_json::to_value(ImagePull::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn rules(part: &Value) -> Option<usize> {
    part["x-kubernetes-validations"].as_array().map(Vec::len)
}

#[test]
fn group_and_version_are_those_of_the_names() {
    let crd = ImagePull::crd();
    assert_eq!(crd.spec.group, names::GROUP);
    assert_eq!(crd.spec.versions[0].name, names::VERSION);
    assert_eq!(crd.spec.names.plural, "imagepulls");
    assert_eq!(crd.spec.names.short_names, Some(vec!["impull".to_owned()]));
}

#[test]
fn limits_and_defaults_are_those_of_the_schema() {
    let spec = &schema()["properties"]["spec"]["properties"];
    assert_eq!(spec["images"]["maxItems"], IMAGES_LIMIT);
    assert_eq!(spec["parallelism"]["default"], DEFAULT_PARALLELISM);
    let entry = &spec["images"]["items"]["properties"];
    assert_eq!(entry["timeoutSeconds"]["default"], DEFAULT_TIMEOUT_SECONDS);
    assert_eq!(entry["backOffLimit"]["default"], DEFAULT_BACK_OFF_LIMIT);
    assert_eq!(entry["pullPolicy"]["default"], json!("IfNotPresent"));
    assert_eq!(
        serde_json::to_value(PullPolicy::default()).unwrap(),
        entry["pullPolicy"]["default"]
    );
    let status = &schema()["properties"]["status"]["properties"]["images"];
    assert_eq!(status["maxItems"], IMAGES_LIMIT);
    let message = &status["items"]["properties"]["message"];
    assert_eq!(message["maxLength"], MESSAGE_LIMIT);
    // The first attempt and as many repetitions as may be asked for.
    let attempts = status["items"]["properties"]["attempts"]["maximum"].as_f64();
    let limit = entry["backOffLimit"]["maximum"].as_f64();
    assert_eq!(attempts, limit.map(|limit| limit + 1.0));
}

#[test]
fn rules_of_every_level_are_in_the_schema() {
    let schema = schema();
    let spec = &schema["properties"]["spec"]["properties"];
    let status = &schema["properties"]["status"];
    assert_eq!(rules(&schema), Some(1));
    assert_eq!(rules(&spec["nodeName"]), Some(1));
    assert_eq!(
        rules(&spec["images"]["items"]["properties"]["image"]),
        Some(1)
    );
    assert_eq!(rules(status), Some(4));
    assert_eq!(rules(&status["properties"]["images"]["items"]), Some(6));
}

#[test]
fn what_a_writer_does_not_say_it_does_not_own() {
    let spec = ImagePullSpec {
        node_name: "n1".into(),
        images: vec![WantedImage {
            image: "registry.example/app:v2".into(),
            ..WantedImage::default()
        }],
        parallelism: None,
    };
    assert_eq!(
        serde_json::to_value(spec).unwrap(),
        json!({"nodeName": "n1", "images": [{"image": "registry.example/app:v2"}]})
    );
}

#[test]
fn two_phases_are_final() {
    let all = [
        (PullPhase::Pending, false),
        (PullPhase::Pulling, false),
        (PullPhase::BackOff, false),
        (PullPhase::Succeeded, true),
        (PullPhase::Failed, true),
    ];
    for (phase, expected) in all {
        assert_eq!(phase.is_final(), expected, "{phase:?}");
    }
}
