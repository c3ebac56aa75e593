//! Builds the product and the test programs, once, by cargo.
//!
//! Tests and the demo use the `dev` profile: the unit tests have compiled everything in it anyway, overflow and debug
//! assertions are on, and a change is tried sooner. Benchmarks use `release`. The linker is the toolchain's own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Message, MetadataCommand};

use crate::step::say;

/// From an empty target folder on two slow cores.
pub(crate) const BUILD_BUDGET: Duration = Duration::from_secs(30 * 60);

/// How a program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// For tests and the demo.
    Dev,
    /// For measuring.
    Release,
}

/// The folders of this workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let metadata = MetadataCommand::new()
            .no_deps()
            .exec()
            .context("read cargo's metadata")?;
        Ok(Self {
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
        command
    }
}

/// Builds the product's programs; the folder they are in, for `BERTH_BIN_DIR`.
pub(crate) fn product(workspace: &Workspace, profile: Profile) -> Result<PathBuf> {
    let built = executables(
        workspace,
        profile,
        "building the plugin and the daemon",
        &["build", "--package", "cni", "--package", "ipamd"],
    )?;
    let berth = find(&built, "berth")?;
    find(&built, "berth-ipamd")?;
    berth
        .parent()
        .map(Path::to_owned)
        .context("a program has a folder")
}

/// Builds what a cargo command names and returns the executables in cargo's order.
pub(crate) fn executables(
    workspace: &Workspace,
    profile: Profile,
    what: &str,
    words: &[&str],
) -> Result<Vec<PathBuf>> {
    say(what);
    let mut command = workspace.cargo();
    command
        .args(words)
        .arg("--message-format=json-render-diagnostics");
    if profile == Profile::Release {
        command.arg("--release");
    }
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
        bail!("{what}: `cargo {}` ended with {status}", words.join(" "));
    }
    Ok(found)
}

fn find<'a>(built: &'a [PathBuf], name: &str) -> Result<&'a PathBuf> {
    let found = built
        .iter()
        .find(|path| path.file_name().is_some_and(|file| file == name));
    found.with_context(|| format!("cargo built no program {name}"))
}
