use std::error::Error;

use super::*;
use serde_json::json;

fn list(plugins: &Value) -> Value {
    json!({"cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"], "name": "bank", "plugins": plugins})
}

fn berth() -> Value {
    json!({"type": "berth", "networks": [{"name": "external", "uplink": "eth0"}]})
}

fn parse(value: &Value) -> Result<Conflist, ParseConflistError> {
    Conflist::parse(value.to_string().as_bytes())
}

/// The refusal with its causes.
fn refusal(value: &Value) -> String {
    said(&parse(value).unwrap_err())
}

fn said(error: &ParseConflistError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn good_list_is_read_with_the_versions_a_runtime_may_choose() {
    let read = parse(&list(&json!([berth(), {"type": "portmap"}]))).unwrap();
    assert_eq!(read.versions, [CniVersion::V1_0_0, CniVersion::V1_1_0]);
    assert_eq!(read.newest(), CniVersion::V1_1_0);
    assert_eq!(read.plugins.len(), 2);
    assert_eq!(read.ours.unwrap().networks[0].uplink.as_str(), "eth0");
    let single = json!({"cniVersion": "1.0.0", "name": "bank", "plugins": [berth()]});
    assert_eq!(parse(&single).unwrap().newest(), CniVersion::V1_0_0);
}

#[test]
fn plugin_is_asked_with_its_own_object_and_name_and_version_of_the_list() {
    let read = parse(&list(&json!([berth()]))).unwrap();
    let input = read.input(&read.plugins[0], CniVersion::V1_1_0);
    let mut wanted = berth();
    wanted["name"] = json!("bank");
    wanted["cniVersion"] = json!("1.1.0");
    assert_eq!(serde_json::from_slice::<Value>(&input).unwrap(), wanted);
}

#[test]
fn addresses_alone_may_come_from_us() {
    let macvlan = json!({"type": "macvlan", "ipam": {"type": "berth-ipam", "network": "external"}});
    let read = parse(&list(&json!([macvlan]))).unwrap();
    assert_eq!(read.ours, None);
    let broken = json!({"type": "macvlan", "ipam": {"type": "berth-ipam"}});
    assert!(refusal(&list(&json!([broken]))).contains("network"));
}

#[test]
fn every_refusal_says_where_and_what() {
    let wrong = |change: fn(&mut Value)| {
        let mut value = list(&json!([berth()]));
        change(&mut value);
        value
    };
    for (value, words) in [
        (json!([1]), vec!["not a JSON object"]),
        (wrong(|v| v["name"] = json!("")), vec!["\"name\""]),
        (
            wrong(|v| v["cniVersion"] = json!(1)),
            vec!["cniVersion", "text"],
        ),
        (
            wrong(|v| v["cniVersion"] = json!("2.0.0")),
            vec!["2.0.0", "1.1.0"],
        ),
        (
            wrong(|v| v["cniVersions"] = json!(["1.0.0", "9.0.0"])),
            vec!["cniVersions", "9.0.0"],
        ),
        (
            wrong(|v| v["cniVersions"] = json!("1.0.0")),
            vec!["cniVersions", "list"],
        ),
        (wrong(|v| v["plugins"] = json!([])), vec!["plugins"]),
        (wrong(|v| v["plugins"] = json!([3])), vec!["plugins[0]"]),
        (
            wrong(|v| v["plugins"] = json!([{"type": "../berth"}])),
            vec!["plugins[0].type"],
        ),
        (
            wrong(|v| v["plugins"] = json!([{"type": "flannel"}])),
            vec!["another plugin's"],
        ),
        (
            wrong(|v| v["plugins"] = json!([{"type": "tuning"}, berth()])),
            vec!["number 2", "first"],
        ),
        (
            wrong(|v| v["plugins"][0]["networks"][0]["uplnk"] = json!("e")),
            vec!["uplnk", "known keys"],
        ),
        (
            wrong(|v| v["plugins"][0]["networks"] = json!([])),
            vec!["networks"],
        ),
        (wrong(|v| v["name"] = json!("a b")), vec!["name"]),
    ] {
        let text = refusal(&value);
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
    let missing = json!({"name": "bank", "plugins": [berth()]});
    assert!(refusal(&missing).contains("cniVersion"));
}

#[test]
fn broken_json_is_refused_with_its_line() {
    let text = "{\n \"name\": \"bank\",\n \"plugins\": [,]\n}";
    let error = Conflist::parse(text.as_bytes()).unwrap_err();
    assert!(said(&error).contains("line 3"), "{}", said(&error));
}

#[test]
fn files_are_told_apart_by_what_is_in_them() {
    for (value, ours) in [
        (list(&json!([berth()])), true),
        (berth(), true),
        (json!({"plugins": [{"type": "berth"}]}), true),
        (
            json!({"plugins": [{"type": "bridge", "ipam": {"type": "berth-ipam"}}]}),
            true,
        ),
        (
            json!({"plugins": [{"type": "bridge", "ipam": {"type": "host-local"}}]}),
            false,
        ),
        (json!({"type": "multus"}), false),
        (json!({"plugins": "berth"}), false),
        (json!("berth"), false),
        (json!(null), false),
    ] {
        assert_eq!(is_ours(&value), ours, "{value}");
    }
}
