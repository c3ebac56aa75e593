//! What a world has made on the machine outside of its namespaces, on disk, so that a later run can remove what a dead one left.
//!
//! One folder and one lock per name. The lock is held as long as the maker lives: two makers of one name at once are
//! refused. Only what the list names is ever killed or removed, and a process only if it started when the list says.

use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{sys::signal, sys::signal::Signal, unistd::Pid};
use serde::{Deserialize, Serialize};

use crate::wait::{Pending, wait_until};

/// How long killed processes and their cgroups may take to be gone.
const CLEAN_DEADLINE: Duration = Duration::from_secs(30);

/// The exclusive right to a world's name, and the list of what it made.
#[derive(Debug)]
pub(crate) struct Claim {
    dir: PathBuf,
    lock_path: PathBuf,
    lock: File,
    record: Record,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    holders: Vec<Holder>,
    cgroups: Vec<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: i32,
    /// Clock ticks after boot: with it a number that was given to another process is told apart.
    started: u64,
}

impl Claim {
    /// Takes the name, and removes what an earlier run of that name left.
    pub(crate) fn take(name: &str) -> Result<Self> {
        let proper = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        ensure!(
            (1..=60).contains(&name.len()) && name.chars().all(proper),
            "{name:?} cannot name a world: 1 to 60 of a-z, 0-9, - and _"
        );
        let base = base();
        let lock_path = base.join(format!("{name}.lock"));
        let lock = lock(&lock_path, name)?;
        let mut claim = Self {
            dir: base.join(name),
            lock_path,
            lock,
            record: Record::default(),
        };
        claim.record = claim.load()?;
        claim.clean().context("remove what an earlier run left")?;
        fs::create_dir_all(&claim.dir)
            .with_context(|| format!("create {}", claim.dir.display()))?;
        claim.store()?;
        Ok(claim)
    }

    /// The folder of the world's files.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Lists a process that holds a namespace.
    pub(crate) fn add_holder(&mut self, pid: i32) -> Result<()> {
        let started = start_ticks(pid).with_context(|| format!("process {pid} has ended"))?;
        self.record.holders.push(Holder { pid, started });
        self.store()
    }

    /// Lists a cgroup folder before it is made.
    pub(crate) fn add_cgroup(&mut self, path: PathBuf) -> Result<()> {
        self.record.cgroups.push(path);
        self.store()
    }

    /// Removes the listed cgroup folders of this name, whose processes are dead. They stay listed: a runtime that cleans up after a
    /// boot makes those of its dead containers anew.
    pub(crate) fn remove_cgroups(&self, name: &str) -> Result<()> {
        for cgroup in &self.record.cgroups {
            if cgroup.ends_with(name) {
                remove_cgroup(cgroup)?;
            }
        }
        Ok(())
    }

    /// Kills and removes everything listed, and the folder.
    pub(crate) fn clean(&mut self) -> Result<()> {
        for holder in &self.record.holders {
            holder.kill()?;
        }
        for cgroup in &self.record.cgroups {
            remove_cgroup(cgroup)?;
        }
        remove_tree(&self.dir)?;
        self.record = Record::default();
        Ok(())
    }

    /// Gives the name back; nothing of the world is left.
    pub(crate) fn forget(&self) {
        // Under the lock: who waits for it sees that its file has gone and opens a new one.
        let _ = fs::remove_file(&self.lock_path);
        if let Some(base) = self.dir.parent() {
            // Other worlds may be in it.
            let _ = fs::remove_dir(base);
        }
    }

    fn record_path(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    fn load(&self) -> Result<Record> {
        let path = self.record_path();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} cannot be read; remove it by hand", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Record::default()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    fn store(&self) -> Result<()> {
        let path = self.record_path();
        let fresh = path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec_pretty(&self.record)?)
            .and_then(|()| fs::rename(&fresh, &path))
            .with_context(|| format!("write {}", path.display()))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Not by closing alone: a child that another thread is just starting has the open file too, until it executes its program.
        let _ = self.lock.unlock();
    }
}

impl Holder {
    fn lives(&self) -> bool {
        start_ticks(self.pid) == Some(self.started)
    }

    fn kill(&self) -> Result<()> {
        if !self.lives() {
            return Ok(());
        }
        signal::kill(Pid::from_raw(self.pid), Signal::SIGKILL)
            .with_context(|| format!("kill {}", self.pid))?;
        wait_until(
            &format!("the end of process {}", self.pid),
            CLEAN_DEADLINE,
            || {
                if self.lives() {
                    return Err(Pending::because("it lives"));
                }
                Ok(())
            },
        )
    }
}

fn lock(path: &Path, name: &str) -> Result<File> {
    loop {
        if let Some(base) = path.parent() {
            fs::create_dir_all(base).with_context(|| format!("create {}", base.display()))?;
        }
        let opened = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path);
        let file = match opened {
            // The last of the other worlds removed the folder between our two steps.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            opened => opened.with_context(|| format!("open {}", path.display()))?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "a world named {name} is in use by another process; give this one another name"
                )
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", path.display()));
            }
        }
        // Its last owner removed the file between our two steps: what we hold is nobody's name.
        if file.metadata().is_ok_and(|metadata| metadata.nlink() > 0) {
            return Ok(file);
        }
    }
}

/// Where all worlds' files are.
pub(crate) fn base() -> PathBuf {
    std::env::temp_dir().join("berth-worlds")
}

fn start_ticks(pid: i32) -> Option<u64> {
    started(Path::new(&format!("/proc/{pid}")))
}

/// When the process of a folder of `/proc` started, in clock ticks; `None` when there is none, or only its zombie.
pub(crate) fn started(folder: &Path) -> Option<u64> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // The second field is in parentheses and may contain anything; the rest counts from the third.
    let rest = &stat[stat.rfind(')')? + 2..];
    let mut fields = rest.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn remove_cgroup(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| format!("list {}", path.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    // Processes that are dying keep their cgroup busy for a moment.
    wait_until(
        &format!("removing {}", path.display()),
        CLEAN_DEADLINE,
        || match fs::remove_dir(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Pending::because(error)),
            _ => Ok(()),
        },
    )
}

pub(crate) fn remove_tree(dir: &Path) -> Result<()> {
    // Mount namespaces end a moment after their last process, and hold on to what they had mounted until then.
    wait_until(
        &format!("removing {}", dir.display()),
        CLEAN_DEADLINE,
        || match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Pending::because(error)),
            _ => Ok(()),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_free_again_while_a_child_is_being_started() {
        let name = format!("state-{}", std::process::id());
        let claim = Claim::take(&name).unwrap();
        Claim::take(&name).expect_err("its maker lives");
        // What a forked child holds until it executes its program.
        let inherited = claim.lock.try_clone().unwrap();
        drop(claim);
        let mut next = Claim::take(&name).unwrap();
        drop(inherited);
        Claim::take(&name).expect_err("the next maker lives");
        next.clean().unwrap();
        next.forget();
    }
}
