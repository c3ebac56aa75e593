//! A node is given back: refused while Pods use Berth there, as it was before afterwards, and with the book still there for a later install.

use serde_json::Value;
use tests_testbed::{Cluster, Node, Pending, wait_patiently};

use crate::{
    seen::remove,
    site::{look, own, stateful_set, wait_ready},
};

/// What an operator applies, with the node's name put in.
const JOB: &str = include_str!("../../install/overlays/uninstall/job.yaml");

/// The Job ends within seconds; its Pod has to be noticed by a busy kubelet.
const JOB_DEADLINE: std::time::Duration = std::time::Duration::from_secs(180);

/// Runs the Job on n1; whether it succeeded, and what it said.
fn uninstall(cluster: &Cluster) -> (bool, String) {
    let job = JOB
        .replace("nodeName: NODE", "nodeName: n1")
        .replace("localhost/berth:0.1.0", "localhost/berth:dev");
    assert_ne!(job, JOB);
    cluster.apply(&job).unwrap();
    let words = ["--namespace=berth-system", "get", "job", "berth-uninstall"];
    let done = wait_patiently("the end of the Job", JOB_DEADLINE, || {
        let job = cluster
            .kubectl_json(&words)
            .map_err(|error| Pending::because(format!("{error:#}")))?;
        let conditions = job["status"]["conditions"].as_array();
        let is = |what: &str| {
            let mut all = conditions.into_iter().flatten();
            all.any(|it| it["type"] == what && it["status"] == "True")
        };
        match (is("Complete"), is("Failed")) {
            (false, false) => Err(Pending::because(&job["status"])),
            (complete, _) => Ok(complete),
        }
    })
    .unwrap();
    let words = ["--namespace=berth-system", "logs", "job/berth-uninstall"];
    let said = cluster.kubectl(&words).unwrap();
    let words = [
        "--namespace=berth-system",
        "delete",
        "job",
        "berth-uninstall",
        "--cascade=foreground",
    ];
    cluster.kubectl(&words).unwrap();
    (done, said)
}

/// Links, addresses, routes and rules, in no order.
fn network(node: &Node) -> Vec<String> {
    let commands: [&[&str]; 5] = [
        &["ip", "-j", "addr", "show"],
        &["ip", "-j", "-4", "route", "show", "table", "all"],
        &["ip", "-j", "-6", "route", "show", "table", "all"],
        &["ip", "-j", "-4", "rule", "show"],
        &["ip", "-j", "-6", "rule", "show"],
    ];
    let mut all: Vec<String> = commands
        .iter()
        .flat_map(|words| {
            let said = node.run(words).unwrap();
            let listed: Vec<Value> = serde_json::from_str(&said).unwrap();
            listed.into_iter().map(|it| it.to_string())
        })
        .collect();
    all.sort();
    all
}

/// What is in the runtime's folders, but for what the testbed itself put there.
fn folders(node: &Node) -> String {
    node.script("ls /etc/cni/net.d; ls /opt/cni/bin | grep berth || true")
        .unwrap()
}

#[test]
fn node_is_given_back_as_it_was_and_its_pods_find_their_addresses_after_another_install() {
    let mut cluster = own("cluster-uninstall");
    // No Pod was there yet, so no uplink was touched.
    let before = network(cluster.world().node("n1"));
    let set = stateful_set("db", 1, "n1").to_string();
    cluster.apply(&set).unwrap();
    wait_ready(&cluster, "db-0", "");
    let had = look(&cluster, "db-0");
    assert_ne!(network(cluster.world().node("n1")), before);

    let (done, said) = uninstall(&cluster);
    assert!(
        !done && said.contains("berth-ipamd runs on this node"),
        "{said}"
    );
    cluster.set_berth("n1", false).unwrap();
    let (done, said) = uninstall(&cluster);
    assert!(!done && said.contains("default/db-0"), "{said}");
    assert_eq!(look(&cluster, "db-0"), had);

    remove(&cluster, &["statefulset/db"]);
    cluster
        .kubectl(&["wait", "--for=delete", "pod/db-0", "--timeout=120s"])
        .unwrap();
    let (done, said) = uninstall(&cluster);
    assert!(done, "{said}");
    let node = cluster.world().node("n1");
    assert_eq!(network(node), before, "{said}");
    assert_eq!(folders(node), "");

    cluster.set_berth("n1", true).unwrap();
    cluster.wait_nodes().unwrap();
    cluster.apply(&set).unwrap();
    wait_ready(&cluster, "db-0", "");
    assert_eq!(look(&cluster, "db-0"), had);
}
