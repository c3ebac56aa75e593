//! Builds the product and the test programs, once, by cargo.
//!
//! Tests and the demo use the `dev` profile: the unit tests have compiled everything in it anyway, overflow and debug
//! assertions are on, and a change is tried sooner. Benchmarks use `release`. The linker is the toolchain's own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{Message, MetadataCommand};

use crate::step::say;

/// From an empty target folder on two slow cores.
pub(crate) const BUILD_BUDGET: Duration = Duration::from_secs(30 * 60);

/// Names the folder of the product's programs: to everything that runs them, and to this program when it need not build them.
pub(crate) const BIN_DIR_VARIABLE: &str = "BERTH_BIN_DIR";

/// The crates of the product. Always named together: what cargo compiles of others' crates depends on who else is built.
const PRODUCT: [&str; 10] = [
    "--package",
    "cni",
    "--package",
    "ipamd",
    "--package",
    "node-agent",
    "--package",
    "node-agent-ctl",
    "--package",
    "install-init",
];

/// The programs of the product.
pub(crate) const PROGRAMS: [&str; 5] = [
    "berth",
    "berth-ipamd",
    "berth-agent",
    "berth-install",
    "kubectl-berth",
];

/// How a program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// For tests and the demo
    Dev,
    /// For operators, and for measuring
    Release,
}

/// The folders of this workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// Of every crate of ours.
    pub(crate) version: String,
    /// Every crate of ours.
    pub(crate) packages: Vec<String>,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let metadata = MetadataCommand::new()
            .no_deps()
            .exec()
            .context("read cargo's metadata")?;
        let members = metadata.workspace_packages();
        let first = members.first().context("the workspace has no crate")?;
        Ok(Self {
            version: first.version.to_string(),
            packages: members
                .iter()
                .map(|member| member.name.to_string())
                .collect(),
            root: metadata.workspace_root.into(),
            target: metadata.target_directory.into(),
        })
    }

    /// A folder for files that are gone when their maker is.
    pub(crate) fn temporary(&self) -> Result<PathBuf> {
        let folder = self.target.join("tmp");
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(folder)
    }

    /// A cargo command in this workspace.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(&self.root);
        // `cargo xtask` describes this program's crate in the environment. A build script that looks at these variables (ring's) would find them changed
        // by every command that was not started by a cargo, and everything above it would be compiled again, each time.
        for (name, _) in std::env::vars_os() {
            if describes_a_crate(&name.to_string_lossy()) {
                command.env_remove(name);
            }
        }
        command
    }
}

/// Whether cargo sets this variable for a crate that it runs.
fn describes_a_crate(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"]
        .iter()
        .any(|prefix| variable.starts_with(prefix))
}

/// This program's path, also when it was built anew while it runs.
pub(crate) fn this_program() -> Result<PathBuf> {
    let path = std::env::current_exe().context("find this program")?;
    let name = path.to_string_lossy();
    // How the kernel calls a file that was replaced; the new one has its name.
    Ok(name
        .strip_suffix(" (deleted)")
        .map_or_else(|| path.clone(), PathBuf::from))
}

/// Builds the product's programs, unless `BERTH_BIN_DIR` names a folder of ready ones; their folder.
pub(crate) fn product(workspace: &Workspace, profile: Profile) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(BIN_DIR_VARIABLE).map(PathBuf::from) {
        say(&format!(
            "taking the product's programs from {BIN_DIR_VARIABLE}: {}",
            folder.display()
        ));
        let missing: Vec<&str> = PROGRAMS
            .into_iter()
            .filter(|name| !folder.join(name).is_file())
            .collect();
        ensure!(
            missing.is_empty(),
            "{} lacks {}; unset {BIN_DIR_VARIABLE} to have everything built",
            folder.display(),
            missing.join(", ")
        );
        return Ok(folder);
    }
    let mut words = vec!["build"];
    words.extend(PRODUCT);
    let built = executables(workspace, profile, "building the product", &words)?;
    for program in PROGRAMS {
        find(&built, program)?;
    }
    let berth = find(&built, "berth")?;
    berth
        .parent()
        .map(Path::to_owned)
        .context("a program has a folder")
}

/// Builds some of the product's programs from the sources in `root` into `target`; their paths, in the order of the names.
pub(crate) fn product_elsewhere(
    workspace: &Workspace,
    profile: Profile,
    place: &Elsewhere<'_>,
    programs: &[&str],
) -> Result<Vec<PathBuf>> {
    let mut command = workspace.cargo();
    // From this workspace's folder: cargo looks for its settings from where it is, not from where the manifest is.
    command
        .arg("build")
        .arg("--manifest-path")
        .arg(place.root.join("Cargo.toml"))
        .args(PRODUCT)
        .env("CARGO_TARGET_DIR", &place.target);
    for program in programs {
        command.args(["--bin", program]);
    }
    if place.shares_parts {
        // Before cargo 1.91 it is not known: everything is then compiled again, which is right and slow.
        command.env("CARGO_BUILD_BUILD_DIR", &workspace.target);
    }
    if profile == Profile::Release {
        release(&mut command, &place.root, &place.target)?;
    }
    let built = run_cargo(place.what, command)?;
    programs
        .iter()
        .map(|program| find(&built, program).cloned())
        .collect()
}

/// Where else the product is built.
#[derive(Debug)]
pub(crate) struct Elsewhere<'a> {
    pub(crate) what: &'a str,
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// Crates of others are taken from this workspace's builds.
    pub(crate) shares_parts: bool,
}

/// Builds what a cargo command names and returns the executables in cargo's order.
pub(crate) fn executables(
    workspace: &Workspace,
    profile: Profile,
    what: &str,
    words: &[&str],
) -> Result<Vec<PathBuf>> {
    let mut command = workspace.cargo();
    command.args(words);
    if profile == Profile::Release {
        release(&mut command, &workspace.root, &workspace.target)?;
    }
    run_cargo(what, command)
}

/// Makes a build of `root` into `target` one for operators: optimised, and the same wherever these folders are.
fn release(command: &mut Command, root: &Path, target: &Path) -> Result<()> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => Path::new(&std::env::var_os("HOME").context("HOME is not set")?).join(".cargo"),
    };
    // Panics name the files they are in. The last one that fits counts: the target folder may be in the workspace.
    let words: Vec<String> = [(root, "berth"), (target, "target"), (&home, "cargo")]
        .iter()
        .map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display()))
        .collect();
    // Added to the words in .cargo/config.toml, as RUSTFLAGS in the environment would not be.
    let words = toml::Value::from(words);
    command.arg("--release").arg("--config").arg(format!(
        "target.'cfg(target_env = \"gnu\")'.rustflags={words}"
    ));
    Ok(())
}

fn run_cargo(what: &str, mut command: Command) -> Result<Vec<PathBuf>> {
    say(what);
    command.arg("--message-format=json-render-diagnostics");
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("start cargo")?;
    let stdout = child.stdout.take().context("no pipe to cargo")?;
    let mut found = Vec::new();
    for message in Message::parse_stream(std::io::BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message.context("read cargo's messages")?
            && let Some(executable) = artifact.executable
        {
            found.push(executable.into_std_path_buf());
        }
    }
    let status = child.wait().context("wait for cargo")?;
    if !status.success() {
        bail!("{what}: cargo ended with {status}");
    }
    Ok(found)
}

fn find<'a>(built: &'a [PathBuf], name: &str) -> Result<&'a PathBuf> {
    let found = built
        .iter()
        .find(|path| path.file_name().is_some_and(|file| file == name));
    found.with_context(|| format!("cargo built no program {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_own_variables_are_told_from_settings() {
        assert!(describes_a_crate("CARGO_PKG_NAME"));
        assert!(describes_a_crate("CARGO_MANIFEST_DIR"));
        assert!(!describes_a_crate("CARGO_TARGET_DIR"));
        assert!(!describes_a_crate("CARGO_HOME"));
    }
}
