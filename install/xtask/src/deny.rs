//! Licences, duplicates and sources of the dependencies, by cargo-deny and `.deny.toml`.
//!
//! Not part of `ci`: cargo-deny takes longer to install than everything it checks, and needs its advisory database.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{build::Workspace, step};

const BUDGET: Duration = Duration::from_secs(5 * 60);

/// Checks what needs no network.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::find()?;
    let version = workspace
        .cargo()
        .args(["deny", "--version"])
        .output()
        .context("start cargo")?;
    ensure!(
        version.status.success(),
        "cargo-deny is not installed: cargo install --locked cargo-deny"
    );
    let mut command = workspace.cargo();
    command.args([
        "deny",
        "--config",
        ".deny.toml",
        "check",
        "bans",
        "licenses",
        "sources",
    ]);
    step::run(
        "licences, duplicates and sources of dependencies",
        &mut command,
        BUDGET,
    )
}
