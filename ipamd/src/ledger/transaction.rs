//! What one group of requests does to the book, before it is on the disk.
//!
//! Every request of the group sees what those before it did. Nothing here may be told to anybody until the writes are
//! committed; when that fails, the book is thrown away and read back.

use ipamd_core::{BindingView, Book, Change, Timestamp};

use super::audit;
use super::leftovers::Leftovers;
use crate::clock::ClockBase;
use crate::store::Writes;
use crate::store::schema::{self, Kind};

/// The book while a group of requests works on it.
pub(super) struct Transaction<'b> {
    book: &'b mut Book,
    clock: ClockBase,
    findings: &'b [String],
    leftovers: Option<&'b Leftovers>,
    sequence: &'b mut u64,
    writes: Writes,
    fault: Option<String>,
}

/// What a transaction wants committed.
pub(super) struct Outcome {
    /// The writes; empty when nothing changed.
    pub(super) writes: Writes,
    /// Why they must not be committed.
    pub(super) fault: Option<String>,
}

impl<'b> Transaction<'b> {
    /// `sequence` numbers the lines of the audit log.
    pub(super) const fn new(
        book: &'b mut Book,
        clock: ClockBase,
        findings: &'b [String],
        sequence: &'b mut u64,
    ) -> Self {
        Self {
            book,
            clock,
            findings,
            leftovers: None,
            sequence,
            writes: Writes::new(),
            fault: None,
        }
    }

    /// Requests may ask what is left over too.
    pub(super) const fn with_leftovers(mut self, leftovers: &'b Leftovers) -> Self {
        self.leftovers = Some(leftovers);
        self
    }

    /// The book as of now.
    pub(super) const fn book(&self) -> &Book {
        self.book
    }

    /// The book's time.
    pub(super) const fn now(&self) -> Timestamp {
        self.clock.book
    }

    /// The book's clock and the wall clock.
    pub(super) const fn clock(&self) -> &ClockBase {
        &self.clock
    }

    /// What the last recovery found, and what is left over.
    pub(super) fn findings(&self) -> Vec<String> {
        let leftovers = self.leftovers.into_iter().flat_map(Leftovers::lines);
        self.findings.iter().chain(leftovers).cloned().collect()
    }

    /// Makes changes that were planned on this book.
    pub(super) fn apply(&mut self, changes: &[Change]) {
        let written = write(changes, self.sequence, &mut self.writes);
        if let Err(error) = written {
            self.fault = Some(format!("a record cannot be written as JSON: {error}"));
        }
        self.book.apply(changes);
    }

    /// Goes on with another book that says the same, under other settings.
    pub(super) fn replace(&mut self, book: Book) {
        *self.book = book;
    }

    /// Views with the times of the wall clock.
    pub(super) fn shown(&self, views: Vec<BindingView>) -> Vec<BindingView> {
        views.into_iter().map(|view| self.shown_one(view)).collect()
    }

    /// A view with the times of the wall clock.
    pub(super) fn shown_one(&self, view: BindingView) -> BindingView {
        shown(view, &self.clock)
    }

    /// The end.
    pub(super) fn finish(self) -> Outcome {
        Outcome {
            writes: self.writes,
            fault: self.fault,
        }
    }
}

/// What these changes write. `sequence` numbers the lines of the audit log.
pub(crate) fn write(
    changes: &[Change],
    sequence: &mut u64,
    writes: &mut Writes,
) -> Result<(), serde_json::Error> {
    for change in changes {
        let (key, payload) = match change {
            Change::Put(record) => (
                schema::book_key(&record.key()),
                Some(serde_json::to_vec(record)?),
            ),
            Change::Remove(key) => (schema::book_key(key), None),
            Change::Audit(entry) => {
                *sequence = sequence.wrapping_add(1);
                (
                    Kind::Audit.key(&audit::key(entry.to, *sequence)),
                    Some(serde_json::to_vec(entry)?),
                )
            }
        };
        writes.insert(key, payload);
    }
    Ok(())
}

/// A view with the times of the wall clock.
pub(super) fn shown(mut view: BindingView, clock: &ClockBase) -> BindingView {
    view.since = clock.to_wall(view.since);
    view.until = view.until.map(|until| clock.to_wall(until));
    view
}
