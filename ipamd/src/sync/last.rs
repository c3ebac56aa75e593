//! The last known rack, in a file of the store's folder: what a node starts with while the API server is away.
//!
//! Written whole or not at all, and synced. A file that is damaged, or of another node or label, says nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use proto_ids::{NodeName, RackName};
use serde::{Deserialize, Serialize};
use tracing::warn;

/// A rack that a label named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Last {
    /// The rack.
    pub(super) rack: RackName,
    /// Whether the label still named it when it was last read.
    pub(super) stands: bool,
}

/// The file's name in the store's folder.
const NAME: &str = "rack";

/// The file.
#[derive(Debug)]
pub(super) struct LastFile {
    folder: PathBuf,
    node: NodeName,
    label: Box<str>,
}

/// Why the file was not written.
#[derive(Debug, thiserror::Error)]
#[error("writing {path}")]
pub(super) struct StoreLastError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    node: NodeName,
    label: Box<str>,
    rack: RackName,
    stands: bool,
}

const VERSION: u32 = 1;

impl LastFile {
    pub(super) fn new(folder: PathBuf, node: &NodeName, label: &str) -> Self {
        Self {
            folder,
            node: node.clone(),
            label: label.into(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// What the file says; `None`: nothing that can be used.
    pub(super) fn load(&self) -> Option<Last> {
        let path = self.path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(path = %path.display(), %error, "last known rack cannot be read");
                return None;
            }
        };
        match self.parse(&text) {
            Ok(last) => last,
            Err(problem) => {
                warn!(path = %path.display(), error = problem, "last known rack is damaged and not used");
                None
            }
        }
    }

    fn parse(&self, text: &str) -> Result<Option<Last>, String> {
        let (sum, json) = text
            .trim_end()
            .split_once(' ')
            .ok_or("there is no checksum")?;
        if sum != checksum(json) {
            return Err("the checksum differs".to_owned());
        }
        let content: Content = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let ours =
            content.version == VERSION && content.node == self.node && content.label == self.label;
        Ok(ours.then_some(Last {
            rack: content.rack,
            stands: content.stands,
        }))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the disk refuses; what the file said before stays.
    pub(super) fn store(&self, last: &Last) -> Result<(), StoreLastError> {
        let path = self.path();
        self.write(last)
            .map_err(|source| StoreLastError { path, source })
    }

    fn write(&self, last: &Last) -> io::Result<()> {
        let json = serde_json::to_string(&Content {
            version: VERSION,
            node: self.node.clone(),
            label: self.label.clone(),
            rack: last.rack.clone(),
            stands: last.stands,
        })?;
        // The first answer may come before the store was made.
        fs::create_dir_all(&self.folder)?;
        let aside = self.folder.join(".rack.new");
        let mut file = File::create(&aside)?;
        file.write_all(format!("{} {json}\n", checksum(&json)).as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, self.path())?;
        File::open(&self.folder)?.sync_all()
    }
}

fn checksum(json: &str) -> String {
    format!("{:08x}", crc32fast::hash(json.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &std::path::Path, node: &str, label: &str) -> LastFile {
        LastFile::new(folder.join("store"), &node.parse().unwrap(), label)
    }

    fn last(rack: &str, stands: bool) -> Last {
        Last {
            rack: rack.parse().unwrap(),
            stands,
        }
    }

    #[test]
    fn what_was_stored_is_read_back_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path(), "n1", "rack");
        assert_eq!(file.load(), None);
        for last in [last("a", true), last("a", false), last("b", true)] {
            file.store(&last).unwrap();
            assert_eq!(file.load(), Some(last));
        }
        let names = fs::read_dir(folder.path().join("store")).unwrap();
        assert_eq!(names.count(), 1, "nothing is left beside it");
    }

    #[test]
    fn file_of_another_node_or_label_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        file(folder.path(), "n1", "rack")
            .store(&last("a", true))
            .unwrap();
        assert_eq!(file(folder.path(), "n2", "rack").load(), None);
        assert_eq!(file(folder.path(), "n1", "other").load(), None);
    }

    #[test]
    fn damaged_file_says_nothing_wherever_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path(), "n1", "rack");
        file.store(&last("a", true)).unwrap();
        let whole = fs::read(file.path()).unwrap();
        for position in 0..whole.len() - 1 {
            let mut damaged = whole.clone();
            damaged[position] ^= 1;
            fs::write(file.path(), &damaged).unwrap();
            assert_eq!(file.load(), None, "bit of byte {position}");
            fs::write(file.path(), &whole[..position]).unwrap();
            assert_eq!(file.load(), None, "cut at {position}");
        }
    }

    #[test]
    fn disk_that_refuses_is_told_with_the_path() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("store"), "no folder").unwrap();
        let error = file(folder.path(), "n1", "rack").store(&last("a", true));
        assert!(error.unwrap_err().to_string().ends_with("store/rack"));
    }
}
