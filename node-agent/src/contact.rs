//! When the API server was last heard, and how long it was not: by the watch of the node's Pods and by the agent's Lease, which is renewed
//! every half minute. So a silence is known within that much, whatever is being watched.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// A silence of the API server that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// When it was heard again.
    pub(crate) ended: Instant,
    /// For how long it was not.
    pub(crate) length: Duration,
}

/// What is known of it. Pure.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    last: Option<Instant>,
    gap: Option<Gap>,
}

impl Heard {
    fn hear(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let length = now.saturating_duration_since(last);
            if length > Contact::GAP {
                self.gap = Some(Gap { ended: now, length });
            }
        }
    }
}

/// When the API server was heard. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Contact(watch::Sender<Heard>);

impl Contact {
    /// What is worth being known: two renewals of the Lease that failed, or a watch that was cut for as long.
    pub(crate) const GAP: Duration = Duration::from_secs(60);

    /// It was not heard yet.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Heard::default()))
    }

    /// One that has heard of a silence.
    #[cfg(test)]
    pub(crate) fn after(gap: Option<Gap>) -> Self {
        Self(watch::Sender::new(Heard { last: None, gap }))
    }

    /// It answered, whatever it said.
    pub(crate) fn heard(&self) {
        self.0.send_modify(|it| it.hear(Instant::now()));
    }

    /// The last long silence.
    pub(crate) fn gap(&self) -> Option<Gap> {
        self.0.borrow().gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_of_more_than_a_minute_is_remembered_until_the_next_one() {
        let start = Instant::now();
        let mut heard = Heard::default();
        // Seconds at which it is heard, and the length of the gap that is known then.
        let table = [
            (0, None),
            (30, None),
            (90, None),
            (151, Some(61)),
            (180, Some(61)),
            (500, Some(320)),
        ];
        for (at, length) in table {
            heard.hear(start + Duration::from_secs(at));
            let known = heard.gap.map(|gap| gap.length.as_secs());
            assert_eq!(known, length, "{at}");
        }
        assert_eq!(heard.gap.unwrap().ended, start + Duration::from_secs(500));
    }
}
