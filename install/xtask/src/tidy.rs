//! What the layout promises and no compiler checks: dependency arrows, where unsafe code is, how files are named, generated files.
//!
//! All findings are reported at once. Reads files only.

mod arrows;
mod files;
mod manifests;

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::{generate, step::say};

/// Checks the whole tree.
pub(crate) fn run() -> Result<()> {
    say("layout");
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .context("read cargo's metadata")?;
    let packages = metadata.workspace_packages();
    let mut findings = arrows::check(&packages);
    findings.extend(manifests::check(&packages)?);
    findings.extend(generate::check(metadata.workspace_root.as_std_path())?);
    findings.extend(files::check(metadata.workspace_root.as_std_path())?);
    for finding in &findings {
        say(finding);
    }
    if !findings.is_empty() {
        bail!("{} finding(s) in the layout", findings.len());
    }
    Ok(())
}
