//! The process's memory, locked: an agent whose code must be read from a disk that hangs, or from swap on a node that thrashes, cannot
//! tell of either.
//!
//! All of the program is fetched and stays (fifteen megabytes of the release); what is mapped later, stacks of threads above
//! all, stays from its first use on, so that only what is really used is there. Needs `CAP_IPC_LOCK` for as long as the process
//! lives: without it the kernel would refuse the next allocation.

use nix::errno::Errno;
use nix::sys::mman::{MlockAllFlags, mlockall};

/// Why memory is not locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockMemoryError {
    /// What is there.
    #[error(
        "locking the program in memory (CAP_IPC_LOCK, or a higher limit of locked memory: ulimit -l)"
    )]
    Present {
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// What is to come.
    #[error("locking in memory what is allocated later (a kernel from 4.4 on is needed)")]
    Future {
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
}

/// Locks what is there, then what is to come.
///
/// # Errors
/// The kernel refuses: without the capability, or beyond a limit. Nothing was changed then, or only the first of both.
pub(crate) fn lock_memory() -> Result<(), LockMemoryError> {
    let present = mlockall(MlockAllFlags::MCL_CURRENT);
    present.map_err(|source| LockMemoryError::Present { source })?;
    // Without `MCL_CURRENT` this leaves alone what is there. nix has no name for the second flag.
    let on_use = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    let future = mlockall(MlockAllFlags::MCL_FUTURE | on_use);
    future.map_err(|source| LockMemoryError::Future { source })
}
