//! The end of an attachment: hold, or quarantine.

use std::net::IpAddr;

use proto_ids::Attachment;

use crate::book::Book;
use crate::change::{Change, Ended};
use crate::draft::Draft;
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
        let mut draft = Draft::new(self, now);
        let addresses = draft.end(attachment, ended);
        ReleasePlan {
            known: !addresses.is_empty(),
            addresses,
            changes: draft.into_changes(),
        }
    }
}

impl Draft<'_> {
    /// Ends every binding of an attachment; answers the addresses it had.
    pub(crate) fn end(&mut self, attachment: &Attachment, ended: Ended) -> Vec<IpAddr> {
        let book = self.book();
        let mut addresses = Vec::new();
        for (network, identity) in book.attached_to(attachment) {
            if let Some(binding) = book.binding(network, identity) {
                addresses.extend(binding.addresses.iter());
                self.detach(network, identity, binding, ended);
            }
        }
        addresses
    }
}

#[cfg(test)]
mod tests;
