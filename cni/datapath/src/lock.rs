//! The node-wide lock: whoever changes a bridge or an uplink holds it.

use std::path::Path;
use std::time::Duration;

use crate::fault::Fault;

/// The lock, held until dropped.
#[derive(Debug)]
pub struct NodeLock {}

/// Why the lock was not got.
#[derive(Debug, thiserror::Error)]
pub enum AcquireLockError {
}

impl AcquireLockError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        Fault::Busy
    }
}

impl NodeLock {
    /// Waits for the lock until `deadline` has passed.
    ///
    /// # Errors
    /// When the file cannot be opened, or somebody else holds it all the while.
    pub fn acquire(_path: &Path, _deadline: Duration) -> Result<Self, AcquireLockError> {
        unimplemented!()
    }
}
