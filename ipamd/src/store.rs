//! The book on disk: keys and values in one sled tree, and the proof that none is missing.
//!
//! **Guarantees.** [`Store::commit`] is all or nothing and on the disk when it returns. [`Store::open`] answers the
//! records of the last commit that was ever answered (or a later one that was not), or says that the store is damaged;
//! never a smaller store in silence. How: every commit rewrites, in the same batch, a record that counts and digests all
//! others ([`schema::Meta`]), and after it is synced a witness outside sled ([`witness`]) learns its number.
//!
//! **Never does.** It does not interpret payloads, repair, or delete a damaged store. All functions block.

pub(crate) mod engine;
pub(crate) mod folder;
pub(crate) mod migrate;
mod open;
pub(crate) mod reserve;
pub(crate) mod schema;
pub(crate) mod witness;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sled::Batch;

use crate::clock::ClockBase;
use engine::{Engine, EngineError};
use folder::StoreFolder;
use migrate::Formats;
pub(crate) use open::Entry;
use open::Opening;
use schema::{META_KEY, Meta, seal, unseal};
use witness::{Testimony, Witness};

/// Largest payload. Far below what makes sled put a page into a file of its own, which it does not sync.
const PAYLOAD_LIMIT_BYTES: usize = 64 * 1024;

/// What one commit writes: under each key a payload, or nothing any more.
pub(crate) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// An open store, complete as of its last commit.
pub(crate) struct Store {
    engine: Engine,
    witness: Witness,
    meta: Meta,
    formats: Formats,
    spoiled: bool,
}

/// A store just opened, and what it holds.
pub(crate) struct Opened<C> {
    /// The store.
    pub(crate) store: Store,
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// What was collected of its records.
    pub(crate) collected: C,
}

/// Where an opened store comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Made now, or made and never committed to.
    New,
    /// As [`Origin::New`], but stores were set aside in its folder: it takes the place of one that was lost.
    InPlaceOfLost,
    /// Holds what was committed.
    Existing,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenStoreError {
    /// There is none, and none was to be made.
    #[error("there is no store in {folder}")]
    Absent {
        /// Its folder.
        folder: PathBuf,
    },
    /// Written by a newer version; it was not touched.
    #[error(
        "store {folder} has format {format}, this version reads up to {supported}; install the version that wrote it, \
         or import from its export"
    )]
    Newer {
        /// Its folder.
        folder: PathBuf,
        /// Its format.
        format: u32,
        /// The newest one known here.
        supported: u32,
    },
    /// A part of it is lost or changed.
    #[error("store {folder} is damaged: {reason}")]
    Damaged {
        /// Its folder.
        folder: PathBuf,
        /// What does not agree.
        reason: String,
    },
    /// No room even to open it, and no reserve left to spend.
    #[error("disk of store {folder} is full")]
    Full {
        /// Its folder.
        folder: PathBuf,
    },
    /// The file system failed.
    #[error("store {folder} cannot be read: {step}")]
    Io {
        /// Its folder.
        folder: PathBuf,
        /// What was being done.
        step: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why a commit is not on the disk, or not known to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// The disk is full.
    #[error("disk of the store is full")]
    Full,
    /// Nothing was written: this record is larger than any record may be.
    #[error("record of {bytes} bytes is too large")]
    Large {
        /// Its size.
        bytes: usize,
    },
    /// sled failed.
    #[error("store cannot be written")]
    Write(#[source] EngineError),
    /// The witness could not be written; the records may be on the disk.
    #[error("witness of the store cannot be written")]
    Witness(#[source] io::Error),
    /// An earlier commit failed; the store must be opened again.
    #[error("store must be opened again after a failed write")]
    Spoiled,
}

/// What a commit took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Its number.
    pub(crate) commit: u64,
    /// Writing, flushing and syncing.
    pub(crate) took: Duration,
}

impl Store {
    /// Opens the folder's store, making one where nothing says that there was one, and collects its records.
    ///
    /// Records of older formats are lifted to the current one, on disk too. Spends the reserve if nothing else helps.
    ///
    /// # Errors
    /// `Damaged` when anything at all does not agree.
    pub(crate) fn open<C>(
        folder: &StoreFolder,
        formats: Formats,
        collect: impl Fn(&mut dyn Iterator<Item = Entry>) -> C,
    ) -> Result<Opened<C>, OpenStoreError> {
        let opening = Opening { folder, formats };
        let result = opening.open(&collect);
        let full = matches!(result, Err(OpenStoreError::Full { .. }));
        if full && folder.reserve().spend().unwrap_or_default() {
            return opening.open(&collect);
        }
        result
    }

    /// As [`Self::open`], but never makes one.
    ///
    /// # Errors
    /// As [`Self::open`], and `Absent`.
    pub(crate) fn open_existing<C>(
        folder: &StoreFolder,
        formats: Formats,
        collect: impl Fn(&mut dyn Iterator<Item = Entry>) -> C,
    ) -> Result<Opened<C>, OpenStoreError> {
        if !folder.book().exists() && !folder.witness().exists() {
            return Err(OpenStoreError::Absent {
                folder: folder.path().to_owned(),
            });
        }
        Self::open(folder, formats, collect)
    }

    /// The record about all others, as of the last commit.
    pub(crate) const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Bytes of the store's file.
    pub(crate) fn size_bytes(&self) -> io::Result<u64> {
        self.engine.size_bytes()
    }

    /// Writes all of it, or nothing; on the disk, with the witness, when this returns.
    ///
    /// # Errors
    /// Nothing may be answered as done. Except after `Large`, what the disk holds is known only after opening anew.
    pub(crate) fn commit(
        &mut self,
        writes: &Writes,
        clock: &ClockBase,
    ) -> Result<Committed, CommitError> {
        if self.spoiled {
            return Err(CommitError::Spoiled);
        }
        let large = writes
            .values()
            .flatten()
            .map(Vec::len)
            .find(|bytes| *bytes > PAYLOAD_LIMIT_BYTES);
        if let Some(bytes) = large {
            return Err(CommitError::Large { bytes });
        }
        let started = Instant::now();
        let result = self.write(writes, Some(clock.clone()));
        self.spoiled = result.is_err();
        result.map(|()| Committed {
            commit: self.meta.commit,
            took: started.elapsed(),
        })
    }

    fn write(&mut self, writes: &Writes, clock: Option<ClockBase>) -> Result<(), CommitError> {
        let version = record_version(self.formats);
        let mut meta = self.meta.clone();
        meta.format = self.formats.current;
        meta.commit += 1;
        meta.clock = clock;
        let mut batch = Batch::default();
        for (key, payload) in writes {
            if let Some(old) = self.engine.get(key)? {
                meta.subtract(key, &old);
            }
            if let Some(payload) = payload {
                let value = seal(version, key, payload);
                meta.add(key, &value);
                batch.insert(key.as_slice(), value);
            } else {
                batch.remove(key.as_slice());
            }
        }
        batch.insert(META_KEY, sealed_meta(version, &meta)?);
        self.engine.write(batch)?;
        self.witness
            .testify(&Testimony::from(&meta))
            .map_err(CommitError::witness)?;
        self.meta = meta;
        Ok(())
    }

    /// Shows the records whose keys lie in `from..to`, in key order, until `visit` answers false.
    ///
    /// # Errors
    /// `Damaged` when sled or a checksum says so.
    pub(crate) fn range(
        &self,
        from: &[u8],
        to: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        let mut damage = None;
        self.engine
            .range(from, to, |key, value| match unseal(key, value) {
                Ok((_, payload)) => visit(key, payload),
                Err(error) => {
                    damage = Some(damaged_record(key, &error));
                    false
                }
            })?;
        damage.map_or(Ok(()), |reason| Err(EngineError::Damaged { reason }))
    }

    /// Counts all records again; what does not agree with the last commit.
    ///
    /// # Errors
    /// When sled or a checksum says that the store is damaged.
    pub(crate) fn recount(&self) -> Result<Vec<String>, EngineError> {
        let mut counted = Meta::empty(self.meta.format);
        for entry in self.engine.entries() {
            let (key, value) = entry?;
            if key != META_KEY {
                unseal(&key, &value).map_err(|error| EngineError::Damaged {
                    reason: damaged_record(&key, &error),
                })?;
                counted.add(&key, &value);
            }
        }
        let said = (self.meta.records, self.meta.digest);
        if (counted.records, counted.digest) == said {
            return Ok(Vec::new());
        }
        Ok(vec![format!(
            "the store holds {} records, its last commit left {}, or other ones",
            counted.records, self.meta.records
        )])
    }
}

impl CommitError {
    fn witness(error: io::Error) -> Self {
        match EngineError::from(error) {
            EngineError::Full => Self::Full,
            EngineError::Io(source) => Self::Witness(source),
            EngineError::Damaged { reason } => Self::Witness(io::Error::other(reason)),
        }
    }
}

impl From<EngineError> for CommitError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Full => Self::Full,
            other => Self::Write(other),
        }
    }
}

fn record_version(formats: Formats) -> u8 {
    // 255 versions are far away; a store of a version that does not fit would be refused as damaged, not misread.
    u8::try_from(formats.current).unwrap_or(u8::MAX)
}

fn sealed_meta(version: u8, meta: &Meta) -> Result<Vec<u8>, CommitError> {
    let payload = serde_json::to_vec(meta)
        .map_err(|error| CommitError::Write(EngineError::Io(error.into())))?;
    Ok(seal(version, META_KEY, &payload))
}

fn damaged_record(key: &[u8], problem: &dyn std::fmt::Display) -> String {
    format!("record {}: {problem}", key.escape_ascii())
}

#[cfg(test)]
mod tests;
