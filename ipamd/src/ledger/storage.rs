//! The store's own thread.
//!
//! Owns folder, store and lock; the ledger and readers of the audit log send it work and wait. sled and `fdatasync` block,
//! so nothing of them runs on a thread of the runtime.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use ipamd_core::{AuditEntry, Record};
use tokio::sync::oneshot;

use super::audit::{Query, Reading};
use super::error::Unavailable;
use crate::store::engine::EngineError;
use crate::store::folder::{LockStoreError, StoreFolder};
use crate::store::migrate::FORMATS;
use crate::store::schema::{self, Kind};
use crate::store::{OpenStoreError, Opened, Origin, Store};

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
    /// The book's records, or the first that cannot be read.
    pub(super) records: Result<Vec<Record>, String>,
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
    fn open(&mut self) -> Option<Result<Content, OpenStoreError>> {
        self.store = None;
        let folder = self.folder.as_ref()?;
        let opened = Store::open(folder, FORMATS, collect);
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
                records: collected.into_records(),
            }
        }))
    }
}

/// Records as they are read.
#[derive(Default)]
pub(super) struct Collected {
    records: Vec<Record>,
    unreadable: Option<String>,
}

impl Collected {
    pub(super) fn into_records(self) -> Result<Vec<Record>, String> {
        self.unreadable.map_or(Ok(self.records), Err)
    }
}

/// Takes the book's records out of all records.
pub(super) fn collect(collected: &mut Collected, key: &[u8], payload: &[u8]) {
    let problem = match Kind::of(key) {
        Some((Kind::Audit, _)) => return,
        None => "its kind is not known".to_owned(),
        Some((Kind::Book, _)) => match serde_json::from_slice::<Record>(payload) {
            Ok(record) if schema::book_key(&record.key()) == key => {
                collected.records.push(record);
                return;
            }
            Ok(_) => "it lies under another record's key".to_owned(),
            Err(error) => error.to_string(),
        },
    };
    collected
        .unreadable
        .get_or_insert_with(|| format!("record {}: {problem}", key.escape_ascii()));
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
    pub(super) async fn open(&self) -> Result<Result<Content, OpenStoreError>, Unavailable> {
        self.run(Volume::open).await?.ok_or(Unavailable::Ended)
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
