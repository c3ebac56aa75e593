//! What Kubernetes sees when something of a node is away, and that it comes back.

use nix::sys::signal::Signal;
use tests_testbed::{Cluster, Daemon};

use crate::site::{exec, look, own, stateful_set, wait_not_ready, wait_ready};

#[test]
fn node_whose_ipamd_is_away_is_not_ready_in_our_words_until_it_is_back() {
    let mut cluster = own("cluster-status");
    cluster
        .apply(&stateful_set("db", 1, "n1").to_string())
        .unwrap();
    wait_ready(&cluster, "db-0", "");

    // containerd 2.x calls STATUS of the plugin; kubelet passes on what it says.
    cluster.set_berth("n1", false).unwrap();
    wait_not_ready(&cluster, "n1", "berth-ipamd");
    exec(&cluster, "db-0", &["true"]);

    cluster.set_berth("n1", true).unwrap();
    cluster.wait_nodes().unwrap();

    // One that hangs is away too.
    cluster
        .signal_daemon("n1", Daemon::Ipamd, Signal::SIGSTOP)
        .unwrap();
    wait_not_ready(&cluster, "n1", "berth-ipamd");
    exec(&cluster, "db-0", &["true"]);
    cluster
        .signal_daemon("n1", Daemon::Ipamd, Signal::SIGCONT)
        .unwrap();
    cluster.wait_nodes().unwrap();
}

#[test]
fn pods_outlive_restarts_of_every_daemon_of_their_node() {
    let mut cluster = own("cluster-restarts");
    cluster
        .apply(&stateful_set("db", 1, "n1").to_string())
        .unwrap();
    let uid = wait_ready(&cluster, "db-0", "");
    let container = |cluster: &Cluster| {
        let pod = cluster.kubectl_json(&["get", "pod", "db-0"]).unwrap();
        pod["status"]["containerStatuses"][0]["containerID"].clone()
    };
    let before = container(&cluster);
    for daemon in Daemon::ALL {
        cluster.kill_daemon("n1", daemon).unwrap();
        cluster.start_daemon("n1", daemon).unwrap();
        assert!(cluster.runs("n1", daemon).unwrap(), "{}", daemon.name());
    }
    cluster.wait_nodes().unwrap();
    exec(&cluster, "db-0", &["true"]);
    assert_eq!(wait_ready(&cluster, "db-0", ""), uid);
    assert_eq!(container(&cluster), before);
}

#[test]
fn node_that_is_cut_from_the_api_server_only_still_reaches_the_rest() {
    let mut cluster = own("cluster-cut");
    cluster
        .apply(&stateful_set("db", 1, "n1").to_string())
        .unwrap();
    wait_ready(&cluster, "db-0", "");
    cluster.set_api_path("n1", false).unwrap();
    wait_not_ready(&cluster, "n1", "Kubelet stopped posting node status");
    let node = cluster.world().node("n1");
    let gateway = node
        .rack()
        .addresses()
        .gateways(tests_testbed::Net::External)[0];
    assert!(node.ping_once(&gateway.to_string()).unwrap());
    cluster.set_api_path("n1", true).unwrap();
    cluster.wait_nodes().unwrap();
}

#[test]
fn nodes_disk_can_be_full_and_can_break_until_its_next_boot() {
    let mut cluster = own("cluster-disk");
    cluster
        .apply(&stateful_set("db", 1, "n1").to_string())
        .unwrap();
    wait_ready(&cluster, "db-0", "");
    let before = look(&cluster, "db-0");
    let writes = |cluster: &Cluster| {
        let node = cluster.world().node("n1");
        let words = [
            "dd",
            "if=/dev/zero",
            "of=/var/lib/berth/probe",
            "bs=64k",
            "count=1",
            "conv=fsync",
        ];
        let written = node.exec(&words).unwrap();
        let _ = node.exec(&["rm", "-f", "/var/lib/berth/probe"]).unwrap();
        written.success()
    };
    assert!(writes(&cluster));
    cluster.set_disk_full("n1", true).unwrap();
    assert!(!writes(&cluster));
    cluster.set_disk_full("n1", false).unwrap();
    assert!(writes(&cluster));
    cluster.break_disk("n1").unwrap();
    assert!(!writes(&cluster));

    cluster.reboot("n1").unwrap();
    cluster.wait_nodes().unwrap();
    assert!(writes(&cluster));
    assert_eq!(look(&cluster, "db-0"), before);
}
