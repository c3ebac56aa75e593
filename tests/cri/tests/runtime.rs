//! The runtime in the world is right: containerd runs Pods there with Debian's plugins, without Berth.

use std::time::Duration;

use serde_json::json;
use tests_cri::{Container, Cri, Pod};
use tests_testbed::{APP_IMAGES, Containerd, Pending, World, wait_until};

/// A client once the runtime answers: its socket is there before its services are.
fn ready(containerd: &Containerd) -> anyhow::Result<Cri> {
    let cri = Cri::new(containerd.socket())?;
    wait_until(
        "the runtime ready",
        Duration::from_secs(120),
        || match cri.unready() {
            Ok(unready) if unready.is_empty() => Ok(()),
            Ok(unready) => Err(Pending::because(unready.join(", "))),
            Err(error) => Err(Pending::because(error)),
        },
    )?;
    Ok(cri)
}

#[test]
fn containerd_runs_execs_and_removes_a_pod_with_the_reference_plugins() {
    let mut world = World::builder("cri_reference")
        .racks(1)
        .node("n1", "a")
        .build()
        .unwrap();
    let node = world.node("n1");
    let conflist = json!({"cniVersion": "1.0.0", "name": "ref", "plugins": [{
        "type": "bridge", "bridge": "br0", "isGateway": true,
        "ipam": {"type": "host-local", "subnet": "10.20.1.0/24", "routes": [{"dst": "0.0.0.0/0"}]},
    }]});
    node.write_conflist("10-ref.conflist", &conflist).unwrap();
    let containerd = node.start_containerd().unwrap();
    let cri = ready(&containerd).unwrap();

    let mut pod = Pod::new("default", "web-0");
    pod.cgroup_parent = containerd.cgroup_parent().to_owned();
    let sandbox = cri.run_pod(&pod).unwrap();
    let container = cri
        .run_container(&sandbox, &pod, &Container::new("app", APP_IMAGES[0]))
        .unwrap();
    let seen = cri
        .exec(&container, &["ip", "-4", "addr", "show", "eth0"])
        .unwrap();
    let address = cri.pod_addresses(&sandbox).unwrap().remove(0);
    assert!(
        seen.stdout.contains(&address),
        "{address} is not in {seen:?}"
    );
    assert!(node.ping_once(&address).unwrap());

    cri.remove_container(&container).unwrap();
    cri.run_container(&sandbox, &pod, &Container::new("app", APP_IMAGES[1]))
        .unwrap();
    assert_eq!(cri.running_containers().unwrap().len(), 1);
    cri.remove_pod(&sandbox).unwrap();
    assert!(cri.sandboxes().unwrap().is_empty());

    // A power cut takes containers along, and the runtime comes back on the same disk.
    let lost = cri.run_pod(&pod.clone().next_attempt()).unwrap();
    drop(containerd);
    world.node_mut("n1").reboot().unwrap();
    let containerd = world.node("n1").start_containerd().unwrap();
    let cri = ready(&containerd).unwrap();
    assert_eq!(cri.sandboxes().unwrap(), std::slice::from_ref(&lost));
    cri.remove_pod(&lost).unwrap();
}
