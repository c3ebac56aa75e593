//! Containers of this node's Pods restarted in place, as `ContainerRestart`s ask for it.
//!
//! Decides nothing: `node-agent-restart` does. Watches the requests of this node and its Pods, looks at the runtime, stores what was
//! decided, stops containers, holds and gives back readiness gates. Never starts a container: kubelet alone does.

use std::path::Path;

use clap::Args;
use ipamd_daemon::Tasks;
use kube::Client;
use node_agent_cri::Runtime;
use node_agent_restart::backoff::BackOff;

mod api;
mod driver;
mod facts;
mod gate;
mod hook;
mod journal;
mod keeper;
mod kubelet;
mod look;
mod metrics;
mod request;
mod requests;
mod stop;
mod store;
mod verdict;

use self::api::Api;
use self::driver::{Driver, Parts};
pub(crate) use self::metrics::RestartMetrics;

use self::journal::Journal;
use self::keeper::spawn_keeper;
use self::kubelet::Kubelet;
use self::requests::spawn_requests;
use self::stop::Stops;
use self::store::Store;
use crate::pods::Pods;

/// What cannot be seen of kubelet.
#[derive(Clone, Debug, Args)]
pub(crate) struct RestartArgs {
    /// kubelet's crashLoopBackOff.maxContainerRestartPeriod, by which it is foreseen how long a restart takes
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "300s",
        env = "BERTH_AGENT_KUBELET_MAX_RESTART_PERIOD",
        value_parser = humantime::parse_duration
    )]
    pub(crate) kubelet_max_restart_period: std::time::Duration,
}

/// What restarts are made with.
pub(crate) struct Restarts<'a> {
    /// For watches: its connections may be silent for a while.
    pub(crate) client: Client,
    /// The node's name.
    pub(crate) node: String,
    /// This node's Pods.
    pub(crate) pods: Pods,
    /// The runtime.
    pub(crate) runtime: Runtime,
    /// Where what must survive the process is kept.
    pub(crate) state: &'a Path,
    /// The node's processes.
    pub(crate) proc: &'a Path,
    /// What cannot be seen.
    pub(crate) args: RestartArgs,
    /// What is counted.
    pub(crate) metrics: RestartMetrics,
}

/// Starts to carry requests out.
pub(crate) fn spawn_restarts(tasks: &Tasks, restarts: Restarts<'_>) {
    let requests = spawn_requests(tasks, restarts.client.clone(), &restarts.node);
    let api = Api::new(restarts.client);
    spawn_keeper(tasks, api.clone(), restarts.pods.clone(), requests.clone());
    let journal = Journal::new(restarts.state);
    let driver = Driver::new(Parts {
        node: restarts.node,
        store: Store::open(api.clone(), requests.clone(), journal),
        api,
        stops: Stops::new(tasks.clone(), restarts.runtime.clone()),
        runtime: restarts.runtime,
        pods: restarts.pods,
        requests,
        back_off: BackOff::with_longest(restarts.args.kubelet_max_restart_period),
        kubelet: Kubelet::new(restarts.proc.to_owned()),
        metrics: restarts.metrics,
    });
    tasks.spawn("restarts", driver.run(tasks.token()));
}
