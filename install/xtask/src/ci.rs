//! What CI runs, in the order of cost; its end is the README's test command.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{
    build::{BUILD_BUDGET, Workspace},
    packages,
    step::run,
    tidy,
};

/// Reading all files.
const FORMAT_BUDGET: Duration = Duration::from_secs(5 * 60);

/// The build of the product, and two minutes.
const DEMO_BUDGET: Duration = BUILD_BUDGET.saturating_add(Duration::from_secs(2 * 60));

/// All tiers with their compilation; each has a tighter budget of its own.
const TEST_BUDGET: Duration = Duration::from_secs(65 * 60);

/// Runs everything that CI runs.
pub(crate) fn run_all() -> Result<()> {
    let workspace = Workspace::find()?;
    run(
        "format",
        workspace.cargo().args(["fmt", "--all", "--", "--check"]),
        FORMAT_BUDGET,
    )?;
    tidy::run()?;
    // The tests' CRI client is generated while it is checked.
    packages::ensure(&[packages::BUILD])?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    run("lints", workspace.cargo().args(clippy), BUILD_BUDGET)?;
    let xtask = std::env::current_exe().context("find this program")?;
    // Fails when an address or MAC changes, so it is a first and short test of everything at once.
    run("demo", Command::new(&xtask).arg("demo"), DEMO_BUDGET)?;
    run(
        "the README's test command",
        Command::new(xtask).arg("test"),
        TEST_BUDGET,
    )
}
