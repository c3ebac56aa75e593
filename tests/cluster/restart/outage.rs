//! The agent, kubelet, the runtime and the API server go away in the middle of a restart: it ends well, and each container was stopped
//! once.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests_testbed::{Cluster, Daemon};

use super::{
    apply_pod, ask, assert_told, containers, facts, hooked, wait_failed, wait_status,
    wait_succeeded,
};
use crate::seen::wait_for;
use crate::site::{own, wait_ready};
use crate::turn::{self, Rank};

/// Asks for a restart whose hook takes six seconds, and waits until it runs.
fn begin(cluster: &Cluster, name: &str) {
    let spec = json!({"strategy": {"minStartedSeconds": 1}, "activeDeadlineSeconds": 300});
    ask(cluster, name, name, &["app"], &spec);
    wait_status(cluster, name, "being stopped", |status| {
        !status["containers"][0]["killedAt"].is_null()
    });
}

/// What the agent keeps on the node about a restart that it has begun.
fn kept(cluster: &Cluster) -> Result<Value, String> {
    let folder = cluster
        .world()
        .node("n1")
        .disk("/var/lib/berth/agent/restarts");
    let files = fs::read_dir(&folder).map_err(|error| error.to_string())?;
    let mut files = files.filter_map(Result::ok).map(|file| file.path());
    let file = files.find(|path| path.extension().is_some_and(|is| is == "json"));
    let text = fs::read(file.ok_or("there is no file")?).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

/// Another sandbox is no restart in place: it ends as that, whoever has stopped the container, and the Pod is there as before.
fn ends_with_the_nodes_boot(cluster: &mut Cluster, name: &str) {
    let before = facts(cluster, name);
    begin(cluster, name);
    cluster.reboot("n1").unwrap();
    cluster.wait_nodes().unwrap();
    wait_failed(cluster, name, "SandboxChanged");
    assert_told(cluster, name, name, "RestartInPlaceFailed");
    wait_ready(cluster, name, "");
    let after = facts(cluster, name);
    assert_eq!((after.uid, after.seen), (before.uid, before.seen));
}

/// Stopped and started again while nobody can be told; told afterwards.
fn goes_on_without_the_api_server(cluster: &mut Cluster, name: &str) {
    begin(cluster, name);
    cluster.set_api_server(false).unwrap();
    wait_for("the new container being known on the node alone", || {
        let kept = kept(cluster)?;
        let container = &kept["status"]["containers"][0];
        let is_news = container["newContainerID"] != ""
            && kept["told"]["containers"][0]["newContainerID"] == "";
        if is_news {
            Ok(())
        } else {
            Err(kept.to_string())
        }
    });
    // Also by an agent that never saw the request.
    cluster
        .signal_daemon("n1", Daemon::Agent, Signal::SIGKILL)
        .unwrap();
    cluster.set_api_server(true).unwrap();
    wait_succeeded(cluster, name);
}

#[test]
fn restart_survives_the_agent_kubelet_the_runtime_and_the_api_server_and_ends_with_the_node() {
    turn::take(Rank::Long);
    let mut cluster = own("cluster-restart-outage");
    let hook = hooked(&json!({"exec": {"command": ["sleep", "6"]}}));
    let names = [
        "without-agent",
        "without-kubelet",
        "without-runtime",
        "without-api",
    ];
    for name in names.into_iter().chain(["without-node"]) {
        apply_pod(
            &cluster,
            name,
            "n1",
            std::slice::from_ref(&hook),
            &json!({"terminationGracePeriodSeconds": 8}),
        );
    }
    let before = names.map(|name| {
        wait_ready(&cluster, name, "");
        facts(&cluster, name)
    });

    // What was stored is gone on with by the next agent: TERM without the hook, when the first had its time.
    begin(&cluster, "without-agent");
    cluster
        .signal_daemon("n1", Daemon::Agent, Signal::SIGKILL)
        .unwrap();
    let status = wait_succeeded(&cluster, "without-agent");
    assert!(
        !status["containers"][0]["killResumedAt"].is_null(),
        "{status}"
    );

    begin(&cluster, "without-kubelet");
    cluster.restart_daemon("n1", Daemon::Kubelet).unwrap();
    wait_succeeded(&cluster, "without-kubelet");

    begin(&cluster, "without-runtime");
    cluster.kill_daemon("n1", Daemon::Containerd).unwrap();
    cluster.start_daemon("n1", Daemon::Containerd).unwrap();
    wait_succeeded(&cluster, "without-runtime");

    goes_on_without_the_api_server(&mut cluster, "without-api");

    for (name, before) in names.iter().zip(before) {
        assert_eq!(facts(&cluster, name), before);
        assert_eq!(containers(&cluster, name)["app"].restarts, 1, "{name}");
    }
    wait_ready(&cluster, "without-node", "");
    ends_with_the_nodes_boot(&mut cluster, "without-node");
    wait_for("nothing being kept on the node", || match kept(&cluster) {
        Err(why) if why == "there is no file" => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
