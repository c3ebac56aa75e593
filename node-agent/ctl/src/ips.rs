//! `kubectl berth ips`: who has what where, and what is kept for nobody.

mod view;

use anyhow::Result;
use clap::Args;
use k8s_openapi::jiff::Timestamp;

use crate::claims::Selection;
use crate::cluster::Cluster;
use crate::output::{Format, Output};
use view::Filter;

/// Which addresses.
#[derive(Clone, Debug, Args)]
pub(crate) struct IpsArgs {
    /// Of this network only
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<String>,

    /// Of this rack only
    #[arg(long, value_name = "NAME")]
    pub(crate) rack: Option<String>,

    /// Held by this node only
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,

    /// Only what is kept while nobody uses it, longest unused first
    #[arg(long)]
    pub(crate) held: bool,

    /// Of Pods of this namespace only; default: all
    #[arg(long, short, value_name = "NAME", conflicts_with = "all_namespaces")]
    pub(crate) namespace: Option<String>,

    /// Of all namespaces, and of nobody (the default)
    #[arg(long, short = 'A')]
    pub(crate) all_namespaces: bool,
}

/// Always fine: a list.
pub(crate) async fn run(args: &IpsArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    let selection = Selection {
        node: args.node.clone(),
        rack: args.rack.clone(),
        identity: None,
    };
    let claims = cluster.claims(&selection).await?;
    let filter = Filter {
        network: args.network.as_deref(),
        namespace: args.namespace.as_deref(),
        held: args.held,
    };
    let now = Timestamp::now();
    let views = view::views(&claims, filter);
    match output.format {
        Format::Json | Format::Yaml => output.document(&views)?,
        Format::Table => Output::text(&view::table(&views, now, output.paint))?,
        Format::Wide => Output::text(&view::wide(&views, now, output.paint))?,
    }
    Ok(true)
}
