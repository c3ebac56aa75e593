//! `kubectl berth fence` and `unfence`: a node that is declared dead loses its addresses to whoever asks.
//!
//! Whoever fences vouches that the node is off: nothing stops a Pod that runs there from using its address. So a node
//! that says it is ready is fenced only when that is insisted on.

mod plan;

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use proto_crd::claim::Mark;
use proto_crd::names;
use serde::Serialize;

use crate::claims::{ClaimSeen, Selection, mark_words};
use crate::cluster::Cluster;
use crate::cluster::marks::{Which, Written};
use crate::output::{Format, Output, print_remark};
use plan::{Deed, NodeState};

/// A node that is not off claims on while it is fenced: after so many rounds that is told instead of followed.
const ROUNDS: usize = 5;

/// Which node, and why.
#[derive(Clone, Debug, Args)]
pub(crate) struct FenceArgs {
    /// The node
    #[arg(value_name = "NODE")]
    pub(crate) node: String,

    /// Why it is known to be off; for whoever finds the mark
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) reason: String,

    /// Even though the node says that it is ready
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Which node.
#[derive(Clone, Debug, Args)]
pub(crate) struct UnfenceArgs {
    /// The node
    #[arg(value_name = "NODE")]
    pub(crate) node: String,
}

/// What became of a node's claims.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    node: String,
    /// Marked, or unmarked, by this run.
    changed: Vec<String>,
    /// Were so before.
    already: Vec<String>,
    /// Another node has them now.
    taken: Vec<Taken>,
    /// Whether claims are left that are not as they should be.
    unfinished: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Taken {
    address: String,
    node: String,
}

/// Whether every claim of the node is marked.
pub(crate) async fn fence(args: &FenceArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    // Whether a node is ready does not depend on its rack.
    let node = cluster.node_seen(&args.node, names::RACK_LABEL).await?;
    let claims = cluster.claims(&Selection::of_node(&args.node)).await?;
    // Who may fence may perhaps not read Leases: then what kubelet says has to do.
    let renewed = cluster.agent_renewal(&args.node).await.ok().flatten();
    let age = renewed.map(|renewed| Timestamp::now().duration_since(renewed).as_secs());
    let state = NodeState::of(node.as_ref(), age);
    let before = plan::announcement(&args.node, node.as_ref(), &claims);
    if let Some(refusal) = plan::refusal(&args.node, state, claims.len(), args.yes) {
        print_remark(&before);
        anyhow::bail!(refusal);
    }
    print_remark(&before);
    let mark = cluster.mark(&args.reason).await?;
    let done = mark_all(cluster, &args.node, claims, Some(&mark)).await?;
    match output.format {
        Format::Json | Format::Yaml => output.document(&done)?,
        Format::Table | Format::Wide => Output::text(&fenced_words(&done, &mark))?,
    }
    Ok(!done.unfinished)
}

/// Whether no claim of the node is marked any more.
pub(crate) async fn unfence(args: &UnfenceArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    let claims = cluster.claims(&Selection::of_node(&args.node)).await?;
    let done = mark_all(cluster, &args.node, claims, None).await?;
    match output.format {
        Format::Json | Format::Yaml => output.document(&done)?,
        Format::Table | Format::Wide => Output::text(&unfenced_words(&done))?,
    }
    Ok(!done.unfinished)
}

/// Marks every claim of the node, or unmarks it, until a look finds nothing left to do.
async fn mark_all(
    cluster: &Cluster,
    node: &str,
    mut claims: Vec<ClaimSeen>,
    mark: Option<&Mark>,
) -> Result<Done> {
    let mut done = Done {
        node: node.to_owned(),
        ..Done::default()
    };
    for round in 0..ROUNDS {
        let mut open = 0;
        for claim in &claims {
            match plan::deed(claim, node, mark.is_some()) {
                Deed::None => {
                    let address = &claim.spec.address;
                    if round == 0 {
                        done.already.push(address.clone());
                    }
                }
                Deed::Write => {
                    open += 1;
                    one(cluster, claim, mark, &mut done).await?;
                }
                Deed::Taken => {}
            }
        }
        if open == 0 {
            return Ok(done);
        }
        claims = cluster.claims(&Selection::of_node(node)).await?;
    }
    done.unfinished = claims
        .iter()
        .any(|claim| plan::deed(claim, node, mark.is_some()) == Deed::Write);
    Ok(done)
}

async fn one(
    cluster: &Cluster,
    claim: &ClaimSeen,
    mark: Option<&Mark>,
    done: &mut Done,
) -> Result<()> {
    match cluster.write_mark(claim, Which::Fenced, mark).await? {
        Written::Done => done.changed.push(claim.spec.address.clone()),
        Written::Gone => {}
        // Read again: the next round takes what is still the node's.
        Written::Outrun => {
            let now = cluster.claim(&claim.name).await?;
            if let Some(now) = now.filter(|now| now.spec.node != claim.spec.node) {
                done.taken.push(Taken {
                    address: now.spec.address.clone(),
                    node: now.spec.node.clone(),
                });
            }
        }
    }
    Ok(())
}

fn fenced_words(done: &Done, mark: &Mark) -> String {
    let mut text = format!(
        "{} of node {} fenced {}\n",
        plan::count(done.changed.len(), "address"),
        done.node,
        mark_words(mark)
    );
    if !done.already.is_empty() {
        let already = plan::count(done.already.len(), "address");
        let _ = writeln!(text, "{already} had a mark before, which stays as it is");
    }
    text += &taken_words(done);
    if done.unfinished {
        text += "The node's berth-ipamd claims on while it is fenced, so it is not off: look at the node, then run this again\n";
    }
    let _ = writeln!(
        text,
        "Its Pods are replaced when the node lifecycle is told too, by another value each time:\n  kubectl annotate node {} {}=operator:YOU:TIME",
        done.node,
        names::FENCED_BY_ANNOTATION
    );
    let _ = writeln!(
        text,
        "From 30 s after the mark another node of the rack takes an address when a Pod needs it. Take the marks away with\n  \
         kubectl berth unfence {}",
        done.node
    );
    text
}

fn unfenced_words(done: &Done) -> String {
    let mut text = if done.changed.is_empty() {
        format!("no address of node {} was fenced\n", done.node)
    } else {
        format!(
            "{} of node {} not fenced any more\n",
            plan::count(done.changed.len(), "address"),
            done.node
        )
    };
    text += &taken_words(done);
    if done.unfinished {
        text += "Marks come back while they are taken away: the controllers fence a node that is gone, was made anew, or is \
                 said to be off (taint node.kubernetes.io/out-of-service, annotation berth.dev/fenced-by) and shows no life\n";
    }
    text += "What was taken while the node was fenced stays where it is: kubectl berth ips lists it under its new node\n";
    text
}

fn taken_words(done: &Done) -> String {
    let lines = done.taken.iter();
    let lines = lines.map(|it| format!("{} was taken by {} meanwhile\n", it.address, it.node));
    lines.collect()
}
