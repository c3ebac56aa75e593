//! The address daemon of a node, and the commands that ask it.

mod app;
mod args;
mod clock;
mod commands;
mod config;
mod ledger;
mod links;
mod metrics;
mod privilege;
mod readiness;
mod recover;
mod reload;
mod sandboxes;
mod server;
mod spool;
mod store;
mod sync;
mod wire;

use std::process::ExitCode;

use clap::Parser;
use ipamd_daemon::{chain, telemetry};
use tracing::error;

use crate::args::{Args, Command};
use crate::commands::print_error;

fn main() -> ExitCode {
    let args = Args::parse();
    match &args.command {
        None | Some(Command::Run) => daemon(&args, || app::run(&args)),
        Some(Command::RelaySandboxes(own)) => daemon(&args, || sandboxes::relay(own)),
        Some(command) => commands::run(&args, command),
    }
}

/// Runs what lives until it is told to end.
fn daemon(args: &Args, run: impl FnOnce() -> anyhow::Result<()>) -> ExitCode {
    if let Err(error) = telemetry::init(&args.telemetry) {
        print_error(&error);
        return ExitCode::FAILURE;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A configuration with several problems has one on each line.
            for line in chain(error.as_ref()).lines() {
                error!(error = line, "stopped");
            }
            ExitCode::FAILURE
        }
    }
}
