//! What every source file must respect: its name, its head, its size, and no unsafe code but in one place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The only files that may allow unsafe code.
const UNSAFE: &[&str] = &["cni/datapath/src/sys.rs", "node-agent/kernel/src/sys.rs"];

/// Names that say nothing: such files collect what belongs elsewhere.
const BANNED: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "misc", "types", "manager", "base",
];

/// A file with more production lines than this must be split.
const MOST_LINES: usize = 600;

/// Folders without sources of ours.
const SKIPPED: &[&str] = &["target", ".git"];

/// Everything wrong in the source files below `root`.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let mut findings = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let path = file.strip_prefix(root).unwrap_or(&file);
        findings.extend(judge(path, &text));
    }
    Ok(findings)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if !SKIPPED.iter().any(|name| entry.file_name() == *name) {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn judge(path: &Path, text: &str) -> Vec<String> {
    let shown = path.display();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let is_test = is_test(path);
    let mut findings = Vec::new();
    if BANNED.contains(&&*stem) {
        findings.push(format!(
            "{shown}: a file of this name collects leftovers; name it after what it owns"
        ));
    }
    if stem == "mod" {
        findings.push(format!("{shown}: write foo.rs beside foo/, not foo/mod.rs"));
    }
    // Split so that this line is not a finding itself.
    let allowance = concat!("allow(", "unsafe_code");
    if text.contains(allowance) && !UNSAFE.iter().any(|allowed| path == Path::new(allowed)) {
        findings.push(format!(
            "{shown}: unsafe code is allowed in {} only",
            UNSAFE.join(", ")
        ));
    }
    if !is_test && !text.starts_with("//!") {
        findings.push(format!(
            "{shown}: begins without `//!`: what it owns, what always holds, what it never does"
        ));
    }
    let lines = production_lines(text);
    if !is_test && lines > MOST_LINES {
        findings.push(format!(
            "{shown}: {lines} lines, more than {MOST_LINES}; split it"
        ));
    }
    findings
}

/// Whether a file holds tests only: `foo/tests.rs`, anything below a `tests` folder, and the test programs of the crate `tests`.
fn is_test(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let Some((file, folders)) = parts.split_last() else {
        return false;
    };
    let inside = folders.iter().skip(1).any(|folder| folder == "tests");
    // The crate's own folder is called so too; its harness and testbed are libraries.
    let program = folders.first().is_some_and(|first| first == "tests")
        && !folders.iter().any(|folder| folder == "src");
    file == "tests.rs" || inside || program
}

fn production_lines(text: &str) -> usize {
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        judge(Path::new(path), text).len()
    }

    #[test]
    fn proper_file_has_no_findings() {
        assert_eq!(findings("ipamd/src/ledger.rs", "//! Owns the book.\n"), 0);
    }

    #[test]
    fn bad_names_are_found() {
        for name in [
            "cni/src/utils.rs",
            "cni/src/foo/mod.rs",
            "ipamd/src/types.rs",
        ] {
            assert_eq!(findings(name, "//! Head.\n"), 1, "{name}");
        }
    }

    #[test]
    fn tests_are_told_from_production() {
        for test in [
            "ipamd/src/store/tests.rs",
            "ipamd/src/store/tests/damage.rs",
            "tests/netns/add.rs",
            "tests/testbed/tests/world.rs",
        ] {
            assert!(is_test(Path::new(test)), "{test}");
        }
        for production in [
            "tests/src/site.rs",
            "tests/testbed/src/world.rs",
            "ipamd/src/store.rs",
        ] {
            assert!(!is_test(Path::new(production)), "{production}");
        }
    }

    #[test]
    fn unsafe_code_is_allowed_in_one_place() {
        let text = concat!("//! Head.\n#![allow(", "unsafe_code)]\n");
        assert_eq!(findings("cni/datapath/src/sys.rs", text), 0);
        assert_eq!(findings("cni/datapath/src/netns.rs", text), 1);
    }

    #[test]
    fn missing_head_and_too_many_lines_are_found() {
        assert_eq!(findings("cni/src/main.rs", "fn main() {}\n"), 1);
        let long = format!("//! Head.\n{}", "fn f() {}\n".repeat(MOST_LINES));
        assert_eq!(findings("cni/src/long.rs", &long), 1);
        let tested = format!(
            "//! Head.\n#[cfg(test)]\n{}",
            "fn f() {}\n".repeat(MOST_LINES)
        );
        assert_eq!(findings("cni/src/tested.rs", &tested), 0);
    }
}
