//! The tiers that need Kubernetes: its programs are built once from their pins, or named by the environment.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use tests_testbed::{
    ADDONS_VARIABLE, CONTAINERD_VARIABLE, FAR_IMAGE_VARIABLE, IMAGE_VARIABLE, KUBERNETES_VARIABLE,
    NEXT_IMAGE_VARIABLE,
};

use super::in_namespaces;
use crate::{
    build::{Profile, Workspace, executables, product},
    image::Images,
    step,
    testbed::programs,
};

/// From built programs: some API servers, each a few seconds.
const APISERVER_BUDGET: Duration = Duration::from_secs(10 * 60);

/// From built programs: some clusters, each a quarter of a minute.
const CLUSTER_BUDGET: Duration = Duration::from_secs(20 * 60);

/// Everything of it is dead; its files are removed.
const CLEAN_BUDGET: Duration = Duration::from_secs(2 * 60);

/// The cluster that the tests of one program share: it goes with that program, but for its files and cgroups.
const SHARED: &str = "cluster-shared";

pub(super) fn apiserver(workspace: &Workspace, rest: &[String]) -> Result<()> {
    let kubernetes = programs::kubernetes(workspace)?;
    let bin_dir = product(workspace, Profile::Dev)?;
    let words = [
        "test",
        "--no-run",
        "--package",
        "tests",
        "--test",
        "apiserver",
    ];
    let built = executables(
        workspace,
        Profile::Dev,
        "building the API server's tests",
        &words,
    )?;
    for program in &built {
        let mut command = in_namespaces(workspace, program, &bin_dir)?;
        command
            .arg("--test-threads=2")
            .args(rest)
            .env(KUBERNETES_VARIABLE, &kubernetes);
        step::run("API server tests", &mut command, APISERVER_BUDGET)?;
    }
    Ok(())
}

pub(super) fn cluster(workspace: &Workspace, rest: &[String]) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the cluster tier needs root: it makes cgroups"
    );
    let kubernetes = programs::kubernetes(workspace)?;
    let containerd = programs::containerd(workspace)?;
    let addons = programs::addons(workspace)?;
    let bin_dir = product(workspace, Profile::Dev)?;
    let images = Images::build(workspace, &bin_dir)?;
    let words = [
        "test",
        "--no-run",
        "--package",
        "tests",
        "--test",
        "cluster",
    ];
    let built = executables(
        workspace,
        Profile::Dev,
        "building the cluster tests",
        &words,
    )?;
    for program in &built {
        let mut command = in_namespaces(workspace, program, &bin_dir)?;
        // One cluster beside the shared one: two cores carry few.
        command
            .arg("--test-threads=2")
            .args(rest)
            .env(KUBERNETES_VARIABLE, &kubernetes)
            .env(CONTAINERD_VARIABLE, &containerd)
            .env(ADDONS_VARIABLE, &addons)
            .env(IMAGE_VARIABLE, &images.dev)
            .env(NEXT_IMAGE_VARIABLE, &images.next)
            .env(FAR_IMAGE_VARIABLE, &images.far);
        let done = step::run("cluster tests", &mut command, CLUSTER_BUDGET);
        clean(workspace)?;
        done?;
    }
    Ok(())
}

/// Removes what the shared cluster left. In a process of its own, whose folder for temporary files is the tests'.
fn clean(workspace: &Workspace) -> Result<()> {
    let xtask = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(xtask);
    command
        .args(["testbed", "--name", SHARED, "down"])
        .env("TMPDIR", workspace.temporary()?);
    step::run("removing the shared cluster", &mut command, CLEAN_BUDGET)
}
