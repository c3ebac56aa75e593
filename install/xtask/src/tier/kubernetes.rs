//! The tiers that need Kubernetes: its programs are built once from their pins, or named by the environment.

use std::{process::Command, time::Duration};

use anyhow::Result;
use tests_testbed::{
    ADDONS_VARIABLE, CONTAINERD_VARIABLE, FAR_IMAGE_VARIABLE, IMAGE_VARIABLE, KUBERNETES_VARIABLE,
    NEXT_IMAGE_VARIABLE,
};

use super::{
    EVIDENCE_VARIABLE, evidence, in_namespaces,
    suite::{Flaky, Suite},
    test_programs,
};
use crate::{
    build::{Profile, Workspace, product, this_program},
    image::Images,
    step,
    testbed::programs,
};

/// From built programs: an API server for each test, each a few seconds; races of forty daemons, leaders that are waited for, and
/// marks that have to stand for half a minute.
const APISERVER_BUDGET: Duration = Duration::from_secs(25 * 60);

/// From built programs: some clusters, each half a minute, and what is done to them.
const CLUSTER_BUDGET: Duration = Duration::from_secs(50 * 60);

/// The cluster tests take turns themselves: a test that waits for a cluster that is shared takes no other's place.
const ALL: usize = 500;

/// Everything of it is dead; its files are removed.
const CLEAN_BUDGET: Duration = Duration::from_secs(2 * 60);

/// The clusters that the tests of one program share: they go with that program, but for their files and cgroups.
const SHARED: [&str; 2] = ["cluster-shared", "cluster-shared-claims"];

pub(super) fn apiserver(workspace: &Workspace, rest: &[String]) -> Result<Vec<Flaky>> {
    let kubernetes = programs::kubernetes(workspace)?;
    let bin_dir = product(workspace, Profile::Dev)?;
    let built = test_programs(workspace, "building the API server's tests", &["apiserver"])?;
    let mut flaky = Vec::new();
    for program in &built {
        let suite = Suite {
            what: "API server tests",
            command: &|evidence| {
                let mut command = in_namespaces(workspace, program, &bin_dir)?;
                command
                    .env(EVIDENCE_VARIABLE, evidence)
                    .env(KUBERNETES_VARIABLE, &kubernetes);
                Ok(command)
            },
            clean: &|| Ok(()),
            rest,
            budget: APISERVER_BUDGET,
            at_once: 4,
            evidence: &evidence(workspace),
        };
        flaky.extend(suite.run()?);
    }
    Ok(flaky)
}

pub(super) fn cluster(workspace: &Workspace, rest: &[String]) -> Result<Vec<Flaky>> {
    let kubernetes = programs::kubernetes(workspace)?;
    let containerd = programs::containerd(workspace)?;
    let addons = programs::addons(workspace)?;
    let bin_dir = product(workspace, Profile::Dev)?;
    let images = Images::build(workspace, &bin_dir)?;
    let built = test_programs(workspace, "building the cluster tests", &["cluster"])?;
    let mut flaky = Vec::new();
    for program in &built {
        let suite = Suite {
            what: "cluster tests",
            command: &|evidence| {
                let mut command = in_namespaces(workspace, program, &bin_dir)?;
                command
                    .env(EVIDENCE_VARIABLE, evidence)
                    .env(KUBERNETES_VARIABLE, &kubernetes)
                    .env(CONTAINERD_VARIABLE, &containerd)
                    .env(ADDONS_VARIABLE, &addons)
                    // `testbed up` is tried too, as a person types it.
                    .env("BERTH_XTASK", this_program()?)
                    .env(IMAGE_VARIABLE, &images.dev)
                    .env(NEXT_IMAGE_VARIABLE, &images.next)
                    .env(FAR_IMAGE_VARIABLE, &images.far);
                Ok(command)
            },
            clean: &|| clean(workspace),
            rest,
            budget: CLUSTER_BUDGET,
            at_once: ALL,
            evidence: &evidence(workspace),
        };
        flaky.extend(suite.run()?);
    }
    Ok(flaky)
}

/// Removes what the shared clusters left. In a process of its own, whose folder for temporary files is the tests'.
fn clean(workspace: &Workspace) -> Result<()> {
    for name in SHARED {
        let mut command = Command::new(this_program()?);
        command
            .args(["testbed", "--name", name, "down"])
            .env("TMPDIR", workspace.temporary()?);
        step::run("removing a shared cluster", &mut command, CLEAN_BUDGET)?;
    }
    Ok(())
}
