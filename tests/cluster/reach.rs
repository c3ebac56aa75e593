//! Who reaches whom, and as whom: Pods of both racks, TORs and outside hosts see each other's own addresses, never a translated one.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde_json::json;
use tests::capture::Capture;
use tests_testbed::{Cluster, Host, Net};

use crate::{
    seen::{container, find, interfaces, pod, remove, wait_for},
    site::{exec, look, pod_spec, shared, stateful_set, wait_ready},
};

/// Where outside hosts listen.
const HOST_PORT: u16 = 7000;

/// Source and destination of what people talk: TCP and echo, each family. Neighbour discovery and the like are not talk.
fn talk(frame: &str) -> Option<(IpAddr, IpAddr)> {
    let byte = |at: usize| u8::from_str_radix(frame.get(2 * at..2 * at + 2)?, 16).ok();
    let bytes =
        |at: usize, count: usize| -> Option<Vec<u8>> { (at..at + count).map(byte).collect() };
    match (byte(12)?, byte(13)?) {
        // IPv4: protocol, source and destination are 9, 12 and 16 bytes behind Ethernet's 14. 1 is ICMP, 6 is TCP.
        (0x08, 0x00) if matches!(byte(23)?, 1 | 6) => {
            let ip = |at| {
                Some(IpAddr::V4(Ipv4Addr::from(
                    <[u8; 4]>::try_from(bytes(at, 4)?).ok()?,
                )))
            };
            Some((ip(26)?, ip(30)?))
        }
        // IPv6: next header, source and destination are 6, 8 and 24 bytes behind. 58 is ICMPv6, of which 128 and 129 are echo.
        (0x86, 0xdd) if byte(20)? == 6 || (byte(20)? == 58 && matches!(byte(54)?, 128 | 129)) => {
            let ip = |at| {
                Some(IpAddr::V6(Ipv6Addr::from(
                    <[u8; 16]>::try_from(bytes(at, 16)?).ok()?,
                )))
            };
            Some((ip(22)?, ip(38)?))
        }
        _ => None,
    }
}

/// Both families' addresses of an outside host.
fn addresses(host: &Host) -> Vec<IpAddr> {
    let seen = host
        .namespace()
        .run(&["ip", "-o", "addr", "show", "dev", "eth0"])
        .unwrap();
    crate::seen::parse(&seen)["eth0"].clone()
}

/// Echo and TCP from a Pod to an outside host and back.
fn converse(cluster: &Cluster, pod: &str, own: &IpAddr, host: &Host, theirs: &IpAddr) {
    let outside = host.namespace();
    let (own, theirs) = (own.to_string(), theirs.to_string());
    exec(cluster, pod, &["ping", "-c", "1", "-W", "2", &theirs]);
    let line = format!("nc -w 5 {theirs} {HOST_PORT} < /dev/null");
    assert_eq!(
        exec(cluster, pod, &["sh", "-c", &line]).trim(),
        "outside",
        "{pod} to {theirs}"
    );
    assert!(
        outside.ping_once(&own).unwrap(),
        "{theirs} to {pod} ({own})"
    );
    // The Pod's server answers one after the other.
    wait_for(&format!("{pod}'s answer to {theirs}"), || {
        let line = format!("busybox nc -w 5 {own} 8080 < /dev/null");
        let said = outside
            .script(&line)
            .map_err(|error| format!("{error:#}"))?;
        if said.trim() == "hello" {
            Ok(())
        } else {
            Err(format!("it said {said:?}"))
        }
    });
}

#[test]
fn pods_and_outside_hosts_see_each_others_own_addresses() {
    let cluster = shared();
    let pods = [("talks-n1", "n1"), ("talks-n2", "n2")];
    for (set, node) in pods {
        cluster
            .apply(&stateful_set(set, 1, node).to_string())
            .unwrap();
    }
    let names: Vec<String> = pods.iter().map(|(set, _)| format!("{set}-0")).collect();
    for name in &names {
        wait_ready(&cluster, name, "");
    }
    for (host, interface) in [("vm", "eth0"), ("exchange", "net1")] {
        let host = cluster.world().host(host);
        let theirs = addresses(host);
        let capture = Capture::start(host.namespace(), "eth0");
        let port = HOST_PORT.to_string();
        let answers = ["busybox", "nc", "-ll", "-p", &port, "-e", "echo", "outside"];
        let mut server = host.namespace().spawn("outside", &answers).unwrap();
        let mut expected = BTreeSet::new();
        for name in &names {
            for own in &interfaces(&cluster, name)[interface] {
                let same_family = theirs.iter().find(|it| it.is_ipv4() == own.is_ipv4());
                let theirs = same_family.unwrap();
                converse(&cluster, name, own, host, theirs);
                expected.extend([(*own, *theirs), (*theirs, *own)]);
            }
        }
        let frames = capture.frames();
        let seen: BTreeSet<_> = frames.iter().filter_map(|it| talk(it)).collect();
        assert_eq!(seen, expected, "on {}'s wire", host.namespace().name());
        server.kill().unwrap();
    }
}

#[test]
fn pod_is_on_its_racks_wire_with_its_own_mac_and_reaches_the_switch() {
    let cluster = shared();
    cluster
        .apply(&stateful_set("talks-n1", 1, "n1").to_string())
        .unwrap();
    let name = "talks-n1-0";
    wait_ready(&cluster, name, "");
    let pod = find(&cluster, name);
    let vm = cluster.world().host("vm").namespace();
    assert!(vm.ping_once(&pod.v4()).unwrap());
    let neighbour = vm.ip_json(&["neigh", "show", &pod.v4()]).unwrap();
    assert_eq!(neighbour[0]["lladdr"], look(&cluster, name).macs[0]);

    let rack = cluster.world().rack("a");
    let interfaces = interfaces(&cluster, name);
    for (net, interface) in [(Net::External, "eth0"), (Net::Internal, "net1")] {
        for gateway in rack.addresses().gateways(net) {
            exec(
                &cluster,
                name,
                &["ping", "-c", "1", "-W", "2", &gateway.to_string()],
            );
        }
        for own in &interfaces[interface] {
            assert!(rack.tor().ping_once(&own.to_string()).unwrap(), "{own}");
        }
    }
}

#[test]
fn pods_of_two_racks_reach_each_other_on_both_networks_and_families() {
    let cluster = shared();
    for (set, node) in [("talks-n1", "n1"), ("talks-n2", "n2")] {
        cluster
            .apply(&stateful_set(set, 1, node).to_string())
            .unwrap();
    }
    let pods = ["talks-n1-0", "talks-n2-0"];
    for name in pods {
        wait_ready(&cluster, name, "");
    }
    for [from, to] in [[0, 1], [1, 0]] {
        for address in interfaces(&cluster, pods[to]).values().flatten() {
            exec(
                &cluster,
                pods[from],
                &["ping", "-c", "1", "-W", "2", &address.to_string()],
            );
        }
    }
}

#[test]
fn pod_of_the_hosts_network_has_its_nodes_address_and_both_ways_to_other_pods() {
    let cluster = shared();
    for node in ["n1", "n2"] {
        let mut spec = pod_spec(node);
        spec["hostNetwork"] = json!(true);
        let line = "while :; do echo host | nc -l -p 9090; done";
        spec["containers"] = json!([container("app", line)]);
        spec["containers"][0]["readinessProbe"] =
            json!({"tcpSocket": {"port": 9090}, "periodSeconds": 1});
        cluster
            .apply(&pod(&format!("host-{node}"), &spec).to_string())
            .unwrap();
        cluster
            .apply(&stateful_set(&format!("talks-{node}"), 1, node).to_string())
            .unwrap();
    }
    for node in ["n1", "n2"] {
        let name = format!("host-{node}");
        wait_ready(&cluster, &name, "");
        wait_ready(&cluster, &format!("talks-{node}-0"), "");
        let (_, address) = cluster.place(node).unwrap();
        assert_eq!(find(&cluster, &name).v4(), address.to_string());
    }
    for from in ["n1", "n2"] {
        for to in ["n1", "n2"] {
            let underlay = find(&cluster, &format!("talks-{to}-0")).v4();
            exec(
                &cluster,
                &format!("host-{from}"),
                &["ping", "-c", "1", "-W", "2", &underlay],
            );
            let (_, node) = cluster.place(to).unwrap();
            let line = format!("nc -w 5 {node} 9090 < /dev/null");
            let asks = format!("talks-{from}-0");
            wait_for(&format!("host-{to}'s answer to {asks}"), || {
                let said = cluster.kubectl(&["exec", &asks, "--", "sh", "-c", &line]);
                let said = said.map_err(|error| format!("{error:#}"))?;
                if said.trim() == "host" {
                    Ok(())
                } else {
                    Err(format!("it said {said:?}"))
                }
            });
        }
    }
    remove(&cluster, &["pod/host-n1", "pod/host-n2"]);
}
