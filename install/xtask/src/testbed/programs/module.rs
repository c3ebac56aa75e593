//! Programs of others, built from a Go module of ours that pins them with their checksums.
//!
//! The cache's key is what decides the result: the pins with their checksums, our source, the build's words and the toolchain.
//! A build goes into a folder of its own that gets its final name when it is complete.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{
    advice,
    go::{self, Go},
};
use crate::{
    build::Workspace,
    scratch::Scratch,
    step::{run, say},
};

/// Nine minutes from an empty cache on two idle cores.
const BUDGET: Duration = Duration::from_secs(60 * 60);

/// A Go module of ours that pins programs of others.
#[derive(Debug)]
pub(super) struct Module {
    name: &'static str,
    source: PathBuf,
    cache: PathBuf,
    target: PathBuf,
}

impl Module {
    pub(super) fn find(workspace: &Workspace, name: &'static str) -> Result<Self> {
        let source = workspace.root.join("tests/testbed").join(name);
        ensure!(
            source.join("go.mod").is_file(),
            "{} has no go.mod",
            source.display()
        );
        Ok(Self {
            name,
            source,
            cache: workspace.target.join("testbed"),
            target: workspace.target.clone(),
        })
    }

    /// The version that the module requires of another.
    pub(super) fn pinned(&self, module: &str) -> Result<String> {
        let path = self.source.join("go.mod");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let version = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(' '))
            .and_then(|rest| rest.split_whitespace().next());
        let version =
            version.with_context(|| format!("{} does not pin {module}", path.display()))?;
        Ok(version.to_owned())
    }

    /// Builds programs (name and package) into the cache, unless they are there; the folder.
    pub(super) fn build(
        &self,
        words: &[&str],
        programs: &[(&str, &str)],
        complete: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let go = go::ensure(&self.target)?;
        let folder = self
            .cache
            .join(format!("{}-{}", self.name, self.key(&go, words)?));
        if folder.is_dir() {
            return Ok(folder);
        }
        // Another build of the same may run: each has a folder of its own until it is complete.
        let fresh = Scratch::beside(&folder)?;
        say(&format!(
            "building {} from its Go module, once (some minutes; needs the Go module proxy the first time)",
            self.name
        ));
        for (name, package) in programs {
            let mut command = Command::new(&go.program);
            command
                .args(words)
                .arg(fresh.folder().join(name))
                .arg(package)
                .current_dir(&self.source)
                .env("CGO_ENABLED", "0")
                .env("GOFLAGS", "-mod=readonly")
                .env("GOTOOLCHAIN", "local");
            run(&format!("building {name}"), &mut command, BUDGET).with_context(|| {
                let advice = advice();
                format!("build {name} (Go's own words are above); where its module proxy cannot be reached set GOPROXY to one that can, or {advice}")
            })?;
        }
        complete(fresh.folder())?;
        fresh.complete(&folder)?;
        Ok(folder)
    }

    fn key(&self, go: &Go, words: &[&str]) -> Result<String> {
        let mut hasher = DefaultHasher::new();
        go.version.hash(&mut hasher);
        words.hash(&mut hasher);
        for file in ["go.mod", "go.sum", "main.go"] {
            let path = self.source.join(file);
            if path.exists() {
                let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
                text.hash(&mut hasher);
            }
        }
        Ok(format!("{:016x}", hasher.finish()))
    }
}
