//! Tombstones that plugins leave while the daemon is away.
//!
//! Reads the folder, and removes a tombstone only when its release is on the disk. What cannot be read is moved aside and
//! reported, never fatal: the spool must not keep a node from starting. Files still being written are left alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proto_ids::Attachment;
use proto_ipam::tombstone::{SUFFIX, Tombstone};

/// A tombstone is some hundred bytes; what is larger is none.
const LIMIT_BYTES: u64 = 16 * 1024;

/// End of the name of a tombstone that could not be read.
const DAMAGED: &str = ".damaged";

/// The folder of tombstones.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    /// Released, but their files could not be removed: not to be released again, for the attachment may live again.
    stuck: BTreeSet<FileId>,
}

type FileId = (u64, u64, i64, i64);

/// A tombstone that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spooled {
    /// What ended.
    pub(crate) attachment: Attachment,
    path: PathBuf,
    id: FileId,
}

/// What the folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Tombstones, by file name.
    pub(crate) tombstones: Vec<Spooled>,
    /// Files that were moved aside: where to, and why.
    pub(crate) damaged: Vec<(PathBuf, String)>,
}

impl Spool {
    /// The spool in this folder, which need not be there yet.
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            stuck: BTreeSet::new(),
        }
    }

    /// Reads all tombstones, and moves aside what is none.
    ///
    /// # Errors
    /// When the folder cannot be read; one that is not there is empty.
    pub(crate) fn observe(&self) -> io::Result<Found> {
        let mut found = Found::default();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(SUFFIX) {
                paths.push(path);
            }
        }
        paths.sort();
        for path in paths {
            match read(&path) {
                Ok(Content::Gone) => {}
                Ok(Content::Tombstone(spooled)) if self.stuck.contains(&spooled.id) => {}
                Ok(Content::Tombstone(spooled)) => found.tombstones.push(spooled),
                Ok(Content::Damaged(reason)) => found.damaged.push((set_aside(&path), reason)),
                Err(error) => found.damaged.push((set_aside(&path), error.to_string())),
            }
        }
        Ok(found)
    }

    /// Removes tombstones whose releases are on the disk; answers those that could not be.
    pub(crate) fn remove(&mut self, spent: &[Spooled]) -> Vec<(PathBuf, io::Error)> {
        let mut left = Vec::new();
        for spooled in spent {
            match fs::remove_file(&spooled.path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.stuck.insert(spooled.id);
                    left.push((spooled.path.clone(), error));
                }
            }
        }
        left
    }
}

enum Content {
    Tombstone(Spooled),
    Damaged(String),
    /// Removed since the folder was read.
    Gone,
}

fn read(path: &Path) -> io::Result<Content> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::Gone),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > LIMIT_BYTES {
        return Ok(Content::Damaged("it is no small file".to_owned()));
    }
    let mut text = Vec::new();
    file.take(LIMIT_BYTES).read_to_end(&mut text)?;
    let tombstone: Tombstone = match serde_json::from_slice(&text) {
        Ok(tombstone) => tombstone,
        Err(error) => return Ok(Content::Damaged(error.to_string())),
    };
    if tombstone.version != 1 {
        return Ok(Content::Damaged(format!(
            "its version is {}, this daemon reads 1",
            tombstone.version
        )));
    }
    Ok(Content::Tombstone(Spooled {
        attachment: tombstone.attachment,
        path: path.to_owned(),
        id: (
            metadata.dev(),
            metadata.ino(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        ),
    }))
}

/// Moves a file that is no tombstone out of the way, and answers where it is now.
fn set_aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(DAMAGED);
    let aside = PathBuf::from(name);
    match fs::rename(path, &aside) {
        Ok(()) => aside,
        // It stays, and is reported again; releases of the others go on.
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(sandbox: &str) -> Attachment {
        Attachment {
            cni_network: "bank".parse().unwrap(),
            sandbox: sandbox.parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
        }
    }

    fn leave(folder: &Path, sandbox: &str) -> PathBuf {
        let tombstone = Tombstone::new(attachment(sandbox));
        let path = folder.join(tombstone.file_name());
        fs::write(&path, serde_json::to_vec(&tombstone).unwrap()).unwrap();
        path
    }

    #[test]
    fn tombstones_are_read_until_they_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path().to_owned());
        let paths = [leave(folder.path(), "one"), leave(folder.path(), "two")];
        let found = spool.observe().unwrap();
        let mut sandboxes: Vec<_> = found
            .tombstones
            .iter()
            .map(|spooled| spooled.attachment.sandbox.as_str())
            .collect();
        sandboxes.sort_unstable();
        assert_eq!(sandboxes, ["one", "two"]);
        assert_eq!(spool.observe().unwrap(), found, "reading removes nothing");
        assert!(spool.remove(&found.tombstones).is_empty());
        assert!(paths.iter().all(|path| !path.exists()));
        assert_eq!(spool.observe().unwrap(), Found::default());
    }

    #[test]
    fn what_is_no_tombstone_is_moved_aside_and_told_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().to_owned());
        leave(folder.path(), "one");
        let newer =
            r#"{"version":2,"attachment":{"cni_network":"bank","sandbox":"x","ifname":"eth0"}}"#;
        let escape =
            r#"{"version":1,"attachment":{"cni_network":"bank","sandbox":"../x","ifname":"eth0"}}"#;
        for (name, content) in [
            ("a", ""),
            ("b", "{\"version\":1"),
            ("c", newer),
            ("d", escape),
            ("e", &"x".repeat(20_000)),
        ] {
            fs::write(folder.path().join(format!("{name}{SUFFIX}")), content).unwrap();
        }
        fs::create_dir(folder.path().join(format!("f{SUFFIX}"))).unwrap();
        fs::write(folder.path().join(".being-written"), "{").unwrap();
        let found = spool.observe().unwrap();
        assert_eq!(found.tombstones.len(), 1);
        assert_eq!(found.damaged.len(), 6);
        assert!(found.damaged.iter().all(|(path, _)| path.exists()));
        let again = spool.observe().unwrap();
        assert_eq!((again.tombstones.len(), again.damaged.len()), (1, 0));
        assert!(folder.path().join(".being-written").exists());
    }

    #[test]
    fn a_folder_that_is_not_there_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("none"));
        assert_eq!(spool.observe().unwrap(), Found::default());
    }
}
