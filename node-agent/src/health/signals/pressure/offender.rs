//! Who presses most: the Pod whose cgroup has waited most, by its own pressure file.
//!
//! With cgroup v2 only: v1 measures no pressure of a cgroup. What cannot be known is said, not left out.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use procfs::{FromRead as _, IoPressure};

/// kubelet's own cgroups and Pods' below them: `kubepods/burstable/podUID`, `kubepods-burstable.slice/kubepods-burstable-podUID.slice`.
const ROOT: &str = "kubepods";

/// Deeper there are containers. A node's own cgroups (of a test, of nested machines) may hold kubelet's.
const DEPTH: usize = 5;

/// More folders are not walked.
const FOLDERS: usize = 4096;

/// What is known of who presses.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Offender {
    /// This Pod most.
    Pod {
        /// Its cgroup, below the root.
        cgroup: String,
        /// In so many of a hundred nothing in it goes on.
        percent: f32,
        /// What it reads and writes in all, where it is disks that are short.
        io_bytes: Option<u64>,
    },
    /// None of them.
    Nobody,
    /// It cannot be known.
    Hidden(&'static str),
}

impl fmt::Display for Offender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod {
                cgroup,
                percent,
                io_bytes,
            } => {
                write!(f, "most of all in {cgroup} ({percent:.0} %")?;
                if let Some(bytes) = io_bytes {
                    write!(f, ", {} MiB read and written since it started", bytes >> 20)?;
                }
                f.write_str(")")
            }
            Self::Nobody => f.write_str("no Pod's own processes wait: it is the node's"),
            Self::Hidden(why) => write!(f, "whose doing it is cannot be told: {why}"),
        }
    }
}

/// The Pod that waits most for this resource (`memory` or `io`).
pub(super) fn worst(root: &Path, resource: &str) -> Offender {
    if !root.join("cgroup.controllers").exists() {
        return Offender::Hidden("cgroup v1 measures no pressure of Pods");
    }
    let file = format!("{resource}.pressure");
    let mut worst: Option<(f32, PathBuf)> = None;
    let mut measured = false;
    for pod in pods(root) {
        let Some(percent) = pressure(&pod.join(&file)) else {
            continue;
        };
        measured = true;
        if percent > worst.as_ref().map_or(0.0, |(most, _)| *most) {
            worst = Some((percent, pod));
        }
    }
    match worst {
        Some((percent, pod)) => Offender::Pod {
            io_bytes: (resource == "io").then(|| io_bytes(&pod)).flatten(),
            cgroup: pod.strip_prefix(root).unwrap_or(&pod).display().to_string(),
            percent,
        },
        None if measured => Offender::Nobody,
        None => Offender::Hidden("there is no pressure file of any Pod's cgroup"),
    }
}

/// The cgroups of Pods.
fn pods(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![(root.to_owned(), 0)];
    let mut walked = 0;
    while let Some((folder, depth)) = waiting.pop() {
        walked += 1;
        if walked > FOLDERS {
            break;
        }
        // Cgroups come and go.
        for path in folders(&folder).unwrap_or_default() {
            if is_pod(&path) {
                found.push(path);
            } else if depth < DEPTH {
                waiting.push((path, depth + 1));
            }
        }
    }
    found
}

fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// `podUID` by the cgroupfs driver, `kubepods-CLASS-podUID.slice` by systemd's; below kubelet's own.
fn is_pod(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let below = path.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        part.starts_with(ROOT)
    });
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod").map(|(_, uid)| uid),
        None => name.strip_prefix("pod"),
    };
    below && uid.is_some_and(|uid| uid.len() >= 32)
}

fn pressure(file: &Path) -> Option<f32> {
    // Memory's has the same form.
    let told = IoPressure::from_read(fs::File::open(file).ok()?).ok()?;
    Some(told.full.avg10)
}

/// All bytes read and written: `MAJOR:MINOR rbytes=N wbytes=N rios=N …`, a line for each disk.
fn io_bytes(pod: &Path) -> Option<u64> {
    let text = fs::read_to_string(pod.join("io.stat")).ok()?;
    let values = text.split_whitespace().filter_map(|word| {
        let (key, value) = word.split_once('=')?;
        let wanted = key == "rbytes" || key == "wbytes";
        wanted.then(|| value.parse::<u64>().ok()).flatten()
    });
    Some(values.sum())
}
