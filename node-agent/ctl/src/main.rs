//! `kubectl berth`: what an operator asks of Berth in a cluster. Changes nothing but marks on claims, what berth-ipamd
//! reserves when asked to, freezes, and Pods that are to be restarted or upgraded.

mod age;
mod args;
mod check;
mod claims;
mod cluster;
mod decisions;
mod fence;
mod freeze;
mod health;
mod history;
mod ipamd;
mod ips;
mod output;
mod pools;
mod range;
mod release;
mod reserve;
mod restart;
mod rollout;
mod running;
mod seen;
mod upgrade;
mod why;

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
            Command::Pools(args) => pools::run(args, &cluster, output).await,
            Command::Ips(args) => ips::run(args, &cluster, output).await,
            Command::Why(args) => why::run(args, &cluster, output).await,
            Command::History(args) => history::run(args, &cluster, output).await,
            Command::Reserve(args) => reserve::run(args, &cluster, output).await,
            Command::Release(args) => release::run(args, &cluster, output).await,
            Command::Fence(args) => fence::fence(args, &cluster, output).await,
            Command::Unfence(args) => fence::unfence(args, &cluster, output).await,
            Command::Freeze(args) => freeze::freeze(args, &cluster, output).await,
            Command::Unfreeze(args) => freeze::unfreeze(args, &cluster, output).await,
            Command::Freezes => freeze::list(&cluster, output).await,
            Command::Decisions(args) => decisions::run(args, &cluster, output).await,
            Command::Check(args) => check::run(args, &cluster, output).await,
            Command::Restart(args) => restart::run(args, &cluster, output).await,
            Command::Rollout(args) => rollout::run(args, &cluster, output).await,
            Command::Upgrade(args) => upgrade::run(args, &cluster, output).await,
        }
    })
}
