//! Named, supervised tasks and threads.
//!
//! Owns every long-running part of a daemon. A service that ends before it was told to, fails or panics is reported to
//! the [`Supervisor`] with its name, and the daemon stops; a part is never silently gone. Groups ([`Tasks::child`]) are
//! stopped one after the other, so that the parts others rely on outlive them. Never aborts a task: an owner of the
//! store must reach its own end.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, warn};

use crate::chain::chain;

/// An error of any task.
pub type TaskError = Box<dyn Error + Send + Sync + 'static>;

/// What a task may answer: nothing, or why it gave up.
pub trait Outcome {
    /// The failure, if it is one.
    fn failure(self) -> Option<TaskError>;
}

impl Outcome for () {
    fn failure(self) -> Option<TaskError> {
        None
    }
}

impl<E: Into<TaskError>> Outcome for Result<(), E> {
    fn failure(self) -> Option<TaskError> {
        self.err().map(Into::into)
    }
}

/// Why the process must stop: a task that was not told to end did.
#[derive(Debug, thiserror::Error)]
pub enum TaskEnd {
    /// A service returned although nobody had cancelled it.
    #[error("task {name:?} ended unexpectedly")]
    Ended {
        /// The task.
        name: Cow<'static, str>,
    },
    /// A task answered an error.
    #[error("task {name:?} failed")]
    Failed {
        /// The task.
        name: Cow<'static, str>,
        /// Its error.
        #[source]
        source: TaskError,
    },
    /// A task panicked; the message is in the log.
    #[error("task {name:?} panicked")]
    Panicked {
        /// The task.
        name: Cow<'static, str>,
    },
}

/// Tasks that outlived the deadline of [`Tasks::stop`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("still running after {deadline:?}: {}", names.join(", "))]
pub struct StopError {
    /// The time they were given.
    pub deadline: Duration,
    /// Their names.
    pub names: Vec<String>,
}

/// A thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error("starting thread {name:?}")]
pub struct SpawnThreadError {
    /// The thread.
    pub name: Cow<'static, str>,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

/// Whether a task may end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Service,
    Job,
}

/// One group of tasks: spawns them, cancels them together, waits for them. Clones are the same group.
#[derive(Clone, Debug)]
pub struct Tasks {
    token: CancellationToken,
    tracker: TaskTracker,
    running: Arc<Running>,
    ends: mpsc::UnboundedSender<TaskEnd>,
}

/// Hears of every task, of any group, that ended and should not have.
#[derive(Debug)]
pub struct Supervisor {
    ends: mpsc::UnboundedReceiver<TaskEnd>,
    // Keeps the channel open when every `Tasks` is gone.
    _open: mpsc::UnboundedSender<TaskEnd>,
}

impl Supervisor {
    /// The first unexpected end; waits for ever when there is none.
    ///
    /// # Cancellation
    /// Safe: no end is lost.
    pub async fn unexpected_end(&mut self) -> TaskEnd {
        match self.ends.recv().await {
            Some(end) => end,
            None => std::future::pending().await,
        }
    }
}

#[derive(Debug, Default)]
struct Running {
    names: Mutex<BTreeMap<u64, Cow<'static, str>>>,
}

impl Running {
    fn add(&self, name: Cow<'static, str>) -> u64 {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let key = names.last_key_value().map_or(0, |(key, _)| key + 1);
        names.insert(key, name);
        key
    }

    fn remove(&self, key: u64) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.remove(&key);
    }

    fn list(&self) -> Vec<String> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.values().map(ToString::to_string).collect()
    }
}

impl Tasks {
    /// The root group, and the one place that hears of unexpected ends.
    pub fn new() -> (Self, Supervisor) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let tasks = Self {
            token: CancellationToken::new(),
            tracker: TaskTracker::new(),
            running: Arc::default(),
            ends: sender.clone(),
        };
        let supervisor = Supervisor {
            ends: receiver,
            _open: sender,
        };
        (tasks, supervisor)
    }

    /// A group below this one: cancelled with it, and stoppable before it.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            token: self.token.child_token(),
            tracker: TaskTracker::new(),
            running: Arc::default(),
            ends: self.ends.clone(),
        }
    }

    /// What this group's tasks watch to know that they must end.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Starts a service: it may end only after the group's token is cancelled.
    ///
    /// # Panics
    /// As `tokio`'s own spawn, outside a runtime.
    pub fn spawn<F>(&self, name: impl Into<Cow<'static, str>>, work: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.start(name.into(), Kind::Service, work);
    }

    /// Starts a job: it may end when it is done, but not fail or panic.
    ///
    /// # Panics
    /// As `tokio`'s own spawn, outside a runtime.
    pub fn spawn_job<F>(&self, name: impl Into<Cow<'static, str>>, work: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.start(name.into(), Kind::Job, work);
    }

    fn start<F>(&self, name: Cow<'static, str>, kind: Kind, work: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        let span = tracing::info_span!("task", part = %name);
        let watch = Watch::new(self, name, kind);
        self.tracker.spawn(
            async move {
                let outcome = work.await;
                watch.finish(outcome.failure());
            }
            .instrument(span),
        );
    }

    /// Starts a service on a thread of its own: for work that blocks (a store, a packet socket).
    ///
    /// # Errors
    /// When the kernel refuses the thread.
    pub fn spawn_thread<O, F>(
        &self,
        name: impl Into<Cow<'static, str>>,
        work: F,
    ) -> Result<(), SpawnThreadError>
    where
        O: Outcome,
        F: FnOnce() -> O + Send + 'static,
    {
        let name = name.into();
        let counted = self.tracker.token();
        let watch = Watch::new(self, name.clone(), Kind::Service);
        thread::Builder::new()
            .name(name.to_string())
            .spawn(move || {
                // Dropped last: who waits for the group sees the thread gone only when it has reported.
                let _counted = counted;
                let outcome = work();
                watch.finish(outcome.failure());
            })
            .map(drop)
            .map_err(|source| SpawnThreadError { name, source })
    }

    /// Tells the group to end and waits for it.
    ///
    /// # Errors
    /// Names the tasks that are still running at the deadline; they are left alone.
    ///
    /// # Cancellation
    /// The group stays cancelled; only the waiting ends.
    pub async fn stop(&self, deadline: Duration) -> Result<(), StopError> {
        self.token.cancel();
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait())
            .await
            .map_err(|_| StopError {
                deadline,
                names: self.running.list(),
            })
    }
}

/// Reports the end of one task, whichever way it comes.
struct Watch {
    key: u64,
    name: Cow<'static, str>,
    kind: Kind,
    token: CancellationToken,
    running: Arc<Running>,
    ends: mpsc::UnboundedSender<TaskEnd>,
}

impl Watch {
    fn new(tasks: &Tasks, name: Cow<'static, str>, kind: Kind) -> Self {
        Self {
            key: tasks.running.add(name.clone()),
            name,
            kind,
            token: tasks.token.clone(),
            running: Arc::clone(&tasks.running),
            ends: tasks.ends.clone(),
        }
    }

    fn finish(self, failure: Option<TaskError>) {
        let name = self.name.clone();
        match (failure, self.token.is_cancelled(), self.kind) {
            (Some(error), true, _) => {
                warn!(task = %name, error = %chain(error.as_ref()), "task failed while stopping");
            }
            (Some(source), false, _) => self.report(TaskEnd::Failed { name, source }),
            (None, false, Kind::Service) => self.report(TaskEnd::Ended { name }),
            (None, true, _) | (None, false, Kind::Job) => {}
        }
    }

    fn report(&self, end: TaskEnd) {
        // Nobody listens any more only when the process is on its way out.
        let _ = self.ends.send(end);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.running.remove(self.key);
        // A task that a runtime drops at its own end is not reported: the process is ending already.
        if thread::panicking() {
            let name = self.name.clone();
            self.report(TaskEnd::Panicked { name });
        }
    }
}

#[cfg(test)]
mod tests;
