//! `kubectl berth history`: who had an address when, by the logs of all nodes of its rack.
//!
//! A node that does not answer is named: its part of the history is not known.

mod view;

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Result, bail};
use clap::Args;

use crate::cluster::Cluster;
use crate::cluster::RackArgs;
use crate::cluster::exec::{Answers, ExecArgs, Nodes};
use crate::ipamd::Holders;
use crate::output::{Format, Output};
use crate::range::{Place, place};
use view::History;

/// Which address.
#[derive(Clone, Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The address
    #[arg(value_name = "IP")]
    pub(crate) address: IpAddr,

    /// Ask the nodes of this rack; default: that of the address's Pool
    #[arg(long, value_name = "NAME")]
    pub(crate) rack: Option<String>,

    #[command(flatten)]
    pub(crate) label: RackArgs,

    #[command(flatten)]
    pub(crate) exec: ExecArgs,
}

/// Whether all nodes have answered.
pub(crate) async fn run(args: &HistoryArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    let pools = cluster.pools().await?;
    let of_pools = pools
        .iter()
        .filter(|pool| place(&pool.spec, args.address) != Place::Elsewhere);
    let racks: BTreeSet<_> = match &args.rack {
        Some(rack) => [rack.clone()].into(),
        None => of_pools
            .clone()
            .map(|pool| pool.spec.rack.clone())
            .collect(),
    };
    if racks.is_empty() {
        bail!(
            "{} is in no Pool; name the rack whose nodes are to be asked: --rack",
            args.address
        );
    }
    let mut nodes = BTreeSet::new();
    for rack in &racks {
        nodes.extend(cluster.nodes_of_rack(rack, &args.label.rack_label).await?);
    }
    if nodes.is_empty() {
        let racks = racks.into_iter().collect::<Vec<_>>().join(", ");
        bail!(
            "no Node has the label {}={racks}; is it another label? (--rack-label)",
            args.label.rack_label
        );
    }
    let mut claims = Vec::new();
    for pool in of_pools {
        let name = proto_crd::claim::claim_name(&pool.name, args.address);
        claims.extend(cluster.claim(&name).await?);
    }
    let asked = Nodes::new(cluster, cluster.ipamd_pods(None).await?, args.exec);
    let words = ["who".to_owned(), args.address.to_string()];
    let answers: Answers<Holders> = asked.ask_all(nodes.iter().cloned(), &words).await;
    let history = History::of(args.address, &claims, &nodes, answers);
    match output.format {
        Format::Json | Format::Yaml => output.document(&history)?,
        Format::Table => Output::text(&history.text(output.paint, false))?,
        Format::Wide => Output::text(&history.text(output.paint, true))?,
    }
    Ok(history.is_whole())
}
