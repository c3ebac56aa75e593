//! Measurements: builds everything for release and runs a bench program in namespaces of its own.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use tests_testbed::{ADDONS_VARIABLE, CONTAINERD_VARIABLE, IMAGE_VARIABLE, KUBERNETES_VARIABLE};

use crate::{
    build::{Profile, Workspace, executables, product},
    image, packages,
    step::run as run_step,
    testbed::programs,
    tier::in_namespaces,
};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// Plugin and daemon, beside Debian's bridge with host-local and a floor of kernel work only
    Cni,
    /// Many Pods at once on real nodes, from bound to Ready, beside Debian's bridge with host-local
    Cluster,
    /// What the agent of a node takes while nothing happens, beside node-problem-detector's published request
    Agent,
    /// How long an address serves nobody while its container is made to run anew: in place, and by delete-and-recreate, with the image present and absent
    Restart,
    /// One release of thousands of Pods in place, on fake nodes: wall time, writes, and what the controllers take
    Release,
    /// What upstream's rule about nodes and Berth's do in each of some twenty faults, in virtual time: a table and a picture
    Lifecycle,
    /// The node lifecycle beside a real API server with thousands of nodes' Leases and reports at the real rates: a step, memory, writes
    LifecycleLoad,
    /// A rack comes back from the dark with 40 Pods that were replaced: what a service on their node feels while they end, by Kubernetes' rule and by Berth's
    Storm,
}

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[arg(value_enum)]
    bench: Bench,
    /// How everything is built; figures of anything but release say nothing of Berth
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
    /// Passed on to the bench program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// The longest one makes some hundred outages, of seconds each.
const BUDGET: Duration = Duration::from_secs(120 * 60);

/// Measures.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    match args.bench {
        Bench::Cni => cni(args),
        Bench::Cluster => cluster(args, "bench-cluster"),
        Bench::Agent => cluster(args, "bench-agent"),
        Bench::Restart => cluster(args, "bench-restart"),
        Bench::Storm => cluster(args, "bench-storm"),
        Bench::Release => beside_api_server(args, "bench-release"),
        Bench::LifecycleLoad => beside_api_server(args, "bench-lifecycle-load"),
        Bench::Lifecycle => lifecycle(args),
    }
}

fn cni(args: &BenchArgs) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::WORLD, packages::NETNS])?;
    let workspace = Workspace::find()?;
    let bin_dir = product(&workspace, args.profile)?;
    let program = program(&workspace, args.profile, "bench-cni")?;
    let mut command = in_namespaces(&workspace, &program, &bin_dir)?;
    run_step("measuring", command.args(&args.rest), BUDGET)
}

/// An API server, and no node.
fn beside_api_server(args: &BenchArgs, name: &str) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::WORLD])?;
    let workspace = Workspace::find()?;
    let kubernetes = programs::kubernetes(&workspace)?;
    let bin_dir = product(&workspace, args.profile)?;
    let program = program(&workspace, args.profile, name)?;
    let mut command = in_namespaces(&workspace, &program, &bin_dir)?;
    command
        .args(&args.rest)
        .env(KUBERNETES_VARIABLE, kubernetes);
    run_step("measuring", &mut command, BUDGET)
}

/// Pure: needs nothing of the machine.
fn lifecycle(args: &BenchArgs) -> Result<()> {
    packages::ensure(&[packages::BUILD])?;
    let workspace = Workspace::find()?;
    let program = program(&workspace, args.profile, "bench-lifecycle")?;
    run_step(
        "replaying",
        std::process::Command::new(program).args(&args.rest),
        BUDGET,
    )
}

/// Runs a program that makes a cluster.
fn cluster(args: &BenchArgs, name: &str) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "`{name}` needs root: it makes cgroups"
    );
    packages::ensure(&[
        packages::BUILD,
        packages::IMAGE,
        packages::WORLD,
        packages::NETNS,
        packages::CONTAINERD,
        packages::CLUSTER,
    ])?;
    let workspace = Workspace::find()?;
    let kubernetes = programs::kubernetes(&workspace)?;
    let containerd = programs::containerd(&workspace)?;
    let addons = programs::addons(&workspace)?;
    let bin_dir = product(&workspace, args.profile)?;
    let image = image::bench(&workspace, &bin_dir)?;
    let program = program(&workspace, args.profile, name)?;
    let mut command = in_namespaces(&workspace, &program, &bin_dir)?;
    command
        .args(&args.rest)
        .env(KUBERNETES_VARIABLE, kubernetes)
        .env(CONTAINERD_VARIABLE, containerd)
        .env(ADDONS_VARIABLE, addons)
        .env(IMAGE_VARIABLE, image);
    run_step("measuring", &mut command, BUDGET)
}

/// Builds the benches; the path of one.
fn program(workspace: &Workspace, profile: Profile, name: &str) -> Result<PathBuf> {
    let words = ["build", "--package", "tests-benches"];
    let built = executables(workspace, profile, "building the benches", &words)?;
    let program = built
        .into_iter()
        .find(|path| path.file_name().is_some_and(|file| file == name));
    program.with_context(|| format!("cargo built no program {name}"))
}
