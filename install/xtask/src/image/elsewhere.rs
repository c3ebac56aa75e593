//! The product built from a copy of this tree, in another folder: as another version, or to see that the folder does not matter.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::build::Workspace;

/// Makes `to` a copy of the sources as this version. Files that are the same already are left alone: cargo looks at their times.
pub(crate) fn copy_sources(workspace: &Workspace, to: &Path, version: &str) -> Result<()> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(&workspace.root)
        .output()
        .context("start git")?;
    ensure!(
        listed.status.success(),
        "git does not list the sources: {}",
        String::from_utf8_lossy(&listed.stderr).trim()
    );
    let listed = String::from_utf8(listed.stdout).context("a file's name is not UTF-8")?;
    let wanted: BTreeSet<PathBuf> = listed
        .split_terminator('\0')
        .map(PathBuf::from)
        // Deleted, and not committed yet.
        .filter(|file| workspace.root.join(file).is_file())
        // cargo reads this folder's own, and would read the copy's as well and add the two up.
        .filter(|file| !file.starts_with(".cargo"))
        .collect();
    for file in &wanted {
        let mut text = fs::read(workspace.root.join(file))
            .with_context(|| format!("read {}", file.display()))?;
        if file == Path::new("Cargo.toml") {
            let manifest = String::from_utf8(text).context("the root manifest is not UTF-8")?;
            text = with_version(&manifest, version)?.into_bytes();
        }
        write_changed(&to.join(file), &text)?;
    }
    remove_others(to, Path::new(""), &wanted)
}

/// Writes a file unless it says the same already.
fn write_changed(path: &Path, text: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// Removes files of an earlier copy that the sources have no longer.
fn remove_others(root: &Path, below: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
    let folder = root.join(below);
    let entries = fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        let file = below.join(entry.file_name());
        let kind = entry.file_type().context("read a file's kind")?;
        if kind.is_dir() {
            remove_others(root, &file, wanted)?;
        } else if !wanted.contains(&file) {
            fs::remove_file(entry.path())
                .with_context(|| format!("remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// The root manifest with another version of the workspace.
fn with_version(manifest: &str, version: &str) -> Result<String> {
    let section = "[workspace.package]\n";
    let start = manifest
        .find(section)
        .context("the root manifest has no [workspace.package]")?
        + section.len();
    let (before, rest) = manifest.split_at(start);
    let end = rest.find("\n[").unwrap_or(rest.len());
    let (package, after) = rest.split_at(end);
    let mut found = false;
    let package: Vec<String> = package
        .split('\n')
        .map(|line| {
            if line.split('=').next().map(str::trim) == Some("version") {
                found = true;
                return format!("version = \"{version}\"");
            }
            line.to_owned()
        })
        .collect();
    ensure!(found, "[workspace.package] names no version");
    Ok(format!("{before}{}{after}", package.join("\n")))
}

/// The version that many minor versions later.
pub(crate) fn later(version: &str, minors: u64) -> Result<String> {
    let mut numbers = version.split('.').map(str::parse::<u64>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        anyhow::bail!("{version} is no version");
    };
    Ok(format!("{major}.{}.0", minor + minors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_workspaces_own_version_is_changed() {
        let manifest = "[workspace]\nmembers = []\n\n[workspace.package]\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace.dependencies]\nnix = { version = \"0.1.0\" }\n";
        let changed = with_version(manifest, "0.4.0").unwrap();
        assert_eq!(
            changed,
            manifest.replacen("version = \"0.1.0\"", "version = \"0.4.0\"", 1)
        );
        assert!(with_version("[workspace]\n", "0.4.0").is_err());
    }

    #[test]
    fn later_versions_are_counted_in_minors() {
        assert_eq!(later("0.1.0", 1).unwrap(), "0.2.0");
        assert_eq!(later("1.9.4", 3).unwrap(), "1.12.0");
        assert!(later("one", 1).is_err());
    }
}
