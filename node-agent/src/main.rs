//! The agent of a node: looks at the node and says in the API how it is.

mod app;
mod args;
mod health;
mod metrics;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use ipamd_daemon::{chain, telemetry};
use tracing::error;

use crate::args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
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
