//! One run at a time changes the node, and a run that keeps the configuration current is known to those who would
//! take it away.
//!
//! Advisory locks of the kernel's on files in the state folder: they end with the process, however that ends, and hold
//! across containers, because the file is the same.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two tries: the kernel has no lock with a deadline.
const PAUSE: Duration = Duration::from_millis(20);
/// Longer than a placement on a slow disk; an uninstall that waits for uplinks may take longer, and is then named.
const DEADLINE: Duration = Duration::from_secs(30);

/// A process that was killed while it started another leaves the lock to that one, until it has executed.
const GRACE: Duration = Duration::from_secs(2);

const RUN: &str = "lock";
const KEEPER: &str = "keeper.lock";

/// A lock, held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why a lock was not got.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcquireLockError {
    /// Its file could not be opened.
    #[error("open lock {path:?}")]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It could not be tried.
    #[error("take lock {path:?}")]
    Take {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Another run has it.
    #[error(
        "another berth-install has changed this node for {DEADLINE:?} (lock {path:?}): see with `fuser {path:?}` which process it is"
    )]
    Held { path: PathBuf },
    /// A configuration is kept current, so it would come back.
    #[error(
        "`berth-install conflist` runs on this node and would put the configuration back (lock {path:?}): \
         delete the DaemonSet berth-ipamd, or stop that process, then run this again"
    )]
    Kept { path: PathBuf },
}

/// The right to change the node; waits for another run.
pub(crate) fn change(state_dir: &Path) -> Result<Lock, AcquireLockError> {
    let path = state_dir.join(RUN);
    take(&path, File::try_lock, DEADLINE, |path| {
        AcquireLockError::Held { path }
    })
}

/// Says that this process keeps the configuration current. Two may, while one follows the other.
pub(crate) fn keep(state_dir: &Path) -> Result<Lock, AcquireLockError> {
    let path = state_dir.join(KEEPER);
    take(&path, File::try_lock_shared, DEADLINE, |path| {
        AcquireLockError::Held { path }
    })
}

/// The certainty that no process keeps the configuration current.
pub(crate) fn alone(state_dir: &Path) -> Result<Lock, AcquireLockError> {
    alone_within(state_dir, GRACE)
}

fn alone_within(state_dir: &Path, patience: Duration) -> Result<Lock, AcquireLockError> {
    let path = state_dir.join(KEEPER);
    take(&path, File::try_lock, patience, |path| {
        AcquireLockError::Kept { path }
    })
}

fn take(
    path: &Path,
    attempt: impl Fn(&File) -> Result<(), TryLockError>,
    patience: Duration,
    busy: impl FnOnce(PathBuf) -> AcquireLockError,
) -> Result<Lock, AcquireLockError> {
    let failed = |source| AcquireLockError::Open {
        path: path.to_owned(),
        source,
    };
    let started = Instant::now();
    loop {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(failed)?;
        match attempt(&file) {
            // An uninstall removes the file: a lock on a file without a name excludes nobody.
            Ok(()) if is_named(&file, path) => return Ok(Lock { _file: file }),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if started.elapsed() < patience => {
                std::thread::sleep(PAUSE);
            }
            Err(TryLockError::WouldBlock) => return Err(busy(path.to_owned())),
            Err(TryLockError::Error(source)) => {
                return Err(AcquireLockError::Take {
                    path: path.to_owned(),
                    source,
                });
            }
        }
    }
}

fn is_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.ino() == named.ino() && held.dev() == named.dev(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uninstall_is_refused_while_a_keeper_runs_and_not_after() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (keep(root.path()).unwrap(), keep(root.path()).unwrap());
        drop(one);
        let error = alone_within(root.path(), Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("DaemonSet"), "{error}");
        drop(two);
        assert!(alone(root.path()).is_ok());
    }

    #[test]
    fn lock_on_a_removed_file_is_taken_anew() {
        let root = tempfile::tempdir().unwrap();
        let held = change(root.path()).unwrap();
        fs::remove_file(root.path().join(RUN)).unwrap();
        let other = change(root.path()).unwrap();
        drop((held, other));
    }
}
