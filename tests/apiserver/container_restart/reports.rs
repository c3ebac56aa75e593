//! The real agent with the shipped rights, without a runtime: what it tells of containers it takes away from a Pod that does not ask
//! any more, it tells nothing that it does not know, and it leaves the Pods of other nodes alone.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use tests_testbed::{ControlPlane, Pending, Process, binary, wait_patiently};

use super::rights::pod;
use crate::shipped::{Caller, add_node, installed, kubectl};

const DEADLINE: Duration = Duration::from_secs(90);

/// An agent of n1, with the token that kubelet would give to it.
fn agent(api: &ControlPlane, folder: &tempfile::TempDir) -> Process {
    let caller = Caller::in_pod(api, "berth-agent", "n1");
    let view = api.kubectl_json(&["config", "view", "--raw"]).unwrap();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "agent",
        "clusters": [{"name": "agent", "cluster": view["clusters"][0]["cluster"]}],
        "users": [{"name": "agent", "user": {"token": caller.token()}}],
        "contexts": [{"name": "agent", "context": {"cluster": "agent", "user": "agent"}}],
    });
    let path = |name: &str| folder.path().join(name);
    fs::write(path("kubeconfig"), config.to_string()).unwrap();
    let mut command = api.machine().command(binary("berth-agent").unwrap());
    command.args(["--role=node", "--node=n1", "--metrics=", "--kmsg=/dev/null"]);
    for (flag, name) in [
        ("--kubeconfig", "kubeconfig"),
        ("--state", "state"),
        ("--watched-folders", "state"),
        ("--runtime", "no-runtime.sock"),
        ("--ipamd-socket", "no-ipamd.sock"),
    ] {
        command.arg(flag).arg(path(name));
    }
    api.machine().spawn_command("agent-n1", command).unwrap()
}

fn annotated(name: &str, node: &str, asks: &str) -> Value {
    let mut pod = pod(name, node);
    pod["metadata"]["annotations"] =
        json!({"berth.dev/report-containers": asks, "berth.dev/containers": "{}"});
    pod
}

fn told(api: &ControlPlane, name: &str) -> Value {
    let pod = api.kubectl_json(&["get", "pod", name]).unwrap();
    pod["metadata"]["annotations"]["berth.dev/containers"].clone()
}

#[test]
fn a_pod_that_does_not_ask_loses_its_report_and_one_that_asks_is_told_nothing_unknown() {
    let api = installed("api_container_reports");
    for node in ["n1", "n2"] {
        add_node(&api, node);
    }
    kubectl(
        &api,
        &["create", "serviceaccount", "default", "-n", "default"],
    );
    for (name, node, asks) in [
        ("asked", "n1", "false"),
        ("asks", "n1", "true"),
        ("elsewhere", "n2", "false"),
    ] {
        let pod = annotated(name, node, asks).to_string();
        api.apply(&pod).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let agent = agent(&api, &folder);
    let waited = wait_patiently("the report being taken away", DEADLINE, || {
        match told(&api, "asked") {
            Value::Null => Ok(()),
            other => Err(Pending(format!("{other}: {}", agent.log_tail()))),
        }
    });
    waited.unwrap();
    let waited = wait_patiently("the agent saying why it does not tell", DEADLINE, || {
        let log = agent.log();
        if log.contains("a Pod's containers are not reported") {
            return Ok(());
        }
        Err(Pending(log))
    });
    waited.unwrap();
    // Who asks no more is told of by the watch.
    assert_eq!(told(&api, "asks"), "{}");
    let no_more = "berth.dev/report-containers=false";
    kubectl(&api, &["annotate", "--overwrite", "pod", "asks", no_more]);
    let waited = wait_patiently(
        "the other report being taken away",
        DEADLINE,
        || match told(&api, "asks") {
            Value::Null => Ok(()),
            other => Err(Pending(format!("{other}: {}", agent.log_tail()))),
        },
    );
    waited.unwrap();
    assert_eq!(told(&api, "elsewhere"), "{}");
}
