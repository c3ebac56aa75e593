//! Nodes: Ready with either runtime, with their rack, and on the network with addresses of their own.

use crate::site::shared;

#[test]
fn nodes_of_both_runtimes_are_ready_with_their_rack() {
    let cluster = shared();
    let nodes = cluster.kubectl_json(&["get", "nodes"]).unwrap();
    for (name, rack, runtime, address) in [
        ("n1", "a", "containerd://2.", "10.20.1.10"),
        ("n2", "b", "containerd://1.6", "10.20.2.11"),
    ] {
        let items = nodes["items"].as_array().unwrap();
        let node = items
            .iter()
            .find(|it| it["metadata"]["name"] == name)
            .unwrap();
        assert_eq!(node["metadata"]["labels"]["topology.berth.dev/rack"], rack);
        let info = &node["status"]["nodeInfo"];
        let version = info["containerRuntimeVersion"].as_str().unwrap();
        assert!(version.starts_with(runtime), "{version}");
        assert_eq!(
            info["bootID"],
            cluster.world().node(name).boot_id().unwrap()
        );
        assert_eq!(node["status"]["addresses"][0]["address"], address);
    }
    assert!(
        cluster
            .node_states()
            .unwrap()
            .values()
            .all(|it| it.not_ready.is_none())
    );
}

#[test]
fn node_sees_no_cgroups_but_its_own() {
    let cluster = shared();
    for node in cluster.world().nodes() {
        let all = node
            .script("cd /sys/fs/cgroup/memory 2>/dev/null || cd /sys/fs/cgroup; ls -d */")
            .unwrap();
        assert!(!all.contains("berth-"), "{all}");
        assert!(all.contains("kubepods"), "{all}");
    }
}
