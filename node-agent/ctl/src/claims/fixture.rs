//! Claims for tests.

use serde_json::{Value, json};

use super::*;

/// A moment, and some seconds.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_763_719_200 + second).unwrap()
}

/// A claim of pool `external-a` by node `n1` with other fields of `spec`.
pub(crate) fn claim(address: &str, spec: &Value) -> ClaimSeen {
    claim_with(address, spec, &json!({}))
}

/// The same, with fields of `metadata`.
pub(crate) fn claim_with(address: &str, spec: &Value, metadata: &Value) -> ClaimSeen {
    let mut whole = json!({
        "pool": "external-a", "network": "external", "rack": "a", "address": address, "node": "n1", "epoch": 1,
    });
    merge(&mut whole, spec);
    let pool = whole["pool"].as_str().unwrap();
    let name = proto_crd::claim::claim_name(pool, address.parse().unwrap());
    let mut meta = json!({"name": name, "resourceVersion": "7"});
    merge(&mut meta, metadata);
    let object = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Claim", "metadata": meta, "spec": whole,
    });
    ClaimSeen::of(serde_json::from_value(object).unwrap()).unwrap()
}

fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().unwrap() {
        into[key] = value.clone();
    }
}

/// A binding of a Pod.
pub(crate) fn binding(pod: &str, address: &str, attached: bool) -> Value {
    json!({
        "identity": pod, "mac": "b6:e7:0a:14:01:64", "addresses": [address],
        "origin": {"kind": "Pod", "pod": pod}, "attached": attached,
    })
}

/// The field `spec.binding` alone.
pub(crate) fn bound(pod: &str, address: &str, attached: bool) -> Value {
    json!({"binding": binding(pod, address, attached)})
}

/// A mark.
pub(crate) fn mark(reason: &str) -> Value {
    json!({"reason": reason, "by": "jane", "at": at(0)})
}
