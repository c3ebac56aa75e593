//! Measurements: builds everything for release and runs the bench program in namespaces of its own.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::{
    build::{Profile, Workspace, executables, product},
    packages,
    step::run as run_step,
    tier::in_namespaces,
};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// Plugin and daemon, beside Debian's bridge with host-local and a floor of kernel work only
    Cni,
}

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[arg(value_enum)]
    bench: Bench,
    /// Passed on to the bench program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

const BUDGET: Duration = Duration::from_secs(60 * 60);

/// Measures.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let Bench::Cni = args.bench;
    packages::ensure(&[packages::BUILD, packages::WORLD, packages::NETNS])?;
    let workspace = Workspace::find()?;
    let bin_dir = product(&workspace, Profile::Release)?;
    let words = ["build", "--package", "tests-benches"];
    let built = executables(&workspace, Profile::Release, "building the benches", &words)?;
    let program = built
        .iter()
        .find(|path| path.file_name().is_some_and(|name| name == "bench-cni"));
    let program = program.context("cargo built no program bench-cni")?;
    let mut command = in_namespaces(&workspace, program, &bin_dir)?;
    run_step("measuring", command.args(&args.rest), BUDGET)
}
