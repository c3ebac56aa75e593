//! `who`: who has an address, and who had it.

use clap::Args;
use proto_ipam::v1;
use serde::Serialize;

use super::error::{Answer, CommandError};
use super::output::Output;
use super::record::{Audit, Binding, audit_table, binding_table};
use super::source::Source;

/// Which address, and when.
#[derive(Clone, Debug, Args)]
pub(crate) struct WhoArgs {
    /// The address
    address: String,

    /// Who had it at this time (RFC 3339, such as 2026-01-31T12:00:00Z); default: now, and all that is logged
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

#[derive(Serialize)]
struct Holders {
    current: Option<Binding>,
    others: Vec<Binding>,
    log: Vec<Audit>,
}

pub(super) async fn run(
    args: &WhoArgs,
    mut source: Source,
    output: Output,
) -> Result<Answer, CommandError> {
    let request = v1::WhoRequest {
        address: args.address.clone(),
        at: args.at.clone().unwrap_or_default(),
    };
    let told = source.who(request).await?;
    let holders = Holders {
        current: told.current.map(Into::into),
        others: told.others.into_iter().map(Into::into).collect(),
        log: told.log.into_iter().map(Into::into).collect(),
    };
    let found = holders.current.is_some() || !holders.log.is_empty();
    output.answer(&holders, |holders| describe(holders, args))?;
    Ok(Answer::when(found))
}

fn describe(holders: &Holders, args: &WhoArgs) -> String {
    let when = args.at.as_deref().unwrap_or("now");
    let current: Vec<_> = holders
        .current
        .iter()
        .chain(&holders.others)
        .cloned()
        .collect();
    let now = if current.is_empty() {
        format!("nobody has {} ({when})", args.address)
    } else {
        binding_table(&current)
    };
    if holders.log.is_empty() {
        return now;
    }
    format!("{now}\n\nlog:\n{}", audit_table(&holders.log))
}
