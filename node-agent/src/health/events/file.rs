//! What was told, in a file of the agent's folder, for the next process.
//!
//! Written aside and renamed: it is there as a whole or not at all. A disk that hangs delays an Event by a moment and keeps none back;
//! what is then told twice is better than what is not told.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipamd_daemon::chain;
use tracing::{debug, warn};

use crate::health::aside::{Aside, Outcome};
use crate::health::outbox::Told;

/// Events wait no longer for the disk.
const LIMIT: Duration = Duration::from_secs(1);

/// The file.
#[derive(Debug)]
pub(super) struct ToldFile {
    path: PathBuf,
    reads: Aside<Result<Option<Told>, KeepToldError>>,
    writes: Aside<Result<(), KeepToldError>>,
    is_failing: bool,
}

/// Why what was told is not kept.
#[derive(Debug, thiserror::Error)]
enum KeepToldError {
    #[error("reading {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("writing {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} does not answer within {LIMIT:?}", .path.display())]
    Late { path: PathBuf },
}

impl ToldFile {
    /// In the agent's folder.
    pub(super) fn new(state: &Path) -> Self {
        Self {
            path: state.join("events.json"),
            reads: Aside::new("events read"),
            writes: Aside::new("events write"),
            is_failing: false,
        }
    }

    /// What an earlier process told; nothing, where nobody knows.
    pub(super) async fn load(&mut self) -> Option<Told> {
        let path = self.path.clone();
        let outcome = self.reads.run(LIMIT, move || read(&path)).await;
        match self.ended(outcome) {
            Ok(told) => told,
            Err(error) => {
                warn!(error = %chain(&error), "what an earlier agent told is not known: Events may come twice");
                None
            }
        }
    }

    /// Keeps what was told, if the disk does.
    pub(super) async fn store(&mut self, told: Told) {
        let path = self.path.clone();
        let outcome = self.writes.run(LIMIT, move || write(&path, &told)).await;
        match self.ended(outcome) {
            Ok(()) => self.is_failing = false,
            Err(error) if self.is_failing => {
                debug!(error = %chain(&error), "what was told is not kept again");
            }
            Err(error) => {
                self.is_failing = true;
                warn!(error = %chain(&error), "what was told is not kept: after a restart of the agent Events may come twice");
            }
        }
    }

    fn ended<T>(&self, outcome: Outcome<Result<T, KeepToldError>>) -> Result<T, KeepToldError> {
        let path = self.path.clone();
        match outcome {
            Outcome::Done(done) => done,
            Outcome::Hangs(_) => Err(KeepToldError::Late { path }),
            Outcome::NotDone(source) => Err(KeepToldError::Write { path, source }),
        }
    }
}

fn read(path: &Path) -> Result<Option<Told>, KeepToldError> {
    let read = fs::read(path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    match read {
        Ok(told) => Ok(Some(told)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeepToldError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn write(path: &Path, told: &Told) -> Result<(), KeepToldError> {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let aside = path.with_extension("new");
        fs::write(&aside, serde_json::to_vec(told)?)?;
        fs::rename(&aside, path)
    };
    write().map_err(|source| KeepToldError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_told_is_there_for_the_next_process() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("not/yet");
        assert_eq!(ToldFile::new(&folder).load().await, None);
        let told: Told = serde_json::from_str(
            r#"{"signals": {"kubelet": {"isWrong": true, "at": [null, "2026-01-01T00:00:00.5Z"]}}}"#,
        )
        .unwrap();
        let mut file = ToldFile::new(&folder);
        file.store(Told::default()).await;
        file.store(told.clone()).await;
        assert!(!file.is_failing);
        assert_eq!(ToldFile::new(&folder).load().await, Some(told));
    }

    #[tokio::test]
    async fn a_file_that_is_none_is_as_no_file_and_a_folder_that_takes_none_is_borne() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("events.json"), "{").unwrap();
        assert_eq!(ToldFile::new(state.path()).load().await, None);
        let mut file = ToldFile::new(&state.path().join("events.json"));
        file.store(Told::default()).await;
        assert!(file.is_failing);
    }
}
