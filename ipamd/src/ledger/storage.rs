//! The store's own thread.
//!
//! Owns folder, store and lock; the ledger and readers of the audit log send it work and wait. sled and `fdatasync` block,
//! so nothing of them runs on a thread of the runtime.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use ipamd_core::{AuditEntry, Book, Record, ValidSettings};
use tokio::sync::oneshot;

use super::audit::{Query, Reading};
use super::document::contradiction;
use super::error::Unavailable;
use crate::store::engine::EngineError;
use crate::store::folder::{LockStoreError, StoreFolder};
use crate::store::migrate::FORMATS;
use crate::store::schema::{self, Kind};
use crate::store::{Entry, OpenStoreError, Opened, Origin, Store};

/// What the thread owns.
#[derive(Default)]
pub(super) struct Volume {
    folder: Option<StoreFolder>,
    store: Option<Store>,
    closed: bool,
}

type Job = Box<dyn FnOnce(&mut Volume) + Send>;

/// The way to the thread.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    jobs: Sender<Job>,
    waiting: Arc<Mutex<Option<Receiver<Job>>>>,
}

impl Default for Storage {
    fn default() -> Self {
        let (jobs, receiver) = channel();
        Self {
            jobs,
            waiting: Arc::new(Mutex::new(Some(receiver))),
        }
    }
}

/// A store's content as it was opened.
pub(super) struct Content {
    /// Where the store comes from.
    pub(super) origin: Origin,
    /// The record about all others.
    pub(super) meta: schema::Meta,
    /// The book, or why its records make none.
    pub(super) book: Result<Book, String>,
}

impl Volume {
    /// The open store.
    pub(super) const fn store(&mut self) -> Option<&mut Store> {
        self.store.as_mut()
    }

    /// The locked folder.
    pub(super) const fn folder(&self) -> Option<&StoreFolder> {
        self.folder.as_ref()
    }

    fn lock(&mut self, path: &Path) -> Result<(), LockStoreError> {
        if self.folder.is_none() {
            self.folder = Some(StoreFolder::lock(path)?);
        }
        Ok(())
    }

    /// Opens the store, or opens it anew after closing it.
    fn open(&mut self, settings: &ValidSettings) -> Option<Result<Content, OpenStoreError>> {
        self.store = None;
        let folder = self.folder.as_ref()?;
        let opened = Store::open(folder, FORMATS, |entries| restore(settings, entries));
        Some(opened.map(|opened| {
            let Opened {
                store,
                origin,
                collected,
            } = opened;
            let meta = store.meta().clone();
            self.store = Some(store);
            Content {
                origin,
                meta,
                book: collected,
            }
        }))
    }
}

/// The book that wrote these records, or why there is none.
pub(super) fn restore(
    settings: &ValidSettings,
    entries: &mut dyn Iterator<Item = Entry>,
) -> Result<Book, String> {
    let mut unreadable = None;
    let records = entries.filter_map(|entry| {
        record(&entry).unwrap_or_else(|problem| {
            let name = entry.key.escape_ascii();
            unreadable.get_or_insert_with(|| format!("record {name}: {problem}"));
            None
        })
    });
    // Record by record: the book and all its records at once would be twice the memory, for good.
    let restored = Book::restore(settings.clone(), records);
    match unreadable {
        Some(problem) => Err(problem),
        None => restored.map_err(|error| {
            let lines: Vec<_> = error.contradictions.iter().map(contradiction).collect();
            lines.join("; ")
        }),
    }
}

/// A record of the book; `None` for one of the audit log.
fn record(entry: &Entry) -> Result<Option<Record>, String> {
    match Kind::of(&entry.key) {
        Some((Kind::Audit, _)) => Ok(None),
        None => Err("its kind is not known".to_owned()),
        Some((Kind::Book, _)) => {
            let record: Record =
                serde_json::from_slice(&entry.payload).map_err(|error| error.to_string())?;
            if entry.key == schema::book_key(&record.key()) {
                Ok(Some(record))
            } else {
                Err("it lies under another record's key".to_owned())
            }
        }
    }
}

impl Storage {
    /// Starts the thread. Work sent before waits for it.
    pub(super) fn start(&self) -> std::io::Result<()> {
        let waiting = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(jobs) = waiting else {
            return Ok(());
        };
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                let mut volume = Volume::default();
                while let Ok(job) = jobs.recv() {
                    job(&mut volume);
                    if volume.closed {
                        break;
                    }
                }
            })?;
        Ok(())
    }

    /// Runs work on the thread; `Ended` when the thread is gone.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Volume) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |volume| {
            let _gone = sender.send(work(volume));
        });
        self.jobs.send(job).map_err(|_| Unavailable::Ended)?;
        receiver.await.map_err(|_| Unavailable::Ended)
    }

    /// Runs work on the open store; `Recovering` while there is none.
    pub(super) async fn on_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.run(|volume| volume.store().map(work))
            .await?
            .ok_or_else(|| Unavailable::Recovering {
                message: "the store is being opened".to_owned(),
            })
    }

    /// Locks the folder; keeps it locked until the end.
    pub(super) async fn lock(
        &self,
        path: std::path::PathBuf,
    ) -> Result<Result<(), LockStoreError>, Unavailable> {
        self.run(move |volume| volume.lock(&path)).await
    }

    /// Opens the store, or opens it anew.
    pub(super) async fn open(
        &self,
        settings: ValidSettings,
    ) -> Result<Result<Content, OpenStoreError>, Unavailable> {
        let opened = self.run(move |volume| volume.open(&settings)).await?;
        opened.ok_or(Unavailable::Ended)
    }

    /// Closes store and folder, and ends the thread.
    pub(super) async fn close(&self) {
        let closed = self.run(|volume| {
            volume.store = None;
            volume.folder = None;
            volume.closed = true;
        });
        // A thread that is gone has closed everything.
        let _gone = closed.await;
    }

    /// Asks the audit log, piece by piece.
    pub(super) async fn log(&self, query: Query) -> Result<Vec<AuditEntry>, Unavailable> {
        let mut reading = Reading::new(query);
        loop {
            let step = self.on_store(move |store| reading.step(store)).await?;
            match step.map_err(unreadable)? {
                ControlFlow::Continue(next) => reading = next,
                ControlFlow::Break(found) => return Ok(found),
            }
        }
    }

    /// Compares the store with what the book says.
    pub(super) async fn differences(&self, known: Vec<Record>) -> Result<Vec<String>, Unavailable> {
        self.on_store(move |store| differences(store, &known))
            .await?
            .map_err(unreadable)
    }
}

fn unreadable(error: EngineError) -> Unavailable {
    Unavailable::StoreFailing {
        message: match error {
            EngineError::Io(source) => source.to_string(),
            other => other.to_string(),
        },
    }
}

/// Where store and book differ, and what of the store does not agree with itself.
pub(super) fn differences(store: &Store, known: &[Record]) -> Result<Vec<String>, EngineError> {
    let mut findings = store.recount()?;
    let mut known: std::collections::BTreeMap<_, _> = known
        .iter()
        .map(|record| (schema::book_key(&record.key()), record))
        .collect();
    let from = Kind::Book.key(&[]);
    let to = vec![Kind::Book as u8 + 1];
    store.range(&from, &to, |key, payload| {
        let name = key.escape_ascii();
        match (known.remove(key), serde_json::from_slice::<Record>(payload)) {
            (Some(record), Ok(stored)) if *record == stored => {}
            (Some(_), Ok(_)) => findings.push(format!("book and store differ in record {name}")),
            (None, Ok(_)) => findings.push(format!("record {name} is only in the store")),
            (_, Err(error)) => findings.push(format!("record {name} cannot be read: {error}")),
        }
        true
    })?;
    for key in known.into_keys() {
        let name = key.escape_ascii();
        findings.push(format!("record {name} is only in the book"));
    }
    Ok(findings)
}
