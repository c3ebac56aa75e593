//! `reserve`: an address for an identity that has no Pod yet, or for nobody.

use clap::Args;
use proto_ipam::v1;
use serde::Serialize;

use super::client::Client;
use super::error::{Answer, CommandError};
use super::output::Output;
use super::record::{Binding, binding_table};

/// What is reserved.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReserveArgs {
    /// The network
    #[arg(long)]
    network: String,

    /// The address; default: any free one
    #[arg(long)]
    ip: Option<String>,

    /// For whom: a Pod as namespace/name, or the identity it will name; default: set aside for nobody
    #[arg(long)]
    identity: Option<String>,

    /// The MAC the identity will have; default: derived from the address
    #[arg(long, requires = "identity")]
    mac: Option<String>,

    /// A note for whoever finds the reservation
    #[arg(long)]
    note: Option<String>,
}

#[derive(Serialize)]
struct Reserved {
    bindings: Vec<Binding>,
}

pub(super) async fn run(
    args: &ReserveArgs,
    mut client: Client,
    output: Output,
) -> Result<Answer, CommandError> {
    let request = v1::ReserveRequest {
        network: args.network.clone(),
        address: args.ip.clone().unwrap_or_default(),
        identity: args.identity.clone().unwrap_or_default(),
        mac: args.mac.clone().unwrap_or_default(),
        note: args.note.clone().unwrap_or_default(),
    };
    let done = client.admin.reserve(request).await;
    let done = done.map_err(|status| CommandError::call("reserve", &status))?;
    let bindings = done.into_inner().bindings;
    let reserved = Reserved {
        bindings: bindings.into_iter().map(Into::into).collect(),
    };
    output.answer(&reserved, |reserved| binding_table(&reserved.bindings))?;
    Ok(Answer::Yes)
}
