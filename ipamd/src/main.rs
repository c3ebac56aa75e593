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
        None | Some(Command::Run) => daemon(&args),
        Some(command) => commands::run(&args, command),
    }
}

fn daemon(args: &Args) -> ExitCode {
    if let Err(error) = telemetry::init(&args.telemetry) {
        print_error(&error);
        return ExitCode::FAILURE;
    }
    match app::run(args) {
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
