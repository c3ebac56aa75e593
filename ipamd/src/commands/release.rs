//! `release`: gives a held, reserved, quarantined or conflicting address back.

use clap::Args;
use proto_ipam::v1;
use serde::Serialize;

use super::client::Client;
use super::error::{Answer, CommandError};
use super::output::Output;
use super::record::{Binding, binding_table};

/// What is given back.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The address; a binding of both families goes whole
    address: String,

    /// The network; needed only where two networks know the address
    #[arg(long)]
    network: Option<String>,

    /// Let it rest in quarantine first
    #[arg(long)]
    quarantine: bool,
}

#[derive(Serialize)]
struct Released {
    was: Option<Binding>,
}

pub(super) async fn run(
    args: &ReleaseArgs,
    mut client: Client,
    output: Output,
) -> Result<Answer, CommandError> {
    let request = v1::FreeRequest {
        address: args.address.clone(),
        network: args.network.clone().unwrap_or_default(),
        quarantine: args.quarantine,
    };
    let done = client.admin.free(request).await;
    let done = done.map_err(|status| CommandError::call("release", &status))?;
    let released = Released {
        was: done.into_inner().was.map(Into::into),
    };
    output.answer(&released, |released| {
        let was: Vec<_> = released.was.iter().cloned().collect();
        format!("released; it was:\n{}", binding_table(&was))
    })?;
    Ok(Answer::Yes)
}
