//! What Kubernetes sees when something of a node is away, and that it comes back.

use std::time::Duration;

use tests_testbed::{Cluster, Daemon, Pending, wait_patiently};

use crate::site::{exec, look, own, stateful_set, wait_ready};

/// kubelet tells a change at once; the node controller gives up after 40 s of silence.
const DEADLINE: Duration = Duration::from_secs(120);

fn wait_not_ready(cluster: &Cluster, words: &str) {
    wait_patiently("the node being NotReady", DEADLINE, || {
        let states = cluster.node_states();
        let states = states.map_err(|error| Pending::because(format!("{error:#}")))?;
        match states
            .get("n1")
            .and_then(|state| state.not_ready.as_deref())
        {
            Some(why) if why.contains(words) => Ok(()),
            other => Err(Pending::because(format!("{other:?}"))),
        }
    })
    .unwrap();
}

#[test]
fn node_whose_ipamd_is_away_is_not_ready_in_our_words_until_it_is_back() {
    let mut cluster = own("cluster-status");
    cluster
        .apply(&stateful_set("db", 1, "n1").to_string())
        .unwrap();
    wait_ready(&cluster, "db-0", "");

    // containerd 2.x calls STATUS of the plugin; kubelet passes on what it says.
    cluster.kill_daemon("n1", Daemon::Ipamd).unwrap();
    wait_not_ready(&cluster, "ipamd");
    exec(&cluster, "db-0", &["true"]);

    cluster.start_daemon("n1", Daemon::Ipamd).unwrap();
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
    wait_not_ready(&cluster, "Kubelet stopped posting node status");
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
