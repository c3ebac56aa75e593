use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::names;

fn schema() -> Value {
    let crd = serde_json::to_value(LifecycleFreeze::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn group_version_and_short_name_are_those_that_people_type() {
    let crd = LifecycleFreeze::crd();
    assert_eq!(crd.spec.group, names::GROUP);
    assert_eq!(crd.spec.versions[0].name, names::VERSION);
    assert_eq!(crd.spec.names.short_names, Some(vec!["lf".to_owned()]));
}

#[test]
fn reason_and_author_are_required_and_the_list_of_nodes_has_its_limit() {
    let schema = schema();
    let spec = &schema["properties"]["spec"];
    assert_eq!(spec["required"], json!(["by", "reason", "scope"]));
    let count = |part: &Value| part["x-kubernetes-validations"].as_array().map(Vec::len);
    assert_eq!(count(spec), Some(2));
    assert_eq!(count(&spec["properties"]["scope"]), Some(2));
    let nodes = &schema["properties"]["status"]["properties"]["nodes"];
    assert_eq!(nodes["maxItems"], NODES_LIMIT);
}

#[test]
fn what_is_not_said_is_not_written() {
    let text = json!({"scope": {"rack": "a"}, "reason": "works on the switch", "by": "ann"});
    let spec: LifecycleFreezeSpec = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap(), text);
}

#[test]
fn freeze_is_over_from_its_end_on_and_never_without_one() {
    let at = Timestamp::from_unix_milliseconds;
    let freeze = |expiry_time| LifecycleFreezeSpec {
        scope: FreezeScope::default(),
        reason: "r".into(),
        by: "b".into(),
        ticket: None,
        expiry_time,
    };
    assert!(!freeze(Some(at(5_000))).has_expired(at(4_999)));
    assert!(freeze(Some(at(5_000))).has_expired(at(5_000)));
    assert!(!freeze(None).has_expired(at(u64::MAX)));
}
