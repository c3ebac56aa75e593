//! Network namespaces, held open by file descriptor.
//!
//! A namespace is compared by device and inode, never by path: paths are reused. Nothing here moves the calling
//! thread; [`Netns::run`] works on a thread that ends.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::sys;

/// A network namespace. It lives at least as long as this value.
#[derive(Debug)]
pub struct Netns {
    file: File,
    path: PathBuf,
    identity: (u64, u64),
}

/// Why a network namespace could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenNetnsError {
    /// Nothing is there.
    #[error("network namespace {path:?} does not exist: the sandbox is gone")]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// Something is there, but no network namespace: a leftover file whose mount is gone, or another kind of namespace.
    #[error("{path:?} is not a network namespace: the sandbox is gone, or the path is wrong")]
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

/// The thread that was to work in a namespace could not start there.
#[derive(Debug, thiserror::Error)]
#[error("enter network namespace {path:?}: CAP_SYS_ADMIN is needed")]
pub struct EnterNetnsError {
    /// The path the namespace was opened by.
    pub path: PathBuf,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

impl EnterNetnsError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        Fault::Kernel
    }
}

impl Netns {
    /// Opens the namespace at a path such as `/run/netns/x` or `/proc/1/ns/net`.
    ///
    /// # Errors
    /// [`OpenNetnsError::Missing`] and [`OpenNetnsError::NotNetns`] tell a namespace that is gone from one that
    /// cannot be opened.
    pub fn open(path: &Path) -> Result<Self, OpenNetnsError> {
        let failed = |source: io::Error| match source.raw_os_error() {
            // ESRCH: /proc/PID/ns/net of a process that is just ending.
            Some(libc::ENOENT | libc::ENOTDIR | libc::ESRCH) => OpenNetnsError::Missing {
                path: path.to_owned(),
            },
            _ => OpenNetnsError::Open {
                path: path.to_owned(),
                source,
            },
        };
        let file = File::open(path).map_err(failed)?;
        if !sys::is_netns(&file) {
            return Err(OpenNetnsError::NotNetns {
                path: path.to_owned(),
            });
        }
        let metadata = file.metadata().map_err(failed)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
        })
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn current() -> Result<Self, OpenNetnsError> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// Whether both are the same namespace.
    pub fn same_as(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in the namespace, on a thread that ends afterwards. Sockets opened by it keep belonging there.
    ///
    /// # Errors
    /// When the thread cannot be made or cannot enter.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, EnterNetnsError> {
        sys::in_netns(&self.file, work).map_err(|source| EnterNetnsError {
            path: self.path.clone(),
            source,
        })
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_path_and_plain_file_are_told_apart() {
        assert!(matches!(
            Netns::open(Path::new("/nonexistent/netns")),
            Err(OpenNetnsError::Missing { .. })
        ));
        assert!(matches!(
            Netns::open(Path::new("/proc/self/ns/mnt")),
            Err(OpenNetnsError::NotNetns { .. })
        ));
        assert!(matches!(
            Netns::open(Path::new("/dev/null")),
            Err(OpenNetnsError::NotNetns { .. })
        ));
    }

    #[test]
    fn current_namespace_is_the_same_by_either_path() {
        let current = Netns::current().unwrap();
        assert!(current.same_as(&Netns::open(Path::new("/proc/self/ns/net")).unwrap()));
    }
}
