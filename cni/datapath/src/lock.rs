//! The node-wide lock: whoever changes a bridge or an uplink holds it.
//!
//! An advisory lock of the kernel's on an open file: it ends with the process, however that ends. The file stays.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::fault::Fault;

/// Between two tries. The kernel has no lock with a deadline; a holder needs some 10 ms, a take-over seconds.
const PAUSE: Duration = Duration::from_millis(5);

/// The lock, held until dropped.
#[derive(Debug)]
pub struct NodeLock {
    _file: File,
}

/// Why the lock was not got.
#[derive(Debug, thiserror::Error)]
pub enum AcquireLockError {
    /// The folder or the file could not be made.
    #[error("open the node lock {path:?}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The lock could not be tried.
    #[error("lock {path:?}")]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Somebody else held it all the while.
    #[error(
        "the node lock {path:?} was held by another for {deadline:?}: see with `fuser {path:?}` which process hangs"
    )]
    Held {
        /// The file.
        path: PathBuf,
        /// How long was waited.
        deadline: Duration,
    },
}

impl AcquireLockError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Open { .. } | Self::Lock { .. } => Fault::Kernel,
            Self::Held { .. } => Fault::Busy,
        }
    }
}

impl NodeLock {
    /// Waits for the lock until `deadline` has passed.
    ///
    /// # Errors
    /// When the file cannot be opened, or somebody else holds it all the while.
    pub fn acquire(path: &Path, deadline: Duration) -> Result<Self, AcquireLockError> {
        let open = |source| AcquireLockError::Open {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(open)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(open)?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if started.elapsed() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(AcquireLockError::Held {
                        path: path.to_owned(),
                        deadline,
                    });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(AcquireLockError::Lock {
                        path: path.to_owned(),
                        source,
                    });
                }
            }
        }
    }
}
