//! Every decision as a line of a file on the leader's node: what the API keeps no more is there.
//!
//! **Always holds:** a line is a whole `NodeDecision`'s specification; the file and the one before it are bounded together.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use proto_crd::node_decision::NodeDecisionSpec;

/// A file of this size is set aside, and the one that was is deleted: some tens of thousands of decisions.
const SIZE_LIMIT: u64 = 64 << 20;

/// A decision was not archived.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// Setting the full file aside.
    #[error("setting {path} aside: is the disk full, or not to be written to?")]
    Rotate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Appending to it.
    #[error("appending to {path}: is the disk full, or not to be written to?")]
    Append {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The task that writes ended.
    #[error("writing {path} was broken off")]
    Broken {
        /// The file.
        path: PathBuf,
    },
}

/// The file. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    path: PathBuf,
    limit: u64,
}

impl Archive {
    /// Of this name.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            limit: SIZE_LIMIT,
        }
    }

    /// Appends a decision, aside from the tasks: a disk may hang.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    ///
    /// # Cancellation
    /// The line may be written or not.
    pub(super) async fn append(&self, spec: &NodeDecisionSpec) -> Result<(), ArchiveError> {
        let mut line = serde_json::to_vec(spec).unwrap_or_default();
        line.push(b'\n');
        let archive = self.clone();
        let written = tokio::task::spawn_blocking(move || archive.write(&line)).await;
        written.unwrap_or_else(|_| {
            Err(ArchiveError::Broken {
                path: self.path.clone(),
            })
        })
    }

    fn write(&self, line: &[u8]) -> Result<(), ArchiveError> {
        self.rotate()?;
        let append = || -> io::Result<()> {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file: File = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.path)?;
            file.write_all(line)
        };
        append().map_err(|source| ArchiveError::Append {
            path: self.path.clone(),
            source,
        })
    }

    fn rotate(&self) -> Result<(), ArchiveError> {
        let is_full = fs::metadata(&self.path).is_ok_and(|file| file.len() >= self.limit);
        if !is_full {
            return Ok(());
        }
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        fs::rename(&self.path, aside).map_err(|source| ArchiveError::Rotate {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_and_a_full_file_is_set_aside() {
        let folder = std::env::temp_dir().join(format!("berth-archive-{}", std::process::id()));
        let archive = Archive {
            path: folder.join("sub/decisions.jsonl"),
            limit: 10,
        };
        for line in ["one of ten\n", "two\n"] {
            archive.write(line.as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.join("sub").join(name)).unwrap();
        assert_eq!(read("decisions.jsonl"), "two\n");
        assert_eq!(read("decisions.jsonl.1"), "one of ten\n");
        fs::remove_dir_all(folder).unwrap();
    }
}
