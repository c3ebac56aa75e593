//! The sources about the daemons that run a node's Pods: the runtime and kubelet, with their flags.

use std::time::Duration;

use clap::Args;
use ipamd_daemon::Tasks;
use kube::Client;
use node_agent_cri::Runtime;
use tokio::sync::mpsc;

use super::keeper::Notice;
use super::signals::restarts::Watched;
use super::signals::{self, exec, kill_storm, kubelet_lease, restarts, runtime, terminating};
use crate::guard::Storms;
use crate::metrics::HealthMetrics;
use crate::pods::Pods;
use crate::roots::Roots;

/// What is looked at of the daemons.
#[derive(Clone, Debug, Args)]
pub(crate) struct DaemonArgs {
    /// UID of the Pod that the agent is in: something is run in it now and then, to see how long that takes; default: nothing is
    #[arg(long, value_name = "UID", env = "BERTH_AGENT_POD_UID")]
    pub(crate) pod_uid: Option<String>,

    /// How long a restart of the runtime or of kubelet counts; five within it are too many
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "20m",
        value_parser = humantime::parse_duration,
        env = "BERTH_AGENT_RESTART_WINDOW"
    )]
    pub(crate) restart_window: Duration,
}

/// What is looked at with.
pub(super) struct Daemons<'a> {
    /// What was typed.
    pub(super) args: &'a DaemonArgs,
    /// Where this node's things are.
    pub(super) roots: &'a Roots,
    /// The boot.
    pub(super) boot_id: String,
    /// The API server.
    pub(super) client: Client,
    /// The node.
    pub(super) node: String,
    /// The node's Pods.
    pub(super) pods: Pods,
    /// Storms of Pods that end.
    pub(super) storms: Storms,
    /// What is counted.
    pub(super) metrics: &'a HealthMetrics,
}

/// Starts to look.
pub(super) fn spawn_daemons(tasks: &Tasks, with: Daemons<'_>, notices: &mpsc::Sender<Notice>) {
    let socket = with.roots.runtime.clone();
    let client = Runtime::new(socket.clone());
    let source = runtime::Source::new(client.clone());
    signals::spawn_source(tasks, source, notices.clone());
    let source = exec::Source::new(client, with.args.pod_uid.clone());
    signals::spawn_source(tasks, source, notices.clone());
    let watched = Watched {
        proc: with.roots.proc.clone(),
        runtime: socket,
        state: with.roots.state.clone(),
        boot_id: with.boot_id,
        window: with.args.restart_window,
    };
    let source = restarts::Source::new(watched, with.metrics.clone());
    signals::spawn_source(tasks, source, notices.clone());
    let source = kubelet_lease::Source {
        client: with.client,
        node: with.node,
    };
    signals::spawn_source(tasks, source, notices.clone());
    let source = terminating::Source { pods: with.pods };
    signals::spawn_source(tasks, source, notices.clone());
    let storms = with.storms;
    signals::spawn_source(tasks, kill_storm::Source { storms }, notices.clone());
}
