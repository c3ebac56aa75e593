//! One term from the controllers' side: what they write under, and when to stop.
//!
//! They end by themselves, between two writes; no write is broken off, so that the election can wait for the last one.

use std::time::Instant;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::term::Term;

/// One term, and whether it goes on. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Reign {
    term: Term,
    standing: watch::Receiver<Option<Term>>,
    stop: CancellationToken,
}

impl Reign {
    /// Until the term ends, or the process is told to.
    pub(crate) const fn new(
        term: Term,
        standing: watch::Receiver<Option<Term>>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            term,
            standing,
            stop,
        }
    }

    /// What to write under.
    pub(crate) const fn term(&self) -> &Term {
        &self.term
    }

    /// Whether there is anything left to do.
    pub(crate) fn goes_on(&self) -> bool {
        self.term.stands(Instant::now()) && !self.stop.is_cancelled()
    }

    /// Waits until then, or until it is over.
    ///
    /// # Cancellation
    /// Safe.
    pub(crate) async fn until(&self, then: Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(then.into()) => {}
            () = self.over() => {}
        }
    }

    /// The outcome, unless it is over before.
    pub(crate) async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            outcome = work => Some(outcome),
            () = self.over() => None,
        }
    }

    /// Waits until it is over.
    async fn over(&self) {
        let mut standing = self.standing.clone();
        loop {
            let Some(until) = self.term.until().filter(|_| self.goes_on()) else {
                return;
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep_until(until.into()) => {}
                changed = standing.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }
}
