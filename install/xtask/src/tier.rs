//! The test tiers, cheap ones first, each with a time budget.
//!
//! Privileged tiers run their test program in namespaces of its own, so that nothing can reach the machine's network.
//! One step after the other: programs of others are built when the first tier needs them and not in the background meanwhile. The
//! compiler has both cores busy anyway, tests that watch real time would fail beside a build, and a fault in a cheap tier is known before the dear ones cost anything.

mod kubernetes;
mod suite;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use tests_testbed::Kernel;

use self::suite::{Flaky, Suite};
use crate::{
    build::{BIN_DIR_VARIABLE, Profile, Workspace, executables, product},
    packages,
    step::{self, say},
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
    /// etcd and kube-apiserver alone, with Berth's programs beside them
    Apiserver,
    /// Real nodes with kubelet, containerd and Berth
    Cluster,
    /// All of them, in this order
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

/// The crates of the black-box tests. Always named together: what cargo compiles of others' crates depends on who else is built.
const CRATES: [&str; 8] = [
    "--package",
    "tests-testbed",
    "--package",
    "tests-cri",
    "--package",
    "tests-fake-node",
    "--package",
    "tests",
];

/// Their libraries, which have tests of their own.
const LIBRARIES: [&str; 4] = ["tests_testbed", "tests_cri", "tests_fake_node", "tests"];

/// The programs of the netns tier. The world itself goes before the product: when it is wrong, nothing that it shows means
/// anything.
const NETNS: [&str; 6] = [
    "tests_testbed",
    "tests_cri",
    "tests_fake_node",
    "tests",
    "world",
    "netns",
];

/// The programs of the containerd tier. The runtime itself goes first, with the reference plugins.
const CONTAINERD: [&str; 2] = ["runtime", "containerd"];

/// Plain `cargo test` with its compilation.
const UNIT_BUDGET: Duration = Duration::from_secs(30 * 60);

/// From built programs; the crash tests are most of it.
const NETNS_BUDGET: Duration = Duration::from_secs(25 * 60);

/// From built programs.
const CONTAINERD_BUDGET: Duration = Duration::from_secs(10 * 60);

/// Without KVM: booting takes a quarter of a minute, everything after it some ten times as long as outside.
const VLAN_BUDGET: Duration = Duration::from_secs(15 * 60);

/// All tiers in the order of their cost.
const TIERS: [Tier; 6] = [
    Tier::Unit,
    Tier::Netns,
    Tier::Containerd,
    Tier::Vlan,
    Tier::Apiserver,
    Tier::Cluster,
];

/// Runs the tiers asked for.
pub(crate) fn run(args: &TestArgs) -> Result<()> {
    // Said before the first tier has run for minutes.
    if let Some(reason) = args.tier.needs_root() {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "`test {}` needs root: {reason}; `test unit`, `test netns` and `test apiserver` do not",
            args.tier.name()
        );
    }
    let workspace = Workspace::find()?;
    ensure_packages(args.tier)?;
    let mut flaky = Vec::new();
    let mut times = Vec::new();
    let wanted = TIERS
        .into_iter()
        .filter(|tier| args.tier == Tier::All || args.tier == *tier);
    for tier in wanted {
        let started = Instant::now();
        flaky.extend(run_tier(tier, &workspace, &args.rest)?);
        times.push(format!("{} {} s", tier.name(), started.elapsed().as_secs()));
    }
    say(&format!("with what they compiled: {}", times.join(", ")));
    flaky.iter().for_each(Flaky::tell);
    say("all tests passed");
    Ok(())
}

fn run_tier(tier: Tier, workspace: &Workspace, rest: &[String]) -> Result<Vec<Flaky>> {
    match tier {
        Tier::Unit => unit(workspace, rest)?,
        Tier::Netns => netns(workspace, rest)?,
        Tier::Containerd => return containerd(workspace, rest),
        Tier::Vlan => vlan(workspace, rest)?,
        Tier::Apiserver => return kubernetes::apiserver(workspace, rest),
        Tier::Cluster => return kubernetes::cluster(workspace, rest),
        Tier::All => {}
    }
    Ok(Vec::new())
}

impl Tier {
    /// Why, where it does.
    fn needs_root(self) -> Option<&'static str> {
        match self {
            Self::Unit | Self::Netns | Self::Apiserver => None,
            Self::Containerd | Self::Cluster => Some("it makes cgroups"),
            Self::Vlan => Some("the machine under qemu has this one's root file system"),
            Self::All => Some("some of its tiers make cgroups or boot a kernel"),
        }
    }

    /// As it is typed.
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
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
            packages::PYTHON,
        ]),
        Tier::Apiserver => packages::ensure(&[packages::BUILD, packages::WORLD]),
        Tier::Cluster => packages::ensure(&[
            packages::BUILD,
            packages::IMAGE,
            packages::WORLD,
            packages::NETNS,
            packages::CONTAINERD,
            packages::CLUSTER,
        ]),
        Tier::All => packages::ensure(&[
            packages::BUILD,
            packages::IMAGE,
            packages::WORLD,
            packages::NETNS,
            packages::CONTAINERD,
            packages::CLUSTER,
            packages::KERNEL,
            packages::PYTHON,
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
    let programs = test_programs(workspace, "building the namespace tests", &NETNS)?;
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

fn containerd(workspace: &Workspace, rest: &[String]) -> Result<Vec<Flaky>> {
    let bin_dir = product(workspace, Profile::Dev)?;
    let programs = test_programs(workspace, "building the containerd tests", &CONTAINERD)?;
    let mut flaky = Vec::new();
    for program in &programs {
        let suite = Suite {
            what: &format!("containerd tests: {}", program_name(program)),
            command: &|evidence| {
                let mut command = in_namespaces(workspace, program, &bin_dir)?;
                command.env(EVIDENCE_VARIABLE, evidence);
                Ok(command)
            },
            clean: &|| Ok(()),
            rest,
            budget: CONTAINERD_BUDGET,
            at_once: 2,
            evidence: &evidence(workspace),
        };
        flaky.extend(suite.run()?);
    }
    Ok(flaky)
}

fn vlan(workspace: &Workspace, rest: &[String]) -> Result<()> {
    let bin_dir = product(workspace, Profile::Dev)?;
    let programs = test_programs(workspace, "building the VLAN tests", &["vlan"])?;
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

/// Names the folder in which a failed test saves what it saw.
const EVIDENCE_VARIABLE: &str = "BERTH_EVIDENCE_DIR";

/// Where failed tests save what they saw.
fn evidence(workspace: &Workspace) -> PathBuf {
    workspace.target.join("evidence")
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
        .env(BIN_DIR_VARIABLE, bin_dir)
        .env(EVIDENCE_VARIABLE, evidence(workspace))
        // Worlds of another user or another clone are not ours, whatever their names.
        .env("TMPDIR", workspace.temporary()?);
    Ok(command)
}

/// Builds test programs by name; their paths in the same order.
fn test_programs(workspace: &Workspace, what: &str, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut words = vec!["test", "--no-run"];
    words.extend(CRATES);
    if names.iter().any(|name| LIBRARIES.contains(name)) {
        words.push("--lib");
    }
    for name in names.iter().filter(|name| !LIBRARIES.contains(name)) {
        words.extend(["--test", name]);
    }
    let mut programs = executables(workspace, Profile::Dev, what, &words)?;
    programs.sort_by_key(|program| names.iter().position(|name| *name == program_name(program)));
    Ok(programs)
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
    let programs = test_programs(workspace, "building the namespace tests", &["netns"])?;
    Ok((bin_dir, programs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_called_without_its_hash() {
        assert_eq!(program_name(Path::new("/t/deps/netns-0123abcd")), "netns");
    }
}
