use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::names;
use crate::peer::{self, Peer};

fn schema() -> Value {
    let crd = serde_json::to_value(NodeHealth::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn group_and_version_are_those_of_the_names() {
    let crd = NodeHealth::crd();
    assert_eq!(crd.spec.group, names::GROUP);
    assert_eq!(crd.spec.versions[0].name, names::VERSION);
    let plural = crd.spec.names.plural;
    assert_eq!(
        crd.metadata.name,
        Some(format!("{plural}.{}", names::GROUP))
    );
}

#[test]
fn limits_are_those_of_the_schema() {
    let signal = schema()["properties"]["status"]["properties"]["signals"]["items"].clone();
    for text in ["message", "impact", "advice"] {
        assert_eq!(
            signal["properties"][text]["maxLength"], TEXT_LIMIT,
            "{text}"
        );
    }
    for value in ["value", "threshold"] {
        assert_eq!(
            signal["properties"][value]["maxLength"], VALUE_LIMIT,
            "{value}"
        );
    }
    assert_eq!(
        signal["properties"]["state"]["enum"],
        json!(["Healthy", "Unhealthy", "Unknown", "Absent"])
    );
    assert_eq!(
        signal["x-kubernetes-validations"].as_array().unwrap().len(),
        3
    );
}

#[test]
fn rules_of_every_level_are_in_the_schema() {
    let schema = schema();
    let rules = |part: &Value| part["x-kubernetes-validations"].as_array().map(Vec::len);
    assert_eq!(rules(&schema), Some(1));
    assert_eq!(
        rules(&schema["properties"]["spec"]["properties"]["nodeName"]),
        Some(1)
    );
    assert_eq!(rules(&schema["properties"]["status"]), Some(3));
    let lists = &schema["properties"]["status"]["properties"];
    assert_eq!(
        lists["signals"]["x-kubernetes-list-map-keys"],
        json!(["name"])
    );
    assert_eq!(
        lists["conditions"]["x-kubernetes-list-map-keys"],
        json!(["type"])
    );
}

#[test]
fn an_object_reads_back_as_it_was_written() {
    let time: Time = serde_json::from_value(json!("2025-11-21T10:00:00Z")).unwrap();
    let mut object = NodeHealth::new(
        "n1",
        NodeHealthSpec {
            node_name: "n1".into(),
            peers: Some(vec![peer("n2")]),
        },
    );
    object.status = Some(NodeHealthStatus {
        boot_id: "b".into(),
        agent_version: "0.1.0".into(),
        report_time: time.clone(),
        expiry_time: time.clone(),
        problems: 0,
        unknowns: 1,
        conditions: Vec::new(),
        signals: vec![Signal {
            name: "ipamd".into(),
            state: SignalState::Unknown,
            since: time,
            observed_time: None,
            area: Some(Area::Addresses),
            ttl_seconds: 60,
            value: String::new(),
            threshold: "serving".into(),
            decision: None,
            message: None,
            impact: None,
            advice: None,
        }],
        peers: Vec::new(),
        vote: None,
        processors_pressed: None,
    });
    let value = serde_json::to_value(&object).unwrap();
    assert!(value["status"]["signals"][0].get("decision").is_none());
    // An agent that does not look at peers says nothing of them, as one that does not know of them.
    assert!(value["status"].get("peers").is_none() && value["status"].get("vote").is_none());
    assert_eq!(serde_json::from_value::<NodeHealth>(value).unwrap(), object);
}

fn peer(node: &str) -> Peer {
    Peer {
        node: node.into(),
        rack: "a".into(),
        address: "10.20.1.2".into(),
    }
}

#[test]
fn limits_of_peers_are_those_of_the_schema() {
    let schema = schema();
    let (spec, status) = (
        &schema["properties"]["spec"]["properties"],
        &schema["properties"]["status"]["properties"],
    );
    for peers in [&spec["peers"], &status["peers"]] {
        assert_eq!(peers["maxItems"], peer::PEERS_LIMIT);
        assert_eq!(peers["x-kubernetes-list-map-keys"], json!(["node"]));
    }
    let sight = &status["peers"]["items"]["properties"];
    let rtt = &sight["rttMicroseconds"];
    assert_eq!(
        rtt["maximum"].as_f64(),
        Some(peer::RTT_LIMIT_MICROSECONDS.into())
    );
    let clock = &sight["clockAheadMilliseconds"];
    for (bound, limit) in [("maximum", 1), ("minimum", -1)] {
        let limit = limit * peer::CLOCK_LIMIT_MILLISECONDS;
        let bound = clock[bound].as_f64().map(|bound| bound.to_string());
        assert_eq!(bound, Some(limit.to_string()));
    }
    let message = &status["vote"]["properties"]["message"];
    assert_eq!(message["maxLength"], peer::MESSAGE_LIMIT);
}
