//! Cgroups of a node's containers: made below one folder per controller, listed so that they go with the world.
//!
//! The folder carries the process id of the node's PID 1: each boot begins without cgroups, as a machine does.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::node::{Node, create};

/// Where the machine's cgroups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Keeps a node's cgroup namespace, inside the node.
const NAMESPACE: &str = "/run/cgroup-namespace";

/// The name of a node's cgroup for one boot.
pub(crate) fn name(node: &str, pid: i32) -> String {
    format!("berth-{pid}-{node}")
}

impl Node {
    /// A cgroup for the node's containers in each controller that is there: its path below each. It goes with the world.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn make_cgroups(&self) -> Result<String> {
        let name = name(self.name(), self.pid());
        for controller in controllers()? {
            let folder = controller.join(&name);
            if folder.exists() {
                continue;
            }
            self.claim().add_cgroup(folder.clone())?;
            create(&folder)?;
            // A v1 cpuset starts empty, and nothing can run in it until it is filled.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(all) = fs::read(controller.join(file)) {
                    fs::write(folder.join(file), all)
                        .with_context(|| format!("fill {file} of {}", folder.display()))?;
                }
            }
        }
        Ok(format!("/{name}"))
    }

    /// Gives the machine a cgroup namespace in which its own cgroups are all there are; what is started in it from then on sees them
    /// so. kubelet's cAdvisor looks at every cgroup it can see and asks the runtime about each: containers of other nodes, which
    /// that one does not know, cost it three seconds each.
    pub(crate) fn confine_cgroups(&mut self) -> Result<()> {
        let name = self.make_cgroups()?;
        let mut join = String::new();
        let mut mount = String::new();
        for controller in controllers()? {
            let folder = controller.display();
            let _ = writeln!(join, "echo 0 > {folder}{name}/cgroup.procs");
            let options = controller.file_name().unwrap_or_default().to_string_lossy();
            let kind = match &*options {
                _ if controller.join("cgroup.controllers").exists() => "cgroup2".to_owned(),
                "systemd" => "cgroup -o none,name=systemd".to_owned(),
                options => format!("cgroup -o {options}"),
            };
            // The kernel refuses the same file system twice in one place.
            let _ = writeln!(mount, "umount {folder}; mount -t {kind} cgroup {folder}");
        }
        // The root of a cgroup namespace is where its maker was. It is kept by a file, and mounts made in it begin at its root.
        self.script(&format!(
            "{join}touch {NAMESPACE}\nunshare --cgroup={NAMESPACE} true\nnsenter --cgroup={NAMESPACE} sh -euc '{mount}'"
        ))?;
        self.set_cgroup_namespace(NAMESPACE)
    }
}

/// The folders below which cgroups are made: one with cgroup v2, one per controller with v1.
fn controllers() -> Result<Vec<PathBuf>> {
    let root = Path::new(CGROUPS);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(root).with_context(|| format!("list {CGROUPS}"))? {
        let path = entry.context("list the cgroup controllers")?.path();
        // `cpu` may be a link to `cpu,cpuacct`.
        if path.join("cgroup.procs").exists() && !path.is_symlink() {
            folders.push(path);
        }
    }
    Ok(folders)
}
