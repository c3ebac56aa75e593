//! What time alone changes: holds end in quarantine, quarantines end.

use crate::book::Book;
use crate::change::Change;
use crate::time::Timestamp;

/// What is over by now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpirePlan {
    /// Holds that ended.
    pub holds: usize,
    /// Quarantines that ended.
    pub quarantines: usize,
    /// What makes it so.
    pub changes: Vec<Change>,
}

impl Book {
    /// Ends the holds and quarantines whose time is over, the `limit` oldest of them.
    pub fn expire(&self, now: Timestamp, limit: usize) -> ExpirePlan {
        let _ = (now, limit);
        todo!()
    }

    /// When [`Book::expire`] has something to do next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        todo!()
    }
}
