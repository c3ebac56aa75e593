use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::names;

fn spec_schema() -> Value {
    let definition = serde_json::to_value(Claim::crd()).unwrap();
    let version = &definition["spec"]["versions"][0];
    version["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

#[test]
fn name_of_a_claim_says_pool_and_address() {
    for (address, name) in [
        ("10.20.1.100", "external-a.10.20.1.100"),
        ("fd00:20:1::64", "external-a.v6-fd00-20-1--64-0"),
        ("fd00::", "external-a.v6-fd00---0"),
        ("::1", "external-a.v6---1-0"),
    ] {
        assert_eq!(claim_name("external-a", address.parse().unwrap()), name);
    }
}

#[test]
fn limits_are_those_of_the_schema() {
    let spec = spec_schema();
    for mark in ["fenced", "release"] {
        for field in ["reason", "by"] {
            let text = &spec["properties"][mark]["properties"][field];
            assert_eq!(text["maxLength"], MARK_LIMIT, "{mark} {field}");
        }
    }
    let binding = &spec["properties"]["binding"]["properties"];
    assert_eq!(binding["reservation"]["maxLength"], RESERVATION_LIMIT);
}

#[test]
fn rules_of_every_level_are_in_the_schema() {
    let spec = spec_schema();
    let count = |schema: &Value| schema["x-kubernetes-validations"].as_array().map(Vec::len);
    assert_eq!(count(&spec), Some(6));
    for field in ["pool", "network", "rack"] {
        assert_eq!(count(&spec["properties"][field]), Some(1), "{field}");
    }
    assert_eq!(count(&spec["properties"]["address"]), Some(2));
    assert_eq!(count(&spec["properties"]["binding"]), Some(4));
    let definition = serde_json::to_value(Claim::crd()).unwrap();
    assert_eq!(definition["spec"]["group"], names::GROUP);
}

#[test]
fn what_is_not_there_is_not_written_and_an_object_reads_back_as_it_was_written() {
    let spec = ClaimSpec {
        pool: "p".into(),
        network: "external".into(),
        rack: "a".into(),
        address: "10.20.1.100".into(),
        node: "n1".into(),
        epoch: 1,
        binding: None,
        handover: None,
        fenced: None,
        release: None,
    };
    let object = Claim::new("p.10.20.1.100", spec);
    let mut value = serde_json::to_value(&object).unwrap();
    for field in ["binding", "handover", "fenced", "release"] {
        assert!(value["spec"].get(field).is_none(), "{field}");
    }
    assert_eq!(
        serde_json::from_value::<Claim>(value.clone()).unwrap(),
        object
    );
    value["spec"]["binding"] = json!({
        "identity": "prod/db-0", "mac": "b6:e7:0a:14:01:64", "addresses": ["10.20.1.100"], "attached": true,
        "origin": {"kind": "Named", "pod": "prod/x"}, "until": "2026-01-01T00:00:00Z",
        "owner": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "ordinal": 0},
    });
    value["spec"]["fenced"] = json!({"reason": "r", "by": "b", "at": "2026-01-01T00:00:00Z"});
    let read: Claim = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), value);
}
