//! The same Pod has the same addresses and MACs: re-created on its node, and after its node's power was cut.

use crate::site::{look, own, shared, stateful_set, wait_ready};

#[test]
fn deleted_pod_of_a_stateful_set_comes_back_with_its_addresses_and_macs() {
    let cluster = shared();
    for node in ["n1", "n2"] {
        let set = format!("sticky-{node}");
        cluster
            .apply(&stateful_set(&set, 2, node).to_string())
            .unwrap();
        let pods = [format!("{set}-0"), format!("{set}-1")];
        let uids = [0, 1].map(|it: usize| wait_ready(&cluster, &pods[it], ""));
        let before = [0, 1].map(|it: usize| look(&cluster, &pods[it]));
        assert_ne!(before[0], before[1]);
        // Both at once, so that the same address again is no accident of the order.
        let words = ["delete", "pod", &pods[0], &pods[1]];
        cluster.kubectl(&words).unwrap();
        for it in [1, 0] {
            wait_ready(&cluster, &pods[it], &uids[it]);
            assert_eq!(look(&cluster, &pods[it]), before[it], "{}", pods[it]);
        }
    }
}

#[test]
fn rebooted_nodes_pods_have_the_addresses_and_macs_they_had() {
    let mut cluster = own("cluster-reboot");
    cluster
        .apply(&stateful_set("db", 3, "n1").to_string())
        .unwrap();
    let pods = ["db-0", "db-1", "db-2"];
    let uids = pods.map(|pod| wait_ready(&cluster, pod, ""));
    let before = pods.map(|pod| look(&cluster, pod));
    let boot_id = cluster.world().node("n1").boot_id().unwrap();

    cluster.reboot("n1").unwrap();
    cluster.wait_nodes().unwrap();

    assert_ne!(cluster.world().node("n1").boot_id().unwrap(), boot_id);
    assert_eq!(pods.map(|pod| look(&cluster, pod)), before);
    assert_eq!(pods.map(|pod| wait_ready(&cluster, pod, "")), uids);
}
