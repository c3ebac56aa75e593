//! Pools as a real API server takes them: each rule and each bound refuses an object, with one sentence that says which part.

use serde_json::{Value, json};
use tests_testbed::{ApiServer, Output};

use crate::shipped::{defined, kubectl, patch};

fn pool(name: &str, spec: &Value) -> String {
    let object = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Pool",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    });
    object.to_string()
}

fn v4() -> Value {
    json!({"network": "external", "rack": "a", "subnet": "10.20.1.0/24", "gateway": "10.20.1.1"})
}

fn v6() -> Value {
    json!({"network": "external", "rack": "a", "subnet": "fd00:20:1::/64", "gateway": "fd00:20:1::1"})
}

/// The spec with these fields; `null` removes one.
fn with(mut spec: Value, fields: &str) -> Value {
    let fields: Value = serde_json::from_str(fields).unwrap();
    for (name, value) in fields.as_object().unwrap() {
        let spec = spec.as_object_mut().unwrap();
        if value.is_null() {
            spec.remove(name);
        } else {
            spec.insert(name.clone(), value.clone());
        }
    }
    spec
}

/// Asks whether an object would be taken.
fn judge(api: &ApiServer, object: &str) -> Output {
    let words = ["create", "--dry-run=server", "-f", "-"];
    api.kubectl_with(&words, object).unwrap()
}

/// Fields, and what the refusal says.
type Row = (&'static str, &'static str);

const SHORTEST: &str = "is not an address in its shortest form";
const FORM: &str =
    "not FIRST-LAST, an address or a CIDR without host bits, in their shortest form:";

const BAD_V4: &[Row] = &[
    // The subnet.
    (r#"{"subnet": "10.20.1.7/24"}"#, "has host bits set"),
    (r#"{"subnet": "10.20.1.0"}"#, "is not a CIDR"),
    (r#"{"subnet": "10.20.1.0/33"}"#, "is not a CIDR"),
    (r#"{"subnet": ""}"#, "is not a CIDR"),
    (r#"{"subnet": null}"#, "spec.subnet: Required"),
    (
        r#"{"subnet": "0.0.0.0/0"}"#,
        "is not the subnet of one rack",
    ),
    (
        r#"{"subnet": "10.0.0.0/7", "gateway": null}"#,
        "is not the subnet of one rack",
    ),
    (
        r#"{"subnet": "127.0.0.0/8", "gateway": "127.0.0.1"}"#,
        "is not the subnet of one rack",
    ),
    (
        r#"{"subnet": "224.1.0.0/16", "gateway": "224.1.0.1"}"#,
        "is not the subnet of one rack",
    ),
    (
        r#"{"subnet": "169.254.0.0/16", "gateway": null}"#,
        "is not the subnet of one rack",
    ),
    // The gateway.
    (
        r#"{"gateway": "10.20.2.1"}"#,
        "gateway: not inside subnet 10.20.1.0/24: 10.20.2.1",
    ),
    (
        r#"{"gateway": "fd00:20:1::1"}"#,
        "gateway: not inside subnet 10.20.1.0/24: fd00:20:1::1",
    ),
    (
        r#"{"gateway": "10.20.1.0"}"#,
        "gateway: no host may have this address of subnet 10.20.1.0/24: 10.20.1.0",
    ),
    (
        r#"{"gateway": "10.20.1.255"}"#,
        "gateway: no host may have this address of subnet 10.20.1.0/24: 10.20.1.255",
    ),
    (
        r#"{"subnet": "10.0.0.0/8", "gateway": "10.255.255.255"}"#,
        "gateway: no host may have this address",
    ),
    (
        r#"{"subnet": "10.20.1.64/30", "gateway": "10.20.1.67"}"#,
        "gateway: no host may have this address",
    ),
    (r#"{"gateway": "10.20.1"}"#, SHORTEST),
    (r#"{"gateway": "10.20.1.01"}"#, SHORTEST),
    (r#"{"gateway": "tor-a"}"#, SHORTEST),
    // Ranges.
    (
        r#"{"ranges": ["10.20.1.9-10.20.1.7"]}"#,
        "begins after its end: 10.20.1.9-10.20.1.7",
    ),
    (
        r#"{"ranges": ["10.20.1.100-10.20.1.20"]}"#,
        "begins after its end: 10.20.1.100-10.20.1.20",
    ),
    (
        r#"{"ranges": ["10.20.1.9", "10.20.2.5"]}"#,
        "ranges: not inside subnet 10.20.1.0/24: 10.20.2.5",
    ),
    (
        r#"{"ranges": ["10.20.1.5-10.20.2.5"]}"#,
        "ranges: not inside subnet 10.20.1.0/24: 10.20.1.5-10.20.2.5",
    ),
    (
        r#"{"ranges": ["10.20.0.0/16"]}"#,
        "ranges: not inside subnet 10.20.1.0/24: 10.20.0.0/16",
    ),
    (
        r#"{"ranges": ["10.20.1.9-fd00::1"]}"#,
        "ranges: not inside subnet",
    ),
    (
        r#"{"ranges": ["fd00:20:1::5"]}"#,
        "ranges: not inside subnet",
    ),
    (r#"{"ranges": ["10.20.1.5-"]}"#, FORM),
    (r#"{"ranges": ["-10.20.1.5"]}"#, FORM),
    (r#"{"ranges": ["-"]}"#, FORM),
    (r#"{"ranges": ["a-b-c"]}"#, FORM),
    (r#"{"ranges": ["10.20.1.1-10.20.1.2-10.20.1.3"]}"#, FORM),
    (r#"{"ranges": ["10.20.1.9 - 10.20.1.11"]}"#, FORM),
    (r#"{"ranges": ["10.20.1.65/26"]}"#, FORM),
    (r#"{"ranges": ["10.20.1.64/26/3"]}"#, FORM),
    (r#"{"ranges": ["10.20.1.64/x"]}"#, FORM),
    (r#"{"ranges": [""]}"#, FORM),
    // No two ranges have an address in common, however they are written.
    (
        r#"{"ranges": ["10.20.1.10-10.20.1.100", "10.20.1.50"]}"#,
        "ranges: another one begins inside 10.20.1.10-10.20.1.100",
    ),
    (
        r#"{"ranges": ["10.20.1.50", "10.20.1.10-10.20.1.100"]}"#,
        "ranges: another one begins inside 10.20.1.10-10.20.1.100",
    ),
    (
        r#"{"ranges": ["10.20.1.9-10.20.1.20", "10.20.1.20-10.20.1.100"]}"#,
        "ranges: another one begins inside 10.20.1.9-10.20.1.20",
    ),
    (
        r#"{"ranges": ["10.20.1.64/26", "10.20.1.100-10.20.1.140"]}"#,
        "ranges: another one begins inside 10.20.1.64/26",
    ),
    (
        r#"{"ranges": ["10.20.1.140-10.20.1.160", "10.20.1.128/26"]}"#,
        "ranges: another one begins inside 10.20.1.128/26",
    ),
    (
        r#"{"ranges": ["10.20.1.120-10.20.1.140", "10.20.1.128/26"]}"#,
        "ranges: another one begins inside 10.20.1.120-10.20.1.140",
    ),
    (
        r#"{"ranges": ["10.20.1.64/26", "10.20.1.64/28"]}"#,
        "ranges: another one begins inside 10.20.1.64/26",
    ),
    (
        r#"{"ranges": ["10.20.1.5", "10.20.1.5"]}"#,
        "ranges: another one begins inside 10.20.1.5",
    ),
    // Exclusions.
    (
        r#"{"exclude": ["10.20.2.5"]}"#,
        "exclude: not inside subnet 10.20.1.0/24: 10.20.2.5",
    ),
    (r#"{"exclude": ["the printer"]}"#, FORM),
    (
        r#"{"exclude": ["10.20.1.9-10.20.1.7"]}"#,
        "begins after its end",
    ),
    // Routes.
    (
        r#"{"routes": [{"dst": "0.0.0.0/0"}]}"#,
        "0.0.0.0/0 is a default route",
    ),
    (
        r#"{"routes": [{"dst": "10.0.0.1/8"}]}"#,
        "dst is not a CIDR without host bits: 10.0.0.1/8",
    ),
    (
        r#"{"routes": [{"dst": "10.0.0.1"}]}"#,
        "dst is not a CIDR without host bits: 10.0.0.1",
    ),
    (
        r#"{"routes": [{"dst": "fd00::/8"}]}"#,
        "routes: one leads to another family",
    ),
    (
        r#"{"routes": [{"dst": "10.0.0.0/8", "via": "10.3.3.3"}]}"#,
        "via: not inside subnet 10.20.1.0/24: 10.3.3.3",
    ),
    (
        r#"{"routes": [{"dst": "10.0.0.0/8", "via": "10.20.1.255"}]}"#,
        "via: no host may have this address of subnet 10.20.1.0/24: 10.20.1.255",
    ),
    (
        r#"{"routes": [{"dst": "10.0.0.0/8", "via": "tor"}]}"#,
        "via is not an address in its shortest form: tor",
    ),
    (
        r#"{"gateway": null, "routes": [{"dst": "10.0.0.0/8"}]}"#,
        "routes: one has no next hop (via)",
    ),
    (
        r#"{"routes": [{"dst": "10.0.0.0/8", "mtu": 67}]}"#,
        "spec.routes[0].mtu",
    ),
    (
        r#"{"routes": [{"dst": "10.0.0.0/8", "mtu": 65536}]}"#,
        "spec.routes[0].mtu",
    ),
    (
        r#"{"routes": [{"dst": "10.0.0.0/8", "metric": 0}]}"#,
        "spec.routes[0].metric",
    ),
    (
        r#"{"routes": [{"dst": "10.0.0.0/8", "metric": 4294967296}]}"#,
        "spec.routes[0].metric",
    ),
    // The rest.
    (r#"{"quarantine": "10"}"#, "is not \"forever\""),
    (r#"{"quarantine": "-3m"}"#, "is not \"forever\""),
    (r#"{"quarantine": "a while"}"#, "is not \"forever\""),
    (r#"{"network": "External"}"#, "spec.network"),
    (r#"{"network": null}"#, "spec.network: Required"),
    (r#"{"rack": "a b"}"#, "spec.rack"),
    (r#"{"rack": "a-"}"#, "spec.rack"),
    (r#"{"rack": null}"#, "spec.rack: Required"),
];

const BAD_V6: &[Row] = &[
    (
        r#"{"subnet": "fd00::/31", "gateway": null}"#,
        "is not the subnet of one rack",
    ),
    (
        r#"{"subnet": "ff02::/64", "gateway": null}"#,
        "is not the subnet of one rack",
    ),
    (
        r#"{"subnet": "fe80::/64", "gateway": null}"#,
        "is not the subnet of one rack",
    ),
    (r#"{"subnet": "fd00:20:1::1/64"}"#, "has host bits set"),
    (
        r#"{"gateway": "fd00:20:1::"}"#,
        "gateway: no host may have this address of subnet fd00:20:1::/64: fd00:20:1::",
    ),
    (r#"{"gateway": "fd00:20:1:0::1"}"#, SHORTEST),
    (r#"{"gateway": "FD00:20:1::1"}"#, SHORTEST),
    (
        r#"{"gateway": "fd00:20:2::1"}"#,
        "gateway: not inside subnet",
    ),
    (
        r#"{"ranges": ["fd00:20:1::9-fd00:20:1::7"]}"#,
        "begins after its end",
    ),
    (
        r#"{"ranges": ["fd00:20:1::1:0-fd00:20:1::ffff"]}"#,
        "begins after its end",
    ),
    (
        r#"{"ranges": ["fd00:20:1:0:1::-fd00:20:1::ffff:ffff:ffff"]}"#,
        "begins after its end",
    ),
    (
        r#"{"ranges": ["fd00:20:1:0:8000::-fd00:20:1::5"]}"#,
        "begins after its end",
    ),
    (
        r#"{"ranges": ["fd00:20:1::10-fd00:20:1::100", "fd00:20:1::50"]}"#,
        "ranges: another one begins inside fd00:20:1::10-fd00:20:1::100",
    ),
    (
        r#"{"ranges": ["fd00:20:1::50", "fd00:20:1::10-fd00:20:1::100"]}"#,
        "ranges: another one begins inside",
    ),
    (
        r#"{"ranges": ["fd00:20:1::100/120", "fd00:20:1::150"]}"#,
        "ranges: another one begins inside fd00:20:1::100/120",
    ),
    (
        r#"{"ranges": ["fd00:20:1::100/120", "fd00:20:1::1-fd00:20:1::150"]}"#,
        "ranges: another one begins inside fd00:20:1::1-fd00:20:1::150",
    ),
    (
        r#"{"ranges": ["fd00:20:1:0:ffff::-fd00:20:1:0:ffff:ffff:ffff:ffff", "fd00:20:1:0:ffff:8000::"]}"#,
        "ranges: another one begins inside",
    ),
    (r#"{"ranges": ["::ffff:10.20.1.5"]}"#, FORM),
    (r#"{"ranges": ["10.20.1.5"]}"#, "ranges: not inside subnet"),
    (
        r#"{"routes": [{"dst": "fd00::/8", "mtu": 1279}]}"#,
        "IPv6 needs an mtu of at least 1280",
    ),
    (
        r#"{"routes": [{"dst": "::/0"}]}"#,
        "::/0 is a default route",
    ),
    (
        r#"{"routes": [{"dst": "10.0.0.0/8"}]}"#,
        "routes: one leads to another family",
    ),
    (
        r#"{"routes": [{"dst": "fd00::/8", "via": "fd00:20:1::"}]}"#,
        "via: no host may have this address",
    ),
];

const GOOD_V4: &[&str] = &[
    "{}",
    r#"{"gateway": null}"#,
    r#"{"ranges": ["10.20.1.100-10.20.1.199", "10.20.1.64/27", "10.20.1.5"], "exclude": ["10.20.1.150", "10.20.1.100/30"],
        "quarantine": "10m", "probe": false,
        "routes": [{"dst": "10.0.0.0/8", "via": "10.20.1.254", "metric": 4294967295}, {"dst": "10.9.0.0/16", "mtu": 68}]}"#,
    r#"{"ranges": ["10.20.1.2-10.20.1.9", "10.20.1.10-10.20.1.99", "10.20.1.100"]}"#,
    r#"{"ranges": ["10.20.1.0/24"]}"#,
    r#"{"ranges": ["10.20.1.7-10.20.1.7"]}"#,
    r#"{"subnet": "10.20.1.4/31", "gateway": "10.20.1.4"}"#,
    r#"{"subnet": "10.20.1.4/31", "gateway": "10.20.1.5"}"#,
    r#"{"subnet": "10.20.1.4/32", "gateway": null}"#,
    r#"{"subnet": "10.0.0.0/8", "gateway": "10.255.255.254"}"#,
    r#"{"subnet": "10.20.0.0/16", "gateway": "10.20.1.255"}"#,
    r#"{"quarantine": "none"}"#,
    r#"{"quarantine": "forever"}"#,
    r#"{"quarantine": "1h 30m"}"#,
    r#"{"quarantine": "2days 5min"}"#,
    r#"{"rack": "Rack_7.b"}"#,
];

const GOOD_V6: &[&str] = &[
    "{}",
    r#"{"ranges": ["fd00:20:1::100-fd00:20:1::1ff", "fd00:20:1:0:8000::/65", "fd00:20:1::5"], "exclude": ["fd00:20:1::150"],
        "routes": [{"dst": "fd00::/8", "mtu": 1280, "via": "fd00:20:1::fe"}]}"#,
    r#"{"ranges": ["fd00:20:1::ffff-fd00:20:1::1:0"]}"#,
    r#"{"ranges": ["fd00:20:1::1-fd00:20:1:0:ffff:ffff:ffff:ffff"]}"#,
    r#"{"ranges": ["fd00:20:1::1-fd00:20:1::99", "fd00:20:1::9a", "fd00:20:1::100-fd00:20:1::a00"]}"#,
    r#"{"subnet": "fd00:20:1::/127", "gateway": "fd00:20:1::"}"#,
];

/// As many of everything as the bounds let there be.
fn most_v4() -> Value {
    let ranges: Vec<_> = (0..32)
        .map(|i| format!("10.20.1.{}-10.20.1.{}", i * 7 + 2, i * 7 + 8))
        .collect();
    let exclude: Vec<_> = (0..64).map(|i| format!("10.20.1.{}", i + 3)).collect();
    let route = |i| json!({"dst": format!("10.{i}.0.0/16"), "via": "10.20.1.250"});
    let routes: Vec<_> = (0..32).map(route).collect();
    let fields = json!({"ranges": ranges, "exclude": exclude, "routes": routes});
    with(v4(), &fields.to_string())
}

/// The same with the longest texts.
fn most_v6() -> Value {
    let net = "fd00:20:1:0:abcd";
    let range = |i| format!("{net}:{i:x}:1234:5678-{net}:{i:x}:fedc:9abc");
    let ranges: Vec<_> = (0x1000..0x1020).map(range).collect();
    let exclude: Vec<_> = (0x1000..0x1040).map(range).collect();
    let route = |i| json!({"dst": format!("fd{i:02x}::/16"), "via": "fd00:20:1::fe"});
    let routes: Vec<_> = (0..32).map(route).collect();
    let fields = json!({"ranges": ranges, "exclude": exclude, "routes": routes});
    with(v6(), &fields.to_string())
}

/// What was said otherwise than expected; nothing is expected of what is to be taken.
fn surprise(spec: &Value, said: &Output, words: Option<&str>) -> Option<String> {
    let text = &said.stderr;
    // Several causes are a list; that rules were not looked at is none.
    let causes = text.lines().filter(|line| line.starts_with("* "));
    let causes = causes.filter(|line| !line.starts_with("* <nil>"));
    let is_expected = match words {
        None => said.success(),
        Some(words) => !said.success() && text.contains(words) && causes.count() < 2,
    };
    (!is_expected).then(|| format!("{spec}: wanted {words:?}: {text}"))
}

#[test]
fn nonsense_in_a_pool_is_refused_with_one_sentence_and_all_else_is_taken() {
    let api = defined("api_pools");
    let mut rows: Vec<(Value, Option<&str>)> = Vec::new();
    for (base, bad, good) in [
        (v4 as fn() -> Value, BAD_V4, GOOD_V4),
        (v6, BAD_V6, GOOD_V6),
    ] {
        let bad = bad
            .iter()
            .map(|(fields, words)| (with(base(), fields), Some(*words)));
        rows.extend(bad);
        rows.extend(good.iter().map(|fields| (with(base(), fields), None)));
    }
    rows.extend([(most_v4(), None), (most_v6(), None)]);
    for (list, words) in [
        ("ranges", "spec.ranges: Too many"),
        ("exclude", "spec.exclude: Too many"),
        ("routes", "spec.routes: Too many"),
    ] {
        let mut spec = most_v4();
        let all = spec[list].as_array_mut().unwrap();
        let last = all.last().unwrap().clone();
        all.push(last);
        rows.push((spec, Some(words)));
    }
    let tried = rows
        .iter()
        .map(|(spec, words)| (spec, judge(&api, &pool("p", spec)), *words));
    let surprises: Vec<_> = tried
        .filter_map(|(spec, said, words)| surprise(spec, &said, words))
        .collect();
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));

    let name = "n".repeat(63);
    judge(&api, &pool(&name, &v4())).ok().unwrap();
    let said = judge(&api, &pool(&format!("{name}n"), &v4()));
    let words = "at most 63 characters";
    assert!(said.stderr.contains(words), "{}", said.stderr);
}

#[test]
fn pool_stays_of_its_network_rack_and_subnet_and_may_change_otherwise() {
    let api = defined("api_pool_changes");
    api.apply(&pool("external-a", &v4())).unwrap();
    for (spec, words) in [
        (
            r#"{"network": "internal"}"#,
            "the network of a pool cannot be changed",
        ),
        (r#"{"rack": "b"}"#, "the rack of a pool cannot be changed"),
        (
            r#"{"subnet": "10.20.0.0/16"}"#,
            "the subnet of a pool cannot be changed",
        ),
        (r#"{"gateway": "10.20.2.1"}"#, "gateway: not inside subnet"),
    ] {
        let fields = format!("{{\"spec\": {spec}}}");
        let said = api.kubectl(&patch("pool", "external-a", &fields)).unwrap();
        assert!(said.stderr.contains(words), "{spec}: {}", said.stderr);
    }
    let fields =
        r#"{"spec": {"gateway": "10.20.1.2", "ranges": ["10.20.1.9"], "quarantine": "1h"}}"#;
    kubectl(&api, &patch("pool", "external-a", fields));
}

fn status() -> Value {
    json!({
        "observedGeneration": 1, "capacity": 253, "claimed": 40, "bound": 30, "attached": 25,
        "exhaustedAt": "2026-03-01T00:00:00Z", "updateTime": "2026-01-01T00:00:00Z",
        "conditions": [],
    })
}

#[test]
fn kubectl_shows_how_full_a_pool_is_and_selects_by_rack_and_network() {
    let api = defined("api_pool_columns");
    api.apply(&pool("external-a", &v4())).unwrap();
    let other = with(v6(), r#"{"rack": "b", "network": "internal"}"#);
    api.apply(&pool("internal-b", &other)).unwrap();
    let write = |status: &Value| {
        let patch = json!({"status": status}).to_string();
        let words = [
            "patch",
            "pool",
            "external-a",
            "--subresource=status",
            "--type=merge",
            "--patch",
        ];
        let words: Vec<_> = words.into_iter().chain([patch.as_str()]).collect();
        api.kubectl(&words).unwrap()
    };
    write(&status()).ok().unwrap();
    for (field, value) in [
        ("capacity", json!(-1)),
        ("claimed", json!(-1)),
        ("bound", Value::Null),
        ("updateTime", json!("now")),
    ] {
        let mut status = status();
        status[field] = value;
        let said = write(&status);
        let words = format!("status.{field}");
        assert!(said.stderr.contains(&words), "{field}: {}", said.stderr);
    }

    let shown = kubectl(&api, &["get", "bpool"]);
    let heads: Vec<_> = shown.lines().next().unwrap().split_whitespace().collect();
    let wanted = "NAME NETWORK RACK SUBNET CAPACITY CLAIMED BOUND ATTACHED AGE";
    assert_eq!(heads.join(" "), wanted);
    let row: Vec<_> = shown.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        row[..8].join(" "),
        "external-a external a 10.20.1.0/24 253 40 30 25"
    );
    let wide = kubectl(&api, &["get", "berth", "-o", "wide"]);
    assert!(wide.contains("10.20.1.1"), "{wide}");
    assert!(wide.contains("2026-03-01T00:00:00Z"), "{wide}");

    let select = |selector: &str| {
        let selector = format!("--field-selector={selector}");
        kubectl(&api, &["get", "pools", "-o", "name", &selector])
    };
    assert_eq!(select("spec.rack=a").trim(), "pool.berth.dev/external-a");
    assert_eq!(
        select("spec.network=internal").trim(),
        "pool.berth.dev/internal-b"
    );
    assert_eq!(select("spec.rack=a,spec.network=internal").trim(), "");
}
