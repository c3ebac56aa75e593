//! Kubernetes, etcd, containerd, `CoreDNS` and chained CNI plugins, built once from pinned Go modules into a cache, or named by the environment.
//!
//! What is named must be of the release that the pins name: the testbed is written for that one.

mod go;
mod module;
mod version;

use std::{os::unix::fs::symlink, path::PathBuf};

use anyhow::{Context, Result, bail};
use tests_testbed::{
    ADDONS_PROGRAMS, ADDONS_VARIABLE, Addons, CONTAINERD_PROGRAMS, CONTAINERD_VARIABLE,
    KUBERNETES_PROGRAMS, KUBERNETES_VARIABLE, Kubernetes, Runtime,
};

use self::{module::Module, version::major_and_minor};
use super::RuntimeName;
use crate::build::Workspace;

/// Modules whose pinned versions are the versions of programs; Kubernetes' are told theirs when they are built.
const KUBERNETES_MODULE: &str = "k8s.io/kubernetes";
const CONTAINERD_MODULE: &str = "github.com/containerd/containerd/v2";

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
    let module = Module::find(workspace, "kubernetes")?;
    let version = module.pinned(KUBERNETES_MODULE)?;
    if let Some(folder) = std::env::var_os(KUBERNETES_VARIABLE) {
        let named = Kubernetes::at(folder.into()).with_context(|| named_by(KUBERNETES_VARIABLE))?;
        let folder = named.folder().to_owned();
        for program in ["kube-apiserver", "kubelet"] {
            version::check(&folder.join(program), &version, KUBERNETES_VARIABLE)?;
        }
        return Ok(folder);
    }
    let package = "k8s.io/component-base/version";
    let (major, minor) =
        major_and_minor(&version).with_context(|| format!("{version} is no version"))?;
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
    let module = Module::find(workspace, "containerd")?;
    if let Some(folder) = std::env::var_os(CONTAINERD_VARIABLE) {
        let named =
            Runtime::module(folder.into()).with_context(|| named_by(CONTAINERD_VARIABLE))?;
        let Runtime::Module(folder) = named else {
            bail!("{CONTAINERD_VARIABLE} names no containerd 2.x");
        };
        let pinned = module.pinned(CONTAINERD_MODULE)?;
        version::check(&folder.join("containerd"), &pinned, CONTAINERD_VARIABLE)?;
        return Ok(folder);
    }
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
        let named = Addons::at(folder.into()).with_context(|| named_by(ADDONS_VARIABLE))?;
        return Ok(named.folder().to_owned());
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

/// What to do where the programs cannot be built.
fn advice() -> String {
    format!(
        "name folders of ready programs by {KUBERNETES_VARIABLE}, {CONTAINERD_VARIABLE} and {ADDONS_VARIABLE}"
    )
}

/// What is wrong with a folder that lacks programs, and what to do.
fn named_by(variable: &str) -> String {
    format!(
        "{variable} names a folder that is not complete: name another, or unset it to have the pinned programs built"
    )
}
