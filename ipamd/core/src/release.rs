//! The end of an attachment: hold, or quarantine.

use std::net::IpAddr;

use proto_ids::Attachment;

use crate::book::Book;
use crate::change::{Change, Ended};
use crate::time::Timestamp;

/// What a DEL does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleasePlan {
    /// Whether there was such an attachment.
    pub known: bool,
    /// The addresses it had.
    pub addresses: Vec<IpAddr>,
    /// What makes it so.
    pub changes: Vec<Change>,
}

impl Book {
    /// Ends an attachment. One that is not known (a late DEL of a sandbox whose bindings moved on) changes nothing.
    pub fn release(&self, attachment: &Attachment, now: Timestamp) -> ReleasePlan {
        self.end(attachment, Ended::Released, now)
    }

    /// Ends an attachment for the reason given.
    pub fn end(&self, attachment: &Attachment, ended: Ended, now: Timestamp) -> ReleasePlan {
        let _ = (attachment, ended, now);
        todo!()
    }
}
