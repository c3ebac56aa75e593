//! `cargo xtask demo`: two racks and two nodes on this machine, and Pods that keep IP and MAC whatever happens to them.
//!
//! Real plugin, real daemons, no Kubernetes. Everything lives in namespaces and is gone afterwards.

mod pod;
mod story;

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::{
    build::{Profile, Workspace, product, this_program},
    packages,
    step::run as run_step,
    tier::in_namespaces,
};

/// How to show it.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Leave the world up, to look into it; the next demo removes it
    #[arg(long)]
    keep: bool,
    /// Set by the demo itself when it calls itself inside its namespaces
    #[arg(long, hide = true)]
    inside: bool,
}

/// Promised: under two minutes after the build.
const BUDGET: Duration = Duration::from_secs(2 * 60);

/// Builds, then plays the demo in namespaces of its own.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    if args.inside {
        return story::play();
    }
    packages::ensure(&[packages::BUILD, packages::WORLD])?;
    let workspace = Workspace::find()?;
    let bin_dir = product(&workspace, Profile::Dev)?;
    let xtask = this_program()?;
    let mut command = in_namespaces(&workspace, &xtask, &bin_dir)?;
    command.args(["demo", "--inside"]);
    if args.keep {
        command.env("KEEP", "1");
    }
    run_step("two racks, a router, two nodes", &mut command, BUDGET)
}
