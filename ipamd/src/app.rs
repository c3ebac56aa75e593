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
use crate::sync::{Cluster, EventsHandle, PodsHandle, PodsMetrics, SyncParts, spawn_sync};
use crate::wire::{WireHandle, spawn_wire};

/// Runs the daemon until it is told to end, or a part of it ends by itself.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let file = FileWatch::new(&args.config);
    let config = config::load(&args.config, &args.overrides)?;
    let capabilities = privilege::reduce(config.probes())?;
    log_start(&config, &capabilities);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()?;
    runtime.block_on(serve(config, file, args.overrides.clone(), capabilities))
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

async fn serve(
    config: Config,
    file: FileWatch,
    overrides: Overrides,
    capabilities: BTreeSet<String>,
) -> anyhow::Result<()> {
    let (root, mut supervisor) = Tasks::new();
    let signals = spawn_signals(&root)?;
    let groups = Groups::new(root);
    let incoming = uds::bind(&config.socket)?.into_incoming();
    let (ledger, task) = crate::ledger::ledger(ledger_config(&config, &overrides));
    let metrics = Metrics::new(&ledger, &capabilities);
    let readiness = Arc::new(Readiness::new("recovering"));

    let pods = metrics.pods.clone();
    let cluster = cluster(&groups.parts, &config, &overrides, &ledger, pods);
    let (rack, events, pods) = match cluster {
        Some(Cluster { rack, events, pods }) => (Some(rack), events, pods),
        None => (None, EventsHandle::to_nobody(), PodsHandle::of_nobody()),
    };
    let reloader = Reloader {
        config: config.clone(),
        overrides,
        ledger: ledger.clone(),
        reloads: metrics.reloads.clone(),
        file,
        rack,
        events: events.clone(),
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
        events,
        pods,
        capabilities: capabilities.into_iter().collect(),
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
    let stop = groups.intake.token();
    groups
        .intake
        .spawn("server", server::serve(service, incoming, stop));

    let outcome = tokio::select! {
        () = signals.shutdown.cancelled() => Ok(()),
        end = supervisor.unexpected_end() => Err(end.into()),
    };
    readiness.set(Ready::No("stopping".to_owned()));
    info!("stopping");
    groups.stop().await;
    info!("stopped");
    outcome
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

/// What comes from the cluster; `None`: the daemon stands alone, and nothing of this runs.
fn cluster(
    tasks: &Tasks,
    config: &Config,
    overrides: &Overrides,
    ledger: &LedgerHandle,
    pods: PodsMetrics,
) -> Option<Cluster> {
    let kubernetes = config.kubernetes.as_ref()?;
    let parts = SyncParts {
        rack_label: kubernetes.rack_label.clone(),
        kubeconfig: overrides.kubeconfig.clone(),
        store: config.store.clone(),
        ledger: ledger.clone(),
        pods,
    };
    Some(spawn_sync(tasks, parts, kubernetes.not_asked_yet()))
}

fn ledger_config(config: &Config, overrides: &Overrides) -> LedgerConfig {
    LedgerConfig {
        settings: config.settings.clone(),
        paths: LedgerPaths {
            store: config.store.clone(),
            spool: config.spool.clone(),
            results: config.cni_results.clone(),
            boot_id: overrides.boot_id_file.clone(),
        },
        ports: crate::links::by_netlink(),
    }
}
