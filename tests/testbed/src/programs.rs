//! Kubernetes and containerd as programs: where they are, by environment variables.
//!
//! Like the product's own (`binaries.rs`) they are never built by a test: `cargo xtask` builds them once and names the folders.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Names the folder of Kubernetes' programs and etcd.
pub const KUBERNETES_VARIABLE: &str = "BERTH_KUBERNETES_BIN";

/// Names the folder of containerd 2.x, its shim and `ctr`.
pub const CONTAINERD_VARIABLE: &str = "BERTH_CONTAINERD_BIN";

/// Names the folder of `CoreDNS` and the chained plugins.
pub const ADDONS_VARIABLE: &str = "BERTH_ADDONS_BIN";

/// What the folder of Kubernetes must have.
pub const KUBERNETES_PROGRAMS: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
];

/// What the folder of containerd must have.
pub const CONTAINERD_PROGRAMS: [&str; 4] =
    ["containerd", "containerd-shim-runc-v2", "ctr", "cnitool"];

/// What the folder of addons must have.
pub const ADDONS_PROGRAMS: [&str; 3] = ["coredns", "portmap", "bandwidth"];

/// A folder with every program of Kubernetes.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    folder: PathBuf,
}

/// A folder with the programs of the Go module `addons`.
#[derive(Clone, Debug)]
pub struct Addons {
    folder: PathBuf,
}

impl Addons {
    /// The folder named by `BERTH_ADDONS_BIN`.
    ///
    /// # Errors
    /// The variable is not set, or the folder lacks a program.
    pub fn from_environment() -> Result<Self> {
        Self::at(named(ADDONS_VARIABLE)?)
    }

    /// A folder with every program.
    ///
    /// # Errors
    /// One is missing.
    pub fn at(folder: PathBuf) -> Result<Self> {
        check(&folder, &ADDONS_PROGRAMS)?;
        Ok(Self { folder })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Which container runtime a node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Debian's containerd 1.6: CNI up to 1.0.0.
    Debian,
    /// containerd 2.x from this folder: CNI 1.1.0 with STATUS.
    Module(PathBuf),
}

impl Kubernetes {
    /// The folder named by `BERTH_KUBERNETES_BIN`.
    ///
    /// # Errors
    /// The variable is not set, or the folder lacks a program.
    pub fn from_environment() -> Result<Self> {
        Self::at(named(KUBERNETES_VARIABLE)?)
    }

    /// A folder with every program, under the component's own names.
    ///
    /// # Errors
    /// One is missing.
    pub fn at(folder: PathBuf) -> Result<Self> {
        check(&folder, &KUBERNETES_PROGRAMS)?;
        Ok(Self { folder })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn program(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }
}

impl Runtime {
    /// containerd 2.x from the folder named by `BERTH_CONTAINERD_BIN`.
    ///
    /// # Errors
    /// The variable is not set, or the folder lacks a program.
    pub fn module_from_environment() -> Result<Self> {
        Self::module(named(CONTAINERD_VARIABLE)?)
    }

    /// containerd 2.x from a folder.
    ///
    /// # Errors
    /// A program is missing there.
    pub fn module(folder: PathBuf) -> Result<Self> {
        check(&folder, &CONTAINERD_PROGRAMS)?;
        Ok(Self::Module(folder))
    }

    /// The newest CNI version it speaks.
    pub fn cni_version(&self) -> &'static str {
        match self {
            Self::Debian => "1.0.0",
            Self::Module(_) => "1.1.0",
        }
    }

    pub(crate) fn program(&self, name: &str) -> String {
        match self {
            Self::Debian => name.to_owned(),
            Self::Module(folder) => folder.join(name).to_string_lossy().into_owned(),
        }
    }
}

fn named(variable: &str) -> Result<PathBuf> {
    // The test runner leaves a test no flags of its own.
    std::env::var_os(variable)
        .map(PathBuf::from)
        .with_context(|| {
            format!(
                "{variable} is not set: run `cargo xtask test`, or name a folder of ready programs"
            )
        })
}

fn check(folder: &Path, programs: &[&str]) -> Result<()> {
    let missing: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|program| !folder.join(program).is_file())
        .collect();
    ensure!(
        missing.is_empty(),
        "{} lacks {}",
        folder.display(),
        missing.join(", ")
    );
    Ok(())
}
