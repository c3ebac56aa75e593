//! An identity's bindings in sentences, and what would happen next.

use proto_ids::Identity;

use crate::book::Book;
use crate::time::Timestamp;

impl Book {
    /// What the book knows of an identity, one sentence each, and what the next ADD or DEL would do.
    pub fn story(&self, identity: &Identity, now: Timestamp) -> Vec<String> {
        let _ = (identity, now);
        todo!()
    }
}
