//! Room kept for the day the disk is full.
//!
//! A file of one megabyte beside the store. sled cannot even be opened on a full disk; without this file that day ends
//! releases as well as allocations. Deleted when the disk is full, made again when there is room; never read.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

/// Two of sled's segments (512 KiB): what the releases of a few thousand Pods write.
const RESERVE_BYTES: u64 = 1024 * 1024;

/// Below this much room no address is handed out: sled's next segment, its snapshot and the witness must fit, for
/// a write that fails spoils sled's handle.
pub(crate) const HEADROOM_BYTES: u64 = 2 * 1024 * 1024;

/// The reserve file.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// The reserve at this path, whether or not the file is there.
    const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The reserve of the store in this folder.
    pub(crate) fn of(folder: &Path) -> Self {
        Self::at(folder.join("reserve"))
    }

    /// Bytes that may still be written, the reserve not counted.
    pub(crate) fn headroom_bytes(&self) -> io::Result<u64> {
        let folder = self.path.parent().unwrap_or(&self.path);
        let stat = statvfs(folder)?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    /// Whether the file is there in full.
    pub(crate) fn is_kept(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| meta.len() >= RESERVE_BYTES)
    }

    /// Makes the file, if there is room for it *and* for the headroom. Answers whether it is there now.
    pub(crate) fn keep(&self) -> io::Result<bool> {
        if self.is_kept() {
            return Ok(true);
        }
        if self.headroom_bytes()? < RESERVE_BYTES + HEADROOM_BYTES {
            return Ok(false);
        }
        let mut file = File::create(&self.path)?;
        // Written, not fallocated: not every file system sets blocks aside for a hole.
        let block = vec![0x5a; 64 * 1024];
        for _ in 0..RESERVE_BYTES / block.len() as u64 {
            file.write_all(&block)?;
        }
        file.sync_all()?;
        Ok(true)
    }

    /// Gives the room back to the disk. Answers whether there was any to give.
    pub(crate) fn spend(&self) -> io::Result<bool> {
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_is_made_once_and_spent_once() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::at(folder.path().join("reserve"));
        assert!(!reserve.is_kept());
        assert!(reserve.keep().unwrap());
        assert!(reserve.is_kept());
        assert!(reserve.keep().unwrap());
        assert!(reserve.spend().unwrap());
        assert!(!reserve.spend().unwrap());
        assert!(!reserve.is_kept());
    }
}
