//! What Pods have that containerd runs, and that they have it again whatever happens.

use tests_cri::Container;
use tests_testbed::{APP_IMAGES, World};

use crate::machine::{self, Nic};

fn bare(nic: &Nic, family: char) -> String {
    let wanted = |address: &&String| address.contains(':') == (family == '6');
    let address = nic.addresses.iter().find(wanted).unwrap();
    address.split('/').next().unwrap().to_owned()
}

#[test]
fn pods_of_two_racks_have_two_nics_and_reach_gateways_and_each_other() {
    let world = World::builder("ctrd_two_racks")
        .node("n1", "a")
        .node("n2", "b")
        .build()
        .unwrap();
    let machines = ["n1", "n2"].map(|name| machine::start(world.node(name)));
    let pods = [machines[0].run("web-0"), machines[1].run("web-1")];
    let nics = [0, 1].map(|number| machines[number].nics(&pods[number]));
    for (number, [external, internal]) in nics.iter().enumerate() {
        let rack = number + 1;
        assert!(
            external.addresses[0].starts_with(&format!("10.20.{rack}.")),
            "{external:?}"
        );
        assert!(
            internal.addresses[0].starts_with(&format!("10.30.{rack}.")),
            "{internal:?}"
        );
        assert_eq!(external.addresses.len(), 2, "both families: {external:?}");
        let reported = machines[number]
            .cri
            .pod_addresses(&pods[number].sandbox)
            .unwrap();
        assert!(reported.contains(&bare(external, '4')), "{reported:?}");
        for gateway in [
            format!("10.20.{rack}.1"),
            format!("10.30.{rack}.1"),
            format!("fd00:20:{rack}::1"),
        ] {
            machines[number].pings(&pods[number], &gateway);
        }
    }
    for family in ['4', '6'] {
        for nic in [0, 1] {
            machines[0].pings(&pods[0], &bare(&nics[1][nic], family));
            machines[1].pings(&pods[1], &bare(&nics[0][nic], family));
        }
    }
    // Their own addresses all the way: the other Pod's neighbour is its TOR, and what it hears is this Pod's address.
    let routes = machines[0].exec(&pods[0], &["ip", "route", "show", "default"]);
    assert!(routes.contains("via 10.20.1.1 dev eth0"), "{routes}");
    for (machine, pod) in machines.iter().zip(&pods) {
        machine.cri.remove_pod(&pod.sandbox).unwrap();
        assert_eq!(machine.cri.sandboxes().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn pod_keeps_addresses_and_macs_over_restart_and_recreation() {
    let world = one_node("ctrd_recreated");
    let machine = machine::start(world.node("n1"));
    // Another Pod first, so that the same address is no accident of an empty pool.
    let other = machine.run("other-0");
    let mut web = machine.run("web-0");
    let nics = machine.nics(&web);
    assert_ne!(nics, machine.nics(&other));

    machine.cri.remove_container(&web.container).unwrap();
    let mut container = Container::new("app", APP_IMAGES[1]);
    container.attempt = 1;
    web.container = machine
        .cri
        .run_container(&web.sandbox, &web.pod, &container)
        .unwrap();
    assert_eq!(
        machine.nics(&web),
        nics,
        "container restarted with another image"
    );
    machine.pings(&web, "10.20.1.1");

    machine.cri.remove_pod(&web.sandbox).unwrap();
    machine.cri.remove_pod(&other.sandbox).unwrap();
    let web = machine.run_again(web.pod.next_attempt());
    assert_eq!(machine.nics(&web), nics, "sandbox re-created");
    machine.pings(&web, "10.20.1.1");
}

#[test]
fn pod_keeps_addresses_and_macs_over_a_restart_of_containerd() {
    let world = one_node("ctrd_restarted");
    let mut machine = machine::start(world.node("n1"));
    machine.run("other-0");
    let web = machine.run("web-0");
    let nics = machine.nics(&web);

    machine.containerd.kill().unwrap();
    let (containerd, cri) = machine::start_runtime(world.node("n1"));
    machine.containerd = containerd;
    machine.cri = cri;
    assert!(
        machine
            .cri
            .running_containers()
            .unwrap()
            .contains(&web.container)
    );
    assert_eq!(machine.nics(&web), nics, "the Pod ran on");
    machine.pings(&web, "10.20.1.1");

    // The new runtime knows the old one's attachments by its cached results.
    machine.cri.remove_pod(&web.sandbox).unwrap();
    let web = machine.run_again(web.pod.next_attempt());
    assert_eq!(machine.nics(&web), nics, "re-created by the new runtime");
}

#[test]
fn pod_keeps_addresses_and_macs_over_a_reboot() {
    let mut world = one_node("ctrd_rebooted");
    let machine = machine::start(world.node("n1"));
    machine.run("other-0");
    let web = machine.run("web-0");
    let nics = machine.nics(&web);
    let first_boot = machine.containerd.cgroup_parent().to_owned();
    drop(machine);

    world.node_mut("n1").reboot().unwrap();
    let machine = machine::start(world.node("n1"));
    // The runtime comes back with dead sandboxes, as kubelet would find them; kubelet makes new ones.
    let dead = web.sandbox.clone();
    assert!(machine.cri.sandboxes().unwrap().contains(&dead));
    let web = machine.run_again(web.pod.next_attempt());
    assert_eq!(machine.nics(&web), nics);
    // The dead sandbox is cleaned up when its Pod runs long since.
    machine.cri.remove_pod(&dead).unwrap();
    assert_eq!(machine.nics(&web), nics, "the late DEL changed nothing");
    machine.pings(&web, "10.20.1.1");
    machine.pings(&web, "10.30.1.1");

    // The runtime made the dead sandbox's cgroup anew to remove it, below that of the first boot: it goes with the world.
    drop((machine, world));
    for controller in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
        let folder = controller.unwrap().path().join(&first_boot[1..]);
        assert!(!folder.exists(), "{} is left", folder.display());
    }
}

fn one_node(name: &str) -> World {
    World::builder(name)
        .racks(1)
        .node("n1", "a")
        .build()
        .unwrap()
}
