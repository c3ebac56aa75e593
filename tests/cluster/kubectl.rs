//! `kubectl exec`, `logs` and `port-forward` to Pods of both runtimes.

use std::time::Duration;

use serde_json::json;
use tests_testbed::{Cluster, Kubernetes, Pending, wait_until};

use crate::{
    seen::{container, exec_in, find, pod, remove, wait_for},
    site::{shared, wait_ready},
};

/// A tunnel is there within a second on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A port of the control plane's machine leads to the Pod's server while `kubectl port-forward` runs.
fn forward(cluster: &mut Cluster, name: &str, port: u16) {
    let kubectl = Kubernetes::from_environment()
        .unwrap()
        .folder()
        .join("kubectl");
    let kubeconfig = cluster.control_plane().kubeconfig();
    let [kubectl, kubeconfig] = [kubectl, kubeconfig].map(|it| it.to_string_lossy().into_owned());
    let ports = format!("{port}:8080");
    let words = [
        &*kubectl,
        "--kubeconfig",
        &kubeconfig,
        "port-forward",
        name,
        &ports,
    ];
    let machine = cluster.control_plane().machine();
    let mut forward = machine.spawn(&format!("forward-{name}"), &words).unwrap();
    wait_until("the tunnel", DEADLINE, || {
        let log = forward.log();
        if log.contains("Forwarding from 127.0.0.1") {
            Ok(())
        } else {
            Err(Pending(log))
        }
    })
    .unwrap();
    wait_for("an answer by the tunnel", || {
        let line = format!("busybox nc -w 5 127.0.0.1 {port} < /dev/null");
        let said = machine
            .script(&line)
            .map_err(|error| format!("{error:#}"))?;
        if said.trim() == "hello" {
            Ok(())
        } else {
            Err(format!("it said {said:?}"))
        }
    });
    forward.kill().unwrap();
}

#[test]
fn exec_logs_and_port_forward_work_for_pods_of_both_runtimes() {
    let mut cluster = shared();
    for node in ["n1", "n2"] {
        let mut spec = json!({"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 1});
        // The server listens on the Pod's loopback too: that is where a forwarded port arrives.
        spec["containers"] = json!([container(
            "app",
            "echo begins; exec nc -ll -p 8080 -e echo hello"
        )]);
        spec["containers"][0]["readinessProbe"] =
            json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
        cluster
            .apply(&pod(&format!("asked-{node}"), &spec).to_string())
            .unwrap();
    }
    for (node, port) in [("n1", 18081), ("n2", 18082)] {
        let name = format!("asked-{node}");
        wait_ready(&cluster, &name, "");
        let said = exec_in(
            &cluster,
            &name,
            "app",
            &["ip", "-o", "addr", "show", "dev", "eth0"],
        );
        assert!(
            said.contains(&format!("{}/", find(&cluster, &name).v4())),
            "{said}"
        );
        assert_eq!(cluster.kubectl(&["logs", &name]).unwrap(), "begins\n");

        forward(&mut cluster, &name, port);
    }
    remove(&cluster, &["pod/asked-n1", "pod/asked-n2"]);
}
