//! Restarts under load: the daemons of a node go and come while its Pods are talked to, and no packet is lost.

use serde_json::json;
use tests_cri::Cri;
use tests_testbed::{Cluster, Daemon, Net, Runtime};

use crate::{
    held::Held,
    pings::Pings,
    seen::{Placed, placed, restarts, wait_for},
    site::{builder, look, pod_spec, wait_ready},
    turn::{self, Rank},
};

/// Running Pods, half of them on each runtime.
const PODS: usize = 20;

/// One of each runtime.
const NODES: [&str; 2] = ["n1", "n2"];

/// Where the runtime listens, inside a node.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// What is restarted, one after the other and all at once.
const DAEMONS: [Daemon; 3] = [Daemon::Containerd, Daemon::Kubelet, Daemon::Ipamd];

/// Ten Pods on each of two nodes, with an echo server beside the server that makes them Ready.
fn site() -> Cluster {
    let builder = builder("cluster-storm").racks(1).node("n1", "a");
    let mut cluster = builder.host("vm", "a", Net::External).build().unwrap();
    cluster.add_node("n2", "a", Runtime::Debian).unwrap();
    cluster.wait_nodes().unwrap();
    for node in NODES {
        let mut spec = pod_spec(node);
        spec["containers"][0]["command"][2] = json!("exec nc -ll -p 8080 -e cat");
        let set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": node},
            "spec": {
                "serviceName": node, "replicas": PODS / 2, "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": {"app": "storm"}},
                "template": {"metadata": {"labels": {"app": "storm"}}, "spec": spec},
            },
        });
        cluster.apply(&set.to_string()).unwrap();
    }
    cluster
}

fn names() -> Vec<String> {
    let nodes = NODES.into_iter();
    nodes
        .flat_map(|node| (0..PODS / 2).map(move |it| format!("{node}-{it}")))
        .collect()
}

/// Each daemon of both nodes killed and started again, then all of both nodes at once.
fn storm(cluster: &mut Cluster) {
    for daemon in DAEMONS {
        for node in NODES {
            cluster.kill_daemon(node, daemon).unwrap();
        }
        start(cluster, daemon);
        cluster.wait_nodes().unwrap();
    }
    for daemon in DAEMONS {
        for node in NODES {
            cluster.kill_daemon(node, daemon).unwrap();
        }
    }
    for daemon in DAEMONS {
        start(cluster, daemon);
    }
    cluster.wait_nodes().unwrap();
}

/// Starts a daemon on both nodes.
fn start(cluster: &mut Cluster, daemon: Daemon) {
    for node in NODES {
        cluster.start_daemon(node, daemon).unwrap();
        if daemon == Daemon::Containerd {
            // It listens before it answers, and kubelet ends where it does not: an init system would start that again.
            let socket = cluster.world().node(node).path(SOCKET);
            let cri = Cri::new(&socket).unwrap();
            wait_for("containerd answering", || {
                cri.unready().map(drop).map_err(|error| error.to_string())
            });
        }
    }
}

#[test]
fn restarts_of_the_daemons_lose_no_packet_of_twenty_pods() {
    turn::take(Rank::Long);
    let mut cluster = site();
    let names = names();
    let uids: Vec<String> = names
        .iter()
        .map(|it| wait_ready(&cluster, it, ""))
        .collect();
    let before = placed(&cluster, "storm");
    assert_eq!(before.len(), PODS);
    let addresses: Vec<String> = before.iter().map(Placed::v4).collect();
    let (first, last) = (&before[0], &before[PODS - 1]);
    let vm = cluster.world().host("vm").namespace();
    let mut pinged = vec![Pings::start(vm, &addresses)];
    // From a Pod's own node too, where the switch has no part; and connections, not only packets.
    let mut held = Vec::new();
    for pod in [first, last] {
        let node = cluster.world().node(&pod.node);
        pinged.push(Pings::start(node, &[pod.v4()]));
        held.push(Held::open(vm, &pod.name, &pod.v4(), 8080));
    }
    let looks = [first, last].map(|pod| look(&cluster, &pod.name));

    storm(&mut cluster);

    for it in &mut held {
        it.wait_more("after the restarts");
    }
    let answered: usize = pinged.into_iter().map(Pings::finish_without_loss).sum();
    // Each was asked for as long as the restarts took: five seconds at the very least.
    assert!(
        answered >= PODS * 50,
        "only {answered} questions were answered"
    );
    assert_eq!(placed(&cluster, "storm"), before);
    assert_eq!([first, last].map(|pod| look(&cluster, &pod.name)), looks);
    for (name, uid) in names.iter().zip(uids) {
        assert_eq!(wait_ready(&cluster, name, ""), uid);
        assert_eq!(restarts(&cluster, name)["app"], 0, "{name}");
    }
}
