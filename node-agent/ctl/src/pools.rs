//! `kubectl berth pools`: how full the pools are, by network and rack, and when they will be.

mod text;
mod view;

use anyhow::Result;
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use proto_crd::pool::{Pool, PoolSpec, PoolStatus};

use crate::claims::Selection;
use crate::cluster::Cluster;
use crate::output::{Format, Output, print_remark};
use view::PoolView;

/// Which pools.
#[derive(Clone, Debug, Args)]
pub(crate) struct PoolsArgs {
    /// Pools of this network only
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<String>,

    /// Pools of this rack only
    #[arg(long, value_name = "NAME")]
    pub(crate) rack: Option<String>,
}

/// A Pool as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PoolSeen {
    /// Its name.
    pub(crate) name: String,
    /// Counts the changes of its spec.
    pub(crate) generation: i64,
    /// What it says.
    pub(crate) spec: PoolSpec,
    /// How full it was found.
    pub(crate) status: Option<PoolStatus>,
}

impl PoolSeen {
    /// What of it matters here.
    pub(crate) fn of(pool: Pool) -> Self {
        Self {
            name: pool.name_any(),
            generation: pool.metadata.generation.unwrap_or(0),
            spec: pool.spec,
            status: pool.status,
        }
    }
}

/// Whether every pool has a free address.
pub(crate) async fn run(args: &PoolsArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    let now = Timestamp::now();
    let mut pools = cluster.pools().await?;
    let fits = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|it| it == has);
    pools.retain(|pool| {
        fits(&args.network, &pool.spec.network) && fits(&args.rack, &pool.spec.rack)
    });
    if pools.is_empty() {
        print_remark(
            "there is no such Pool: addresses are those of ipamd.toml (berth-ipamd status), or nobody has made one yet",
        );
    }
    // Whoever may not read it counts for himself.
    let renewed = cluster.leader_renewed().await.unwrap_or(None);
    let leads = view::leads(renewed, now);
    // All of them are read only where the leader's numbers are missing.
    let claims = if pools.iter().all(|pool| view::fresh(pool, leads).is_some()) {
        Vec::new()
    } else {
        let selection = Selection {
            rack: args.rack.clone(),
            ..Selection::default()
        };
        cluster.claims(&selection).await?
    };
    let views = view::views(&pools, &claims, leads, now);
    match output.format {
        Format::Json | Format::Yaml => output.document(&views)?,
        Format::Table => Output::text(&text::table(&views, now, output.paint))?,
        Format::Wide => Output::text(&text::wide(&views, now, output.paint))?,
    }
    Ok(views.iter().all(PoolView::is_fine))
}
