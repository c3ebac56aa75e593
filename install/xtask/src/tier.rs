//! The test tiers, cheap ones first, each with a time budget.
//!
//! Privileged tiers run their test program in namespaces of its own, so that nothing can reach the machine's network. A
//! test of the containerd tier that failed is run once more alone; if it passes then it is called FLAKY, loudly.

mod kubernetes;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use tests_testbed::Kernel;

use crate::{
    build::{Profile, Workspace, executables, product},
    packages,
    step::{self, run_and_keep, say},
};

/// A tier of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// Unit and property tests: no privilege, no namespaces
    Unit,
    /// Plugin and daemon in namespaces
    Netns,
    /// A real containerd runs Pods
    Containerd,
    /// What the running kernel may lack, in a Debian kernel under qemu: VLANs
    Vlan,
    /// etcd and kube-apiserver alone. Not among `all` yet
    Apiserver,
    /// Real nodes with kubelet, containerd and Berth. Not among `all` yet
    Cluster,
    /// All but the last two, in this order
    #[default]
    All,
}

/// Which tests to run.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Which tier
    #[arg(value_enum, default_value_t)]
    tier: Tier,
    /// Passed on to the test programs: part of a test's name, `--nocapture`, …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// The programs of the netns tier. The world itself goes before the product: when it is wrong, nothing that it shows means
/// anything.
const ORDER: [&str; 4] = ["tests_testbed", "tests", "world", "netns"];

/// Plain `cargo test` with its compilation.
const UNIT_BUDGET: Duration = Duration::from_secs(30 * 60);

/// From built programs; the crash tests are most of it.
const NETNS_BUDGET: Duration = Duration::from_secs(25 * 60);

/// From built programs.
const CONTAINERD_BUDGET: Duration = Duration::from_secs(10 * 60);

/// Without KVM: booting takes a quarter of a minute, everything after it some ten times as long as outside.
const VLAN_BUDGET: Duration = Duration::from_secs(15 * 60);

/// Runs the tiers asked for.
pub(crate) fn run(args: &TestArgs) -> Result<()> {
    let workspace = Workspace::find()?;
    let all = args.tier == Tier::All;
    ensure_packages(args.tier)?;
    if all || args.tier == Tier::Unit {
        unit(&workspace, &args.rest)?;
    }
    if all || args.tier == Tier::Netns {
        netns(&workspace, &args.rest)?;
    }
    if all || args.tier == Tier::Containerd {
        containerd(&workspace, &args.rest)?;
    }
    if all || args.tier == Tier::Vlan {
        vlan(&workspace, &args.rest)?;
    }
    if args.tier == Tier::Apiserver {
        kubernetes::apiserver(&workspace, &args.rest)?;
    }
    if args.tier == Tier::Cluster {
        kubernetes::cluster(&workspace, &args.rest)?;
    }
    say("all tests passed");
    Ok(())
}

fn ensure_packages(tier: Tier) -> Result<()> {
    match tier {
        Tier::Unit => packages::ensure(&[packages::BUILD]),
        Tier::Netns => packages::ensure(&[packages::BUILD, packages::WORLD, packages::NETNS]),
        Tier::Containerd => {
            packages::ensure(&[packages::BUILD, packages::WORLD, packages::CONTAINERD])
        }
        Tier::Vlan => packages::ensure(&[
            packages::BUILD,
            packages::WORLD,
            packages::NETNS,
            packages::KERNEL,
        ]),
        Tier::Apiserver => packages::ensure(&[packages::BUILD, packages::WORLD]),
        Tier::Cluster => packages::ensure(&[
            packages::BUILD,
            packages::WORLD,
            packages::NETNS,
            packages::CONTAINERD,
            packages::CLUSTER,
        ]),
        Tier::All => packages::ensure(&[
            packages::BUILD,
            packages::WORLD,
            packages::NETNS,
            packages::CONTAINERD,
            packages::KERNEL,
        ]),
    }
}

fn unit(workspace: &Workspace, rest: &[String]) -> Result<()> {
    let mut command = workspace.cargo();
    command.arg("test").arg("--").args(rest);
    step::run("unit and property tests", &mut command, UNIT_BUDGET)
}

fn netns(workspace: &Workspace, rest: &[String]) -> Result<()> {
    let bin_dir = product(workspace, Profile::Dev)?;
    let words = [
        "test",
        "--no-run",
        "--package",
        "tests-testbed",
        "--package",
        "tests",
        "--lib",
        "--test",
        "world",
        "--test",
        "netns",
    ];
    let mut programs = executables(
        workspace,
        Profile::Dev,
        "building the namespace tests",
        &words,
    )?;
    programs.sort_by_key(|program| ORDER.iter().position(|name| *name == program_name(program)));
    for program in &programs {
        let name = program_name(program);
        let mut command = in_namespaces(workspace, program, &bin_dir)?;
        step::run(
            &format!("namespace tests: {name}"),
            command.args(rest),
            NETNS_BUDGET,
        )?;
    }
    Ok(())
}

fn containerd(workspace: &Workspace, rest: &[String]) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the containerd tier needs root: it makes cgroups"
    );
    let bin_dir = product(workspace, Profile::Dev)?;
    // The runtime itself goes first, with the reference plugins.
    let words = [
        "test",
        "--no-run",
        "--package",
        "tests-cri",
        "--package",
        "tests",
        "--test",
        "runtime",
        "--test",
        "containerd",
    ];
    let programs = executables(
        workspace,
        Profile::Dev,
        "building the containerd tests",
        &words,
    )?;
    for program in &programs {
        // One runtime after the other: two cores carry few.
        let mut command = in_namespaces(workspace, program, &bin_dir)?;
        command.arg("--test-threads=2").args(rest);
        let what = format!("containerd tests: {}", program_name(program));
        let (status, output) = run_and_keep(&what, &mut command, CONTAINERD_BUDGET)?;
        let failed = failed_tests(&output);
        if status.success() {
            continue;
        }
        if failed.is_empty() {
            bail!("the containerd tests ended with {status} and named no test");
        }
        for test in failed {
            again(workspace, program, &bin_dir, test)?;
        }
    }
    Ok(())
}

fn vlan(workspace: &Workspace, rest: &[String]) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the vlan tier needs root: the machine under qemu has this one's root file system"
    );
    let bin_dir = product(workspace, Profile::Dev)?;
    let words = ["test", "--no-run", "--package", "tests", "--test", "vlan"];
    let programs = executables(workspace, Profile::Dev, "building the VLAN tests", &words)?;
    say("preparing Debian's kernel");
    let kernel = Kernel::prepare(&workspace.target.join("kernel"))?;
    for program in &programs {
        say(&format!("VLAN tests on Linux {}", kernel.release()));
        let mut words = vec![quoted(program)];
        words.extend(rest.iter().map(|word| quoted(Path::new(word))));
        // The folder for temporary files is in memory there, as everything that is written.
        let script = format!(
            "export BERTH_BIN_DIR={} BERTH_EVIDENCE_DIR=/tmp/evidence TMPDIR=/tmp\nip link set lo up\ncd {}\n{}",
            quoted(&bin_dir),
            quoted(&workspace.root.join("tests")),
            words.join(" ")
        );
        let booted = kernel.run(&script, VLAN_BUDGET)?;
        step::show(&booted.log);
        ensure!(
            booted.status == Some(0),
            "the VLAN tests ended with {:?} (none: the machine ended first)",
            booted.status
        );
    }
    Ok(())
}

/// A word for a shell.
fn quoted(word: &Path) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"))
}

/// Runs one failed test once more, alone: on a busy machine a real failure is told from a late one that way.
fn again(workspace: &Workspace, program: &Path, bin_dir: &Path, test: &str) -> Result<()> {
    let mut command = in_namespaces(workspace, program, bin_dir)?;
    command
        .args(["--exact", test, "--nocapture"])
        // What the first run saved stays.
        .env(
            "BERTH_EVIDENCE_DIR",
            workspace.target.join("evidence-of-rerun"),
        );
    step::run(
        &format!("once more, alone: {test}"),
        &mut command,
        CONTAINERD_BUDGET,
    )?;
    let evidence = workspace.target.join("evidence");
    say(&format!(
        "!!! FLAKY: {test} failed, then passed alone; evidence is in {}",
        evidence.display()
    ));
    Ok(())
}

/// The test program as root of namespaces of its own: not even a wrong test reaches the machine's network.
pub(crate) fn in_namespaces(
    workspace: &Workspace,
    program: &Path,
    bin_dir: &Path,
) -> Result<Command> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private"]);
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
        .arg(program)
        .current_dir(workspace.root.join("tests"))
        .env("BERTH_BIN_DIR", bin_dir)
        .env("BERTH_EVIDENCE_DIR", workspace.target.join("evidence"))
        // Worlds of another user or another clone are not ours, whatever their names.
        .env("TMPDIR", workspace.temporary()?);
    Ok(command)
}

/// The names in libtest's last list of failures.
fn failed_tests(output: &str) -> Vec<&str> {
    let mut failed: Vec<&str> = output
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .collect();
    failed.sort_unstable();
    failed.dedup();
    failed
}

fn program_name(program: &Path) -> String {
    let file = program.file_name().unwrap_or_default().to_string_lossy();
    // Cargo puts a hash behind the name.
    file.rsplit_once('-')
        .map_or_else(|| file.to_string(), |(name, _)| name.to_owned())
}

/// Builds the namespace tests of the product; the folder of the product's programs and the test programs.
pub(crate) fn netns_programs(workspace: &Workspace) -> Result<(PathBuf, Vec<PathBuf>)> {
    ensure_packages(Tier::Netns)?;
    let bin_dir = product(workspace, Profile::Dev)?;
    let words = ["test", "--no-run", "--package", "tests", "--test", "netns"];
    let programs = executables(
        workspace,
        Profile::Dev,
        "building the namespace tests",
        &words,
    )?;
    Ok((bin_dir, programs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_read_from_the_runners_output() {
        let output = "running 2 tests\ntest a::good ... ok\ntest b::bad ... FAILED\n\nfailures:\n    b::bad\n";
        assert_eq!(failed_tests(output), ["b::bad"]);
    }

    #[test]
    fn program_is_called_without_its_hash() {
        assert_eq!(program_name(Path::new("/t/deps/netns-0123abcd")), "netns");
    }
}
