use cni_spec::{Asked, Document};
use serde_json::{Value, json};

use super::*;
use crate::add_plan::interfaces;

fn read(previous: &Value) -> Result<Wiring, Vec<String>> {
    let text = r#"{"networks":[{"name":"external","uplink":"eth0"}]}"#;
    let conf = NetConf::parse(&Document::decode(text.as_bytes()).unwrap()).unwrap();
    let planned = interfaces(&conf, &Asked::default(), &"eth0".parse().unwrap()).unwrap();
    wiring(
        &conf,
        &Attachment {
            cni_network: "bank".parse().unwrap(),
            sandbox: "c1".parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
        },
        "prod/db-0".parse().unwrap(),
        &planned,
        &[vec!["10.20.1.5".parse().unwrap()]],
        &CniResult::parse(previous).unwrap(),
    )
}

fn previous() -> Value {
    json!({
        "interfaces": [
            {"name": "bth0", "mac": "02:00:00:00:00:01"},
            {"name": "eth0", "mac": "b6:e7:0a:14:01:64", "sandbox": "/x"}],
        "ips": [{"interface": 1, "address": "10.20.1.100/24", "gateway": "10.20.1.1"}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.20.1.1"}]
    })
}

#[test]
fn what_the_result_lacks_is_named() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 4] = [
        ("does not list interface eth0", |v| {
            v["interfaces"] = json!([]);
        }),
        ("does not list interface eth0", |v| {
            v["interfaces"][1]["sandbox"] = json!("");
        }),
        ("no valid MAC for interface eth0", |v| {
            v["interfaces"][1]["mac"] = json!("x");
        }),
        ("no address for interface eth0", |v| v["ips"] = json!(null)),
    ];
    for (part, change) in changes {
        let mut previous = previous();
        change(&mut previous);
        let lacks = read(&previous).unwrap_err();
        assert!(lacks[0].contains(part), "{lacks:?}");
    }
}

#[test]
fn only_what_the_result_tells_is_compared() {
    let whole = read(&previous()).unwrap();
    assert!(whole.interfaces[0].default_route);
    // No route to the node in the result: the ADD made none.
    assert!(whole.interfaces[0].node_addresses.is_empty());

    let mut without = previous();
    without["routes"] = json!([{"dst": "192.168.0.0/16", "gw": "172.16.0.1"}]);
    let without = read(&without).unwrap();
    assert!(!without.interfaces[0].default_route);
    // A route by another next hop is another plugin's.
    assert!(without.interfaces[0].routes.is_empty());
}

#[test]
fn book_gets_macs_and_addresses() {
    let book = book(&read(&previous()).unwrap());
    assert_eq!(book.len(), 1);
    assert_eq!(book[0].mac, "b6:e7:0a:14:01:64");
    assert_eq!(book[0].addresses, ["10.20.1.100/24"]);
}
