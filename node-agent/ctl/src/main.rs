//! `kubectl berth`: what an operator asks of Berth in a cluster. Changes nothing by itself.

mod args;
mod cluster;
mod health;
mod output;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::args::{Args, Command};
use crate::cluster::Cluster;
use crate::output::Output;

/// Everything asked for is as it should be.
const FINE: u8 = 0;
/// Something is wrong, or not known.
const WRONG: u8 = 1;
/// It could not be found out.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let output = Output::new(&args.output);
    match run(&args, output) {
        Ok(true) => ExitCode::from(FINE),
        Ok(false) => ExitCode::from(WRONG),
        Err(error) => {
            output::print_error(&error);
            ExitCode::from(FAILED)
        }
    }
}

/// Whether all is fine.
fn run(args: &Args, output: Output) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let cluster = Cluster::connect(&args.cluster).await?;
        match &args.command {
            Command::Health(args) => health::run(args, &cluster, output).await,
        }
    })
}
