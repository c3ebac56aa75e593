//! `kubectl berth decisions`: what the node lifecycle decided, did, or would have done, oldest first; and whether the record holds
//! together.

mod chain;
#[cfg(test)]
pub(crate) mod fixture;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proto_crd::node_decision::{NodeDecision, NodeDecisionSpec};
use serde::Serialize;

use crate::cluster::Cluster;
use crate::freeze::duration;
use crate::output::{Format, Output};
use chain::Findings;

/// Which decisions.
#[derive(Clone, Debug, Args)]
pub(crate) struct DecisionsArgs {
    /// A node; default: everything
    #[arg(value_name = "NODE")]
    pub(crate) node: Option<String>,

    /// A rack: about itself, and about its nodes
    #[arg(long, value_name = "RACK", conflicts_with = "node")]
    pub(crate) rack: Option<String>,

    /// Not older than, such as 1h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) since: Option<Duration>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    decisions: Vec<&'a NodeDecisionSpec>,
    chain: &'a Findings,
}

/// Whether the record holds together.
pub(crate) async fn run(args: &DecisionsArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    let fields = match (&args.node, &args.rack) {
        (Some(node), _) => Some(format!("spec.node={node}")),
        (None, Some(rack)) => Some(format!("spec.rack={rack}")),
        (None, None) => None,
    };
    let is_all = fields.is_none();
    let mut decisions = in_order(cluster.decisions(fields).await?);
    let findings = chain::verify(&decisions, is_all);
    let before = decisions.len();
    if let Some(since) = args.since {
        let oldest = Timestamp::now().saturating_sub(SignedDuration::try_from(since)?)?;
        decisions.retain(|decision| when(decision).is_none_or(|time| time >= oldest));
    }
    match output.format {
        Format::Json | Format::Yaml => output.document(&Document {
            decisions: decisions.iter().collect(),
            chain: &findings,
        })?,
        Format::Table | Format::Wide => {
            let wide = output.format == Format::Wide;
            let mut text = text::table(&decisions, wide, output.paint);
            if decisions.is_empty() {
                text = nothing(args, before);
            }
            text += &text::chain(&findings, output.paint);
            Output::text(&text)?;
        }
    }
    Ok(findings.broken.is_empty())
}

fn nothing(args: &DecisionsArgs, before: usize) -> String {
    let about = match (&args.node, &args.rack) {
        (Some(node), _) => format!(" about node {node}"),
        (None, Some(rack)) => format!(" about rack {rack} and its nodes"),
        (None, None) => String::new(),
    };
    if before == 0 {
        format!(
            "no decision{about} is kept: nothing was to be decided, no leader has looked yet (kubectl get lease berth-controllers \
             -n berth-system), or it is in the archive only\n"
        )
    } else {
        format!("no decision{about} since then; {before} before that\n")
    }
}

/// As they were decided: by term, and in it by their number.
pub(crate) fn in_order(decisions: Vec<NodeDecision>) -> Vec<NodeDecisionSpec> {
    let mut all: Vec<_> = decisions.into_iter().map(|it| it.spec).collect();
    all.sort_by_key(|it| (it.term, it.sequence));
    all
}

/// When it was decided, by the leader's clock.
pub(crate) fn when(decision: &NodeDecisionSpec) -> Option<Timestamp> {
    decision.time.to_string().parse().ok()
}

/// What became of each, by the id of the decision that it was about.
pub(crate) fn outcomes(decisions: &[NodeDecisionSpec]) -> BTreeMap<&str, &NodeDecisionSpec> {
    let outcomes = decisions.iter();
    outcomes
        .filter_map(|it| Some((it.of.as_deref()?, it)))
        .collect()
}
