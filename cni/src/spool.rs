//! The note that DEL leaves for a daemon that is away. A finished note survives a power cut, where the spool's file
//! system does; an unfinished one is never taken for a finished one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use proto_ids::Attachment;
use proto_ipam::tombstone::Tombstone;

/// Why a note could not be left.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaveTombstoneError {
    /// The folder.
    #[error("make spool folder {path:?}")]
    Folder {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The temporary file.
    #[error("write {path:?}")]
    Write {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Its final name.
    #[error("rename to {path:?}")]
    Rename {
        /// The final path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The folder's own record of the name.
    #[error("sync spool folder {path:?}")]
    SyncFolder {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Notes that this attachment ended. Written again, it is the same file.
pub(crate) fn leave(spool: &Path, attachment: &Attachment) -> Result<(), LeaveTombstoneError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(spool)
        .map_err(|source| LeaveTombstoneError::Folder {
            path: spool.to_owned(),
            source,
        })?;
    let name = Tombstone::new(attachment.clone()).file_name();
    // Two runs for one attachment (a runtime's retry beside a slow first run) must not share a temporary file.
    let temporary = spool.join(format!("{name}.{}", std::process::id()));
    write(&temporary, attachment).map_err(|source| LeaveTombstoneError::Write {
        path: temporary.clone(),
        source,
    })?;
    let path = spool.join(name);
    fs::rename(&temporary, &path).map_err(|source| LeaveTombstoneError::Rename { path, source })?;
    File::open(spool)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| LeaveTombstoneError::SyncFolder {
            path: spool.to_owned(),
            source,
        })
}

fn write(path: &Path, attachment: &Attachment) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    serde_json::to_writer(&file, &Tombstone::new(attachment.clone()))?;
    file.flush()?;
    file.sync_all()
}

/// Takes back the note of an attachment that begins anew: a runtime that repeats an ADD after a failed one uses the
/// same key, and the note would end the new attachment.
pub(crate) fn withdraw(spool: &Path, attachment: &Attachment) -> io::Result<()> {
    let name = Tombstone::new(attachment.clone()).file_name();
    match fs::remove_file(spool.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto_ipam::tombstone::SUFFIX;

    fn attachment() -> Attachment {
        Attachment {
            cni_network: "bank".parse().unwrap(),
            sandbox: "c1".parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn note_is_one_file_that_names_the_attachment_however_often_it_is_left() {
        let root = tempfile::tempdir().unwrap();
        let spool = root.path().join("a/b");
        leave(&spool, &attachment()).unwrap();
        leave(&spool, &attachment()).unwrap();
        let names = names(&spool);
        assert_eq!(names.len(), 1);
        assert!(names[0].ends_with(SUFFIX));
        let text = fs::read(spool.join(&names[0])).unwrap();
        let read: Tombstone = serde_json::from_slice(&text).unwrap();
        assert_eq!(read, Tombstone::new(attachment()));
    }

    #[test]
    fn note_is_withdrawn_and_its_absence_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        leave(root.path(), &attachment()).unwrap();
        withdraw(root.path(), &attachment()).unwrap();
        withdraw(root.path(), &attachment()).unwrap();
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn folder_that_cannot_be_made_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        assert!(matches!(
            leave(&root.path().join("file"), &attachment()),
            Err(LeaveTombstoneError::Folder { .. } | LeaveTombstoneError::Write { .. })
        ));
    }
}
