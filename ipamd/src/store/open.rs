//! Opening a store: every step that could find it incomplete.
//!
//! Three accounts must agree: the records as counted now, what the store says of itself, and its witness. Asks the
//! witness first, so that a store of a newer version is never touched. Decides nothing about damage but that it is there.

use std::fmt::Display;
use std::io;

use sled::IVec;

use super::engine::{Engine, EngineError};
use super::folder::{StoreFolder, sync_folder};
use super::migrate::Formats;
use super::schema::{META_KEY, Meta, UnsealError, unseal};
use super::witness::{Heard, Testimony, Witness};
use super::{CommitError, OpenStoreError, Opened, Origin, Store, Writes, damaged_record};

/// What is opened, by whom.
pub(super) struct Opening<'f> {
    pub(super) folder: &'f StoreFolder,
    pub(super) formats: Formats,
}

/// What a scan found.
struct Scanned<C> {
    counted: Meta,
    collected: C,
    /// The records in the current format, where the store is of an older one.
    lifted: Option<Writes>,
}

impl Opening<'_> {
    pub(super) fn open<C>(
        &self,
        collect: &impl Fn(&mut dyn Iterator<Item = Entry>) -> C,
    ) -> Result<Opened<C>, OpenStoreError> {
        let testimony = self.testimony()?;
        let engine = Engine::open(&self.folder.book()).map_err(|error| self.engine(error))?;
        let said = self.said(&engine)?;
        let format = said.as_ref().map_or(testimony.format, |said| said.format);
        if self.formats.way_from(format).is_none() {
            return Err(self.no_way_from(format));
        }
        let scanned = self
            .scan(&engine, format, collect)
            .map_err(|error| self.engine(error))?;
        let meta =
            compare(&scanned.counted, said, testimony).map_err(|reason| self.damaged(reason))?;
        let witness = Witness::open(&self.folder.witness())
            .map_err(|source| self.io("its witness", source))?;
        let mut store = Store {
            engine,
            witness,
            meta,
            formats: self.formats,
            spoiled: false,
        };
        self.settle(&mut store, scanned.lifted)?;
        Ok(Opened {
            origin: self.origin(&store)?,
            store,
            collected: scanned.collected,
        })
    }

    /// What must at least be there.
    fn testimony(&self) -> Result<Testimony, OpenStoreError> {
        let folder = self.folder;
        let heard =
            Witness::hear(&folder.witness()).map_err(|source| self.io("its witness", source))?;
        let testimony = match heard {
            Heard::Testimony(testimony) => testimony,
            Heard::Unreadable if !folder.book().exists() => self.begin()?,
            Heard::Unreadable => return Err(self.damaged("its witness is unreadable".to_owned())),
            Heard::Absent if folder.book().exists() => {
                return Err(self.damaged("its witness is missing".to_owned()));
            }
            Heard::Absent => self.begin()?,
        };
        if self.formats.way_from(testimony.format).is_none() {
            return Err(self.no_way_from(testimony.format));
        }
        if testimony.commit > 0 && !folder.book().join("db").exists() {
            return Err(self.damaged(format!(
                "it is missing, and its witness tells of {} records",
                testimony.records
            )));
        }
        Ok(testimony)
    }

    /// A witness of nothing, durable before there is anything: what has no witness was never a store.
    fn begin(&self) -> Result<Testimony, OpenStoreError> {
        let nothing = Testimony::from(&Meta::empty(self.formats.current));
        Witness::open(&self.folder.witness())
            .and_then(|witness| witness.testify(&nothing))
            .and_then(|()| self.folder.sync())
            .map_err(|source| self.io("making its witness", source))?;
        Ok(nothing)
    }

    fn said(&self, engine: &Engine) -> Result<Option<Meta>, OpenStoreError> {
        let value = engine.get(META_KEY).map_err(|error| self.engine(error))?;
        value
            .map(|value| {
                let (_, payload) = unseal(META_KEY, &value).map_err(|error| error.to_string())?;
                serde_json::from_slice(payload).map_err(|error| error.to_string())
            })
            .transpose()
            .map_err(|problem: String| self.damaged(damaged_record(META_KEY, &problem)))
    }

    fn scan<C>(
        &self,
        engine: &Engine,
        format: u32,
        collect: &impl Fn(&mut dyn Iterator<Item = Entry>) -> C,
    ) -> Result<Scanned<C>, EngineError> {
        let mut scan = Scan {
            entries: engine.entries(),
            formats: self.formats,
            format,
            counted: Meta::empty(format),
            lifted: Writes::new(),
            problem: None,
        };
        let collected = collect(&mut scan);
        // What was not asked for counts too.
        scan.by_ref().for_each(drop);
        if let Some(problem) = scan.problem {
            return Err(problem);
        }
        Ok(Scanned {
            counted: scan.counted,
            collected,
            lifted: (format < self.formats.current).then_some(scan.lifted),
        })
    }

    /// Makes what was found durable: it may have been written by a process that died before it synced.
    fn settle(&self, store: &mut Store, lifted: Option<Writes>) -> Result<(), OpenStoreError> {
        store.engine.sync().map_err(|error| self.engine(error))?;
        let settled = if let Some(lifted) = lifted {
            let clock = store.meta.clock.clone();
            store.write(&lifted, clock)
        } else {
            store
                .witness
                .testify(&Testimony::from(&store.meta))
                .map_err(CommitError::witness)
        };
        settled.map_err(|error| match error {
            CommitError::Full => self.engine(EngineError::Full),
            CommitError::Write(error) => self.engine(error),
            CommitError::Witness(source) => self.io("writing its witness", source),
            other => self.io("bringing it up to date", io::Error::other(other)),
        })?;
        sync_folder(&self.folder.book())
            .and_then(|()| self.folder.sync())
            .map_err(|source| self.io("syncing its folder", source))
    }

    fn origin(&self, store: &Store) -> Result<Origin, OpenStoreError> {
        if store.meta.commit > 0 {
            return Ok(Origin::Existing);
        }
        let before = self
            .folder
            .set_aside_before()
            .map_err(|source| self.io("listing stores set aside", source))?;
        if before.is_empty() {
            Ok(Origin::New)
        } else {
            Ok(Origin::InPlaceOfLost)
        }
    }

    fn damaged(&self, reason: String) -> OpenStoreError {
        OpenStoreError::Damaged {
            folder: self.folder.path().to_owned(),
            reason,
        }
    }

    fn no_way_from(&self, format: u32) -> OpenStoreError {
        if format < self.formats.oldest {
            return self.damaged(format!("there never was a format {format}"));
        }
        OpenStoreError::Newer {
            folder: self.folder.path().to_owned(),
            format,
            supported: self.formats.current,
        }
    }

    fn io(&self, step: &'static str, source: io::Error) -> OpenStoreError {
        let folder = self.folder.path().to_owned();
        match EngineError::from(source) {
            EngineError::Full => OpenStoreError::Full { folder },
            EngineError::Io(source) => OpenStoreError::Io {
                folder,
                step,
                source,
            },
            EngineError::Damaged { reason } => OpenStoreError::Io {
                folder,
                step,
                source: io::Error::other(reason),
            },
        }
    }

    fn engine(&self, error: EngineError) -> OpenStoreError {
        match error {
            EngineError::Full => OpenStoreError::Full {
                folder: self.folder.path().to_owned(),
            },
            EngineError::Io(source) => self.io("its records", source),
            EngineError::Damaged { reason } => self.damaged(reason),
        }
    }
}

/// One record as it is read.
pub(crate) struct Entry {
    /// Its key.
    pub(crate) key: IVec,
    /// Its payload.
    pub(crate) payload: IVec,
}

/// All records on their way by, checked, counted and lifted. Ends at the first problem.
struct Scan<I> {
    entries: I,
    formats: Formats,
    format: u32,
    counted: Meta,
    lifted: Writes,
    problem: Option<EngineError>,
}

impl<I: Iterator<Item = Result<(IVec, IVec), EngineError>>> Iterator for Scan<I> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        while self.problem.is_none() {
            let taken = self
                .entries
                .next()?
                .and_then(|(key, value)| self.take(key, &value));
            match taken {
                Ok(Some(entry)) => return Some(entry),
                Ok(None) => {}
                Err(problem) => self.problem = Some(problem),
            }
        }
        None
    }
}

impl<I> Scan<I> {
    fn take(&mut self, key: IVec, value: &IVec) -> Result<Option<Entry>, EngineError> {
        if key == META_KEY {
            return Ok(None);
        }
        let damaged = |problem: &dyn Display| EngineError::Damaged {
            reason: damaged_record(&key, problem),
        };
        let (version, payload) = unseal(&key, value).map_err(|error| damaged(&error))?;
        if u32::from(version) != self.format {
            return Err(damaged(&UnsealError::Version { version }));
        }
        self.counted.add(&key, value);
        if self.format == self.formats.current {
            let payload = value.subslice(value.len() - payload.len(), payload.len());
            return Ok(Some(Entry { key, payload }));
        }
        // Gone under the old key, unless that is some record's new one.
        self.lifted.entry(key.to_vec()).or_insert(None);
        let bare = (key.to_vec(), payload.to_vec());
        let lifted = self.formats.lift(self.format, bare);
        let Some((key, payload)) = lifted.map_err(|error| damaged(&error))? else {
            return Ok(None);
        };
        self.lifted.insert(key.clone(), Some(payload.clone()));
        Ok(Some(Entry {
            key: key.into(),
            payload: payload.into(),
        }))
    }
}

/// The store's own account, if it agrees with what was counted and with its witness; otherwise what does not.
fn compare(counted: &Meta, said: Option<Meta>, witness: Testimony) -> Result<Meta, String> {
    let Some(said) = said else {
        if counted.records == 0 && witness.commit == 0 {
            return Ok(Meta::empty(witness.format));
        }
        return Err(format!(
            "it opens with {} records and without an account of them; its witness tells of {}",
            counted.records, witness.records
        ));
    };
    if counted.records != said.records {
        return Err(format!(
            "it opens with {} records of {}",
            counted.records, said.records
        ));
    }
    if counted.digest != said.digest {
        return Err(format!(
            "its {} records are not those of its last commit",
            said.records
        ));
    }
    if said.commit < witness.commit {
        return Err(format!(
            "it ends with commit {}, its witness tells of {}",
            said.commit, witness.commit
        ));
    }
    if said.commit == witness.commit && Testimony::from(&said) != witness {
        return Err("it and its witness tell of the same commit differently".to_owned());
    }
    Ok(said)
}
