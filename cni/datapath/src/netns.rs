//! Network namespaces, held open by file descriptor.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::io;

use crate::fault::Fault;

/// A network namespace. It lives at least as long as this value.
#[derive(Debug)]
pub struct Netns {
    #[allow(dead_code)]
    fd: OwnedFd,
}

/// Why a network namespace could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenNetnsError {
    /// Nothing is there.
    #[error("network namespace {path:?} does not exist")]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// Something is there, but no network namespace: a leftover file whose mount is gone, or another kind of namespace.
    #[error("{path:?} is not a network namespace")]
    NotNetns {
        /// The path.
        path: PathBuf,
    },
    /// It could not be opened.
    #[error("open network namespace {path:?}")]
    Open {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl OpenNetnsError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Missing { .. } | Self::NotNetns { .. } => Fault::NetnsMissing,
            Self::Open { .. } => Fault::Kernel,
        }
    }
}

/// Why nothing was run in a network namespace.
#[derive(Debug, thiserror::Error)]
pub enum EnterNetnsError {
}

impl Netns {
    /// Opens the namespace at a path such as `/run/netns/x` or `/proc/1/ns/net`.
    ///
    /// # Errors
    /// [`OpenNetnsError::Missing`] and [`OpenNetnsError::NotNetns`] tell a namespace that is gone from one that cannot be opened.
    pub fn open(_path: &Path) -> Result<Self, OpenNetnsError> {
        unimplemented!()
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn current() -> Result<Self, OpenNetnsError> {
        unimplemented!()
    }

    /// Whether both are the same namespace.
    pub fn same_as(&self, _other: &Self) -> bool {
        unimplemented!()
    }
}
