//! What CI runs, in the order of cost; its end is the README's test command.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    build::{BUILD_BUDGET, Workspace, this_program},
    packages,
    step::{run, run_quietly, say},
    tidy,
};

/// Reading all files.
const FORMAT_BUDGET: Duration = Duration::from_secs(5 * 60);

/// The build of the product, and two minutes.
const DEMO_BUDGET: Duration = BUILD_BUDGET.saturating_add(Duration::from_secs(2 * 60));

/// All tiers with their compilation and that of Kubernetes; each has a tighter budget of its own.
const TEST_BUDGET: Duration = Duration::from_secs(85 * 60);

/// One crate, of which the lints have compiled nearly everything.
const ALONE_BUDGET: Duration = Duration::from_secs(10 * 60);

/// What everything here is promised to take from nothing on two cores. Only said when it is missed: another machine may be slower.
const PROMISED: Duration = Duration::from_secs(75 * 60);

/// Runs everything that CI runs.
pub(crate) fn run_all() -> Result<()> {
    let started = Instant::now();
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
    each_alone(&workspace)?;
    let xtask = this_program()?;
    // Fails when an address or MAC changes, so it is a first and short test of everything at once.
    run("demo", Command::new(&xtask).arg("demo"), DEMO_BUDGET)?;
    run(
        "the README's test command",
        Command::new(xtask).arg("test"),
        TEST_BUDGET,
    )?;
    let minutes = |duration: Duration| duration.as_secs().div_ceil(60);
    say(&format!(
        "all of it took {} min",
        minutes(started.elapsed())
    ));
    if started.elapsed() > PROMISED {
        say(&format!("!!! SLOW: {} min are promised", minutes(PROMISED)));
    }
    Ok(())
}

/// Checks each crate without the others, whose features would hide what it forgets to name: five seconds when nothing changed.
fn each_alone(workspace: &Workspace) -> Result<()> {
    say("each crate alone");
    for package in &workspace.packages {
        let mut command = workspace.cargo();
        command.args(["check", "--quiet", "--package", package]);
        run_quietly(&format!("{package} alone"), &mut command, ALONE_BUDGET)?;
    }
    Ok(())
}
