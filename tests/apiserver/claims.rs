//! Claims as a real API server takes them, whoever writes: names, epochs, bindings, marks; how they are found and shown.

use serde_json::{Value, json};
use tests_testbed::{ApiServer, Output};

use crate::shipped::{defined, kubectl, patch};

fn object(name: &str, spec: &Value) -> String {
    let object = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Claim",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    });
    object.to_string()
}

const NAME: &str = "external-a.10.20.1.100";

/// A claim with everything that a claim can have.
fn full() -> Value {
    json!({
        "pool": "external-a", "network": "external", "rack": "a", "address": "10.20.1.100", "node": "n1", "epoch": 7,
        "binding": {
            "identity": "prod/db-0", "mac": "b6:e7:0a:14:01:64", "addresses": ["10.20.1.100", "fd00:20:1::64"],
            "origin": {"kind": "Named", "pod": "prod/db-0-x"}, "reservation": "for the move", "hold": "1h 30m",
            "owner": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u-1", "ordinal": 0},
            "attached": false, "until": "2026-01-02T00:00:00Z",
        },
        "handover": {"to": "n2"},
        "fenced": {"reason": "no power", "by": "alice", "at": "2026-01-01T00:00:00Z"},
        "release": {"reason": "scaled in", "by": "berth-controllers", "at": "2026-01-01T00:00:00Z"},
    })
}

/// A claim that belongs to nobody yet.
fn least() -> Value {
    json!({
        "pool": "external-a", "network": "external", "rack": "a", "address": "10.20.1.100", "node": "n1", "epoch": 1,
    })
}

fn judge(api: &ApiServer, object: &str) -> Output {
    let words = ["create", "--dry-run=server", "-f", "-"];
    api.kubectl_with(&words, object).unwrap()
}

enum Change {
    /// This field becomes this JSON.
    Set(&'static str, &'static str),
    /// This field becomes a text of so many characters.
    Long(&'static str, usize),
    /// This field is not there.
    Remove(&'static str),
}

use Change::{Long, Remove, Set};

fn changed(change: &Change) -> Value {
    let mut spec = full();
    let (pointer, value) = match change {
        Set(pointer, text) => (pointer, Some(serde_json::from_str(text).unwrap())),
        Long(pointer, length) => (pointer, Some("x".repeat(*length).into())),
        Remove(pointer) => (pointer, None),
    };
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = spec.pointer_mut(parent).unwrap();
    match value {
        Some(value) => parent[field] = value,
        None => {
            parent.as_object_mut().unwrap().remove(field).unwrap();
        }
    }
    spec
}

/// What is changed in the full claim, and words of the answer.
const REFUSED: &[(Change, &str)] = &[
    (Remove("/pool"), "spec.pool: Required"),
    (Remove("/network"), "spec.network: Required"),
    (Remove("/rack"), "spec.rack: Required"),
    (Remove("/address"), "spec.address: Required"),
    (Remove("/node"), "spec.node: Required"),
    (Remove("/epoch"), "spec.epoch: Required"),
    (Set("/epoch", "0"), "spec.epoch"),
    (Set("/epoch", "9007199254740992"), "spec.epoch"),
    (Set("/node", r#""""#), "spec.node"),
    (Set("/node", r#""n 1""#), "spec.node"),
    (Long("/node", 254), "spec.node"),
    (Long("/rack", 64), "spec.rack"),
    (Long("/network", 33), "spec.network"),
    (
        Set("/handover", r#"{"to": "n1"}"#),
        "a holder does not ask itself",
    ),
    (Set("/handover", "{}"), "spec.handover.to: Required"),
    (Set("/handover/to", r#""../n2""#), "spec.handover.to"),
    // Bindings.
    (
        Set("/binding/addresses", r#"["10.20.1.101"]"#),
        "has the claim's address among its addresses",
    ),
    (Set("/binding/addresses", "[]"), "spec.binding.addresses"),
    (
        Set(
            "/binding/addresses",
            r#"["10.20.1.100", "fd00:20:1::64", "fd00:20:1::65"]"#,
        ),
        "spec.binding.addresses: Too many",
    ),
    (
        Set("/binding/addresses", r#"["fd00:20:1::64", "10.20.1.100"]"#),
        "IPv4 first",
    ),
    (
        Set("/binding/addresses", r#"["10.20.1.100", "10.20.1.101"]"#),
        "IPv4 first",
    ),
    (
        Set(
            "/binding/addresses",
            r#"["10.20.1.100", "fd00:20:1:0::64"]"#,
        ),
        "addresses: one is not an address in its shortest form",
    ),
    (Remove("/binding/identity"), "identity: Required"),
    (Set("/binding/identity", r#""""#), "spec.binding.identity"),
    (
        Set("/binding/identity", r#""prod/db 0""#),
        "spec.binding.identity",
    ),
    (Long("/binding/identity", 321), "spec.binding.identity"),
    (Remove("/binding/mac"), "mac: Required"),
    (
        Set("/binding/mac", r#""B6:E7:0A:14:01:64""#),
        "spec.binding.mac",
    ),
    (Set("/binding/mac", r#""b6e70a140164""#), "spec.binding.mac"),
    (
        Set("/binding/mac", r#""01:00:5e:00:00:01""#),
        "spec.binding.mac",
    ),
    (
        Set("/binding/mac", r#""00:00:00:00:00:00""#),
        "no interface may have the zero address",
    ),
    (
        Set("/binding/attached", "true"),
        "what is attached is held by nobody",
    ),
    (Remove("/binding/attached"), "attached: Required"),
    (Set("/binding/until", r#""soon""#), "spec.binding.until"),
    (
        Set("/binding/until", r#""2026-01-02T00:00:00.5Z""#),
        "spec.binding.until",
    ),
    (
        Set("/fenced/at", r#""2026-01-02T00:00:00+01:00""#),
        "spec.fenced.at",
    ),
    (Set("/binding/hold", r#""a while""#), "is not \"forever\""),
    (Set("/binding/hold", r#""5""#), "is not \"forever\""),
    (Long("/binding/reservation", 1025), "reservation"),
    (Remove("/binding/origin"), "origin: Required"),
    (
        Set("/binding/origin/kind", r#""Stolen""#),
        "spec.binding.origin.kind",
    ),
    (
        Set("/binding/origin/pod", r#""db-0""#),
        "spec.binding.origin.pod",
    ),
    (Remove("/binding/owner/uid"), "owner.uid: Required"),
    (Remove("/binding/owner/kind"), "owner.kind: Required"),
    (
        Set("/binding/owner/ordinal", "-1"),
        "spec.binding.owner.ordinal",
    ),
    // Marks say why, by whom and since when.
    (Remove("/fenced/reason"), "fenced.reason: Required"),
    (Remove("/fenced/by"), "fenced.by: Required"),
    (Remove("/fenced/at"), "fenced.at: Required"),
    (Set("/fenced/reason", r#""""#), "spec.fenced.reason"),
    (Set("/fenced/by", r#""""#), "spec.fenced.by"),
    (Set("/fenced/at", r#""yesterday""#), "spec.fenced.at"),
    (Long("/fenced/reason", 257), "spec.fenced.reason"),
    (Long("/fenced/by", 257), "spec.fenced.by"),
    (Remove("/release/reason"), "release.reason: Required"),
    (Remove("/release/at"), "release.at: Required"),
    (Long("/release/reason", 257), "spec.release.reason"),
];

const TAKEN: &[Change] = &[
    Long("/fenced/reason", 256),
    Long("/binding/identity", 320),
    Long("/binding/reservation", 1024),
    Set("/binding/reservation", r#""""#),
    Set("/binding/hold", r#""forever""#),
    Set("/binding/hold", r#""none""#),
    Set("/binding/hold", r#""30m""#),
    Set("/binding/origin", r#"{"kind": "Adopted"}"#),
    Set("/binding/identity", r#""sandbox:0123456789abcdef""#),
    Remove("/binding"),
    Remove("/binding/until"),
    Remove("/binding/owner"),
    Remove("/binding/owner/ordinal"),
    Remove("/handover"),
    Remove("/fenced"),
    Remove("/release"),
];

#[test]
fn nonsense_in_a_claim_is_refused_and_all_else_is_taken() {
    let api = defined("api_claims");
    for (change, words) in REFUSED {
        let spec = changed(change);
        let said = judge(&api, &object(NAME, &spec));
        assert!(!said.success(), "{spec} was taken");
        assert!(said.stderr.contains(words), "{spec}: {}", said.stderr);
    }
    for change in TAKEN {
        judge(&api, &object(NAME, &changed(change))).ok().unwrap();
    }
    judge(&api, &object(NAME, &full())).ok().unwrap();
    judge(&api, &object(NAME, &least())).ok().unwrap();
}

/// Name, pool, address, and what the refusal says.
const MISNAMED: &[(&str, &str, &str, &str)] = &[
    (
        "mine",
        "external-a",
        "10.20.1.100",
        "the name of a claim is",
    ),
    (
        "external-a.10.20.1.101",
        "external-a",
        "10.20.1.100",
        "the name of a claim is",
    ),
    (
        "external-b.10.20.1.100",
        "external-a",
        "10.20.1.100",
        "the name of a claim is",
    ),
    (
        "external-a.fd00-20-1--64",
        "external-a",
        "fd00:20:1::64",
        "the name of a claim is",
    ),
    (
        "external-a.10.20.1",
        "external-a",
        "10.20.1",
        "is not an address in its shortest form",
    ),
    (
        "external-a.10.20.1.010",
        "external-a",
        "10.20.1.010",
        "is not an address in its shortest form",
    ),
    (
        "external-a.v6-fd00-20-1-0--64-0",
        "external-a",
        "fd00:20:1:0::64",
        "is not an address in its shortest form",
    ),
];

#[test]
fn claim_is_named_after_its_pool_and_its_address_so_that_there_is_one() {
    let api = defined("api_claim_names");
    let spec = |pool: &str, address: &str| {
        let mut spec = least();
        spec["pool"] = pool.into();
        spec["address"] = address.into();
        spec
    };
    // The names are those that the daemons make.
    for (pool, address) in [
        ("external-a", "10.20.1.100"),
        ("a.b", "10.20.1.100"),
        ("external-a", "fd00:20:1::64"),
        ("external-a", "fd00:20:1::"),
        ("external-a", "fd00:20:1:0:8000::1"),
        ("p", "2001:db8:1234:5678:9abc:def0:1234:5678"),
    ] {
        let name = proto_crd::claim::claim_name(pool, address.parse().unwrap());
        judge(&api, &object(&name, &spec(pool, address)))
            .ok()
            .unwrap();
    }
    for (name, pool, address, words) in MISNAMED {
        let said = judge(&api, &object(name, &spec(pool, address)));
        assert!(said.stderr.contains(words), "{name}: {}", said.stderr);
    }
    // Making it is the lock.
    api.kubectl_with(&["create", "-f", "-"], &object(NAME, &least()))
        .unwrap()
        .ok()
        .unwrap();
    let mut other = least();
    other["node"] = "n2".into();
    let said = api
        .kubectl_with(&["create", "-f", "-"], &object(NAME, &other))
        .unwrap();
    assert!(said.stderr.contains("AlreadyExists"), "{}", said.stderr);
}

/// What is merged into a fenced claim of n1 that n2 asks for, and words of the answer; nothing: it is taken.
const CHANGES: &[(&str, Option<&str>)] = &[
    (
        r#"{"pool": "external-b"}"#,
        Some("the pool of a claim cannot be changed"),
    ),
    (
        r#"{"network": "internal"}"#,
        Some("the network of a claim cannot be changed"),
    ),
    (
        r#"{"rack": "b"}"#,
        Some("the rack of a claim cannot be changed"),
    ),
    (
        r#"{"address": "10.20.1.101"}"#,
        Some("the address of a claim cannot be changed"),
    ),
    (r#"{"epoch": 6}"#, Some("stays or goes up by one")),
    (r#"{"epoch": 9}"#, Some("stays or goes up by one")),
    (
        r#"{"node": "n2", "handover": null, "fenced": null}"#,
        Some("another node is another epoch"),
    ),
    (
        r#"{"node": "n2", "epoch": 8, "fenced": null}"#,
        Some("a holder does not ask itself"),
    ),
    (
        r#"{"node": "n3", "epoch": 8, "fenced": null}"#,
        Some("handover goes with the former holder"),
    ),
    (
        r#"{"node": "n2", "epoch": 8, "handover": null}"#,
        Some("fenced goes with it"),
    ),
    (
        r#"{"node": "n2", "epoch": 8, "handover": null, "fenced": null}"#,
        None,
    ),
    (
        r#"{"node": "n2", "epoch": 8, "handover": null, "fenced": null, "binding": null, "release": null}"#,
        None,
    ),
    (r#"{"epoch": 8}"#, None),
    (r#"{"handover": {"to": "n3"}}"#, None),
    (r#"{"handover": null}"#, None),
    (r#"{"binding": null}"#, None),
    (r#"{"fenced": null}"#, None),
];

#[test]
fn claim_changes_hands_by_one_epoch_and_without_what_concerned_its_former_holder() {
    let api = defined("api_claim_epochs");
    api.apply(&object(NAME, &full())).unwrap();
    for (fields, words) in CHANGES {
        let fields = format!("{{\"spec\": {fields}}}");
        let mut all = patch("claim", NAME, &fields).to_vec();
        all.push("--dry-run=server");
        let said = api.kubectl(&all).unwrap();
        match words {
            None => {
                said.ok().unwrap();
            }
            Some(words) => {
                assert!(!said.success(), "{fields} was taken");
                assert!(said.stderr.contains(words), "{fields}: {}", said.stderr);
            }
        }
    }
}

#[test]
fn kubectl_shows_who_has_what_where_and_claims_are_found_by_what_they_say() {
    let api = defined("api_claim_columns");
    api.apply(&object(NAME, &full())).unwrap();
    let mut free = least();
    free["address"] = "10.20.1.101".into();
    free["node"] = "n2".into();
    api.apply(&object("external-a.10.20.1.101", &free)).unwrap();

    let shown = kubectl(&api, &["get", "bclaim"]);
    let heads: Vec<_> = shown.lines().next().unwrap().split_whitespace().collect();
    let wanted = "NAME ADDRESS IDENTITY ATTACHED NODE ASKED-BY FENCED AGE";
    assert_eq!(heads.join(" "), wanted);
    let row = |line: usize| {
        let row = shown.lines().nth(line).unwrap().split_whitespace();
        row.take(8).collect::<Vec<_>>().join(" ")
    };
    assert!(
        row(1).starts_with("external-a.10.20.1.100 10.20.1.100 prod/db-0 false n1 n2 no power"),
        "{shown}"
    );
    assert!(
        row(2).starts_with("external-a.10.20.1.101 10.20.1.101 n2"),
        "{shown}"
    );
    let wide = kubectl(&api, &["get", "berth", "-o", "wide"]);
    for words in ["scaled in", "b6:e7:0a:14:01:64", "2026-01-02T00:00:00Z"] {
        assert!(wide.contains(words), "no {words} in {wide}");
    }

    let select = |selector: &str| {
        let selector = format!("--field-selector={selector}");
        let found = kubectl(&api, &["get", "claims", "-o", "name", &selector]);
        let names = found
            .lines()
            .map(|line| line.replace("claim.berth.dev/external-a.10.20.1.", ""));
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(select("spec.node=n1"), "100");
    assert_eq!(select("spec.node=n2"), "101");
    assert_eq!(select("spec.node!=n2"), "100");
    assert_eq!(select("spec.pool=external-a"), "100 101");
    assert_eq!(select("spec.rack=a,spec.node=n3"), "");
    assert_eq!(select("spec.binding.identity=prod/db-0"), "100");
    // What has no binding has an empty identity.
    assert_eq!(select("spec.binding.identity="), "101");
    assert_eq!(select("spec.binding.identity!=prod/db-0"), "101");
}
