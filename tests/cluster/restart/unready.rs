//! A Pod is made unready first and given back on every way out, and has its gate open from the start.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests_testbed::{Cluster, Daemon};

use super::{
    FOREVER, apply_pod, ask, containers, object, seconds, text, wait_status, wait_succeeded,
};
use crate::seen::{container, remove, wait_for};
use crate::site::{shared, wait_ready};

const GATE: &str = "berth.dev/ServiceReady";

fn condition(cluster: &Cluster, pod: &str, kind: &str) -> Result<Value, String> {
    let object = object(cluster, "pod", pod)?;
    let conditions = object["status"]["conditions"].as_array();
    let mut all = conditions.into_iter().flatten();
    let found = all.find(|condition| condition["type"] == kind);
    found.cloned().ok_or_else(|| "there is none".to_owned())
}

fn wait_gate(cluster: &Cluster, pod: &str, status: &str) -> Value {
    wait_for(&format!("the gate of {pod} being {status}"), || {
        let gate = condition(cluster, pod, GATE)?;
        if gate["status"] == status {
            return Ok(gate);
        }
        Err(gate.to_string())
    })
}

#[test]
fn pod_is_unready_first_and_given_back_at_the_end_and_when_the_request_is_deleted() {
    let cluster = shared();
    let gated = json!({"readinessGates": [{"conditionType": GATE}]});
    for (name, node) in [("drained", "n1"), ("given-back", "n2")] {
        apply_pod(&cluster, name, node, &[container("app", FOREVER)], &gated);
    }
    for name in ["drained", "given-back"] {
        // Ready at all only since its agent has opened the gate.
        wait_ready(&cluster, name, "");
    }
    let strategy = |seconds: u32| json!({"strategy": {"unreadyGracePeriodSeconds": seconds, "minStartedSeconds": 1}});
    ask(&cluster, "drained", "drained", &["app"], &strategy(3));
    ask(
        &cluster,
        "given-back",
        "given-back",
        &["app"],
        &strategy(300),
    );

    let gate = wait_gate(&cluster, "drained", "False");
    assert!(
        text(&gate["message"]).contains("\"ContainerRestart/drained\""),
        "{gate}"
    );
    let status = wait_succeeded(&cluster, "drained");
    let unready = seconds(&status["containers"][0]["killedAt"]) - seconds(&status["unreadySince"]);
    assert!(unready >= 3, "{status}");
    assert_eq!(
        wait_gate(&cluster, "drained", "True")["message"]
            .as_str()
            .unwrap_or_default(),
        ""
    );
    wait_ready(&cluster, "drained", "");
    // The last of all: after the verdict, when the gate was given back.
    wait_for("the request being free to go", || {
        let request = object(&cluster, "containerrestart", "drained")?;
        let finalizers = request["metadata"]["finalizers"].as_array();
        if finalizers.is_none_or(Vec::is_empty) {
            return Ok(());
        }
        Err(request.to_string())
    });

    wait_gate(&cluster, "given-back", "False");
    wait_status(&cluster, "given-back", "draining", |status| {
        status["phase"] == "Draining"
    });
    remove(&cluster, &["containerrestart/given-back"]);
    wait_gate(&cluster, "given-back", "True");
    wait_for("the request being gone", || {
        match object(&cluster, "containerrestart", "given-back") {
            Err(error) if error.contains("NotFound") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    wait_ready(&cluster, "given-back", "");
    assert_eq!(containers(&cluster, "given-back")["app"].restarts, 0);
    remove(
        &cluster,
        &["pod/drained", "pod/given-back", "containerrestart/drained"],
    );
}

/// Somebody takes the finalizer off while the agent cannot see it: what nobody gives back is given back.
#[test]
fn holder_that_is_gone_does_not_hold_for_ever_and_others_still_do() {
    let mut cluster = shared();
    let gated = json!({"readinessGates": [{"conditionType": GATE}]});
    apply_pod(
        &cluster,
        "forced",
        "n1",
        &[container("app", FOREVER)],
        &gated,
    );
    wait_ready(&cluster, "forced", "");
    let spec = json!({"strategy": {"unreadyGracePeriodSeconds": 300, "minStartedSeconds": 1}});
    ask(&cluster, "forced", "forced", &["app"], &spec);
    wait_gate(&cluster, "forced", "False");
    wait_status(&cluster, "forced", "draining", |status| {
        status["phase"] == "Draining"
    });

    cluster
        .signal_daemon("n1", Daemon::Agent, Signal::SIGSTOP)
        .unwrap();
    remove(&cluster, &["containerrestart/forced"]);
    let none = r#"{"metadata": {"finalizers": null}}"#;
    cluster
        .kubectl(&["patch", "crst/forced", "--type=merge", "-p", none])
        .unwrap();
    // Another holder, as a release would be.
    let holders = json!([
        {"holder": "ContainerRestart/forced", "since": "2026-01-01T00:00:00Z"},
        {"holder": "release/shop", "since": "2026-01-01T00:00:00Z"},
    ]);
    let both = json!({"status": {"conditions": [
        {"type": GATE, "status": "False", "message": holders.to_string()},
    ]}});
    let words = ["patch", "pod/forced", "--subresource=status", "-p"];
    let both = both.to_string();
    cluster
        .kubectl(&[&words[..], &[both.as_str()]].concat())
        .unwrap();
    cluster
        .signal_daemon("n1", Daemon::Agent, Signal::SIGCONT)
        .unwrap();
    wait_for("the holder that is gone leaving", || {
        let gate = condition(&cluster, "forced", GATE)?;
        let message = text(&gate["message"]);
        let left = message.contains("release/shop") && !message.contains("ContainerRestart");
        if left && gate["status"] == "False" {
            return Ok(());
        }
        Err(gate.to_string())
    });
    let free =
        json!({"status": {"conditions": [{"type": GATE, "status": "False", "message": ""}]}});
    let free = free.to_string();
    cluster
        .kubectl(&[&words[..], &[free.as_str()]].concat())
        .unwrap();
    wait_gate(&cluster, "forced", "True");
    assert_eq!(containers(&cluster, "forced")["app"].restarts, 0);
    remove(&cluster, &["pod/forced"]);
}
