//! The node agent as it is installed: its report is of its node's boot, and goes with its Node. What it finds is in `health_…`.

use std::time::Duration;

use serde_json::Value;
use tests_testbed::{Cluster, Pending, Runtime, wait_patiently};

use crate::site::own;

/// A look every 10 s, three of them, half a minute to the next report, a Pod to start; and a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(240);

const SIGNALS: [&str; 3] = ["ipamd", "addresses", "kubelet"];
const FINE: [&str; 3] = ["Healthy", "Healthy", "Healthy"];

fn report(cluster: &Cluster, node: &str) -> Result<Value, Pending> {
    let words = ["get", "nodehealth", node, "-n", "berth-system"];
    let object = cluster.kubectl_json(&words);
    let object = object.map_err(|error| Pending::because(format!("{error:#}")))?;
    Ok(object["status"].clone())
}

fn state(status: &Value, name: &str) -> Value {
    let signals = status["signals"].as_array();
    let found = signals.and_then(|all| all.iter().find(|it| it["name"] == name));
    found.map(|it| it["state"].clone()).unwrap_or_default()
}

/// Waits until the node's report has these states of [`SIGNALS`].
fn wait(cluster: &Cluster, node: &str, states: [&str; 3]) -> Value {
    wait_for(
        cluster,
        node,
        &format!("the report of {states:?}"),
        |status| SIGNALS.map(|name| state(status, name)) == states.map(Value::from),
    )
}

fn wait_for(cluster: &Cluster, node: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let waited = wait_patiently(what, DEADLINE, || {
        let status = report(cluster, node)?;
        if holds(&status) {
            return Ok(status);
        }
        Err(Pending::because(status))
    });
    waited.unwrap()
}

#[test]
fn report_is_of_the_nodes_boot_and_goes_with_the_node() {
    let mut cluster = own("cluster-agent-boot");
    let before = wait(&cluster, "n1", FINE)["bootId"].clone();
    cluster.reboot("n1").unwrap();
    cluster.wait_nodes().unwrap();
    let after = wait_for(&cluster, "n1", "a report of the new boot", |status| {
        status["bootId"] != before
            && SIGNALS.map(|name| state(status, name)) == FINE.map(Value::from)
    });
    let node = cluster.kubectl_json(&["get", "node", "n1"]).unwrap();
    assert_eq!(node["status"]["nodeInfo"]["bootID"], after["bootId"]);

    cluster
        .add_node("n2", "a", Runtime::module_from_environment().unwrap())
        .unwrap();
    cluster.wait_nodes().unwrap();
    wait(&cluster, "n2", FINE);
    cluster.remove_node("n2").unwrap();
    let gone = wait_patiently("the report of n2 being gone", DEADLINE, || {
        let words = ["get", "nodehealths", "-n", "berth-system", "-o", "name"];
        let all = cluster.kubectl(&words);
        let all = all.map_err(|error| Pending::because(format!("{error:#}")))?;
        if all.trim() == "nodehealth.berth.dev/n1" {
            return Ok(());
        }
        Err(Pending::because(all))
    });
    gone.unwrap();
}
