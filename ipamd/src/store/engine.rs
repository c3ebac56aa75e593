//! sled, held at arm's length.
//!
//! Owns sled's handle and a second descriptor of its file. A write is `apply_batch`, `flush`, `fdatasync`: sled's flush
//! alone calls `sync_file_range`, which writes neither metadata nor the disk's cache. Everything that reads what is on
//! disk runs where a panic of sled's is caught: a damaged file makes `open` and reads panic. After a failed write the
//! handle must not be used again (sled keeps failing); dropping it and opening anew is the way back.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use sled::{Batch, Db, IVec};

/// sled's cache: what it must hold of its pages. Small, because everything read often is in the book.
const CACHE_BYTES: u64 = 512 * 1024;

/// How long a lock of our own closed handle may outlive it: sled's worker threads hold the file a moment longer.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);
const RELEASE_STEP: Duration = Duration::from_millis(10);

/// An open sled.
pub(super) struct Engine {
    db: Db,
    data: File,
}

/// What sled did instead of what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The disk is full.
    #[error("no space left on device")]
    Full,
    /// The file system failed.
    #[error("file system error")]
    Io(#[source] io::Error),
    /// The content is not what sled wrote.
    #[error("store is damaged: {reason}")]
    Damaged {
        /// sled's words.
        reason: String,
    },
}

impl From<sled::Error> for EngineError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => error.into(),
            other => Self::Damaged {
                reason: other.to_string(),
            },
        }
    }
}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            // What sled reports of content it cannot read; the kernel never answers a read or write with these.
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Other => Self::Damaged {
                reason: error.to_string(),
            },
            _ => Self::Io(error),
        }
    }
}

impl Engine {
    /// Opens or makes the sled in this folder.
    pub(super) fn open(folder: &Path) -> Result<Self, EngineError> {
        let config = sled::Config::new()
            .path(folder)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None);
        let started = std::time::Instant::now();
        let db = loop {
            match caught(|| config.open().map_err(EngineError::from))? {
                Err(EngineError::Damaged { reason })
                    if reason.contains("could not acquire lock")
                        && started.elapsed() < RELEASE_LIMIT =>
                {
                    // Our own folder lock is held, so the holder is our own last handle.
                    std::thread::sleep(RELEASE_STEP);
                }
                result => break result?,
            }
        };
        let data = File::options()
            .read(true)
            .write(true)
            .open(folder.join("db"))?;
        Ok(Self { db, data })
    }

    /// Everything in key order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Result<(IVec, IVec), EngineError>> {
        let mut entries = self.db.iter();
        // Only sled's own steps are guarded: what is done with an entry may fail in its own name.
        std::iter::from_fn(move || match caught(|| entries.next()) {
            Ok(entry) => entry.map(|entry| entry.map_err(EngineError::from)),
            Err(panicked) => Some(Err(panicked)),
        })
    }

    /// The entries from `from` on, up to and without `to`, in key order or backwards, until `visit` says stop.
    pub(super) fn range(
        &self,
        from: &[u8],
        to: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        caught(|| {
            for entry in self.db.range(from..to) {
                let (key, value) = entry?;
                if !visit(&key, &value) {
                    break;
                }
            }
            Ok(())
        })?
    }

    /// One value.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<IVec>, EngineError> {
        caught(|| Ok(self.db.get(key)?))?
    }

    /// All of the batch or nothing, on the disk when this returns.
    pub(super) fn write(&self, batch: Batch) -> Result<(), EngineError> {
        caught(|| {
            self.db.apply_batch(batch)?;
            self.db.flush()?;
            Ok::<_, sled::Error>(())
        })??;
        self.sync()
    }

    /// What was written to sled's file is on the disk when this returns.
    pub(super) fn sync(&self) -> Result<(), EngineError> {
        Ok(self.data.sync_data()?)
    }

    /// Bytes of sled's file.
    pub(super) fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.data.metadata()?.len())
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic in it is damage.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, EngineError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let sleds = std::thread::current()
                .name()
                .is_some_and(|name| name.starts_with("sled-"));
            if !sleds && !QUIET.get() {
                before(info);
            }
        }));
    });
    let outer = QUIET.replace(true);
    // Nothing of ours is left half changed: after a panic the handle is dropped.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(outer);
    result.map_err(|payload| {
        let words = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no words");
        EngineError::Damaged {
            reason: format!("sled panicked: {}", words.lines().next().unwrap_or(words)),
        }
    })
}
