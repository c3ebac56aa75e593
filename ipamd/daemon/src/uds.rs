//! Unix sockets that a daemon serves: bound with mode 0600, by one process at a time, for peers it trusts.
//!
//! A lock file beside the socket (`<socket>.lock`) says who serves it; it goes with the process, however that ends. The
//! socket appears under its name only when it is complete (bound aside, restricted, renamed), so no peer ever finds one
//! that is open to others or that nobody will answer. Never listens on TCP.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::Stream;
use tracing::{debug, warn};

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindSocketError {
    /// The path has no folder or no file name.
    #[error("socket path {path} has no folder or no file name")]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The folder of the socket could not be made.
    #[error("making folder {path}")]
    MakeFolder {
        /// The folder.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The lock file could not be opened or written.
    #[error("opening lock file {path}")]
    OpenLock {
        /// The lock file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Another process serves the socket.
    #[error(
        "{path} is served by another process ({holder}); stop it first, or give this one another socket"
    )]
    Served {
        /// The socket.
        path: PathBuf,
        /// What its lock file says: a process id.
        holder: String,
    },
    /// Something that is not a socket has the name.
    #[error("{path} exists and is not a socket; remove it, or give another path")]
    NotSocket {
        /// The path.
        path: PathBuf,
    },
    /// Binding, restricting or renaming failed.
    #[error("binding {path}")]
    Bind {
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// A bound socket. The name is removed when this is dropped, unless another process has taken it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
    // Released by the kernel with the process; the file stays, since removing it would let two processes each lock "the" file.
    _lock: Flock<File>,
}

/// Binds `path` with mode 0600. A socket that nobody serves any more is replaced.
///
/// # Errors
/// When another process serves it, when the name is taken by something else, or when the kernel refuses.
///
/// # Panics
/// As `tokio`'s own listener, outside a runtime.
pub fn bind(path: &Path) -> Result<Socket, BindSocketError> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Err(BindSocketError::Path { path: path.into() });
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(|source| BindSocketError::MakeFolder {
            path: folder.into(),
            source,
        })?;
    let lock = lock(path, &folder.join(format!("{name}.lock")))?;
    refuse_occupied(path)?;
    let bind = |source| BindSocketError::Bind {
        path: path.into(),
        source,
    };
    let aside = folder.join(format!(".{name}.new"));
    remove_if_there(&aside).map_err(bind)?;
    let listener = UnixListener::bind(&aside).map_err(bind)?;
    fs::set_permissions(&aside, Permissions::from_mode(0o600)).map_err(bind)?;
    fs::rename(&aside, path).map_err(bind)?;
    let inode = inode(path).map_err(bind)?;
    Ok(Socket {
        listener,
        path: path.into(),
        inode,
        _lock: lock,
    })
}

fn lock(socket: &Path, path: &Path) -> Result<Flock<File>, BindSocketError> {
    let open = |source| BindSocketError::OpenLock {
        path: path.into(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(open)?;
    let mut holder = String::new();
    let read = (&mut file).take(20).read_to_string(&mut holder);
    let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((_, Errno::EWOULDBLOCK)) => {
            let holder = match (read, holder.trim()) {
                (Ok(_), pid) if !pid.is_empty() => format!("pid {pid}"),
                _ => "unknown pid".to_owned(),
            };
            return Err(BindSocketError::Served {
                path: socket.into(),
                holder,
            });
        }
        Err((_, errno)) => return Err(open(errno.into())),
    };
    // Only for the message above, so a full disk does not matter.
    let written = lock
        .set_len(0)
        .and_then(|()| io::Seek::rewind(&mut *lock))
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
    if let Err(error) = written {
        debug!(path = %path.display(), %error, "pid not noted in the lock file");
    }
    Ok(lock)
}

/// Whoever holds the lock may replace a dead socket, but not one that is answered (a daemon without our lock file), nor
/// an operator's file.
fn refuse_occupied(path: &Path) -> Result<(), BindSocketError> {
    use std::os::unix::fs::FileTypeExt;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(BindSocketError::Bind {
                path: path.into(),
                source,
            });
        }
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindSocketError::NotSocket { path: path.into() });
        }
        Ok(_) => {}
    }
    match BlockingStream::connect(path) {
        Ok(_) => Err(BindSocketError::Served {
            path: path.into(),
            holder: "it answers, but holds no lock file".to_owned(),
        }),
        Err(_) => Ok(()),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Socket {
    /// The connections of trusted peers: uid 0 and the daemon's own. Others are closed at once and logged.
    pub fn into_incoming(self) -> Incoming {
        Incoming {
            trusted: [0, nix::unistd::geteuid().as_raw()],
            socket: self,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Connections of trusted peers, as `tonic` and the metrics server take them.
#[derive(Debug)]
pub struct Incoming {
    socket: Socket,
    trusted: [u32; 2],
}

impl Stream for Incoming {
    type Item = io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let (stream, _) = match ready!(self.socket.listener.poll_accept(context)) {
                Ok(accepted) => accepted,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            match stream.peer_cred() {
                Ok(peer) if self.trusted.contains(&peer.uid()) => {
                    return Poll::Ready(Some(Ok(stream)));
                }
                Ok(peer) => {
                    warn!(
                        uid = peer.uid(),
                        peer_pid = peer.pid(),
                        "connection refused: peer is neither root nor this daemon's user"
                    );
                }
                Err(error) => warn!(%error, "connection refused: peer's credentials unreadable"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
