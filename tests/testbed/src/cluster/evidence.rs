//! What is saved of a cluster when a test fails: objects, events and nodes as the API server has them, and what Berth's containers have said,
//! beside the world's own evidence.
//!
//! Best effort: an API server that is away is noted, not fatal, and logs are the nodes' own files.

use std::{fs, io::Write as _, path::PathBuf, thread};

use anyhow::{Context, Result};

use super::{Cluster, overlay::NAMESPACE};

/// The end of each log: what a daemon says in some minutes.
const LINES: usize = 300;

/// File name and kubectl's words of each view.
const VIEWS: [(&str, &[&str]); 6] = [
    ("nodes.txt", &["describe", "nodes"]),
    ("pods.txt", &["describe", "pods", "--all-namespaces"]),
    (
        "events.txt",
        &[
            "get",
            "events",
            "--all-namespaces",
            "--sort-by=.lastTimestamp",
        ],
    ),
    (
        "objects.yaml",
        &[
            "get",
            "all,configmaps,endpointslices,leases",
            "--all-namespaces",
            "--output=yaml",
        ],
    ),
    (
        "berth.yaml",
        &[
            "get",
            "pools,claims,nodehealths",
            "--all-namespaces",
            "--output=yaml",
        ],
    ),
    (
        "table.txt",
        &["get", "nodes,pods", "--all-namespaces", "--output=wide"],
    ),
];

impl Cluster {
    /// Saves what the API server knows and what every machine looks like; the folder of the latter, beside which `…-objects` is.
    ///
    /// # Errors
    /// A folder cannot be written.
    pub fn save_evidence(&self) -> Result<PathBuf> {
        let folder = self.world.save_evidence()?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let objects = folder.with_file_name(format!("{name}-objects"));
        fs::create_dir_all(&objects).with_context(|| format!("create {}", objects.display()))?;
        for (file, words) in VIEWS {
            let mut timed = vec!["--request-timeout=5s"];
            timed.extend(words);
            let text = match self.control_plane.kubectl(&timed) {
                Ok(output) => output.stdout + &output.stderr,
                Err(error) => format!("{error:#}"),
            };
            let path = objects.join(file);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        for node in self.world.nodes().iter().filter(|node| node.is_on()) {
            let script = format!("tail -n {LINES} /var/log/pods/{NAMESPACE}_*/*/*.log");
            let text = node.exec(&["sh", "-c", &script]).map(|it| it.stdout);
            let path = objects.join(format!("berth-{}.log", node.name()));
            fs::write(&path, text.unwrap_or_default())
                .with_context(|| format!("write {}", path.display()))?;
        }
        Ok(folder)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let said = match self.save_evidence() {
            Ok(folder) => format!("objects are in {}-objects", folder.display()),
            Err(error) => format!("no evidence could be saved: {error:#}"),
        };
        // Standard error by hand: libtest shows what a failing test wrote there.
        let _ = writeln!(
            std::io::stderr(),
            "cluster {}: {said}\nto look into its like: cargo xtask testbed up",
            self.world.name()
        );
    }
}
