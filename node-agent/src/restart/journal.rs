//! What this node has stored about the requests it has begun: a small file for each, so that they go on while the API server is away,
//! also after a restart of this process.
//!
//! Written before the API is, and complete or not at all (written aside, flushed, renamed). A file that cannot be read is told of and
//! left where it is: its request goes on from what the API has.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto_crd::container_restart::{ContainerRestartSpec, ContainerRestartStatus};
use proto_crd::time::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::request::Request;

/// A disk that takes longer hangs.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// What is stored about a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) version: String,
    pub(super) created_at: Timestamp,
    pub(super) spec: ContainerRestartSpec,
    pub(super) has_finalizer: bool,
    /// The newest status.
    pub(super) status: ContainerRestartStatus,
    /// The one that the API has, as far as is known.
    pub(super) told: ContainerRestartStatus,
    /// Those that it may have: they were sent, and there was no answer.
    #[serde(default)]
    pub(super) sent: Vec<ContainerRestartStatus>,
}

/// The files.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    folder: PathBuf,
}

/// Why an entry could not be kept or dropped.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    /// The folder.
    #[error("making {}", .folder.display())]
    MakeFolder {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file.
    #[error("writing {}", .file.display())]
    Write {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file, when it is no longer needed.
    #[error("removing {}", .file.display())]
    Remove {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The UID is none that the API server gives.
    #[error("{uid:?} is no UID")]
    Name { uid: String },
    /// The disk hangs.
    #[error("{} does not take a file within {WRITE_LIMIT:?}", .folder.display())]
    Late { folder: PathBuf },
}

impl Entry {
    /// Of a request as it is.
    pub(super) fn of(request: &Request) -> Self {
        Self {
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            uid: request.uid.clone(),
            version: request.version.clone(),
            created_at: request.created_at,
            spec: request.spec.clone(),
            has_finalizer: request.has_finalizer,
            status: request.status.clone(),
            told: request.told.clone(),
            sent: Vec::new(),
        }
    }

    /// Whether this is newer than what the API has. Only this node's agent writes a status: what is neither the one it knew of nor
    /// one it sent was written later than this, when this could not be.
    pub(super) fn is_ahead_of(&self, told: &ContainerRestartStatus) -> bool {
        self.status != *told && (self.told == *told || self.sent.contains(told))
    }
}

impl Journal {
    /// In a folder below what the agent keeps.
    pub(super) fn new(state: &Path) -> Self {
        Self {
            folder: state.join("restarts"),
        }
    }

    /// All entries that can be read.
    pub(super) fn load(&self) -> Vec<Entry> {
        let Ok(files) = fs::read_dir(&self.folder) else {
            // The first one makes the folder.
            return Vec::new();
        };
        let paths = files.filter_map(Result::ok).map(|file| file.path());
        paths
            .filter(|path| path.extension().is_some_and(|is| is == "json"))
            .filter_map(|path| read(&path))
            .collect()
    }

    /// Stores an entry.
    ///
    /// # Errors
    /// When it is not stored; an earlier one is still there then.
    pub(super) async fn keep(&self, entry: Entry) -> Result<(), KeepError> {
        let journal = self.clone();
        self.blocking(move || journal.write(&entry)).await
    }

    /// Drops the entry of a request, if there is one.
    ///
    /// # Errors
    /// When it is still there.
    pub(super) async fn drop(&self, uid: &str) -> Result<(), KeepError> {
        let file = self.file(uid)?;
        self.blocking(move || match fs::remove_file(&file) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(KeepError::Remove { file, source })
            }
            _ => Ok(()),
        })
        .await
    }

    async fn blocking(
        &self,
        work: impl FnOnce() -> Result<(), KeepError> + Send + 'static,
    ) -> Result<(), KeepError> {
        let done = tokio::time::timeout(WRITE_LIMIT, tokio::task::spawn_blocking(work)).await;
        match done {
            Ok(Ok(done)) => done,
            // It panicked, or the process ends, or the disk hangs.
            Ok(Err(_)) | Err(_) => Err(KeepError::Late {
                folder: self.folder.clone(),
            }),
        }
    }

    fn write(&self, entry: &Entry) -> Result<(), KeepError> {
        let file = self.file(&entry.uid)?;
        fs::create_dir_all(&self.folder).map_err(|source| KeepError::MakeFolder {
            folder: self.folder.clone(),
            source,
        })?;
        let aside = file.with_extension("new");
        let written = || -> io::Result<()> {
            let mut new = File::create(&aside)?;
            new.write_all(&serde_json::to_vec(entry)?)?;
            new.sync_all()?;
            fs::rename(&aside, &file)?;
            // Else the rename may be lost with the machine's power.
            File::open(&self.folder)?.sync_all()
        };
        written().map_err(|source| KeepError::Write {
            file: file.clone(),
            source,
        })
    }

    fn file(&self, uid: &str) -> Result<PathBuf, KeepError> {
        let is_uid = !uid.is_empty()
            && uid
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_uid {
            return Err(KeepError::Name {
                uid: uid.to_owned(),
            });
        }
        Ok(self.folder.join(format!("{uid}.json")))
    }
}

fn read(path: &Path) -> Option<Entry> {
    let read = fs::read(path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    match read {
        Ok(entry) => Some(entry),
        Err(error) => {
            warn!(file = %path.display(), %error, "what was stored about a restart cannot be read; the API server knows it");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proto_crd::container_restart::Phase;

    use super::*;

    fn entry(uid: &str) -> Entry {
        Entry {
            namespace: "prod".to_owned(),
            name: "a".to_owned(),
            uid: uid.to_owned(),
            version: "7".to_owned(),
            created_at: Timestamp::from_unix_milliseconds(5000),
            spec: serde_json::from_str(
                r#"{"nodeName":"n","podName":"p","podUID":"u","containers":[]}"#,
            )
            .unwrap(),
            has_finalizer: false,
            status: ContainerRestartStatus::default(),
            told: ContainerRestartStatus::default(),
            sent: Vec::new(),
        }
    }

    #[tokio::test]
    async fn what_was_kept_is_there_for_the_next_process_until_it_is_dropped() {
        let state = tempfile::tempdir().unwrap();
        let journal = Journal::new(state.path());
        assert_eq!(journal.load(), []);
        let mut kept = entry("u-1");
        journal.keep(kept.clone()).await.unwrap();
        kept.status.phase = Phase::Recreating;
        journal.keep(kept.clone()).await.unwrap();
        assert_eq!(Journal::new(state.path()).load(), [kept]);
        journal.drop("u-1").await.unwrap();
        journal.drop("u-1").await.unwrap();
        assert_eq!(journal.load(), []);
    }

    #[tokio::test]
    async fn what_is_half_written_or_no_entry_is_passed_over() {
        let state = tempfile::tempdir().unwrap();
        let journal = Journal::new(state.path());
        journal.keep(entry("u-1")).await.unwrap();
        fs::write(state.path().join("restarts/u-2.json"), "{").unwrap();
        fs::write(state.path().join("restarts/u-1.new"), "{").unwrap();
        assert_eq!(journal.load(), [entry("u-1")]);
    }

    #[tokio::test]
    async fn a_uid_never_leaves_the_folder() {
        let state = tempfile::tempdir().unwrap();
        let refused = Journal::new(state.path()).keep(entry("../u")).await;
        assert!(matches!(refused, Err(KeepError::Name { .. })));
    }
}
