//! The runtime's sandboxes are compared with the book through the relay beside the daemon, as it is shipped.

use std::time::Duration;

use serde_json::Value;
use tests_testbed::{Cluster, Daemon, Pending, wait_patiently};

use crate::site::own;

/// A comparison that found no relay yet is made anew after a minute.
const DEADLINE: Duration = Duration::from_secs(180);

/// Waits until the daemon on the node has compared since its start, and has nothing to say of it.
fn wait_compared(cluster: &Cluster, what: &str) {
    let url = "http://127.0.0.1:9421/metrics";
    let name = "berth_ipamd_sandbox_comparisons_total ";
    let node = cluster.world().node("n1");
    wait_patiently(what, DEADLINE, || {
        let fsck = cluster.ipamd_command("n1", &["fsck", "--output", "json"]);
        let fsck = fsck.map_err(|error| Pending::because(format!("{error:#}")))?;
        let findings: Value = serde_json::from_str(&fsck.stdout).unwrap_or_default();
        let findings = findings["findings"].to_string();
        let metrics = node.run(&["busybox", "wget", "-qO-", url]);
        let metrics = metrics.map_err(|error| Pending::because(format!("{error:#}")))?;
        let compared = metrics.lines().find_map(|line| line.strip_prefix(name));
        if compared.is_some_and(|count| count != "0") && findings == "[]" {
            return Ok(());
        }
        Err(Pending::because(format!("{compared:?}, {findings}")))
    })
    .unwrap();
}

#[test]
fn sandboxes_of_a_node_are_compared_also_after_its_runtime_was_restarted() {
    let mut cluster = own("cluster-sandboxes");
    wait_compared(&cluster, "a comparison");
    // The runtime makes its socket anew, and the relay is not told; the daemon counts from nothing.
    cluster.restart_daemon("n1", Daemon::Containerd).unwrap();
    cluster.kill_daemon("n1", Daemon::Ipamd).unwrap();
    wait_compared(&cluster, "a comparison with the runtime's new socket");
}
