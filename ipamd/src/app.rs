//! How the daemon's parts are put together, and in which order they come and go.
//!
//! Coming: configuration, privileges (before the first thread), socket, metrics, ledger, services. The socket is served
//! while the ledger still recovers, so that a plugin hears "recovering" instead of finding nobody. Going: readiness off,
//! intake stopped, what is under way finished until a deadline, ledger last.
//!
//! One thread runs all of it. The store writes and syncs on a thread of its own, so nothing here blocks, and a call costs
//! tens of microseconds: a second worker would add a stack, a malloc arena and hand-overs between threads, and win nothing.

mod groups;

use std::collections::BTreeSet;
use std::sync::Arc;

use ipamd_daemon::Tasks;
use ipamd_daemon::http::{HttpContent, HttpServer};
use ipamd_daemon::readiness::{Readiness, Ready};
use ipamd_daemon::signal::spawn_signals;
use ipamd_daemon::uds;
use prometheus_client::registry::Registry;
use tracing::info;

use groups::Groups;

use crate::args::Args;
use crate::config::{self, Config, Overrides};
use crate::ledger::{LedgerConfig, LedgerHandle, LedgerPaths};
use crate::metrics::Metrics;
use crate::privilege;
use crate::readiness::spawn_readiness;
use crate::reload::{FileWatch, Reloader, spawn_reloader};
use crate::sandboxes::spawn_sandboxes;
use crate::server::{self, Service, ServiceParts};
use crate::sync::{Cluster, Remembered, SyncParts, spawn_sync};
use crate::wire::{WireHandle, spawn_wire};

/// What the daemon starts with.
struct Start {
    config: Config,
    file: FileWatch,
    overrides: Overrides,
    capabilities: BTreeSet<String>,
    remembered: Option<Remembered>,
}

/// Runs the daemon until it is told to end, or a part of it ends by itself.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let file = FileWatch::new(&args.config);
    let mut config = config::load(&args.config, &args.overrides)?;
    let capabilities = privilege::reduce(config.probes())?;
    let remembered = Remembered::load(&config.store, &config.settings);
    if let Some(remembered) = &remembered {
        config.settings = remembered.settings(&config.settings);
    }
    log_start(&config, &capabilities);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()?;
    let overrides = args.overrides.clone();
    runtime.block_on(serve(Start {
        config,
        file,
        overrides,
        capabilities,
        remembered,
    }))
}

fn log_start(config: &Config, capabilities: &BTreeSet<String>) {
    let settings = config.settings.settings();
    let metrics = config.metrics.as_ref();
    let kept: Vec<_> = capabilities.iter().map(String::as_str).collect();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %config.path.display(),
        node = %settings.node,
        rack = %settings.rack,
        pools = settings.pools.len(),
        rules = settings.rules.len(),
        socket = %config.socket.display(),
        store = %config.store.display(),
        metrics = metrics.map(ToString::to_string),
        capabilities = kept.join(","),
        probing = config.probes(),
        "starting"
    );
}

async fn serve(mut start: Start) -> anyhow::Result<()> {
    let (root, mut supervisor) = Tasks::new();
    let signals = spawn_signals(&root)?;
    let groups = Groups::new(root);
    let incoming = uds::bind(&start.config.socket)?.into_incoming();
    let (ledger, task) = crate::ledger::ledger(ledger_config(&start));
    let metrics = Metrics::new(&ledger, &start.capabilities);
    let readiness = Arc::new(Readiness::new("recovering"));

    let cluster = cluster(&groups.parts, &mut start, &ledger, &metrics);
    let Start {
        config, overrides, ..
    } = start;
    let reloader = Reloader {
        config: config.clone(),
        overrides,
        ledger: ledger.clone(),
        reloads: metrics.reloads.clone(),
        file: start.file,
        rack: cluster.rack,
        pools: cluster.pools,
        events: cluster.events.clone(),
    };
    let (reloader, guards) = spawn_reloader(&groups.parts, reloader, signals.reloads);
    let wire = if config.probes() {
        let (settings, ledger) = (&config.probe, ledger.clone());
        spawn_wire(&groups.parts, settings, ledger, guards, &metrics.wire)
    } else {
        WireHandle::unwatched()
    };
    let service = Service::new(ServiceParts {
        ledger: ledger.clone(),
        reloader,
        calls: metrics.calls.clone(),
        wire,
        events: cluster.events,
        pods: cluster.pods,
        claims: cluster.claims,
        capabilities: start.capabilities.into_iter().collect(),
    });
    if let Some(runtime) = &config.runtime {
        let ports = crate::links::by_netlink();
        spawn_sandboxes(&groups.parts, runtime.clone(), ports, ledger.clone());
    }
    spawn_metrics(&groups.parts, &config, metrics.registry, &readiness).await?;
    spawn_readiness(&groups.parts, ledger, Arc::clone(&readiness));
    groups
        .ledger
        .spawn("ledger", task.run(groups.ledger.token()));
    let ended = groups.intake.token();
    groups
        .intake
        .spawn("server", server::serve(service, incoming, ended));

    let outcome = tokio::select! {
        () = signals.shutdown.cancelled() => Ok(()),
        end = supervisor.unexpected_end() => Err(end.into()),
    };
    stop(groups, &readiness).await;
    outcome
}

async fn stop(groups: Groups, readiness: &Readiness) {
    readiness.set(Ready::No("stopping".to_owned()));
    info!("stopping");
    groups.stop().await;
    info!("stopped");
}

async fn spawn_metrics(
    tasks: &Tasks,
    config: &Config,
    registry: Registry,
    readiness: &Readiness,
) -> anyhow::Result<()> {
    let Some(address) = &config.metrics else {
        return Ok(());
    };
    let content = HttpContent {
        registry: Arc::new(registry),
        readiness: readiness.watch(),
    };
    HttpServer::bind(address).await?.spawn(tasks, content);
    Ok(())
}

/// What comes from the cluster. Where the daemon stands alone, nothing of this runs.
fn cluster(tasks: &Tasks, start: &mut Start, ledger: &LedgerHandle, metrics: &Metrics) -> Cluster {
    let Some(kubernetes) = &start.config.kubernetes else {
        return Cluster::of_nobody();
    };
    let (remembered, refusals) = (start.remembered.take(), &metrics.refused_pools);
    let parts = SyncParts {
        rack_label: kubernetes.rack_label.clone(),
        kubeconfig: start.overrides.kubeconfig.clone(),
        store: start.config.store.clone(),
        ledger: ledger.clone(),
        pools: remembered.map(|remembered| (remembered, refusals.clone())),
        pods: metrics.pods.clone(),
        claims: metrics.claims.clone(),
        warm: kubernetes.warm,
    };
    spawn_sync(tasks, parts, kubernetes.not_asked_yet())
}

fn ledger_config(start: &Start) -> LedgerConfig {
    let config = &start.config;
    LedgerConfig {
        settings: config.settings.clone(),
        paths: LedgerPaths {
            store: config.store.clone(),
            spool: config.spool.clone(),
            results: config.cni_results.clone(),
            boot_id: start.overrides.boot_id_file.clone(),
        },
        ports: crate::links::by_netlink(),
    }
}
