//! The last known rack, in a file of the store's folder: what a node starts with while the API server is away.
//!
//! A file of another node or label says nothing.

use std::path::PathBuf;

use proto_ids::{NodeName, RackName};
use serde::{Deserialize, Serialize};

use super::sealed::{SealedFile, StoreSealedError};

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
    file: SealedFile,
    node: NodeName,
    label: Box<str>,
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
            file: SealedFile::new(folder, NAME),
            node: node.clone(),
            label: label.into(),
        }
    }

    /// What the file says; `None`: nothing that can be used.
    pub(super) fn load(&self) -> Option<Last> {
        let content: Content = self.file.load()?;
        let ours =
            content.version == VERSION && content.node == self.node && content.label == self.label;
        ours.then_some(Last {
            rack: content.rack,
            stands: content.stands,
        })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the disk refuses; what the file said before stays.
    pub(super) fn store(&self, last: &Last) -> Result<(), StoreSealedError> {
        self.file.store(&Content {
            version: VERSION,
            node: self.node.clone(),
            label: self.label.clone(),
            rack: last.rack.clone(),
            stands: last.stands,
        })
    }
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
    fn what_was_stored_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path(), "n1", "rack");
        assert_eq!(file.load(), None);
        for last in [last("a", true), last("a", false), last("b", true)] {
            file.store(&last).unwrap();
            assert_eq!(file.load(), Some(last));
        }
        assert!(folder.path().join("store/rack").is_file());
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
}
