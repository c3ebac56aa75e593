//! The world itself is right: what the tests of the product lean on.

use std::{path::Path, time::Duration};

use tests_testbed::{CniCall, Net, NodeSpec, Pending, World, wait_until};

const PING: Duration = Duration::from_secs(5);

#[test]
fn addressed_nodes_of_two_racks_reach_each_other_by_the_router() {
    let world = World::builder("testbed_two_racks")
        .node_with(NodeSpec::new("n1", "a").with_address(Net::External))
        .node_with(NodeSpec::new("n2", "b").with_address(Net::External))
        .host("vm", "a", Net::External)
        .build()
        .unwrap();
    let (n1, n2) = (world.node("n1"), world.node("n2"));
    for target in [
        n2.address4(Net::External).to_string(),
        n2.address6(Net::External).to_string(),
    ] {
        n1.ping(&target, PING).unwrap();
    }
    n1.ping(&world.host("vm").address4().to_string(), PING)
        .unwrap();
    world
        .rack("b")
        .tor()
        .ping(&world.host("vm").address4().to_string(), PING)
        .unwrap();

    world.rack("b").set_router_link(false).unwrap();
    assert!(
        !n1.ping_once(&n2.address4(Net::External).to_string())
            .unwrap()
    );
    world.rack("b").set_router_link(true).unwrap();
    n1.ping(&n2.address4(Net::External).to_string(), PING)
        .unwrap();
    n1.ping(&n2.address6(Net::External).to_string(), PING)
        .unwrap();
}

#[test]
fn silent_gateway_is_not_found_while_ports_still_forward() {
    let world = World::builder("testbed_silence")
        .racks(1)
        .node_with(NodeSpec::new("n1", "a").with_address(Net::External))
        .host("vm", "a", Net::External)
        .build()
        .unwrap();
    let (node, rack) = (world.node("n1"), world.rack("a"));
    let gateways = rack
        .addresses()
        .gateways(Net::External)
        .map(|gateway| gateway.to_string());
    rack.silence(Net::External).unwrap();
    assert!(!node.ping_once(&gateways[0]).unwrap());
    node.ping(&world.host("vm").address4().to_string(), PING)
        .unwrap();
    rack.restore_voice(Net::External).unwrap();
    for gateway in &gateways {
        node.ping(gateway, PING).unwrap();
    }
}

#[test]
fn cut_uplink_loses_its_carrier_and_gets_it_back() {
    let world = World::builder("testbed_cut")
        .racks(1)
        .node("n1", "a")
        .build()
        .unwrap();
    let node = world.node("n1");
    let carrier = || {
        node.run(&["cat", "/sys/class/net/eth1/carrier"])
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(carrier(), "1");
    node.set_uplink(Net::Internal, false).unwrap();
    assert_eq!(carrier(), "0");
    node.flap_uplink(Net::Internal, 3).unwrap();
    assert_eq!(carrier(), "1");
}

#[test]
fn foreign_claim_reaches_the_nodes_of_its_network() {
    let world = World::builder("testbed_claim")
        .racks(1)
        .node_with(NodeSpec::new("n1", "a").with_address(Net::External))
        .host("vm", "a", Net::External)
        .build()
        .unwrap();
    let (node, vm) = (world.node("n1"), world.host("vm"));
    let victim = world.rack("a").addresses().v4(Net::External, 100);
    vm.take_address(victim).unwrap();
    node.ping(&victim.to_string(), PING).unwrap();
    let neighbours = node
        .ip_json(&["neigh", "show", &victim.to_string()])
        .unwrap();
    assert_eq!(neighbours[0]["lladdr"], vm.mac());
    vm.drop_address(victim).unwrap();
    // It may claim without owning.
    node.run(&[
        "ip",
        "neigh",
        "replace",
        &victim.to_string(),
        "lladdr",
        "02:00:00:00:00:01",
        "dev",
        "eth0",
        "nud",
        "stale",
    ])
    .unwrap();
    vm.announce(victim).unwrap();
    wait_until("the claim in the node's table", PING, || {
        let now = node
            .ip_json(&["neigh", "show", &victim.to_string()])
            .unwrap();
        if now[0]["lladdr"] == vm.mac() {
            Ok(())
        } else {
            Err(Pending::because(now))
        }
    })
    .unwrap();
}

#[test]
fn reboot_ends_everything_but_the_disk() {
    let mut world = World::builder("testbed_reboot")
        .racks(1)
        .node_with(NodeSpec::new("n1", "a").with_address(Net::External))
        .build()
        .unwrap();
    let gateway = world
        .rack("a")
        .addresses()
        .gateway4(Net::External)
        .to_string();
    let node = world.node_mut("n1");
    node.run(&[
        "sh",
        "-c",
        "echo kept > /var/lib/berth/kept; echo lost > /run/berth/lost",
    ])
    .unwrap();
    node.make_pod_netns("p1").unwrap();
    let mut daemon = node.spawn("sleeper", &["sleep", "1000"]).unwrap();
    let pid = daemon.pid().unwrap();
    let (boot, mac) = (node.boot_id().unwrap(), node.uplink_mac(Net::External));
    assert_eq!(
        node.run(&["cat", "/proc/sys/kernel/random/boot_id"])
            .unwrap()
            .trim(),
        boot
    );

    node.reboot().unwrap();

    daemon.wait(PING).unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_ne!(node.boot_id().unwrap(), boot);
    assert_eq!(
        node.run(&["cat", "/proc/sys/kernel/random/boot_id"])
            .unwrap()
            .trim(),
        node.boot_id().unwrap()
    );
    assert_eq!(node.run(&["cat", "/var/lib/berth/kept"]).unwrap(), "kept\n");
    assert!(
        !node
            .exec(&["test", "-e", "/run/berth/lost"])
            .unwrap()
            .success()
    );
    assert_eq!(node.run(&["ip", "netns"]).unwrap(), "");
    let links = node.ip_json(&["link", "show", "eth0"]).unwrap();
    assert_eq!(links[0]["address"], mac);
    node.ping(&gateway, PING).unwrap();
}

#[test]
fn orphans_of_a_machine_leave_no_zombies() {
    let world = World::builder("testbed_orphans")
        .racks(1)
        .node("n1", "a")
        .build()
        .unwrap();
    let node = world.node("n1");
    node.script("sleep 0.01 &").unwrap();
    wait_until("the orphan being gone", PING, || {
        let all = node.run(&["ps", "-e", "-o", "stat=,args="]).unwrap();
        if all
            .lines()
            .any(|line| line.starts_with('Z') || line.contains("sleep"))
        {
            return Err(Pending::because(all));
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn dead_worlds_leftovers_go_and_living_worlds_are_left_alone() {
    let kept = World::builder("testbed_leftover")
        .racks(1)
        .node("n1", "a")
        .keep(true)
        .build()
        .unwrap();
    let (pid, dir) = (kept.node("n1").pid(), kept.dir().to_owned());
    World::builder("testbed_leftover")
        .build()
        .expect_err("its maker lives");
    drop(kept);
    assert!(Path::new(&format!("/proc/{pid}")).exists());

    let next = World::builder("testbed_leftover")
        .racks(1)
        .keep(false)
        .build()
        .unwrap();
    assert!(!Path::new(&format!("/proc/{pid}/cwd")).exists());
    assert!(!dir.join("n1").exists());
    drop(next);
    assert!(!dir.exists());
}

#[test]
fn nothing_is_left_in_the_callers_namespace() {
    let links = || {
        std::fs::read_dir("/sys/class/net")
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect::<Vec<_>>()
    };
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap();
    let before = (links(), mounts());
    let world = World::builder("testbed_residue")
        .node("n1", "a")
        .build()
        .unwrap();
    world.node("n1").make_pod_netns("p1").unwrap();
    assert_eq!((links(), mounts()), before);
    drop(world);
    assert_eq!((links(), mounts()), before);
}

#[test]
fn plugin_is_called_with_exactly_the_calls_environment_and_input() {
    let world = World::builder("testbed_cni")
        .racks(1)
        .node("n1", "a")
        .build()
        .unwrap();
    let node = world.node("n1");
    let netns = node.make_pod_netns("p1").unwrap();
    // Debian's reference plugins stand in: the world must work without the product.
    let conf = serde_json::json!({
        "cniVersion": "1.0.0", "name": "ref", "type": "bridge", "bridge": "br0",
        "ipam": {"type": "host-local", "subnet": "10.20.1.0/24"},
    });
    let add = CniCall::new("ADD", &conf)
        .attachment("c1", "eth0", &netns)
        .pod("ns", "web-0", "u1");
    let result = node.cni(&add).unwrap().ok().unwrap();
    let address = result["ips"][0]["address"].as_str().unwrap();
    let seen = node
        .pod_ip_json("p1", &["address", "show", "eth0"])
        .unwrap();
    let local = seen[0]["addr_info"][0]["local"].as_str().unwrap();
    assert!(address.starts_with(local), "{address} is not {local}");

    let reply = node.cni(&add.clone().without("CNI_IFNAME")).unwrap();
    assert_eq!((reply.code, reply.error_code()), (Some(1), Some(4)));
    let mut killed = node
        .start_cni(
            &CniCall {
                stdin: Vec::new(),
                ..add
            }
            .plugin("/usr/bin/yes"),
        )
        .unwrap();
    killed.kill();
    assert_eq!(killed.finish().unwrap().code, None);
}
