//! Files put into place as a whole: written beside it, synced, renamed, and the folder synced.
//!
//! A reader sees the old file or the new one, at any moment and after a power cut; never a part, never nothing. A run
//! that is killed leaves at most one temporary file, which no runtime reads and the next run removes.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown, symlink};
use std::path::{Path, PathBuf};

/// End of a temporary name. Runtimes read `.conf`, `.conflist` and `.json` only; the file must be in the same folder,
/// because containerd looks at its configuration folder when a name *leaves* it, not when one arrives.
const TEMPORARY: &str = ".berth-install";

/// Mode of a program that everybody may run.
const PROGRAM: u32 = 0o755;

/// Why a file was not put into place. Whatever was there is still there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceFileError {
    /// The folder could not be made.
    #[error("make folder {path:?}")]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// What shall be put there could not be read.
    #[error("read {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The temporary file could not be written.
    #[error("write {path:?}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It could not be given its name.
    #[error("rename to {path:?}")]
    Rename {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file could not be removed.
    #[error("remove {path:?}")]
    Remove {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The folder's own record of the name could not be synced.
    #[error("sync folder {path:?}")]
    SyncFolder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Makes a folder that other programs may read, if it is not there.
pub(crate) fn ensure_folder(path: &Path) -> Result<(), PlaceFileError> {
    fs::create_dir_all(path).map_err(|source| PlaceFileError::Folder {
        path: path.to_owned(),
        source,
    })
}

/// Puts these bytes there.
pub(crate) fn bytes(path: &Path, content: &[u8], mode: u32) -> Result<(), PlaceFileError> {
    stream(path, content, mode, |_| Ok(()))
}

/// Puts a program there; `false` when the same was there already.
pub(crate) fn program(source: &Path, path: &Path) -> Result<bool, PlaceFileError> {
    let reading = |error| PlaceFileError::Read {
        path: source.to_owned(),
        source: error,
    };
    if is_same(source, path).map_err(reading)? {
        return Ok(false);
    }
    let file = File::open(source).map_err(reading)?;
    stream(path, file, PROGRAM, |_| Ok(()))?;
    Ok(true)
}

/// Whether the same program is there already.
pub(crate) fn is_program_there(source: &Path, path: &Path) -> bool {
    is_same(source, path).unwrap_or(false)
}

/// Puts a symbolic link there; `false` when the same was there already.
pub(crate) fn link(target: &Path, path: &Path) -> Result<bool, PlaceFileError> {
    if fs::read_link(path).is_ok_and(|found| found == target) {
        return Ok(false);
    }
    let temporary = temporary(path);
    remove(&temporary)?;
    symlink(target, &temporary).map_err(|source| PlaceFileError::Write {
        path: temporary.clone(),
        source,
    })?;
    give_name(&temporary, path)?;
    Ok(true)
}

/// Puts a copy there: bytes, mode, owner and time, or the same symbolic link.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), PlaceFileError> {
    let reading = |source| PlaceFileError::Read {
        path: from.to_owned(),
        source,
    };
    let found = fs::symlink_metadata(from).map_err(reading)?;
    if found.is_symlink() {
        let target = fs::read_link(from).map_err(reading)?;
        return link(&target, to).map(|_| ());
    }
    let file = File::open(from).map_err(reading)?;
    stream(to, file, found.mode() & 0o7777, |copy| {
        // Without CAP_CHOWN a file of somebody else's becomes ours; what is in it matters more.
        match fchown(copy, Some(found.uid()), Some(found.gid())) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
        copy.set_modified(found.modified()?)
    })
}

/// Removes a file, and syncs the removal; none there is fine.
pub(crate) fn take_away(path: &Path) -> Result<(), PlaceFileError> {
    remove(path)?;
    sync_folder(path)
}

/// Removes what earlier runs that were killed left in a folder.
pub(crate) fn clean(folder: &Path) -> Result<(), PlaceFileError> {
    let reading = |source| PlaceFileError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(reading)?,
    };
    for entry in entries {
        let name = entry.map_err(reading)?.file_name();
        if is_temporary(&name) {
            remove(&folder.join(name))?;
        }
    }
    Ok(())
}

fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(TEMPORARY.as_bytes()) && name.len() > TEMPORARY.len()
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(TEMPORARY);
    path.with_file_name(name)
}

fn stream(
    path: &Path,
    mut content: impl Read,
    mode: u32,
    finish: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), PlaceFileError> {
    let temporary = temporary(path);
    remove(&temporary)?;
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        io::copy(&mut content, &mut file)?;
        // Not by `open`: the umask would have its say there.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        finish(&file)?;
        file.sync_all()
    };
    write().map_err(|source| {
        // A full disk needs its bytes back; that this fails too changes nothing.
        let _ = fs::remove_file(&temporary);
        PlaceFileError::Write {
            path: temporary.clone(),
            source,
        }
    })?;
    give_name(&temporary, path)
}

fn give_name(temporary: &Path, path: &Path) -> Result<(), PlaceFileError> {
    fs::rename(temporary, path).map_err(|source| {
        let _ = fs::remove_file(temporary);
        PlaceFileError::Rename {
            path: path.to_owned(),
            source,
        }
    })?;
    sync_folder(path)
}

fn remove(path: &Path) -> Result<(), PlaceFileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(PlaceFileError::Remove {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path) -> Result<(), PlaceFileError> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(PlaceFileError::SyncFolder {
                path: folder.to_owned(),
                source,
            })
        }
        _ => Ok(()),
    }
}

/// Whether there is a plain file with the source's bytes and a program's mode.
fn is_same(source: &Path, path: &Path) -> io::Result<bool> {
    let wanted = fs::metadata(source)?;
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(false);
    };
    if !found.is_file() || found.len() != wanted.len() || found.mode() & 0o7777 != PROGRAM {
        return Ok(false);
    }
    let (mut one, mut other) = (File::open(source)?, File::open(path)?);
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = one.read(&mut left)?;
        if count == 0 {
            return Ok(true);
        }
        if other.read_exact(&mut right[..count]).is_err() || left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests;
