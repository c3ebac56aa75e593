use serde_json::json;

use super::fixture::{at, bound, claim, claim_with, mark};
use super::*;

#[test]
fn state_is_told_with_its_marks() {
    let held = |more: serde_json::Value| {
        let mut spec = bound("prod/db-0", "10.20.1.100", false);
        for (key, value) in more.as_object().unwrap() {
            spec["binding"][key] = value.clone();
        }
        spec
    };
    let with = |mut spec: serde_json::Value, key: &str, value: serde_json::Value| {
        spec[key] = value;
        spec
    };
    let table = [
        (json!({}), State::Warm, "warm"),
        (
            bound("prod/db-0", "10.20.1.100", true),
            State::Attached,
            "attached",
        ),
        (held(json!({})), State::Held, "held"),
        (
            held(json!({"until": at(60)})),
            State::Held,
            "held until 2025-11-21T10:01:00Z",
        ),
        (
            held(json!({"reservation": ""})),
            State::Reserved,
            "reserved",
        ),
        (
            with(held(json!({})), "handover", json!({"to": "n2"})),
            State::Held,
            "held, asked by n2",
        ),
        (
            with(
                with(
                    bound("prod/db-0", "10.20.1.100", true),
                    "fenced",
                    mark("off"),
                ),
                "release",
                mark("scaled in"),
            ),
            State::Attached,
            "attached, released, fenced",
        ),
    ];
    for (spec, state, words) in table {
        let claim = claim("10.20.1.100", &spec);
        assert_eq!((claim.state(), claim.words().as_str()), (state, words));
    }
    let deleted = json!({"deletionTimestamp": at(5)});
    let deleted = claim_with("10.20.1.100", &json!({}), &deleted);
    assert_eq!(deleted.words(), "warm, deleted");
    assert_eq!(deleted.deleting_since, Some(at(5)));
}

#[test]
fn unused_since_is_exact_where_the_hold_says_so_else_the_last_word_on_it() {
    let entry = |manager: &str, second: i64, fields: serde_json::Value| {
        json!({
            "manager": manager, "operation": "Update", "apiVersion": "berth.dev/v1alpha1", "time": at(second),
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields},
        })
    };
    let metadata = json!({"managedFields": [
        entry("berth-ipamd", 10, json!({"f:binding": {"f:attached": {}}})),
        entry("kubectl-berth", 500, json!({"f:fenced": {}})),
    ]});
    let mut spec = bound("prod/db-0", "10.20.1.100", false);
    let unused =
        |spec: &serde_json::Value| claim_with("10.20.1.100", spec, &metadata).unused_since();
    assert_eq!(unused(&spec), Some(at(10)));
    spec["binding"]["until"] = json!(at(600));
    spec["binding"]["hold"] = json!("5m");
    assert_eq!(unused(&spec), Some(at(300)));
    spec["binding"]["hold"] = json!("1h 5m");
    assert_eq!(unused(&spec), Some(at(10)));
    spec["binding"]["attached"] = json!(true);
    assert_eq!(unused(&spec), None);
}

#[test]
fn selection_is_made_by_the_server() {
    assert_eq!(Selection::default().field_selector(), None);
    let selection = Selection {
        node: Some("n1".into()),
        identity: Some("a=b,c".into()),
        rack: None,
    };
    assert_eq!(
        selection.field_selector().unwrap(),
        "spec.node=n1,spec.binding.identity=a\\=b\\,c"
    );
}

#[test]
fn namespace_is_the_pods() {
    let named = json!({"binding": {
        "identity": "vip", "mac": "b6:e7:0a:14:01:64", "addresses": ["10.20.1.100"],
        "origin": {"kind": "Named", "pod": "prod/web"}, "attached": true,
    }});
    for (spec, namespace) in [
        (named, Some("prod")),
        (bound("test/x", "10.20.1.100", false), Some("test")),
        (json!({}), None),
    ] {
        assert_eq!(claim("10.20.1.100", &spec).namespace(), namespace);
    }
}
