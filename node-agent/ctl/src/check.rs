//! `kubectl berth check`: whether pools, claims, Pods, Nodes and the nodes' own books agree, in the whole cluster.
//!
//! Lists are read one after the other and the daemons write behind their answers, so what differs by chance is looked at
//! twice: told is what both looks found.

mod plan;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::claims::Selection;
use crate::cluster::exec::{Answers, ExecArgs, Nodes};
use crate::cluster::{Cluster, RackArgs};
use crate::ipamd::Fsck;
use crate::output::{Format, Output, chain};
use plan::{Finding, World};

/// What is compared.
#[derive(Clone, Debug, Args)]
pub(crate) struct CheckArgs {
    /// Do not ask the nodes: kernel and book are not compared
    #[arg(long)]
    pub(crate) no_exec: bool,

    /// Seconds between the two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=3600))]
    pub(crate) settle: u16,

    #[command(flatten)]
    pub(crate) label: RackArgs,

    #[command(flatten)]
    pub(crate) exec: ExecArgs,
}

/// What was found, and how much was looked at.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    findings: Vec<Finding>,
    looked_at: LookedAt,
    /// The nodes were not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes_not_asked: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct LookedAt {
    pools: usize,
    claims: usize,
    pods: usize,
    nodes: usize,
    nodes_asked: usize,
}

/// Whether nothing was found.
pub(crate) async fn run(args: &CheckArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    let world = observe(args, cluster).await?;
    let mut report = Report {
        findings: plan::plan(&world),
        looked_at: LookedAt {
            pools: world.pools.len(),
            claims: world.claims.len(),
            pods: world.pods.len(),
            nodes: world.nodes.len(),
            nodes_asked: 0,
        },
        nodes_not_asked: None,
    };
    if !report.findings.is_empty() {
        tokio::time::sleep(Duration::from_secs(args.settle.into())).await;
        let again = plan::plan(&observe(args, cluster).await?);
        report.findings = plan::confirmed(report.findings, &again);
    }
    if args.no_exec {
        report.nodes_not_asked = Some("--no-exec".to_owned());
    } else {
        ask(args, cluster, &world, &mut report).await;
    }
    match output.format {
        Format::Json | Format::Yaml => output.document(&report)?,
        Format::Table | Format::Wide => Output::text(&text::text(&report, output.paint))?,
    }
    Ok(report.findings.is_empty())
}

async fn observe(args: &CheckArgs, cluster: &Cluster) -> Result<World> {
    // Pods first: one that starts meanwhile has its claim then, and one that ends still has it.
    let pods = cluster.pods().await?;
    Ok(World {
        pods,
        claims: cluster.claims(&Selection::default()).await?,
        pools: cluster.pools().await?,
        nodes: cluster.nodes(&args.label.rack_label).await?,
        daemons: cluster.ipamd_pods(None).await?.into_keys().collect(),
        now: Timestamp::now(),
    })
}

/// Kernel against book, on every node that has one.
async fn ask(args: &CheckArgs, cluster: &Cluster, world: &World, report: &mut Report) {
    let pods = match cluster.ipamd_pods(None).await {
        Ok(pods) => pods,
        Err(error) => {
            report.nodes_not_asked = Some(format!("{error:#}"));
            return;
        }
    };
    let present: BTreeSet<_> = world.nodes.iter().map(|node| node.name.clone()).collect();
    let nodes: Vec<String> = pods
        .keys()
        .filter(|node| present.contains(*node))
        .cloned()
        .collect();
    let asked = Nodes::new(cluster, pods, args.exec);
    let answers: Answers<Fsck> = asked.ask_all(nodes, &["fsck".to_owned()]).await;
    if let Some(everywhere) = answers
        .values()
        .find_map(|it| it.as_ref().err().filter(|it| it.is_everywhere()))
    {
        report.nodes_not_asked = Some(chain(everywhere));
        return;
    }
    let answers: BTreeMap<_, _> = answers
        .into_iter()
        .map(|(node, answer)| {
            (
                node,
                answer.map(|it| it.findings).map_err(|error| chain(&error)),
            )
        })
        .collect();
    report.looked_at.nodes_asked = answers.values().filter(|it| it.is_ok()).count();
    report.findings.extend(plan::of_nodes(&answers));
}
