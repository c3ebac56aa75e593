//! What an installation must know again after a kill or an upgrade: one small file, written before each step.
//!
//! The configurations that were moved aside lie beside it in `previous/`, whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::place::{self, PlaceFileError};

const FILE: &str = "state.json";
const PREVIOUS: &str = "previous";
const LEAVING: &str = "leaving.conflist";
const VERSION: u32 = 1;

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// Name of our configuration, since it was first put into place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) placed: Option<String>,
    /// Configurations of others that were, or were about to be, moved aside.
    #[serde(default)]
    pub(crate) kept: Vec<String>,
}

/// Why the state could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadStateError {
    /// The file could not be read.
    #[error("read {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is not what was written.
    #[error(
        "{path:?} is damaged: put what is in {previous:?} back into the configuration folder by hand where it is wanted, then remove the file"
    )]
    Damaged {
        path: PathBuf,
        previous: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// A newer version wrote it.
    #[error(
        "{path:?} was written by a newer berth-install (form {found}, this one reads {VERSION}): use the berth-install of that version"
    )]
    Newer { path: PathBuf, found: u32 },
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            placed: None,
            kept: Vec::new(),
        }
    }
}

impl State {
    /// Reads it; a fresh one where there is none.
    pub(crate) fn load(folder: &Path) -> Result<Self, LoadStateError> {
        let path = folder.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(LoadStateError::Read { path, source }),
        };
        let state: Self =
            serde_json::from_slice(&bytes).map_err(|source| LoadStateError::Damaged {
                path: path.clone(),
                previous: previous(folder),
                source,
            })?;
        if state.version > VERSION {
            return Err(LoadStateError::Newer {
                path,
                found: state.version,
            });
        }
        Ok(state)
    }

    /// Writes it, so that it is there after a kill at any later moment.
    pub(crate) fn store(&self, folder: &Path) -> Result<(), PlaceFileError> {
        let path = folder.join(FILE);
        place::ensure_folder(folder)?;
        let text = serde_json::to_vec_pretty(self).map_err(|error| PlaceFileError::Write {
            path: path.clone(),
            source: error.into(),
        })?;
        place::bytes(&path, &text, 0o600)
    }
}

/// Where configurations of others are kept.
pub(crate) fn previous(folder: &Path) -> PathBuf {
    folder.join(PREVIOUS)
}

/// Our configuration while an uninstall needs it: the uplinks are given back by it, after it has left its place.
pub(crate) fn leaving(folder: &Path) -> PathBuf {
    folder.join(LEAVING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_round_trips_and_absence_is_a_fresh_one() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("berth/install");
        assert_eq!(State::load(&folder).unwrap(), State::default());
        let state = State {
            placed: Some("10-berth.conflist".to_owned()),
            kept: vec!["05-other.conf".to_owned()],
            ..State::default()
        };
        state.store(&folder).unwrap();
        assert_eq!(State::load(&folder).unwrap(), state);
    }

    #[test]
    fn damaged_and_newer_states_are_refused_with_advice() {
        let root = tempfile::tempdir().unwrap();
        for (text, word) in [
            ("{\"vers", "previous"),
            ("{\"version\": 9}", "newer berth-install"),
        ] {
            fs::write(root.path().join(FILE), text).unwrap();
            let error = State::load(root.path()).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
