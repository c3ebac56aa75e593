//! `kubectl berth health`: what is wrong with nodes, since when, what it means, what to do.

mod peers;
mod text;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use self::view::{NodeView, Seen};
use crate::cluster::Cluster;
use crate::output::{Format, Output, print_remark};

/// Whose health.
#[derive(Clone, Debug, Args)]
pub(crate) struct HealthArgs {
    /// Nodes; default: all
    #[arg(value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
}

/// Whether all of them are healthy.
pub(crate) async fn run(args: &HealthArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    let now = Timestamp::now();
    let views = if args.nodes.is_empty() {
        observe_all(cluster, now).await?
    } else {
        observe_named(cluster, &args.nodes, now).await?
    };
    match output.format {
        Format::Json | Format::Yaml => output.document(&views)?,
        Format::Table => Output::text(&text::table(&views, now, output.paint))?,
        Format::Wide => Output::text(&text::wide(&views, now, output.paint))?,
    }
    Ok(views.iter().all(NodeView::is_healthy))
}

async fn observe_all(cluster: &Cluster, now: Timestamp) -> Result<Vec<NodeView>> {
    let renewals = tell(cluster.agent_renewals().await);
    let reports = cluster.reports().await?;
    let reports: BTreeMap<_, _> = reports.into_iter().map(|it| (it.name_any(), it)).collect();
    let mut names: BTreeSet<String> = reports.keys().cloned().collect();
    match cluster.node_names().await {
        Ok(nodes) => names.extend(nodes),
        // Who may read reports may perhaps not read Nodes.
        Err(error) => print_remark(&format!(
            "nodes without any report are not listed: {error:#}"
        )),
    }
    let judge = |name: String| {
        let seen = Seen {
            report: reports.get(&name),
            boot_id: None,
            renewed: renewals.get(&name).copied(),
        };
        view::judge(&name, seen, now)
    };
    Ok(names.into_iter().map(judge).collect())
}

async fn observe_named(
    cluster: &Cluster,
    names: &[String],
    now: Timestamp,
) -> Result<Vec<NodeView>> {
    let mut views = Vec::new();
    for name in names {
        let report = cluster.report(name).await?;
        let node = match cluster.node(name).await {
            Ok(None) if report.is_none() => bail!("there is no node {name:?}"),
            Ok(node) => node,
            Err(_) if report.is_some() => None,
            Err(error) => return Err(error),
        };
        let info = node.and_then(|node| node.status?.node_info);
        let seen = Seen {
            report: report.as_ref(),
            boot_id: info.as_ref().map(|info| info.boot_id.as_str()),
            renewed: tell(cluster.agent_renewal(name).await),
        };
        views.push(view::judge(name, seen, now));
    }
    Ok(views)
}

/// Who may read reports may perhaps not read Leases: then it is not told whether agents live.
fn tell<T: Default>(read: Result<T>) -> T {
    read.unwrap_or_else(|error| {
        print_remark(&format!("whether agents live is not known: {error:#}"));
        T::default()
    })
}
