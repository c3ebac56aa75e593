//! Leadership as a value: a [`Term`] is won by the [election](crate::election) and by nothing else, and every write asks for it.
//!
//! **Always holds:** a term ends on this process's monotonic clock before another candidate can win (the election says by
//! how much); a term that was given up never stands again. A term lets writes through one by one ([`Term::permit`]), so that
//! who gives it up can wait for those that are under way. Nobody else can make one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{RwLock, RwLockReadGuard};

/// The leadership of this process, from one win to its end. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    number: u64,
    /// Until when it stands; `None`: it was given up or lost.
    until: Mutex<Option<Instant>>,
    /// Held for reading by each write under way.
    writes: RwLock<()>,
}

/// There is no term to write under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not lead any more: term {number} has ended")]
pub(crate) struct TermEnded {
    /// The term that ended.
    pub(crate) number: u64,
}

/// One write may be sent, and its answer believed until [`Permit::until`].
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    until: Instant,
    _write: RwLockReadGuard<'a, ()>,
}

impl Permit<'_> {
    /// When the term ends, unless it is renewed.
    pub(crate) const fn until(&self) -> Instant {
        self.until
    }
}

impl Term {
    /// Won: it stands until then.
    pub(crate) fn won(number: u64, until: Instant) -> Self {
        Self {
            inner: Arc::new(Inner {
                number,
                until: Mutex::new(Some(until)),
                writes: RwLock::new(()),
            }),
        }
    }

    /// Which one: counted by the Lease.
    pub(crate) fn number(&self) -> u64 {
        self.inner.number
    }

    /// Whether it stands at this instant.
    pub(crate) fn stands(&self, now: Instant) -> bool {
        self.until().is_some_and(|until| now < until)
    }

    /// Renewed: it stands until then. One that has ended stays ended.
    pub(crate) fn extend(&self, now: Instant, until: Instant) -> bool {
        let mut end = self.lock();
        let stands = end.is_some_and(|end| now < end);
        *end = stands.then_some(until);
        stands
    }

    /// Lost: no write begins any more.
    pub(crate) fn end(&self) {
        *self.lock() = None;
    }

    /// Given up: no write begins any more, and those under way have ended.
    ///
    /// # Errors
    /// When one is still under way after `limit`: then nobody else may be let in early.
    ///
    /// # Cancellation
    /// The term has ended all the same.
    pub(crate) async fn give_up(&self, limit: Duration) -> Result<(), WriteUnderWay> {
        self.end();
        let idle = tokio::time::timeout(limit, self.inner.writes.write()).await;
        idle.map(drop).map_err(|_| WriteUnderWay { limit })
    }

    /// Lets one write through. Not while somebody gives the term up.
    ///
    /// # Errors
    /// When the term has ended.
    pub(crate) async fn permit(&self) -> Result<Permit<'_>, TermEnded> {
        let write = self.inner.writes.read().await;
        // Looked at last: waiting takes time.
        let until = self.until().filter(|until| Instant::now() < *until);
        match until {
            Some(until) => Ok(Permit {
                until,
                _write: write,
            }),
            None => Err(TermEnded {
                number: self.number(),
            }),
        }
    }

    /// When it ends, as of now.
    pub(crate) fn until(&self) -> Option<Instant> {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.inner
            .until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write of the term did not end in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a write was still under way after {limit:?}")]
pub(crate) struct WriteUnderWay {
    limit: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_term_stands_until_its_end_and_never_again() {
        let now = Instant::now();
        let term = Term::won(3, now + SOON);
        assert!(term.stands(now) && !term.stands(now + SOON));
        assert!(term.extend(now, now + SOON * 2));
        assert!(term.stands(now + SOON));
        // Renewed too late: the answer came after the end.
        assert!(!term.extend(now + SOON * 2, now + SOON * 4));
        assert!(!term.stands(now));
        assert_eq!(term.permit().await.err(), Some(TermEnded { number: 3 }));
        assert!(!term.extend(now, now + SOON));
    }

    #[tokio::test]
    async fn an_ended_term_lets_nothing_through() {
        let past = Instant::now();
        let term = Term::won(1, past);
        assert!(term.permit().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_a_term_up_waits_for_the_write_under_way() {
        let term = Term::won(1, Instant::now() + SOON);
        let permit = term.permit().await.unwrap();
        let limit = Duration::from_secs(1);
        assert_eq!(term.give_up(limit).await, Err(WriteUnderWay { limit }));
        assert!(term.permit().await.is_err());
        drop(permit);
        assert_eq!(term.give_up(limit).await, Ok(()));
    }
}
