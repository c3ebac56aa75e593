//! Ending attachments in bulk: those a runtime no longer lists, and all of them after a reboot.

use std::collections::BTreeSet;

use proto_ids::{Attachment, CniNetworkName};

use crate::book::Book;
use crate::change::{Change, Ended, Record};
use crate::claim::{ClaimRecord, Holding, Tenure};
use crate::draft::Draft;
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
        let keep: BTreeSet<_> = keep.iter().collect();
        let gone = |attachment: &&Attachment| {
            attachment.cni_network == *cni_network && !keep.contains(attachment)
        };
        self.end_all(gone, Ended::Collected, now)
    }

    /// Ends every attachment: the node booted, so nothing of the old boot is attached any more. In a cluster nothing that it had
    /// claimed is handed out before the claim was read again: the node may have been declared dead meanwhile.
    pub fn reboot(&self, now: Timestamp) -> CollectPlan {
        let mut plan = self.end_all(|_| true, Ended::Reboot, now);
        let doubted = self.networks().flat_map(|(name, network)| {
            let owned = network.tables.claims.iter();
            owned
                .filter(|(_, holding)| holding.tenure == Tenure::Owned)
                .map(|(&address, holding)| {
                    Change::Put(Record::Claim(ClaimRecord {
                        network: name.clone(),
                        address,
                        holding: Holding {
                            tenure: Tenure::Doubted,
                            ..holding.clone()
                        },
                    }))
                })
        });
        plan.changes.extend(doubted);
        plan
    }

    fn end_all(
        &self,
        gone: impl FnMut(&&Attachment) -> bool,
        ended: Ended,
        now: Timestamp,
    ) -> CollectPlan {
        let mut draft = Draft::new(self, now);
        let attachments: Vec<_> = self.attachments().filter(gone).cloned().collect();
        for attachment in &attachments {
            draft.end(attachment, ended);
        }
        CollectPlan {
            ended: attachments,
            changes: draft.into_changes(),
        }
    }
}

#[cfg(test)]
mod tests;
