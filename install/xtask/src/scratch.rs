//! Folders for what is not complete yet: one per process, gone with their maker, or with the next one after it was killed.
//!
//! What is complete gets its final name by one rename: nobody ever finds half of it there.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

/// A folder named after what it shall become and the process that fills it.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// An empty folder beside `final_name`. Those of processes that have died are removed.
    pub(crate) fn beside(final_name: &Path) -> Result<Self> {
        let parent = final_name
            .parent()
            .with_context(|| format!("{} has no folder", final_name.display()))?;
        let name = final_name
            .file_name()
            .with_context(|| format!("{} has no name", final_name.display()))?
            .to_string_lossy();
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        remove_abandoned(parent, &name)?;
        let folder = parent.join(format!("{name}.{}", std::process::id()));
        ensure_gone(&folder)?;
        fs::create_dir(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// Where to put things.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives the folder its final name, unless somebody else was first with the same.
    pub(crate) fn complete(self, final_name: &Path) -> Result<()> {
        match fs::rename(&self.folder, final_name) {
            Err(error) if !final_name.is_dir() => {
                Err(error).with_context(|| format!("name {}", final_name.display()))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next maker of the same removes what stays.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn remove_abandoned(parent: &Path, name: &str) -> Result<()> {
    let entries = fs::read_dir(parent).with_context(|| format!("list {}", parent.display()))?;
    for entry in entries.map_while(Result::ok) {
        let file = entry.file_name();
        let maker = file
            .to_str()
            .and_then(|file| file.strip_prefix(name)?.strip_prefix('.')?.parse().ok());
        if maker.is_some_and(|pid| !lives(pid)) {
            ensure_gone(&entry.path())?;
        }
    }
    Ok(())
}

fn ensure_gone(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn lives(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test alone.
    fn place(test: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{test}-{}", std::process::id()));
        ensure_gone(&folder).unwrap();
        folder
    }

    #[test]
    fn what_a_killed_maker_left_is_removed_by_the_next_and_never_taken() {
        let place = place("killed");
        let wanted = place.join("kubernetes-1");
        // No process has this number: it is above the kernel's limit.
        let half = place.join("kubernetes-1.4194305");
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("kubelet"), "half").unwrap();
        let other = place.join("kubernetes-2.4194305");
        fs::create_dir_all(&other).unwrap();

        let scratch = Scratch::beside(&wanted).unwrap();
        assert!(!half.exists(), "the half one is gone");
        assert!(other.exists(), "another's is not ours to remove");
        assert!(!wanted.exists(), "nothing has the final name yet");
        fs::write(scratch.folder().join("kubelet"), "whole").unwrap();
        scratch.complete(&wanted).unwrap();
        assert_eq!(fs::read_to_string(wanted.join("kubelet")).unwrap(), "whole");
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn incomplete_folder_goes_with_its_maker() {
        let place = place("failed");
        let scratch = Scratch::beside(&place.join("image")).unwrap();
        let folder = scratch.folder().to_owned();
        assert!(folder.is_dir());
        drop(scratch);
        assert!(!folder.exists());
        fs::remove_dir_all(&place).unwrap();
    }
}
