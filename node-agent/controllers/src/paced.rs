//! The events of a watch, with growing pauses after failures.
//!
//! kube's own back-off begins anew with every event, and each try to list begins with one: ten thousand agents would ask an API
//! server that is ill some ten thousand times a second. Here only what the API server told ends a row of failures.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::pin::Pin;
use std::time::Duration;

use kube::runtime::watcher::{Error, Event};
use tokio_stream::{Stream, StreamExt as _};

/// After the first failure.
const FIRST: Duration = Duration::from_secs(1);

/// After many.
const LONGEST: Duration = Duration::from_secs(30);

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    failures: u32,
}

impl Row {
    /// What came: whether it was told by the API server.
    fn note<K>(&mut self, event: &Result<Event<K>, Error>) {
        match event {
            Err(_) => self.failures = self.failures.saturating_add(1),
            // The try itself, before anything was asked.
            Ok(Event::Init) => {}
            Ok(_) => self.failures = 0,
        }
    }

    /// How long to wait now, each a little different: `chance` from 0 to 1.
    fn pause(self, chance: f64) -> Option<Duration> {
        let doublings = self.failures.checked_sub(1)?.min(16);
        let longest = (FIRST * 2u32.pow(doublings)).min(LONGEST);
        Some(longest.mul_f64(0.5 + chance / 2.0))
    }
}

/// The events of a watch; after a failure the next try is put off.
pub struct Paced<S> {
    events: Pin<Box<S>>,
    row: Row,
    has_failed: bool,
}

impl<S> std::fmt::Debug for Paced<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Paced")
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

impl<K, S: Stream<Item = Result<Event<K>, Error>>> Paced<S> {
    /// Of this watch.
    pub fn new(events: S) -> Self {
        Self {
            events: Box::pin(events),
            row: Row::default(),
            has_failed: false,
        }
    }

    /// The next one.
    ///
    /// # Cancellation
    /// Safe: a pause that was cut short begins anew.
    pub async fn next(&mut self) -> Option<Result<Event<K>, Error>> {
        if self.has_failed
            && let Some(pause) = self.row.pause(chance())
        {
            tokio::time::sleep(pause).await;
        }
        let event = self.events.next().await?;
        self.row.note(&event);
        self.has_failed = event.is_err();
        Some(event)
    }
}

/// From 0 to 1, another one each time: the standard library's hashers are seeded by the kernel.
fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Result<Event<()>, Error> {
        Err(Error::NoResourceVersion)
    }

    #[test]
    fn pauses_grow_until_the_api_server_tells_something() {
        let mut row = Row::default();
        assert_eq!(row.pause(1.0), None);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            // A new try is no success.
            row.note(&Ok(Event::<()>::Init));
            row.note(&failed());
            assert_eq!(row.pause(1.0), Some(Duration::from_secs(seconds)));
            assert_eq!(row.pause(0.0), Some(Duration::from_secs(seconds) / 2));
        }
        row.note(&Ok(Event::<()>::InitDone));
        assert_eq!(row.pause(1.0), None);
        row.note(&failed());
        assert_eq!(row.pause(1.0), Some(FIRST));
    }
}
