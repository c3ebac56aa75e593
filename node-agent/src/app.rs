//! How the agent's parts are put together, and in which order they come and go.
//!
//! Coming: privileges (before the first thread), then the roles. Looking does not wait for the API server. Going: everything at
//! once; a report that was not written yet is written by the next process, and a leader gives its Lease up. One thread runs
//! all of it.

mod api;
mod pods;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipamd_daemon::http::{HttpContent, HttpServer};
use ipamd_daemon::readiness::{Readiness, ReadinessWatch, Ready};
use ipamd_daemon::signal::spawn_signals;
use ipamd_daemon::{Tasks, chain};
use kube::Config;
use node_agent_controllers::{Controllers, spawn_controllers};
use node_agent_cri::Runtime;
use tracing::{debug, error, info, warn};

use self::api::{API_DEADLINE, SILENCE_DEADLINE, api_config};
use self::pods::watch_pods;
use crate::args::{Args, Role};
use crate::containers::{ContainerReports, spawn_container_reports};
use crate::guard;
use crate::health::{Health, Place, Writer, spawn_health};
use crate::locked::lock_memory;
use crate::metrics::Metrics;
use crate::privilege;
use crate::pull::{Pulls, spawn_pulls};
use crate::pulse::{self, Pulse};
use crate::readiness::spawn_readiness;
use crate::restart::{Restarts, spawn_restarts};

/// Only a write of the controllers, and the Lease.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Runs the agent until it is told to end, or a part of it ends by itself.
pub(crate) fn run(args: &Args) -> Result<()> {
    let capabilities = privilege::reduce(args.role.is_node())?;
    debug!(?capabilities, "capabilities that are left");
    // The controllers look at no disk that could hang, and others take their place.
    if args.role.is_node()
        && let Err(error) = lock_memory()
    {
        warn!(error = %chain(&error), "memory is not locked: a disk that hangs may keep the agent from telling so");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()?;
    if args.role == Role::Guard {
        return runtime.block_on(guard::serve(&args.guard));
    }
    runtime.block_on(serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    let (tasks, mut supervisor) = Tasks::new();
    let signals = spawn_signals(&tasks)?;
    let metrics = Metrics::new();
    let mut parts = Vec::new();
    if args.role.is_node() {
        parts.push(host_node(args, &tasks, &metrics).await?);
    }
    if args.role.is_controllers() {
        parts.push(host_controllers(args, &tasks, &metrics).await?);
    }
    let readiness = Arc::new(Readiness::new("starting"));
    spawn_readiness(&tasks, parts, Arc::clone(&readiness));
    if let Some(address) = args.metrics() {
        let content = HttpContent {
            registry: Arc::new(metrics.registry),
            readiness: readiness.watch(),
        };
        HttpServer::bind(&address).await?.spawn(&tasks, content);
    }

    let outcome = tokio::select! {
        () = signals.shutdown.cancelled() => Ok(()),
        end = supervisor.unexpected_end() => Err(end.into()),
    };
    readiness.set(Ready::No("stopping".to_owned()));
    if let Err(error) = tasks.stop(STOP_DEADLINE).await {
        error!(error = %chain(&error), "not stopped in time");
    }
    info!("stopped");
    outcome
}

/// Starts the role of a node. Answers how far it is.
async fn host_node(args: &Args, tasks: &Tasks, metrics: &Metrics) -> Result<ReadinessWatch> {
    let boot_id = read_boot_id(&args.health.boot_id_file)?;
    let kubeconfig = args.api.kubeconfig.as_deref();
    let config = api_config(kubeconfig, API_DEADLINE).await?;
    log_start(args, &config, &boot_id);
    let client = ipamd_api::client(config).context("making a client of the API server")?;
    let readiness = Arc::new(Readiness::new("the first report is not written yet"));
    let watch = readiness.watch();
    let place = Place {
        namespace: args.api.namespace.clone(),
        node: args.node.clone(),
    };
    let config = api_config(kubeconfig, SILENCE_DEADLINE).await?;
    let watching = ipamd_api::client(config).context("making a client of the API server")?;
    let runtime = Runtime::new(args.roots.runtime.clone());
    let watched = watch_pods(args, tasks, metrics, watching.clone());
    let pods = watched.pods.clone();
    let pulse = Pulse::default();
    let health = Health {
        args: args.health.clone(),
        roots: args.roots.clone(),
        boot_id,
        node: args.node.clone(),
        writer: Writer::new(client, place),
        metrics: metrics.health.clone(),
        readiness,
        watched,
        pulse: pulse.clone(),
    };
    spawn_health(tasks, health);
    let reports = ContainerReports {
        client: watching.clone(),
        pods: pods.clone(),
        runtime: runtime.clone(),
        metrics: metrics.containers.clone(),
    };
    spawn_container_reports(tasks, reports);
    let restarts = Restarts {
        pods,
        client: watching.clone(),
        node: args.node.clone(),
        runtime: runtime.clone(),
        state: &args.roots.state,
        proc: &args.roots.proc,
        args: args.restart.clone(),
        metrics: metrics.restarts.clone(),
    };
    spawn_restarts(tasks, restarts);
    let pulls = Pulls {
        client: watching,
        namespace: args.api.namespace.clone(),
        secrets_namespace: args.pull.pull_secrets_namespace.clone(),
        node: args.node.clone(),
        runtime,
        metrics: metrics.pulls.clone(),
    };
    spawn_pulls(tasks, pulls);
    pulse::watch(pulse).context("starting the thread that watches whether the agent goes on")?;
    Ok(watch)
}

/// Starts the role of the controllers. Answers how far it is.
async fn host_controllers(args: &Args, tasks: &Tasks, metrics: &Metrics) -> Result<ReadinessWatch> {
    let api = &args.api;
    let kubeconfig = api.controllers_kubeconfig.as_ref();
    let kubeconfig = kubeconfig.or(api.kubeconfig.as_ref());
    let config = api_config(kubeconfig.map(PathBuf::as_path), SILENCE_DEADLINE).await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        node = args.node,
        namespace = api.namespace,
        api = %config.cluster_url,
        "starting the controllers"
    );
    let client = ipamd_api::client(config).context("making a client of the API server")?;
    let readiness = Arc::new(Readiness::new("the Lease was not read yet"));
    let watch = readiness.watch();
    let controllers = Controllers {
        client,
        namespace: api.namespace.clone(),
        rack_label: api.rack_label.clone(),
        node: args.node.clone(),
        archive: args.decision_archive.clone(),
        election_roll: args.election_roll.clone(),
        readiness,
        metrics: metrics.controllers.clone(),
        node_collector: metrics.node_collector.clone(),
    };
    spawn_controllers(tasks, controllers);
    Ok(watch)
}

fn log_start(args: &Args, config: &Config, boot_id: &str) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        node = args.node,
        namespace = args.api.namespace,
        api = %config.cluster_url,
        boot_id,
        ipamd_socket = %args.health.ipamd_socket.display(),
        kubelet_healthz = %args.health.kubelet_healthz,
        metrics = args.metrics().map(|address| address.to_string()),
        "starting"
    );
}

fn read_boot_id(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("reading the boot id from {}", path.display()))?;
    let id = text.trim();
    ensure!(!id.is_empty(), "the boot id in {} is empty", path.display());
    Ok(id.to_owned())
}
