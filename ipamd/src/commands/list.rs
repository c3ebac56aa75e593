//! `list`: addresses that are not simply free.

use clap::Args;
use proto_ipam::v1;
use serde::Serialize;

use super::error::{Answer, CommandError};
use super::output::Output;
use super::record::{Binding, binding_table};
use super::source::Source;

/// Which addresses are listed.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Only of this pool
    #[arg(long)]
    pool: Option<String>,

    /// Only of this network
    #[arg(long)]
    network: Option<String>,

    /// Only in this state: attached, held, reserved, quarantined, conflicting
    #[arg(long)]
    state: Option<String>,
}

#[derive(Serialize)]
struct Listing {
    bindings: Vec<Binding>,
}

pub(super) async fn run(
    args: &ListArgs,
    mut source: Source,
    output: Output,
) -> Result<Answer, CommandError> {
    let request = v1::ListRequest {
        pool: args.pool.clone().unwrap_or_default(),
        network: args.network.clone().unwrap_or_default(),
        state: args.state.clone().unwrap_or_default(),
    };
    let listed = source.list(request).await?;
    let listing = Listing {
        bindings: listed.bindings.into_iter().map(Into::into).collect(),
    };
    output.answer(&listing, |listing| binding_table(&listing.bindings))?;
    Ok(Answer::Yes)
}
