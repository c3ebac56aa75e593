//! A file of the store's folder that remembers what the cluster said: one line, a checksum and JSON.
//!
//! Written whole or not at all, and synced. Never believed when it is damaged: then it says nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

/// The file.
#[derive(Debug)]
pub(super) struct SealedFile {
    folder: PathBuf,
    name: &'static str,
}

/// Why the file was not written.
#[derive(Debug, thiserror::Error)]
#[error("writing {path}")]
pub(super) struct StoreSealedError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl SealedFile {
    /// The file of this name in the store's folder.
    pub(super) const fn new(folder: PathBuf, name: &'static str) -> Self {
        Self { folder, name }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    /// What the file says; `None`: nothing that can be used, which is logged where there is such a file.
    pub(super) fn load<T: DeserializeOwned>(&self) -> Option<T> {
        let path = self.path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(path = %path.display(), %error, "what was remembered cannot be read");
                return None;
            }
        };
        match parse(&text) {
            Ok(content) => Some(content),
            Err(problem) => {
                warn!(path = %path.display(), error = problem, "what was remembered is damaged and not used");
                None
            }
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the disk refuses; what the file said before stays.
    pub(super) fn store<T: Serialize>(&self, content: &T) -> Result<(), StoreSealedError> {
        self.write(content).map_err(|source| StoreSealedError {
            path: self.path(),
            source,
        })
    }

    fn write<T: Serialize>(&self, content: &T) -> io::Result<()> {
        let json = serde_json::to_string(content)?;
        // The first answer may come before the store was made.
        fs::create_dir_all(&self.folder)?;
        let aside = self.folder.join(format!(".{}.new", self.name));
        let mut file = File::create(&aside)?;
        file.write_all(format!("{} {json}\n", checksum(&json)).as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, self.path())?;
        File::open(&self.folder)?.sync_all()
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let (sum, json) = text
        .trim_end()
        .split_once(' ')
        .ok_or("there is no checksum")?;
    if sum != checksum(json) {
        return Err("the checksum differs".to_owned());
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn checksum(json: &str) -> String {
    format!("{:08x}", crc32fast::hash(json.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &std::path::Path) -> SealedFile {
        SealedFile::new(folder.join("store"), "thing")
    }

    #[test]
    fn what_was_stored_is_read_back_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        assert_eq!(file.load::<Vec<u32>>(), None);
        for content in [vec![1, 2], vec![], vec![3]] {
            file.store(&content).unwrap();
            assert_eq!(file.load(), Some(content));
        }
        let names = fs::read_dir(folder.path().join("store")).unwrap();
        assert_eq!(names.count(), 1, "nothing is left beside it");
        assert_eq!(file.load::<String>(), None, "another form");
    }

    #[test]
    fn damaged_file_says_nothing_wherever_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        file.store(&vec!["a", "b"]).unwrap();
        let whole = fs::read(file.path()).unwrap();
        for position in 0..whole.len() - 1 {
            let mut damaged = whole.clone();
            damaged[position] ^= 1;
            fs::write(file.path(), &damaged).unwrap();
            assert_eq!(file.load::<Vec<String>>(), None, "bit of byte {position}");
            fs::write(file.path(), &whole[..position]).unwrap();
            assert_eq!(file.load::<Vec<String>>(), None, "cut at {position}");
        }
    }

    #[test]
    fn disk_that_refuses_is_told_with_the_path() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("store"), "no folder").unwrap();
        let error = file(folder.path()).store(&1).unwrap_err();
        assert!(error.to_string().ends_with("store/thing"), "{error}");
    }
}
