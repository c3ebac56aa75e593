use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::time::Timestamp;

fn schema(part: &str) -> Value {
    let definition = serde_json::to_value(ContainerRestart::crd()).unwrap();
    let version = &definition["spec"]["versions"][0];
    version["schema"]["openAPIV3Schema"]["properties"][part].clone()
}

#[test]
fn fields_have_the_names_of_the_object() {
    let text = json!({
        "nodeName": "n1", "podName": "shop-abc", "podUID": "u", "containers": [{"name": "main"}],
        "strategy": {
            "ordered": false, "failurePolicy": "Fail", "terminationGracePeriodSeconds": 30,
            "unreadyGracePeriodSeconds": 3, "minStartedSeconds": 5, "force": false,
            "maxBackOffSeconds": 20, "backOffPolicy": "Wait",
        },
        "activeDeadlineSeconds": 600, "ttlSecondsAfterFinished": 3600,
    });
    let spec: ContainerRestartSpec = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap(), text);
    let least = json!({"nodeName": "n", "podName": "p", "podUID": "u", "containers": []});
    let least: ContainerRestartSpec = serde_json::from_value(least).unwrap();
    assert_eq!(least.deadline(), DEFAULT_DEADLINE);
    assert_eq!(least.strategy, Strategy::default());
}

#[test]
fn a_status_names_ids_as_kubernetes_does() {
    let status = ContainerRestartStatus {
        containers: vec![ContainerStatus {
            killed_at: Some(Timestamp::from_unix_milliseconds(5_500)),
            ..ContainerStatus::default()
        }],
        ..ContainerRestartStatus::default()
    };
    let written = serde_json::to_value(&status).unwrap();
    assert_eq!(written["phase"], "Pending");
    assert_eq!(written["containers"][0]["killedAt"], "1970-01-01T00:00:05Z");
    assert_eq!(written["containers"][0]["oldContainerID"], "");
    assert_eq!(written["containers"][0]["newContainerID"], "");
    assert_eq!(
        serde_json::from_str::<ContainerRestartStatus>("{}").unwrap(),
        ContainerRestartStatus::default()
    );
}

#[test]
fn every_message_has_the_limit_that_is_told() {
    let status = &schema("status")["properties"];
    assert_eq!(status["message"]["maxLength"], TEXT_LIMIT);
    let container = &status["containers"]["items"]["properties"];
    assert_eq!(container["message"]["maxLength"], TEXT_LIMIT);
}

#[test]
fn the_whole_spec_is_immutable_and_times_are_times() {
    let rules = schema("spec")["x-kubernetes-validations"].clone();
    let rules = rules.as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["rule"] == "self == oldSelf"));
    let status = &schema("status")["properties"];
    assert_eq!(status["acceptedAt"]["format"], "date-time");
}
