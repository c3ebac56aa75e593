//! How the agent's parts are put together, and in which order they come and go.
//!
//! Coming: privileges (before the first thread), metrics, health. Looking does not wait for the API server. Going:
//! everything at once; a report that was not written yet is written by the next process. One thread runs all of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipamd_daemon::http::{HttpContent, HttpServer};
use ipamd_daemon::readiness::{Readiness, Ready};
use ipamd_daemon::signal::spawn_signals;
use ipamd_daemon::{Tasks, chain, privilege};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tracing::{error, info};

use crate::args::{ApiArgs, Args, Role};
use crate::health::{Health, Place, Writer, spawn_health};
use crate::metrics::Metrics;

/// Nothing has anything to finish.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// An API server that takes longer is away.
const API_DEADLINE: Duration = Duration::from_secs(15);

/// Runs the agent until it is told to end, or a part of it ends by itself.
pub(crate) fn run(args: &Args) -> Result<()> {
    // None is needed: the address daemon's socket is this process's own user's, kubelet answers on the loopback.
    let capabilities = privilege::reduce(&[])?;
    ensure!(
        capabilities.is_empty(),
        "capabilities are left: {capabilities:?}"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()?;
    match args.role {
        Role::Node => runtime.block_on(serve(args)),
    }
}

async fn serve(args: &Args) -> Result<()> {
    let boot_id = read_boot_id(&args.health.boot_id_file)?;
    let config = api_config(&args.api).await?;
    log_start(args, &config, &boot_id);
    let client = Client::try_from(config).context("making a client of the API server")?;
    let (tasks, mut supervisor) = Tasks::new();
    let signals = spawn_signals(&tasks)?;
    let metrics = Metrics::new();
    let readiness = Arc::new(Readiness::new("the first report is not written yet"));
    let place = Place {
        namespace: args.api.namespace.clone(),
        node: args.node.clone(),
    };
    let health = Health {
        args: args.health.clone(),
        boot_id,
        node: args.node.clone(),
        writer: Writer::new(client, place),
        metrics: metrics.health.clone(),
        readiness: Arc::clone(&readiness),
    };
    if let Some(address) = &args.metrics.0 {
        let content = HttpContent {
            registry: Arc::new(metrics.registry),
            readiness: readiness.watch(),
        };
        HttpServer::bind(address).await?.spawn(&tasks, content);
    }
    spawn_health(&tasks, health);

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

fn log_start(args: &Args, config: &Config, boot_id: &str) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        node = args.node,
        namespace = args.api.namespace,
        api = %config.cluster_url,
        boot_id,
        ipamd_socket = %args.health.ipamd_socket.display(),
        kubelet_healthz = %args.health.kubelet_healthz,
        metrics = args.metrics.0.as_ref().map(ToString::to_string),
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

async fn api_config(args: &ApiArgs) -> Result<Config> {
    let mut config = match &args.kubeconfig {
        None => Config::incluster().context(
            "reading what Kubernetes gives to a Pod (environment and the token's volume); outside of a Pod give --kubeconfig",
        )?,
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("reading {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("reading {}", path.display()))?
        }
    };
    config.connect_timeout = Some(API_DEADLINE);
    config.read_timeout = Some(API_DEADLINE);
    config.write_timeout = Some(API_DEADLINE);
    // Else the time that a connection was idle would count.
    config.reset_reader_on_write = true;
    // Who writes waits and tries again by a rule of its own.
    config.default_retry = false;
    Ok(config)
}
