//! What a node's agent tells of it, as the API has it: its report, conditions of the Node, Events.

use std::time::Duration;

use serde_json::Value;
use tests_testbed::{Cluster, Pending, wait_patiently};

/// The longest time of a rule is a minute and a half (kubelet's Lease); half a minute to the next report, half a minute to the next
/// write of the Node; and a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(300);

/// An object of the API.
pub(crate) fn json(cluster: &Cluster, words: &[&str]) -> Result<Value, Pending> {
    let answer = cluster.kubectl_json(words);
    answer.map_err(|error| Pending::because(format!("{error:#}")))
}

/// The status of a node's report.
pub(crate) fn status(cluster: &Cluster, node: &str) -> Result<Value, Pending> {
    let words = ["get", "nodehealth", node, "-n", "berth-system"];
    Ok(json(cluster, &words)?["status"].clone())
}

/// One signal of a report.
pub(crate) fn signal(status: &Value, name: &str) -> Value {
    let signals = status["signals"].as_array();
    let found = signals.and_then(|all| all.iter().find(|it| it["name"] == name));
    found.cloned().unwrap_or_default()
}

/// Waits until a node's report says this of these signals; the report.
pub(crate) fn wait(cluster: &Cluster, node: &str, expected: &[(&str, &str)]) -> Value {
    wait_until(cluster, node, &format!("{expected:?}"), |status| {
        let as_expected = |(name, state): &(&str, &str)| signal(status, name)["state"] == *state;
        expected.iter().all(as_expected)
    })
}

/// Waits until a node's report is so; the report.
pub(crate) fn wait_until(
    cluster: &Cluster,
    node: &str,
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    let waited = wait_patiently(&format!("{node}: {what}"), DEADLINE, || {
        let status = status(cluster, node)?;
        if holds(&status) {
            return Ok(status);
        }
        Err(Pending::because(&status))
    });
    waited.unwrap()
}

/// Waits until the Node itself says this of one part of it; the condition.
pub(crate) fn wait_condition(
    cluster: &Cluster,
    node: &str,
    problem: &str,
    status: &str,
    reason: &str,
) -> Value {
    let what = format!("condition {problem}={status} ({reason}) of {node}");
    let waited = wait_patiently(&what, DEADLINE, || {
        let object = json(cluster, &["get", "node", node])?;
        let conditions = object["status"]["conditions"].as_array();
        let kind = format!("berth.dev/{problem}");
        let found = conditions.and_then(|all| all.iter().find(|it| it["type"] == *kind));
        let found = found.cloned().unwrap_or_default();
        let said = found["reason"].as_str().unwrap_or_default();
        if found["status"] == status && said.starts_with(reason) {
            return Ok(found);
        }
        Err(Pending::because(&object["status"]["conditions"]))
    });
    waited.unwrap()
}

/// The Events on Nodes, each as Node, reason, and the time at which it was written.
pub(crate) fn events(cluster: &Cluster) -> Result<Vec<(String, String, String)>, Pending> {
    let all = json(cluster, &["get", "events.events.k8s.io", "-n", "default"])?;
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let all = all["items"].as_array().into_iter().flatten();
    let of_agents = all.filter(|it| it["reportingController"] == "berth.dev/agent");
    let told = |it: &Value| {
        (
            text(&it["regarding"]["name"]),
            text(&it["reason"]),
            text(&it["eventTime"]),
        )
    };
    Ok(of_agents.map(told).collect())
}

/// How often this was told of a Node.
pub(crate) fn count_events(cluster: &Cluster, node: &str, reason: &str) -> Result<usize, Pending> {
    let all = events(cluster)?;
    let is_this = |it: &&(String, String, String)| it.0 == node && it.1 == reason;
    Ok(all.iter().filter(is_this).count())
}

/// Waits until these were told of a Node.
pub(crate) fn wait_events(cluster: &Cluster, node: &str, reasons: &[&str]) {
    let waited = wait_patiently(&format!("Events {reasons:?} on {node}"), DEADLINE, || {
        for reason in reasons {
            if count_events(cluster, node, reason)? == 0 {
                return Err(Pending::because(format!("there is no {reason}")));
            }
        }
        Ok(())
    });
    waited.unwrap();
}
