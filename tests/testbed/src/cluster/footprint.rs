//! What a cluster costs and where its machines are: memory by `/proc`, and a file with which others find the way in.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Cluster, Daemon};
use crate::{namespace::Namespace, world::World};

/// How to reach a running cluster from another process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Doors {
    /// The program that talks to the API server.
    pub kubectl: PathBuf,
    /// Its configuration; valid inside the control plane's network namespace.
    pub kubeconfig: PathBuf,
    /// The process that holds the control plane's machine.
    pub control_plane: i32,
    /// The processes that hold the nodes that are on.
    pub nodes: BTreeMap<String, i32>,
}

/// Memory of everything that runs in a cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident memory, summed over processes: what they share counts for each.
    pub resident_mib: u64,
    /// Resident memory with shared pages divided among those who share them.
    pub proportional_mib: u64,
    /// How many processes.
    pub processes: usize,
}

impl Doors {
    /// The doors of the cluster of this name.
    ///
    /// # Errors
    /// There is none, or it is not complete yet.
    pub fn of(name: &str) -> Result<Self> {
        let path = path(&World::dir_of(name));
        let text = fs::read(&path)
            .with_context(|| format!("there is no cluster {name} (no {})", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))
    }
}

impl Cluster {
    /// Writes the file of [`Doors`]; again after each boot, since processes change.
    pub(super) fn write_doors(&self) -> Result<()> {
        let nodes = self.world.nodes().iter().filter_map(|node| {
            let machine = node.namespace()?;
            Some((node.spec_name().to_owned(), machine.pid()))
        });
        let doors = Doors {
            kubectl: self.control_plane.kubernetes().folder().join("kubectl"),
            kubeconfig: self.control_plane.kubeconfig(),
            control_plane: self.control_plane.machine().pid(),
            nodes: nodes.collect(),
        };
        let path = path(self.world.dir());
        let fresh = path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec_pretty(&doors)?)
            .and_then(|()| fs::rename(&fresh, &path))
            .with_context(|| format!("write {}", path.display()))
    }

    /// Memory of every process of every machine of the cluster.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn memory(&self) -> Result<Memory> {
        let nodes = self
            .world
            .nodes()
            .iter()
            .filter_map(|node| node.namespace());
        let machines: Vec<PathBuf> = nodes
            .chain([self.control_plane.machine()])
            .filter_map(pid_namespace)
            .collect();
        let mut memory = Memory::default();
        for entry in fs::read_dir("/proc").context("list /proc")? {
            let folder = entry.context("list /proc")?.path();
            let is_ours = fs::read_link(folder.join("ns/pid"))
                .is_ok_and(|namespace| machines.contains(&namespace));
            // Containers have a PID namespace of their own below the node's: their parent's tells.
            if !is_ours && !descends(&folder, &machines) {
                continue;
            }
            // A process may end between two looks.
            let text = fs::read_to_string(folder.join("smaps_rollup")).unwrap_or_default();
            memory.processes += 1;
            memory.resident_mib += kibibytes(&text, "Rss:");
            memory.proportional_mib += kibibytes(&text, "Pss:");
        }
        memory.resident_mib /= 1024;
        memory.proportional_mib /= 1024;
        Ok(memory)
    }

    /// The daemons of a node that run.
    pub fn running(&mut self, name: &str) -> Vec<&'static str> {
        let running = Daemon::ALL
            .into_iter()
            .chain([Daemon::Controllers])
            .filter(|daemon| self.runs(name, *daemon).unwrap_or(false));
        running.map(Daemon::name).collect()
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("doors.json")
}

fn pid_namespace(machine: &Namespace) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{}/ns/pid", machine.pid())).ok()
}

/// Whether an ancestor of a process is in one of the namespaces.
fn descends(folder: &Path, machines: &[PathBuf]) -> bool {
    let mut pid = parent(folder);
    while let Some(number) = pid.filter(|number| *number > 1) {
        let folder = PathBuf::from(format!("/proc/{number}"));
        if fs::read_link(folder.join("ns/pid")).is_ok_and(|it| machines.contains(&it)) {
            return true;
        }
        pid = parent(&folder);
    }
    false
}

fn parent(folder: &Path) -> Option<u32> {
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

fn kibibytes(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}
