use std::time::Duration;

use super::*;
use crate::SpecCode;

fn parse(text: &str) -> Result<NetConf, ParseConfError> {
    NetConf::parse(&Document::decode(text.as_bytes()).unwrap())
}

/// The plugin's part of the example in the design, as a runtime sends it.
const DESIGN: &str = r#"{
    "cniVersion": "1.1.0", "name": "bank", "type": "berth",
    "capabilities": {"ips": true, "mac": true, "bandwidth": true},
    "ipamd": "/run/berth/ipamd.sock",
    "serviceCidrs": ["10.96.0.0/16"],
    "networks": [
      {"name": "external", "uplink": "eth0", "default": true},
      {"name": "internal", "uplink": "eth1", "vlan": 120, "routes": [{"dst": "10.0.0.0/8"}]}
    ],
    "runtimeConfig": {}, "somethingOfTheRuntime": [1, 2]
}"#;

#[test]
fn design_example_is_read() {
    let conf = parse(DESIGN).unwrap();
    assert_eq!(conf.daemon.allocate, Duration::from_secs(10));
    assert_eq!(conf.service_cidrs, ["10.96.0.0/16".parse().unwrap()]);
    let [external, internal] = conf.networks.as_slice() else {
        panic!("two networks");
    };
    assert!(external.default && !internal.default);
    assert_eq!(external.node_reach, NodeReach::Found);
    assert_eq!(internal.vlan, Some((120, VlanMode::SubInterface)));
    assert_eq!(
        internal.routes,
        [Route {
            dst: "10.0.0.0/8".parse().unwrap(),
            via: None,
            metric: None,
            mtu: None
        }]
    );
}

#[test]
fn every_key_of_a_network_is_read() {
    let conf = parse(
        r#"{"mode": "plain", "bandwidth": "chained", "networks": [
            {"name": "a", "uplink": "eth0", "bridge": "br-a", "mode": "take-over", "vlan": 7, "vlanMode": "filtering",
             "mtu": 9000, "hairpin": true, "isolated": true, "default": true,
             "routes": [{"dst": "10.1.2.3/8", "via": "10.0.0.9", "metric": 5, "mtu": 1400}],
             "nodeAddresses": ["10.0.0.4", "fd00::4"]},
            {"name": "b", "uplink": "eth1", "nodeReach": false}]}"#,
    )
    .unwrap();
    assert!(conf.bandwidth_is_chained);
    assert_eq!(
        conf.networks[0],
        Network {
            name: "a".parse().unwrap(),
            uplink: "eth0".parse().unwrap(),
            bridge: Some("br-a".parse().unwrap()),
            mode: Some(UplinkMode::TakeOver),
            vlan: Some((7, VlanMode::Filtering)),
            mtu: Some(9000),
            hairpin: true,
            isolated: true,
            default: true,
            routes: vec![Route {
                dst: "10.0.0.0/8".parse().unwrap(),
                via: Some("10.0.0.9".parse().unwrap()),
                metric: Some(5),
                mtu: Some(1400),
            }],
            node_reach: NodeReach::Named(vec![
                "10.0.0.4".parse().unwrap(),
                "fd00::4".parse().unwrap()
            ]),
        }
    );
    assert_eq!(conf.networks[1].mode, Some(UplinkMode::Plain));
    assert_eq!(conf.networks[1].node_reach, NodeReach::Off);
    assert!(conf.network(&"b".parse().unwrap()).is_some());
    assert!(conf.network(&"c".parse().unwrap()).is_none());
}

#[test]
fn slips_of_the_pen_are_refused_with_their_place() {
    let n = |rest: &str| format!(r#"{{"networks":[{{"name":"a","uplink":"eth0"{rest}}}]}}"#);
    let cases = [
        ("{}".to_owned(), 7, "networks: is missing or empty"),
        (r#"{"networks":[]}"#.to_owned(), 7, "missing or empty"),
        (r#"{"networks":"a"}"#.to_owned(), 7, "networks: is not a list"),
        (r#"{"networks":["a"]}"#.to_owned(), 7, "networks[0]: is not an object"),
        (r#"{"networks":[{"name":"a"}]}"#.to_owned(), 7, "networks[0].uplink: is missing"),
        (r#"{"networks":[{"uplink":"a"}]}"#.to_owned(), 7, "networks[0].name: is missing"),
        (n(r#","gateway":"10.0.0.1""#), 2, "unknown key \"gateway\" in networks[0]"),
        (n(r#","routes":[{"dst":"10.0.0.0/8","gw":"10.0.0.1"}]"#), 2, "\"gw\" in networks[0].routes[0]"),
        (n(r#","routes":[{"dst":"0.0.0.0/0"}]"#), 7, "networks[0].routes[0].dst: is a default route"),
        (n(r#","routes":[{"dst":"10.0.0.0/8","via":"fd00::1"}]"#), 7, "another family"),
        (n(r#","routes":[{"dst":"10.0.0.0"}]"#), 7, "networks[0].routes[0].dst"),
        (n(r#","vlan":0"#), 7, "between 1 and 4094"),
        (n(r#","vlan":4095"#), 7, "between 1 and 4094"),
        (n(r#","vlan":"120""#), 7, "networks[0].vlan"),
        (n(r#","vlanMode":"filtering""#), 7, "vlanMode: needs a vlan"),
        (n(r#","mode":"takeover""#), 7, "networks[0].mode"),
        (n(r#","mtu":10"#), 7, "between 68 and 65535"),
        (n(r#","uplink":"a/b""#), 7, "networks[0].uplink"),
        (n(r#","hairpin":"yes""#), 7, "networks[0].hairpin"),
        (n(r#","nodeReach":false,"nodeAddresses":["10.0.0.1"]"#), 7, "does nothing"),
        (n(r#","nodeAddresses":[]"#), 7, "nodeAddresses: is empty"),
        (n(r#","name":"Ä""#), 7, "networks[0].name"),
        (r#"{"mode":"x","networks":[{"name":"a","uplink":"b"}]}"#.to_owned(), 7, "mode"),
        (r#"{"serviceCidrs":["x"],"networks":[{"name":"a","uplink":"b"}]}"#.to_owned(), 7, "serviceCidrs"),
        (
            r#"{"serviceCidrs":["10.0.0.0/8"],"networks":[{"name":"a","uplink":"b","nodeReach":false}]}"#.to_owned(),
            7,
            "serviceCidrs: need a network with nodeReach",
        ),
        (r#"{"bandwidth":{},"networks":[{"name":"a","uplink":"b"}]}"#.to_owned(), 7, "bandwidth: is not"),
        (
            r#"{"networks":[{"name":"a","uplink":"b"},{"name":"a","uplink":"c"}]}"#.to_owned(),
            7,
            "networks[1].name: a is there twice",
        ),
        (
            r#"{"networks":[{"name":"a","uplink":"b","default":true},{"name":"c","uplink":"d","default":true}]}"#.to_owned(),
            7,
            "networks[1].default",
        ),
    ];
    for (text, code, part) in cases {
        let error = parse(&text).unwrap_err();
        assert_eq!(u32::from(error.code()), code, "{text}: {error}");
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}

#[test]
fn unknown_key_is_answered_with_the_known_ones() {
    let error = parse(r#"{"networks":[{"name":"a","uplink":"b","vlanid":7}]}"#).unwrap_err();
    assert_eq!(error.code(), SpecCode::UnsupportedField);
    assert!(error.advice().unwrap().contains("vlan, vlanMode"));
}
