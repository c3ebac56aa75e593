//! The agent of a node: looks at the node and says in the API how it is; on a few nodes it hosts the cluster's controllers.

mod app;
mod args;
mod contact;
mod containers;
mod follow;
mod guard;
mod health;
mod locked;
mod lost;
mod metrics;
mod peers;
mod pods;
mod privilege;
mod pull;
mod pulse;
mod readiness;
mod restart;
mod roots;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use ipamd_daemon::{chain, telemetry};
use tracing::error;

use crate::args::Args;

/// The client of the API logs every call that fails as an error; the reporter says it once, with what it was for. A later
/// `kube_client=` in the flag goes before this.
const QUIET: &str = "kube_client=off";

fn main() -> ExitCode {
    let mut args = Args::parse();
    args.telemetry.log_filter = format!("{QUIET},{}", args.telemetry.log_filter);
    if let Err(error) = telemetry::init(&args.telemetry) {
        // There is no log yet.
        let _ = writeln!(std::io::stderr(), "berth-agent: {}", chain(&error));
        return ExitCode::FAILURE;
    }
    match app::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = %chain(error.as_ref()), "stopped");
            ExitCode::FAILURE
        }
    }
}
