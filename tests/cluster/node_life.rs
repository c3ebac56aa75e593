//! A node's life with Berth: it joins, is removed, has no rack label or gets another, boots without a NIC; and a cluster without kube-proxy.

use serde_json::{Value, json};
use tests_testbed::{Cluster, Daemon, Net, Runtime};

use crate::site::{
    berth_pod, builder, look, own, stateful_set, wait_not_ready, wait_ready, wait_said,
};

/// What tells a daemon that was restarted, or whose Pod was replaced, from one that was left alone.
fn identities(cluster: &Cluster, node: &str) -> Vec<Value> {
    let programs = ["berth-ipamd", "berth-agent"];
    let identity = |program: &&str| {
        let pod = berth_pod(cluster, program, node);
        let containers = pod["status"]["containerStatuses"].as_array().unwrap();
        let containers: Vec<Value> = containers
            .iter()
            .map(|it| json!([it["name"], it["containerID"], it["restartCount"]]))
            .collect();
        json!([pod["metadata"]["uid"], containers])
    };
    programs.iter().map(identity).collect()
}

fn run_pod(cluster: &Cluster, name: &str, node: &str) -> String {
    let set = stateful_set(name, 1, node).to_string();
    cluster.apply(&set).unwrap();
    let pod = format!("{name}-0");
    wait_ready(cluster, &pod, "");
    pod
}

#[test]
fn node_that_joins_and_leaves_gets_its_addresses_and_disturbs_no_other() {
    let mut cluster = builder("cluster-join").node("n1", "a").build().unwrap();
    let before = identities(&cluster, "n1");

    let runtime = Runtime::module_from_environment().unwrap();
    cluster.add_node("n2", "b", runtime.clone()).unwrap();
    cluster.wait_nodes().unwrap();
    let pod = run_pod(&cluster, "late", "n2");
    let seen = look(&cluster, &pod).addresses;
    assert!(seen.iter().any(|it| it.starts_with("10.20.2.")), "{seen:?}");
    assert_eq!(identities(&cluster, "n1"), before);

    cluster.remove_node("n2").unwrap();
    let nodes = cluster.kubectl(&["get", "nodes", "--output=name"]).unwrap();
    assert_eq!(nodes.trim(), "node/n1");

    // A machine of the same name with an empty disk takes its place.
    cluster.add_node("n2", "b", runtime).unwrap();
    cluster.wait_nodes().unwrap();
    assert_eq!(identities(&cluster, "n1"), before);
    run_pod(&cluster, "first", "n1");
}

#[test]
fn node_without_rack_label_says_which_command_gives_it_one() {
    let mut cluster = own("cluster-label");
    let runtime = Runtime::module_from_environment().unwrap();
    cluster.add_unlabelled_node("n2", "a", runtime).unwrap();
    let command = "kubectl label node n2 topology.berth.dev/rack=";
    wait_said(&cluster, "n2", "ipamd", command);
    wait_said(&cluster, "n2", "conflist", command);
    // No network configuration is there before the daemon can serve it.
    wait_not_ready(&cluster, "n2", "cni plugin not initialized");
    let label = "topology.berth.dev/rack=a";
    cluster.kubectl(&["label", "node", "n2", label]).unwrap();
    cluster.wait_nodes().unwrap();
    run_pod(&cluster, "labelled", "n2");
}

#[test]
fn node_that_gets_another_rack_label_takes_no_pods_until_its_pools_follow() {
    let mut cluster = own("cluster-moved");
    let pod = run_pod(&cluster, "db", "n1");
    let before = look(&cluster, &pod);
    let label = |rack: &str| {
        let label = format!("topology.berth.dev/rack={rack}");
        let words = ["label", "node", "n1", "--overwrite", &label];
        cluster.kubectl(&words).unwrap();
    };
    label("b");
    wait_not_ready(&cluster, "n1", "no network has a pool in rack b");
    // What runs is left alone.
    assert_eq!(look(&cluster, &pod), before);
    label("a");
    cluster.wait_nodes().unwrap();
    assert_eq!(look(&cluster, &pod), before);
}

#[test]
fn node_whose_nic_is_missing_renamed_or_late_names_it_and_gets_ready_with_it() {
    let mut cluster = own("cluster-nic");
    let pod = run_pod(&cluster, "db", "n1");
    let before = look(&cluster, &pod);

    // Missing at boot, and late.
    cluster.power_off("n1").unwrap();
    cluster.set_nic("n1", Net::Internal, false).unwrap();
    cluster.power_on("n1").unwrap();
    wait_not_ready(
        &cluster,
        "n1",
        "uplink eth1 of network internal does not exist",
    );
    cluster.set_nic("n1", Net::Internal, true).unwrap();
    cluster.wait_nodes().unwrap();
    wait_ready(&cluster, &pod, "");
    assert_eq!(look(&cluster, &pod), before);

    // Another name at boot, until somebody gives it back the one it had.
    cluster.power_off("n1").unwrap();
    cluster.rename_nic("n1", Net::Internal, "enp3s0").unwrap();
    cluster.power_on("n1").unwrap();
    wait_not_ready(
        &cluster,
        "n1",
        "uplink eth1 of network internal does not exist",
    );
    cluster.rename_nic("n1", Net::Internal, "eth1").unwrap();
    cluster.wait_nodes().unwrap();
    assert_eq!(look(&cluster, &pod), before);

    // Without the NIC of its own address a node can tell nobody; when that comes, all of it comes.
    cluster.power_off("n1").unwrap();
    cluster.set_nic("n1", Net::External, false).unwrap();
    cluster.power_on("n1").unwrap();
    wait_not_ready(&cluster, "n1", "Kubelet stopped posting node status");
    cluster.set_nic("n1", Net::External, true).unwrap();
    cluster.wait_nodes().unwrap();
    assert_eq!(look(&cluster, &pod), before);
}

#[test]
fn cluster_without_kube_proxy_works_once_berth_knows_the_api_servers_address() {
    let mut cluster = builder("cluster-no-proxy")
        .racks(1)
        .node("n1", "a")
        .without_kube_proxy()
        .build()
        .unwrap();
    assert!(!cluster.runs("n1", Daemon::KubeProxy).unwrap());
    run_pod(&cluster, "db", "n1");

    // A node that joins while nobody says the address reaches no API server, and says so.
    let address = ["--namespace=berth-system", "configmap", "berth-api"];
    let said = cluster.kubectl_json(&["get", address[0], address[1], address[2]]);
    let said = said.unwrap();
    let mut delete = vec!["delete"];
    delete.extend(address);
    cluster.kubectl(&delete).unwrap();
    let runtime = Runtime::module_from_environment().unwrap();
    cluster.add_node("n2", "a", runtime).unwrap();
    wait_said(&cluster, "n2", "ipamd", "berth-api");
    wait_not_ready(&cluster, "n2", "cni plugin not initialized");

    let again = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "berth-api", "namespace": "berth-system"}, "data": said["data"],
    });
    cluster.apply(&again.to_string()).unwrap();
    for set in ["daemonset/berth-ipamd", "daemonset/berth-agent"] {
        let words = ["--namespace=berth-system", "rollout", "restart", set];
        cluster.kubectl(&words).unwrap();
    }
    cluster.wait_nodes().unwrap();
    run_pod(&cluster, "late", "n2");
}
