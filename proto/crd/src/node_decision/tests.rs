use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::names;

fn schema() -> Value {
    let crd = serde_json::to_value(NodeDecision::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn group_version_and_short_name_are_those_that_people_type() {
    let crd = NodeDecision::crd();
    assert_eq!(crd.spec.group, names::GROUP);
    assert_eq!(crd.spec.versions[0].name, names::VERSION);
    assert_eq!(crd.spec.names.short_names, Some(vec!["nd".to_owned()]));
    let selectable = crd.spec.versions[0].selectable_fields.clone().unwrap();
    let paths: Vec<_> = selectable.iter().map(|field| &field.json_path).collect();
    assert_eq!(paths, [".spec.node", ".spec.rack"]);
}

#[test]
fn limits_are_those_of_the_schema() {
    let spec = &schema()["properties"]["spec"]["properties"];
    assert_eq!(spec["record"]["maxLength"], RECORD_LIMIT);
    assert_eq!(spec["evidence"]["maxItems"], EVIDENCE_LIMIT);
    assert_eq!(spec["breakers"]["maxItems"], LIST_LIMIT);
    assert_eq!(spec["targets"]["maxItems"], LIST_LIMIT);
    for text in [
        &spec["change"]["properties"]["text"],
        &spec["evidence"]["items"]["properties"]["text"],
        &spec["outcome"]["properties"]["message"],
    ] {
        assert_eq!(text["maxLength"], TEXT_LIMIT);
    }
}

#[test]
fn nothing_of_it_can_be_changed() {
    let rules = schema()["properties"]["spec"]["x-kubernetes-validations"].clone();
    let rules = rules.as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["rule"] == "self == oldSelf"));
    assert!(schema()["properties"].get("status").is_none());
}

#[test]
fn decision_reads_back_as_it_was_written() {
    let hash = "0".repeat(64);
    let text = json!({
        "id": "3-17", "term": 3, "sequence": 17, "time": "2026-01-31T12:00:00Z", "leader": "n1",
        "policyHash": hash, "subject": {"kind": "Node", "name": "n7"}, "node": "n7", "rack": "a",
        "change": {"type": "Action", "text": "cordon n7", "action": "Cordon", "rule": "Cordon", "mode": "DryRun"},
        "targets": [{"namespace": "shop", "name": "web-0", "uid": "u", "resourceVersion": "5"}],
        "evidence": [{"type": "KubeletLease", "text": "kubelet's Lease unchanged for 31 s", "ageSeconds": 31, "thresholdSeconds": 30}],
        "budget": {"cluster": {"used": 1, "limit": 40}, "rack": {"used": 0, "limit": 2}, "darkRacks": {"used": 0, "limit": 2}, "pods": 5},
        "breakers": ["WarmUp"], "outcome": {"type": "WouldDo"}, "previous": hash, "hash": hash, "record": "{}",
    });
    let spec: NodeDecisionSpec = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap(), text);
}
