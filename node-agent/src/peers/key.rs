//! What peers sign with, as kubelet mounts it: read again and again, since it changes under the process.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use node_agent_peers::datagram::{KEY_SIZE, Keys};
use proto_crd::names;

/// The folder of the Secret.
#[derive(Clone, Debug)]
pub(super) struct KeyFolder {
    path: PathBuf,
    read: Option<Pair>,
}

/// Both keys.
type Pair = ([u8; KEY_SIZE], Option<[u8; KEY_SIZE]>);

/// There is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadKeyError {
    /// The Secret is not there, or not mounted.
    #[error(
        "there is no {path}: the controllers make the Secret {} where it is missing, and kubelet brings it within two minutes",
        names::PEERS_SECRET
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no key.
    #[error(
        "{path} is not {KEY_SIZE} bytes long: delete the Secret {}, and the controllers make a new one",
        names::PEERS_SECRET
    )]
    Length {
        /// The file.
        path: PathBuf,
    },
}

impl KeyFolder {
    /// Nothing was read yet.
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, read: None }
    }

    /// The keys, where they are others than were read last.
    ///
    /// # Errors
    /// There is no key. What was read before is still good: a Secret that is made anew is away for a moment.
    pub(super) fn look(&mut self) -> Result<Option<Keys>, ReadKeyError> {
        let current = read(&self.path.join(names::PEERS_KEY))?;
        // One key is enough; a second one that cannot be read is as none.
        let other = read(&self.path.join(names::PEERS_OTHER_KEY)).ok();
        let pair = (current, other);
        if self.read == Some(pair) {
            return Ok(None);
        }
        self.read = Some(pair);
        Ok(Some(Keys::new(&pair.0, pair.1.as_ref())))
    }

    /// Whether there ever was a key.
    pub(super) const fn has_any(&self) -> bool {
        self.read.is_some()
    }
}

fn read(path: &Path) -> Result<[u8; KEY_SIZE], ReadKeyError> {
    let path = || path.to_owned();
    let file = std::fs::File::open(path());
    let mut bytes = Vec::with_capacity(KEY_SIZE + 1);
    let read = file.and_then(|file| file.take(KEY_SIZE as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => bytes
            .try_into()
            .map_err(|_| ReadKeyError::Length { path: path() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(ReadKeyError::Missing { path: path() })
        }
        Err(source) => Err(ReadKeyError::Read {
            path: path(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::write;

    use super::*;

    #[test]
    fn keys_are_read_when_they_change_and_a_missing_one_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let mut keys = KeyFolder::new(folder.path().to_owned());
        let error = keys.look().unwrap_err().to_string();
        assert!(error.contains("berth-peers"), "{error}");
        write(file("key"), [1; 31]).unwrap();
        let error = keys.look().unwrap_err().to_string();
        assert!(error.contains("32 bytes"), "{error}");
        assert!(!keys.has_any());
        write(file("key"), [1; 32]).unwrap();
        assert!(keys.look().unwrap().is_some());
        assert!(keys.look().unwrap().is_none());
        write(file("other"), [2; 32]).unwrap();
        assert!(keys.look().unwrap().is_some());
        // Another one that is none changes what is accepted, and is no error.
        write(file("other"), b"?").unwrap();
        assert!(keys.look().unwrap().is_some());
        std::fs::remove_file(file("key")).unwrap();
        assert!(keys.look().is_err() && keys.has_any());
    }
}
