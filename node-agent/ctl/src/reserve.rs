//! `kubectl berth reserve`: an address is kept for an identity that has no Pod yet.
//!
//! Only the node that has the claim can do that, because only it knows that nobody uses the address; so its berth-ipamd is
//! asked. An address that nobody has claimed needs no reservation of this kind: the Pod that is to have it names it.

mod plan;

use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use proto_crd::claim::claim_name;

use crate::cluster::Cluster;
use crate::cluster::exec::{ExecArgs, Nodes};
use crate::ipamd::Reserved;
use crate::output::{Format, Output};
use plan::{Candidate, Plan};

/// What is reserved for whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReserveArgs {
    /// The address
    #[arg(value_name = "IP")]
    pub(crate) address: IpAddr,

    /// The Pod that will have it, or the identity that it will name
    #[arg(long = "for", value_name = "NAMESPACE/NAME")]
    pub(crate) identity: String,

    /// A note for whoever finds the reservation
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,

    /// The network; needed only where two networks know the address
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<String>,

    #[command(flatten)]
    pub(crate) exec: ExecArgs,
}

/// It is reserved, or it failed.
pub(crate) async fn run(args: &ReserveArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    let mut candidates = Vec::new();
    for pool in cluster.pools().await? {
        let wanted = args.network.as_deref();
        if wanted.is_some_and(|network| network != pool.spec.network) {
            continue;
        }
        let claim = cluster.claim(&claim_name(&pool.name, args.address)).await?;
        candidates.push(Candidate { pool, claim });
    }
    let (node, network) = match plan::plan(args.address, &args.identity, &candidates) {
        Plan::Ask { node, network } => (node, network),
        Plan::Refused { because } => bail!(because),
    };
    let pods = cluster.ipamd_pods(Some(&node)).await?;
    let nodes = Nodes::new(cluster, pods, args.exec);
    let words = plan::words(&network, args.address, &args.identity, args.note.as_deref());
    let reserved: Reserved = nodes
        .ask(&node, &words)
        .await
        .with_context(|| format!("asking node {node}, which has {}", args.address))?;
    match output.format {
        Format::Json | Format::Yaml => output.document(&reserved)?,
        Format::Table | Format::Wide => {
            let mut text = String::new();
            for it in &reserved.bindings {
                let _ = writeln!(
                    text,
                    "{} of network {} ({}) is reserved for {} on node {node}; its next Pod in the rack gets it",
                    it.address, it.network, it.mac, it.identity
                );
            }
            Output::text(&text)?;
        }
    }
    Ok(true)
}
