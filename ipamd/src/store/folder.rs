//! The folder that holds the store, and the right to touch it.
//!
//! A [`StoreFolder`] is proof that this process holds the folder's lock; nothing below it is opened, moved or made
//! without one. Damaged stores are moved aside inside the folder (it may be a mount point), never deleted.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::reserve::Reserve;

const LOCK: &str = "lock";
const BOOK: &str = "book";
const WITNESS: &str = "witness";
const ASIDE: &str = "damaged-";

/// The locked folder.
#[derive(Debug)]
pub(crate) struct StoreFolder {
    path: PathBuf,
    /// Locked as long as it is open; the kernel lets go of it however the process ends.
    _lock: File,
}

/// Why the folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockStoreError {
    /// There is no such folder.
    #[error("there is no store in {path}")]
    Absent {
        /// The folder.
        path: PathBuf,
    },
    /// The folder or its lock could not be made or opened.
    #[error("store folder {path} cannot be used")]
    Prepare {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has the store open.
    #[error("store {path} is in use by {holder}")]
    Held {
        /// The folder.
        path: PathBuf,
        /// The process, as it wrote itself down.
        holder: String,
    },
}

impl StoreFolder {
    /// Makes the folder if need be, and locks it.
    ///
    /// # Errors
    /// `Held` when another process has it, naming that process.
    pub(crate) fn lock(path: &Path) -> Result<Self, LockStoreError> {
        let prepare = |source| LockStoreError::Prepare {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(prepare)?;
        Self::lock_existing(path)
    }

    /// Locks a folder that must be there: for commands that work while the daemon is down.
    ///
    /// # Errors
    /// As [`Self::lock`], and `Absent`.
    pub(crate) fn lock_existing(path: &Path) -> Result<Self, LockStoreError> {
        let prepare = |source| LockStoreError::Prepare {
            path: path.to_owned(),
            source,
        };
        if !path.is_dir() {
            return Err(LockStoreError::Absent {
                path: path.to_owned(),
            });
        }
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path.join(LOCK))
            .map_err(prepare)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The holder writes itself down right after locking; it may not have come to it.
                let named = lock.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                return Err(LockStoreError::Held {
                    path: path.to_owned(),
                    holder: if named {
                        format!("process {}", holder.trim())
                    } else {
                        "another process".to_owned()
                    },
                });
            }
            Err(TryLockError::Error(source)) => return Err(prepare(source)),
        }
        // On a full disk the lock holds all the same, only without a name.
        let _unnamed = lock
            .set_len(0)
            .and_then(|()| write!(lock, "{}", std::process::id()));
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn book(&self) -> PathBuf {
        self.path.join(BOOK)
    }

    pub(super) fn witness(&self) -> PathBuf {
        self.path.join(WITNESS)
    }

    /// The room kept for a full disk.
    pub(crate) fn reserve(&self) -> Reserve {
        Reserve::of(&self.path)
    }

    /// Makes names in the folder durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync_folder(&self.path)
    }

    /// Moves store and witness into a folder of their own, named after `stamp`, and answers its path.
    ///
    /// The witness goes last: if the power goes between, a witness without a store is still damage.
    pub(crate) fn set_aside(&self, stamp: &str) -> io::Result<PathBuf> {
        let mut aside = self.path.join(format!("{ASIDE}{stamp}"));
        let mut again = 1;
        while aside.exists() {
            again += 1;
            aside = self.path.join(format!("{ASIDE}{stamp}-{again}"));
        }
        fs::create_dir(&aside)?;
        for name in [BOOK, WITNESS] {
            match fs::rename(self.path.join(name), aside.join(name)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            sync_folder(&aside)?;
            self.sync()?;
        }
        Ok(aside)
    }

    /// The stores moved aside so far, oldest first.
    pub(crate) fn set_aside_before(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(ASIDE) {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Makes names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_process_is_refused_naming_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = StoreFolder::lock(folder.path()).unwrap();
        let refused = StoreFolder::lock(folder.path()).unwrap_err();
        let pid = std::process::id();
        assert_eq!(
            refused.to_string(),
            format!(
                "store {} is in use by process {pid}",
                folder.path().display()
            )
        );
        drop(first);
        assert!(StoreFolder::lock(folder.path()).is_ok());
    }

    #[test]
    fn a_store_that_is_not_there_is_not_made_by_a_reader() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none");
        assert!(matches!(
            StoreFolder::lock_existing(&path),
            Err(LockStoreError::Absent { .. })
        ));
        assert!(!path.exists());
    }

    #[test]
    fn set_aside_keeps_everything_and_never_overwrites() {
        let temp = tempfile::tempdir().unwrap();
        let folder = StoreFolder::lock(temp.path()).unwrap();
        for round in 0..3 {
            fs::create_dir(folder.book()).unwrap();
            fs::write(folder.book().join("db"), [round]).unwrap();
            fs::write(folder.witness(), [round]).unwrap();
            let aside = folder.set_aside("stamp").unwrap();
            assert_eq!(fs::read(aside.join("book/db")).unwrap(), [round]);
            assert_eq!(fs::read(aside.join("witness")).unwrap(), [round]);
            assert!(!folder.book().exists() && !folder.witness().exists());
        }
        assert_eq!(folder.set_aside_before().unwrap().len(), 3);
    }
}
