//! Ending attachments in bulk: those a runtime no longer lists, and all of them after a reboot.

use proto_ids::{Attachment, CniNetworkName};

use crate::book::Book;
use crate::change::Change;
use crate::time::Timestamp;

/// What a collection ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectPlan {
    /// The attachments it ends.
    pub ended: Vec<Attachment>,
    /// What makes it so.
    pub changes: Vec<Change>,
}

impl Book {
    /// Ends every attachment of a network configuration that is not in `keep`. Holds and reservations stay.
    pub fn collect(
        &self,
        cni_network: &CniNetworkName,
        keep: &[Attachment],
        now: Timestamp,
    ) -> CollectPlan {
        let _ = (cni_network, keep, now);
        todo!()
    }

    /// Ends every attachment: the node booted, so nothing of the old boot is attached any more.
    pub fn reboot(&self, now: Timestamp) -> CollectPlan {
        let _ = now;
        todo!()
    }
}
