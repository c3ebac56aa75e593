use super::*;

fn result() -> CniResult {
    CniResult {
        interfaces: vec![
            ResultInterface {
                name: "bth0123".to_owned(),
                mac: "02:00:00:00:00:01".to_owned(),
                mtu: Some(1500),
                sandbox: None,
            },
            ResultInterface {
                name: "eth0".to_owned(),
                mac: "b6:e7:0a:14:01:64".to_owned(),
                mtu: Some(1500),
                sandbox: Some("/run/netns/x".to_owned()),
            },
        ],
        ips: vec![
            ResultIp {
                interface: Some(1),
                address: "10.20.1.100/24".parse().unwrap(),
                gateway: Some("10.20.1.1".parse().unwrap()),
            },
            ResultIp {
                interface: Some(1),
                address: "fd00::64/64".parse().unwrap(),
                gateway: None,
            },
        ],
        routes: vec![ResultRoute {
            dst: "0.0.0.0/0".parse().unwrap(),
            gw: Some("10.20.1.1".parse().unwrap()),
            mtu: Some(1400),
            priority: Some(5),
            scope: None,
        }],
    }
}

#[test]
fn each_version_has_its_own_form() {
    let old = |version: &str| {
        format!(
            concat!(
                r#"{{"cniVersion":"{}","interfaces":[{{"name":"bth0123","mac":"02:00:00:00:00:01"}},"#,
                r#"{{"name":"eth0","mac":"b6:e7:0a:14:01:64","sandbox":"/run/netns/x"}}],"#,
                r#""ips":[{{"version":"4","interface":1,"address":"10.20.1.100/24","gateway":"10.20.1.1"}},"#,
                r#"{{"version":"6","interface":1,"address":"fd00::64/64"}}],"#,
                r#""routes":[{{"dst":"0.0.0.0/0","gw":"10.20.1.1"}}],"dns":{{}}}}"#
            ),
            version
        )
    };
    for version in [CniVersion::V0_3_0, CniVersion::V0_3_1, CniVersion::V0_4_0] {
        assert_eq!(result().to_json(version), old(version.as_str()));
    }
    assert_eq!(
        result().to_json(CniVersion::V1_0_0),
        concat!(
            r#"{"cniVersion":"1.0.0","interfaces":[{"name":"bth0123","mac":"02:00:00:00:00:01"},"#,
            r#"{"name":"eth0","mac":"b6:e7:0a:14:01:64","sandbox":"/run/netns/x"}],"#,
            r#""ips":[{"interface":1,"address":"10.20.1.100/24","gateway":"10.20.1.1"},"#,
            r#"{"interface":1,"address":"fd00::64/64"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.20.1.1"}]}"#
        )
    );
    assert_eq!(
        result().to_json(CniVersion::V1_1_0),
        concat!(
            r#"{"cniVersion":"1.1.0","interfaces":[{"name":"bth0123","mac":"02:00:00:00:00:01","mtu":1500},"#,
            r#"{"name":"eth0","mac":"b6:e7:0a:14:01:64","mtu":1500,"sandbox":"/run/netns/x"}],"#,
            r#""ips":[{"interface":1,"address":"10.20.1.100/24","gateway":"10.20.1.1"},"#,
            r#"{"interface":1,"address":"fd00::64/64"}],"#,
            r#""routes":[{"dst":"0.0.0.0/0","gw":"10.20.1.1","mtu":1400,"priority":5}]}"#
        )
    );
}

#[test]
fn ipam_result_has_no_interfaces() {
    let ipam = CniResult {
        interfaces: Vec::new(),
        ips: vec![ResultIp {
            interface: None,
            ..result().ips[0].clone()
        }],
        routes: Vec::new(),
    };
    assert_eq!(
        ipam.to_json(CniVersion::V1_0_0),
        r#"{"cniVersion":"1.0.0","ips":[{"address":"10.20.1.100/24","gateway":"10.20.1.1"}]}"#
    );
}

#[test]
fn result_is_read_back_in_every_version() {
    for version in CniVersion::ALL {
        let value = serde_json::from_str(&result().to_json(version)).unwrap();
        let read = CniResult::parse(&value).unwrap();
        assert_eq!(read.ips, result().ips, "{version}");
        assert_eq!(read.interfaces[1].mac, result().interfaces[1].mac);
        assert_eq!(read.routes[0].gw, result().routes[0].gw);
        if version == CniVersion::LATEST {
            assert_eq!(read, result());
        }
    }
}

#[test]
fn what_others_write_is_read() {
    let stray = json!({
        "CNIVersion": "1.0.0", "cniVersion": "1.0.0", "dns": {}, "interfaces": null, "routes": null,
        "ips": [{"version": "4", "address": "10.0.0.2/24", "gateway": "", "interface": -1, "more": 1}]
    });
    let read = CniResult::parse(&stray).unwrap();
    assert_eq!(read.ips.len(), 1);
    assert_eq!((read.ips[0].interface, read.ips[0].gateway), (None, None));

    let old = json!({
        "cniVersion": "0.2.0",
        "ip4": {"ip": "10.0.0.2/24", "gateway": "10.0.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
        "ip6": {"ip": "fd00::2/64"}
    });
    let read = CniResult::parse(&old).unwrap();
    assert_eq!((read.ips.len(), read.routes.len()), (2, 1));
}

#[test]
fn what_is_no_result_is_refused() {
    for value in [
        json!([]),
        json!("x"),
        json!({"ips": 7}),
        json!({"ips": [{"address": "10.0.0.1"}]}),
        json!({"ips": [{}]}),
        json!({"routes": [{"dst": "x"}]}),
        json!({"interfaces": ["eth0"]}),
    ] {
        assert!(CniResult::parse(&value).is_err(), "{value}");
    }
}
