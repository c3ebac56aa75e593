//! ADD: what a Pod has afterwards, and that it is all or nothing.

use proto_ids::{Attachment, PortAlias};
use serde_json::{Value, json};
use tests::plugin::Call;
use tests::site::{Ask, Pod, Setup, Site, assert_unchanged};

#[test]
fn pod_has_two_interfaces_one_default_route_and_static_routes() {
    let site = Site::serving("add-two");
    let pod = site.pod("p");
    let result = site.add(&Ask::new("web-0", &pod)).result();

    assert_eq!(pod.interfaces(), ["eth0", "lo", "net1"]);
    assert_eq!(pod.addresses("eth0"), ["10.20.1.100/24"]);
    assert_eq!(pod.addresses("net1"), ["10.30.1.100/24"]);
    let default = pod.ip(&["route", "show", "default"]);
    assert_eq!(default.as_array().map(Vec::len), Some(1), "{default}");
    assert_eq!(default[0]["dev"], "eth0");
    assert_eq!(default[0]["gateway"], "10.20.1.1");
    let internal = pod.ip(&["route", "show", "10.0.0.0/8"]);
    assert_eq!(internal[0]["dev"], "net1", "{internal}");
    assert_eq!(internal[0]["gateway"], "10.30.1.1");

    let inside: Vec<&Value> = result["interfaces"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|interface| interface["sandbox"] == json!(pod.path()))
        .map(|interface| &interface["name"])
        .collect();
    assert_eq!(inside, ["eth0", "net1"]);
    let addresses: Vec<&Value> = result["ips"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ip| &ip["address"])
        .collect();
    assert_eq!(addresses, ["10.20.1.100/24", "10.30.1.100/24"]);

    pod.pings("10.20.1.1");
    pod.pings("10.30.1.1");
    site.tor()
        .ping("10.20.1.100", tests::wait::PATIENCE)
        .unwrap();
}

#[test]
fn both_families_have_addresses_and_default_routes() {
    let site = Site::build("add-dual", Setup::dual_stack());
    let pod = site.pod("p");
    let result = site.add(&Ask::new("web-0", &pod)).result();
    assert_eq!(
        pod.addresses("eth0"),
        ["10.20.1.100/24", "fd00:20:1::100/64"]
    );
    assert_eq!(result["ips"].as_array().map(Vec::len), Some(4), "{result}");
    let default = pod.ip(&["-6", "route", "show", "default"]);
    assert_eq!(default.as_array().map(Vec::len), Some(1), "{default}");
    assert_eq!(default[0]["gateway"], "fd00:20:1::1");
    assert_eq!(default[0]["dev"], "eth0");
    pod.pings("10.20.1.1");
    pod.pings("fd00:20:1::1");
    pod.pings("fd00:30:1::1");
    // No address is waiting for duplicate address detection when ADD has answered.
    for address in pod.ip(&["-6", "addr", "show", "dev", "eth0"])[0]["addr_info"]
        .as_array()
        .unwrap()
    {
        assert_eq!(address.get("tentative"), None, "{address}");
    }
}

#[test]
fn pod_without_ipv6_pool_has_no_ipv6() {
    let site = Site::serving("add-v4only");
    let pod = site.pod("p");
    site.add(&Ask::new("web-0", &pod)).result();
    let addresses = pod.ip(&["-6", "addr", "show", "dev", "eth0"]);
    let has_any = addresses.as_array().is_some_and(|list| {
        list.iter()
            .any(|link| !link["addr_info"].as_array().is_none_or(Vec::is_empty))
    });
    assert!(!has_any, "{addresses}");
}

#[test]
fn mtu_is_the_networks_or_the_uplinks() {
    let site = Site::serving("add-mtu");
    site.does(&["link", "set", "eth1", "mtu", "1380"]);
    let mut networks = site.networks();
    networks[0]["mtu"] = json!(1400);
    let pod = site.pod("p");
    let result = site
        .add(&Ask::new("web-0", &pod).networks(networks))
        .result();
    assert_eq!(pod.link("eth0")["mtu"], 1400);
    assert_eq!(pod.link("net1")["mtu"], 1380);
    for interface in result["interfaces"].as_array().unwrap() {
        if interface["name"] == "eth0" {
            assert_eq!(interface["mtu"], 1400, "{result}");
        }
    }
}

#[test]
fn routes_of_the_pool_keep_metric_and_mtu() {
    let mut setup = Setup::default();
    setup.pools[0].extra =
        r#"routes = [{ dst = "192.0.2.0/24", via = "10.20.1.254", metric = 77, mtu = 1300 }]"#
            .into();
    let site = Site::build("add-routes", setup);
    let pod = site.pod("p");
    site.add(&Ask::new("web-0", &pod)).result();
    let route = pod.ip(&["route", "show", "192.0.2.0/24"]);
    assert_eq!(route[0]["gateway"], "10.20.1.254", "{route}");
    assert_eq!(route[0]["metric"], 77, "{route}");
    assert_eq!(route[0]["metrics"][0]["mtu"], 1300, "{route}");
}

#[test]
fn hairpin_and_isolation_are_set_where_asked_and_nowhere_else() {
    let site = Site::serving("add-flags");
    let mut networks = site.networks();
    networks[0]["hairpin"] = json!(true);
    networks[1]["isolated"] = json!(true);
    let pods = [site.pod("p0"), site.pod("p1")];
    for (number, pod) in pods.iter().enumerate() {
        let ask = Ask::new(&format!("web-{number}"), pod).networks(networks.clone());
        site.add(&ask).result();
    }
    for port in site.port_links() {
        let slave = &port["linkinfo"]["info_slave_data"];
        let external = port["master"] == site.bridge_of("eth0");
        assert_eq!(slave["hairpin"], json!(external), "{port}");
        assert_eq!(slave["isolated"], json!(!external), "{port}");
    }
    assert!(
        pods[0].ping_once("10.20.1.101"),
        "not isolated on the external network"
    );
    assert!(
        !pods[0].ping_once("10.30.1.101"),
        "isolated on the internal network"
    );
    pods[0].pings("10.30.1.1");
}

#[test]
fn host_side_port_carries_its_attachment_as_alias() {
    let site = Site::serving("add-alias");
    let pod = site.pod("p");
    let ask = Ask::new("web-0", &pod);
    site.add(&ask).result();
    for (ifname, network, address) in [
        ("eth0", "external", "10.20.1.100/24"),
        ("net1", "internal", "10.30.1.100/24"),
    ] {
        let name =
            Attachment::port_name(&ask.container().parse().unwrap(), &ifname.parse().unwrap());
        let port = site.link(name.as_str());
        let alias: PortAlias = port["ifalias"].as_str().unwrap().parse().unwrap();
        assert_eq!(alias.attachment.cni_network.as_str(), "bank");
        assert_eq!(alias.attachment.sandbox.as_str(), ask.container());
        assert_eq!(alias.attachment.ifname.as_str(), "eth0");
        assert_eq!(alias.ifname.as_str(), ifname);
        assert_eq!(alias.network.as_str(), network);
        assert_eq!(alias.addresses, [address.parse().unwrap()]);
        assert_eq!(alias.identity.unwrap().as_str(), "prod/web-0");
        assert_eq!(json!(alias.mac.to_string()), pod.link(ifname)["address"]);
    }
}

#[test]
fn two_interfaces_on_one_segment_do_not_answer_for_each_other() {
    let site = Site::build("add-segment", Setup::one_segment());
    let pod = site.pod("p");
    let networks = json!([
        {"name": "external", "uplink": "eth0", "default": true},
        {"name": "second", "uplink": "eth0"},
    ]);
    site.add(&Ask::new("web-0", &pod).networks(networks))
        .result();
    for (ifname, address) in [("eth0", "10.20.1.100"), ("net1", "10.20.1.200")] {
        let mac = pod.link(ifname)["address"].as_str().unwrap().to_uppercase();
        let output = site
            .tor()
            .run(&["arping", "-c", "3", "-w", "3", "-I", "external", address])
            .unwrap();
        let replies: Vec<&str> = output
            .lines()
            .filter(|line| line.contains("reply from"))
            .collect();
        assert!(!replies.is_empty(), "{output}");
        for reply in &replies {
            assert!(
                reply.to_uppercase().contains(&mac),
                "{ifname} {mac}: {output}"
            );
        }
        // Every request has exactly one answer, not one per interface.
        assert_eq!(replies.len(), 3, "{output}");
    }
}

#[test]
fn failure_on_the_second_interface_leaves_nothing_of_the_first() {
    let site = Site::serving("add-undo");
    let pod = site.pod("p");
    // The name of the second interface is taken already.
    pod.does(&[
        "link", "add", "net1", "type", "veth", "peer", "name", "other",
    ]);
    let before = (pod.snapshot(), site.ports());
    let ask = Ask::new("web-0", &pod);
    let fault = site.add(&ask).fault();
    assert!(fault.text().contains("net1"), "{fault:?}");
    assert_eq!((pod.snapshot(), site.ports()), before);
    site.assert_no_attachment();

    pod.does(&["link", "del", "net1"]);
    site.add(&ask).result();
    assert_eq!(pod.addresses("net1").len(), 1);
}

/// What a failure must leave as it was, without the bridges' timers, which run on.
fn node_and_pod(site: &Site, pod: &Pod<'_>) -> Value {
    let mut node = site.snapshot();
    for link in node["addresses"].as_array_mut().into_iter().flatten() {
        link.as_object_mut().unwrap().remove("linkinfo");
    }
    json!({"node": node, "pod": pod.snapshot()})
}

/// A site with an operator's bridge over `eth0` on which everything that outlives a Pod is there already.
fn site_with_an_operators_bridge(test: &str) -> Site {
    let site = Site::build(test, Setup::dual_stack());
    site.add_management_nic();
    let bridge = "link add ops0 address 02:00:00:00:0b:0b type bridge stp_state 0 forward_delay 0";
    site.does(&bridge.split(' ').collect::<Vec<_>>());
    site.does(&["link", "set", "ops0", "up"]);
    site.does(&["link", "set", "eth0", "master", "ops0"]);
    let pod = site.pod("first");
    let ask = Ask::new("first-x", &pod);
    site.add(&ask).result();
    site.del(&ask).silence();
    site
}

#[test]
fn bridge_that_does_not_forward_in_time_undoes_both_interfaces_and_says_why() {
    let site = site_with_an_operators_bridge("add-stp");
    let tree = "link set ops0 type bridge stp_state 1 forward_delay 1500";
    site.does(&tree.split(' ').collect::<Vec<_>>());
    let pod = site.pod("p");
    let before = node_and_pod(&site, &pod);
    let ask = Ask::new("web-x", &pod);
    let fault = site.add(&ask).fault();
    assert_eq!(fault.code, 109, "{fault:?}");
    assert!(fault.text().contains("spanning tree"), "{fault:?}");
    assert_unchanged(&node_and_pod(&site, &pod), &before);
    assert_eq!(site.ports(), Vec::<String>::new());
    site.assert_no_attachment();

    site.does(&["link", "set", "ops0", "type", "bridge", "stp_state", "0"]);
    site.does(&[
        "link",
        "set",
        "ops0",
        "type",
        "bridge",
        "forward_delay",
        "0",
    ]);
    site.add(&ask).result();
    pod.pings("10.20.1.1");
}

#[test]
fn node_address_that_the_node_lacks_undoes_addresses_and_routes_that_were_made() {
    let site = site_with_an_operators_bridge("add-late");
    let pod = site.pod("p");
    // As in a namespace that no runtime has prepared.
    pod.does(&["link", "set", "lo", "down"]);
    let before = node_and_pod(&site, &pod);
    let mut networks = site.networks();
    // One of the last steps, after the first interface's routes on both sides.
    networks[1]["nodeAddresses"] = json!(["203.0.113.9"]);
    let ask = Ask::new("web-x", &pod);
    let fault = site.add(&ask.clone().networks(networks)).fault();
    assert_eq!(fault.code, 109, "{fault:?}");
    assert!(fault.text().contains("203.0.113.9"), "{fault:?}");
    assert_unchanged(&node_and_pod(&site, &pod), &before);
    assert_eq!(site.ports(), Vec::<String>::new());
    site.assert_no_attachment();
    site.add(&ask).result();
}

#[test]
fn network_without_pool_refuses_the_whole_pod() {
    let site = Site::serving("add-nopool");
    let pod = site.pod("p");
    let mut networks = site.networks();
    networks[1]["name"] = json!("storage");
    let fault = site
        .add(&Ask::new("web-0", &pod).networks(networks))
        .fault();
    assert!(fault.code >= 100, "{fault:?}");
    assert!(fault.text().contains("storage"), "{fault:?}");
    assert_eq!(pod.interfaces(), ["lo"]);
    assert_eq!(site.ports(), Vec::<String>::new());
    site.assert_no_attachment();
}

#[test]
fn the_nodes_own_namespace_is_refused_before_anything_is_touched() {
    let site = Site::serving("add-own");
    let before = site.snapshot();
    for path in ["/proc/1/ns/net", "/proc/self/ns/net"] {
        let fault = site.add_at("cid-own", std::path::Path::new(path)).fault();
        assert!(fault.text().contains("namespace"), "{fault:?}");
    }
    assert_unchanged(&site.snapshot(), &before);
    assert_eq!(site.list(), []);
}

#[test]
fn requested_address_and_mac_are_given() {
    let site = Site::serving("add-ask");
    let pod = site.pod("p");
    let ask = Ask::new("web-0", &pod).runtime(json!({
        "ips": ["10.20.1.123", "10.30.1.145"], "mac": "02:00:5e:00:53:01",
    }));
    site.add(&ask).result();
    assert_eq!(pod.addresses("eth0"), ["10.20.1.123/24"]);
    assert_eq!(pod.addresses("net1"), ["10.30.1.145/24"]);
    assert_eq!(pod.link("eth0")["address"], "02:00:5e:00:53:01");
}

#[test]
fn runtime_config_is_over_args_and_args_over_cni_args() {
    let site = Site::serving("add-over");
    let cases = [
        (
            json!({"ips": ["10.20.1.131"]}),
            json!({"cni": {"ips": ["10.20.1.132"]}}),
            "10.20.1.131/24",
        ),
        (
            json!({}),
            json!({"cni": {"ips": ["10.20.1.132"]}}),
            "10.20.1.132/24",
        ),
        (json!({}), json!({}), "10.20.1.133/24"),
    ];
    for (number, (runtime, args, expected)) in cases.into_iter().enumerate() {
        let pod = site.pod(&format!("p{number}"));
        let ask = Ask::new(&format!("web-{number}"), &pod)
            .networks(json!([site.networks()[0].clone()]))
            .runtime(runtime)
            .key("args", args)
            .cni_args("IP=10.20.1.133");
        site.add(&ask).result();
        assert_eq!(pod.addresses("eth0"), [expected]);
    }
}

#[test]
fn annotation_chooses_networks_and_their_order() {
    let site = Site::serving("add-annot");
    let pod = site.pod("p0");
    let annotated = |networks: &str| json!({"io.kubernetes.cri.pod-annotations": {"berth.dev/networks": networks}});
    site.add(&Ask::new("web-0", &pod).runtime(annotated("internal")))
        .result();
    assert_eq!(pod.interfaces(), ["eth0", "lo"]);
    assert_eq!(pod.addresses("eth0"), ["10.30.1.100/24"]);

    let pod = site.pod("p1");
    site.add(&Ask::new("web-1", &pod).runtime(annotated("internal,external")))
        .result();
    assert_eq!(pod.addresses("eth0"), ["10.30.1.101/24"]);
    assert_eq!(pod.addresses("net1"), ["10.20.1.100/24"]);
    assert_eq!(pod.ip(&["route", "show", "default"])[0]["dev"], "net1");

    let pod = site.pod("p2");
    let fault = site
        .add(&Ask::new("web-2", &pod).runtime(annotated("storage")))
        .fault();
    assert!(fault.text().contains("storage"), "{fault:?}");
}

#[test]
fn unknown_key_of_a_network_is_refused_by_name() {
    let site = Site::serving("add-key");
    let pod = site.pod("p");
    let mut networks = site.networks();
    networks[1]["hairpn"] = json!(true);
    let fault = site
        .add(&Ask::new("web-0", &pod).networks(networks))
        .fault();
    assert_eq!(fault.code, 2, "{fault:?}");
    assert!(fault.text().contains("hairpn"), "{fault:?}");
    assert_eq!(pod.interfaces(), ["lo"]);
}

#[test]
fn bandwidth_is_refused_unless_a_chained_plugin_limits_it() {
    let site = Site::serving("add-rate");
    let pod = site.pod("p");
    let rates = json!({"bandwidth": {"ingressRate": 1_000_000, "ingressBurst": 1_000_000}});
    let ask = Ask::new("web-0", &pod).runtime(rates);
    let fault = site.add(&ask.clone()).fault();
    assert_eq!(fault.code, 2, "{fault:?}");
    assert!(fault.text().contains("bandwidth"), "{fault:?}");
    site.add(&ask.key("bandwidth", json!("chained"))).result();
}

#[test]
fn service_cidrs_are_routed_to_the_node() {
    let site = Site::serving("add-service");
    site.add_management_nic();
    let mut networks = site.networks();
    networks[0]["nodeAddresses"] = json!(["172.31.7.1"]);
    networks[1]["nodeReach"] = json!(false);
    let pod = site.pod("p");
    let ask = Ask::new("web-0", &pod)
        .networks(networks)
        .key("serviceCidrs", json!(["10.96.0.0/16"]));
    site.add(&ask).result();
    let route = pod.ip(&["route", "show", "10.96.0.0/16"]);
    assert_eq!(route[0]["gateway"], "172.31.7.1", "{route}");
    assert_eq!(route[0]["dev"], "eth0", "{route}");
    assert_eq!(
        pod.ip(&["route", "get", "10.96.0.1"])[0]["gateway"],
        "172.31.7.1"
    );
}

#[test]
fn oversized_configuration_is_refused_not_read_to_the_end() {
    let site = Site::serving("add-big");
    let pod = site.pod("p");
    let mut config = site.config("1.1.0", &site.networks());
    config["padding"] = Value::String("x".repeat(32 << 20));
    let call = Ask::new("web-0", &pod).call("ADD").config(&config);
    let fault = site.run("berth", &call).fault();
    assert!(matches!(fault.code, 5..=7), "{fault:?}");
    assert_eq!(pod.interfaces(), ["lo"]);
}

#[test]
fn every_named_address_of_the_node_is_reached() {
    let site = Site::serving("add-nodeaddr");
    site.add_management_nic();
    site.does(&["addr", "add", "172.31.9.1/24", "dev", "mgmt0"]);
    let mut networks = site.networks();
    networks[0]["nodeAddresses"] = json!(["172.31.7.1", "172.31.9.1"]);
    networks[1]["nodeReach"] = json!(false);
    let pod = site.pod("p");
    let ask = Ask::new("web-0", &pod).networks(networks);
    site.add(&ask).result();
    site.node()
        .set_uplink(tests_testbed::Net::External, false)
        .unwrap();
    for address in ["172.31.7.1", "172.31.9.1"] {
        let route = pod.ip(&["route", "get", address]);
        assert_eq!(route[0]["dev"], "eth0", "{route}");
        pod.pings(address);
        let ping = [
            "ping",
            "-n",
            "-c",
            "1",
            "-W",
            "1",
            "-I",
            address,
            "10.20.1.100",
        ];
        site.node().run(&ping).unwrap();
    }
    site.check(&ask).silence();
}

#[test]
fn the_plugins_own_namespace_is_wired_where_a_test_asks_for_it() {
    let site = Site::serving("add-override");
    let before = site.links().len();
    let networks = json!([{"name": "external", "uplink": "eth0", "nodeReach": false}]);
    let config = site.config("1.1.0", &networks);
    let call = |verb| {
        let netns = std::path::Path::new("/proc/self/ns/net");
        let call = Call::new(verb, "cid-override", netns, "pod0").config(&config);
        let mut command = site.command(std::path::Path::new("berth"));
        command.env("CNI_NETNS_OVERRIDE", "1");
        call.run(command)
    };
    call("ADD").result();
    let inside = site.ip(&["addr", "show", "dev", "pod0"]);
    assert_eq!(
        inside[0]["addr_info"][0]["local"], "10.20.1.100",
        "{inside}"
    );
    call("DEL").silence();
    // The bridge stays.
    assert_eq!(site.links().len(), before + 1);
    site.assert_no_attachment();
}
