//! Limits of Pods, and what was there before them.
//!
//! What was there is kept in a file for each Pod, written before the first cgroup is, so that a process that starts again gives back what an
//! earlier one took. **Always holds:** a limit is never higher than what was there; what somebody else wrote since is left as it is.
//! With cgroup v1 the kernel refuses a Pod less than one of its containers has: then the containers are lowered too, and first.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::request::{Held, PodUid};
use crate::tree::{Tree, Version};

/// The kernel takes no smaller quota, in microseconds: of the usual period of 100 ms that is 10 thousandths of a processor.
const LEAST_QUOTA_US: u64 = 1000;

/// Cgroups below a Pod's that are looked at: its containers, and what they made themselves.
const DEPTH: usize = 8;

/// The limits of this node's Pods.
#[derive(Debug)]
pub struct Limits {
    tree: Tree,
    kept: PathBuf,
}

/// The folder of what is kept could not be made.
#[derive(Debug, thiserror::Error)]
#[error("making the folder {} of what limits replace", .path.display())]
pub struct OpenLimitsError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Why something was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// No such Pod runs here.
    #[error(
        "Pod {pod} has no cgroup on this node: it has ended, or kubelet's cgroupRoot is another (--guard-cgroup-root)"
    )]
    NoPod {
        /// The Pod.
        pod: PodUid,
    },
    /// Nothing is to be given back.
    #[error("Pod {pod} is not limited")]
    NotLimited {
        /// The Pod.
        pod: PodUid,
    },
    /// Reading or writing a cgroup.
    #[error("{}", .path.display())]
    Cgroup {
        /// Its file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Reading or writing what is kept.
    #[error("{}: what was there before must be known", .path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What is kept of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    millicores: u32,
    settings: Vec<Setting>,
}

/// A file of the Pod's cgroup, from above to below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Setting {
    /// Below the Pod's folder.
    file: PathBuf,
    /// What was there.
    former: String,
    /// What is there instead.
    ours: String,
}

impl Limits {
    /// Limits in this tree, with what they replace in this folder: one that is gone when the cgroups are, such as below `/run`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(tree: Tree, kept: PathBuf) -> Result<Self, OpenLimitsError> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&kept);
        match made {
            Ok(()) => Ok(Self { tree, kept }),
            Err(source) => Err(OpenLimitsError { path: kept, source }),
        }
    }

    /// Lowers what a Pod gets, or changes by how much.
    ///
    /// # Errors
    /// There is no such Pod, or a file could not be written: then it may be limited in part, and a release gives everything back.
    pub fn limit(&self, pod: &PodUid, millicores: u32) -> Result<(), ChangeError> {
        let folder = self.tree.pod(pod);
        let folder = folder.ok_or_else(|| ChangeError::NoPod { pod: pod.clone() })?;
        let before = self.load(pod)?.unwrap_or_default();
        let mut settings = self.observe(&folder)?;
        for setting in &mut settings {
            let known = before.settings.iter().find(|it| it.file == setting.file);
            if let Some(known) = known {
                setting.former.clone_from(&known.former);
            }
            let period = if setting.file.ends_with(QUOTA) {
                read(&folder.join(setting.file.with_file_name(PERIOD)))?
            } else {
                setting.former.clone()
            };
            setting.ours = lowered(&setting.file, &setting.former, &period, millicores);
        }
        let kept = Kept {
            millicores,
            settings,
        };
        self.keep(pod, &kept)?;
        let wanted = kept.settings.iter().map(|it| (&it.file, &it.ours));
        change(&folder, &wanted.collect::<Vec<_>>())
    }

    /// Gives back what a Pod had.
    ///
    /// # Errors
    /// It is not limited, or a file could not be written: then it stays limited.
    pub fn release(&self, pod: &PodUid) -> Result<(), ChangeError> {
        let kept = self.load(pod)?;
        let kept = kept.ok_or_else(|| ChangeError::NotLimited { pod: pod.clone() })?;
        if let Some(folder) = self.tree.pod(pod) {
            let mut wanted = Vec::new();
            for setting in &kept.settings {
                // Else it is somebody else's by now, or its container has gone.
                if read_if_there(&folder.join(&setting.file))?.as_ref() == Some(&setting.ours) {
                    wanted.push((&setting.file, &setting.former));
                }
            }
            change(&folder, &wanted)?;
        }
        self.forget(pod)
    }

    /// The Pods that are limited. Those that have gone are forgotten.
    ///
    /// # Errors
    /// What is kept cannot be read.
    pub fn list(&self) -> Result<Vec<Held>, ChangeError> {
        let keep = |source| ChangeError::Keep {
            path: self.kept.clone(),
            source,
        };
        let mut held = Vec::new();
        for entry in fs::read_dir(&self.kept).map_err(keep)? {
            let name = entry.map_err(keep)?.file_name();
            // What is written aside has another name.
            let Some(pod) = name.to_str().and_then(|it| it.parse::<PodUid>().ok()) else {
                continue;
            };
            if self.tree.pod(&pod).is_none() {
                self.forget(&pod)?;
            } else if let Some(kept) = self.load(&pod)? {
                let millicores = kept.millicores;
                held.push(Held { pod, millicores });
            }
        }
        held.sort_by(|one, other| one.pod.cmp(&other.pod));
        Ok(held)
    }

    /// The files that a limit changes, with what is there, from above to below.
    fn observe(&self, folder: &Path) -> Result<Vec<Setting>, ChangeError> {
        let mut settings = Vec::new();
        let mut take = |file: PathBuf| {
            if let Some(there) = read_if_there(&folder.join(&file))? {
                settings.push(Setting {
                    file,
                    former: there.clone(),
                    ours: there,
                });
            }
            Ok::<_, ChangeError>(())
        };
        match self.tree.version {
            Version::Two => {
                take(MAX.into())?;
                take(IO_WEIGHT.into())?;
            }
            Version::One => {
                take(SHARES.into())?;
                for below in below(folder, Path::new(""), DEPTH)? {
                    take(below.join(QUOTA))?;
                }
            }
        }
        Ok(settings)
    }

    fn path(&self, pod: &PodUid) -> PathBuf {
        self.kept.join(pod.as_str())
    }

    fn load(&self, pod: &PodUid) -> Result<Option<Kept>, ChangeError> {
        let path = self.path(pod);
        let read = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        match read {
            Ok(kept) => Ok(Some(kept)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ChangeError::Keep { path, source }),
        }
    }

    /// There as a whole or not at all.
    fn keep(&self, pod: &PodUid, kept: &Kept) -> Result<(), ChangeError> {
        let path = self.path(pod);
        let aside = path.with_extension("new");
        let written = serde_json::to_vec(kept)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&aside, bytes))
            .and_then(|()| fs::rename(&aside, &path));
        written.map_err(|source| ChangeError::Keep { path, source })
    }

    fn forget(&self, pod: &PodUid) -> Result<(), ChangeError> {
        let path = self.path(pod);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(ChangeError::Keep { path, source })
            }
            _ => Ok(()),
        }
    }
}

// Version 1. The quota of a period, both in microseconds; -1: none.
const QUOTA: &str = "cpu.cfs_quota_us";
const PERIOD: &str = "cpu.cfs_period_us";
const SHARES: &str = "cpu.shares";
// Version 2. Quota ("max": none) and period; "default" and a number.
const MAX: &str = "cpu.max";
const IO_WEIGHT: &str = "io.weight";

/// What is to be in a file instead of what was. `period` is where a quota's period stands.
fn lowered(file: &Path, former: &str, period: &str, millicores: u32) -> String {
    let name = file.file_name().and_then(|it| it.to_str());
    let period_us: u64 = period
        .split(' ')
        .next_back()
        .and_then(|it| it.parse().ok())
        .unwrap_or(100_000);
    let quota_us = (u64::from(millicores) * period_us / 1000).max(LEAST_QUOTA_US);
    // A container without a quota has its Pod's.
    let is_inner = file.components().count() > 1;
    let ours = match name {
        Some(SHARES) => "2".to_owned(),
        Some(IO_WEIGHT) => "default 1".to_owned(),
        Some(MAX) => format!("{quota_us} {period_us}"),
        _ if is_inner && amount(former) == u64::MAX => return former.to_owned(),
        _ => quota_us.to_string(),
    };
    if amount(&ours) < amount(former) {
        ours
    } else {
        former.to_owned()
    }
}

/// How much a setting gives.
fn amount(text: &str) -> u64 {
    let text = text.strip_prefix("default ").unwrap_or(text);
    let first = text.split(' ').next().unwrap_or_default();
    // "max", "-1".
    first.parse().unwrap_or(u64::MAX)
}

/// Writes what is not as it is to be. Downwards inner cgroups go first and upwards outer ones: the kernel refuses an inner one more than
/// the one around it.
fn change(folder: &Path, wanted: &[(&PathBuf, &String)]) -> Result<(), ChangeError> {
    let mut lower = Vec::new();
    let mut raise = Vec::new();
    for (file, text) in wanted {
        let path = folder.join(file);
        match read_if_there(&path)? {
            Some(there) if there == **text => {}
            Some(there) if amount(text) < amount(&there) => lower.push((path, text)),
            Some(_) => raise.push((path, text)),
            None => {}
        }
    }
    for (path, text) in lower.into_iter().rev().chain(raise) {
        match fs::write(&path, text.as_bytes()) {
            // Its container has gone.
            Err(error) if is_gone(&error) => {}
            Err(source) => return Err(ChangeError::Cgroup { path, source }),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// The folder and those below it, from above to below.
fn below(folder: &Path, at: &Path, depth: usize) -> Result<Vec<PathBuf>, ChangeError> {
    let path = folder.join(at);
    let mut found = vec![at.to_owned()];
    if depth == 0 {
        return Ok(found);
    }
    let entries = match fs::read_dir(&path) {
        Err(error) if is_gone(&error) => return Ok(found),
        Err(source) => return Err(ChangeError::Cgroup { path, source }),
        Ok(entries) => entries,
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            found.extend(below(folder, &at.join(entry.file_name()), depth - 1)?);
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String, ChangeError> {
    Ok(read_if_there(path)?.unwrap_or_default())
}

/// The first line: of `io.weight` further ones are about single disks.
fn read_if_there(path: &Path) -> Result<Option<String>, ChangeError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().next().map(str::to_owned)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(source) => Err(ChangeError::Cgroup {
            path: path.into(),
            source,
        }),
    }
}

/// A cgroup that goes while it is looked at says one or the other.
fn is_gone(error: &io::Error) -> bool {
    const ENODEV: i32 = 19;
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ENODEV)
}

#[cfg(test)]
mod tests;
