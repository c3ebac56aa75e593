//! `kubectl berth freeze`, `unfreeze` and `freezes`: nothing is done about nodes and their Pods for a while, by Berth and by Kubernetes'
//! own controllers of nodes.
//!
//! A freeze is told to be in force when the API server has refused what it refuses from then on, not when it was written.

mod plan;
mod text;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use proto_crd::lifecycle_freeze::{FreezeScope, LifecycleFreeze, LifecycleFreezeSpec};
use proto_crd::names;

use crate::age::since;
use crate::cluster::Cluster;
use crate::output::{Format, Output, print_remark};

pub(crate) use plan::{FrozenScope, duration, is_over, scope_of};

/// An API server that has just started learns of freezes half a minute later.
const PATIENCE: Duration = Duration::from_secs(40);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// A leader renews its Lease every few seconds.
const LEADER_ALIVE: Duration = Duration::from_secs(30);

/// What, and why.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("scope").required(true))]
pub(crate) struct FreezeArgs {
    /// Everything
    #[arg(long, group = "scope")]
    pub(crate) cluster: bool,

    /// The nodes of a rack and their Pods
    #[arg(long, value_name = "RACK", group = "scope")]
    pub(crate) rack: Option<String>,

    /// A node and its Pods
    #[arg(long, value_name = "NODE", group = "scope")]
    pub(crate) node: Option<String>,

    /// The Pods of an application, named by what owns them: a Deployment, a set
    #[arg(long, value_name = "NAMESPACE/NAME", group = "scope")]
    pub(crate) app: Option<String>,

    /// Why; for whoever finds the freeze
    #[arg(long, value_name = "TEXT", value_parser = plan::text)]
    pub(crate) reason: String,

    /// For how long, such as 2h or 90m; without it, until somebody takes it away
    #[arg(long = "for", value_name = "DURATION", value_parser = plan::duration)]
    pub(crate) length: Option<Duration>,

    /// Until when, such as 2026-01-31T18:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "length")]
    pub(crate) until: Option<Timestamp>,

    /// Where more is written about it
    #[arg(long, value_name = "TEXT", value_parser = plan::text)]
    pub(crate) ticket: Option<String>,

    /// Label of the Nodes that names their rack, where the configuration names another
    #[arg(long, value_name = "KEY", default_value = names::RACK_LABEL)]
    pub(crate) rack_label: String,
}

/// Which.
#[derive(Clone, Debug, Args)]
pub(crate) struct UnfreezeArgs {
    /// Freezes, by name (kubectl berth freezes)
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub(crate) names: Vec<String>,

    /// All of them
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
}

/// Whether it is in force.
pub(crate) async fn freeze(args: &FreezeArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    let scope = plan::scope(args)?;
    let expiry_time = plan::expiry(args.length, args.until, Timestamp::now())?;
    if let Some(remark) = unknown(&scope, args, cluster).await {
        print_remark(&remark);
    }
    let spec = LifecycleFreezeSpec {
        reason: args.reason.clone(),
        by: plan::author(&cluster.whoami().await?),
        ticket: args.ticket.clone(),
        expiry_time,
        scope,
    };
    let prefix = plan::prefix(&spec.scope);
    let made = cluster.make_freeze(&prefix, spec).await?;
    let began = Instant::now();
    let uid = made.uid().unwrap_or_default();
    let is_frozen = wait_for(cluster, &uid, true).await?;
    let took = is_frozen.then(|| began.elapsed());
    match output.format {
        Format::Json | Format::Yaml => output.document(&made)?,
        Format::Table | Format::Wide => {
            let led = is_led(cluster).await;
            Output::text(&text::made(&made, took, led))?;
        }
    }
    Ok(is_frozen)
}

/// Whether they are gone.
pub(crate) async fn unfreeze(
    args: &UnfreezeArgs,
    cluster: &Cluster,
    output: Output,
) -> Result<bool> {
    let there = cluster.freezes().await?;
    let mut ended = Vec::new();
    if args.all {
        ended.clone_from(&there);
    }
    for name in &args.names {
        match there.iter().find(|freeze| freeze.name_any() == *name) {
            Some(freeze) => ended.push(freeze.clone()),
            None => bail!(plan::not_there(name, &there)),
        }
    }
    for freeze in &ended {
        cluster.end_freeze(&freeze.name_any()).await?;
    }
    let mut is_over = true;
    for freeze in &ended {
        is_over &= wait_for(cluster, &freeze.uid().unwrap_or_default(), false).await?;
    }
    let gone = |freeze: &&LifecycleFreeze| !ended.iter().any(|it| it.uid() == freeze.uid());
    let left: Vec<_> = there.iter().filter(gone).cloned().collect();
    match output.format {
        Format::Json | Format::Yaml => output.document(&ended)?,
        Format::Table | Format::Wide => Output::text(&text::ended(&ended, &left, is_over))?,
    }
    Ok(is_over)
}

/// What is frozen. That is nothing wrong.
pub(crate) async fn list(cluster: &Cluster, output: Output) -> Result<bool> {
    let mut freezes = cluster.freezes().await?;
    freezes.sort_by_key(|freeze| freeze.creation_timestamp().map(|time| time.0));
    match output.format {
        Format::Json | Format::Yaml => output.document(&freezes)?,
        Format::Table | Format::Wide => {
            let now = Timestamp::now();
            let led = is_led(cluster).await;
            let wide = output.format == Format::Wide;
            Output::text(&text::table(&freezes, now, led, wide, output.paint))?;
        }
    }
    Ok(true)
}

/// What is to be frozen and is not there: that may be meant, or be a slip.
async fn unknown(scope: &FreezeScope, args: &FreezeArgs, cluster: &Cluster) -> Option<String> {
    if let Some(rack) = &scope.rack {
        let nodes = cluster.nodes_of_rack(rack, &args.rack_label).await.ok()?;
        return nodes
            .is_empty()
            .then(|| plan::unknown_rack(rack, &args.rack_label));
    }
    let node = scope.node.as_ref()?;
    let found = cluster.node(node).await.ok()?;
    found.is_none().then(|| plan::unknown_node(node))
}

/// Waits until the API server holds by the freeze, or no more; false: that took too long.
async fn wait_for(cluster: &Cluster, uid: &str, wanted: bool) -> Result<bool> {
    let began = Instant::now();
    while cluster.is_frozen_by(uid).await? != wanted {
        if began.elapsed() > PATIENCE {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(true)
}

/// Whether there is a leader that takes away what has expired; none: that is not known.
async fn is_led(cluster: &Cluster) -> Option<bool> {
    let renewed = cluster.leader_renewed().await.ok()?;
    let now = Timestamp::now();
    Some(renewed.is_some_and(|renewed| since(renewed, now) < LEADER_ALIVE))
}
