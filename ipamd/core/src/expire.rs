//! What time alone changes: holds end in quarantine, quarantines end.

use crate::book::{Book, Deadline};
use crate::change::{Change, Ended};
use crate::draft::{Draft, Rest};
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
        let mut due: Vec<_> = self
            .networks()
            .flat_map(|(name, network)| {
                let deadlines = network.tables.deadlines.iter();
                deadlines
                    .take_while(|(until, _)| *until <= now)
                    .take(limit)
                    .map(move |(until, deadline)| (until, name, network, deadline))
            })
            .collect();
        due.sort_by_key(|&(until, name, _, _)| (until, name));
        let mut draft = Draft::new(self, now);
        let mut plan = ExpirePlan::default();
        for (_, name, network, deadline) in due.into_iter().take(limit) {
            match deadline {
                Deadline::Quarantine(address) => {
                    plan.quarantines += 1;
                    draft.retire(name, *address);
                }
                Deadline::Hold(identity) => {
                    if let Some(binding) = network.tables.bindings.get(identity) {
                        plan.holds += 1;
                        draft.dissolve(name, identity, binding, Ended::Expired, Rest::Quarantine);
                    }
                }
            }
        }
        plan.changes = draft.into_changes();
        plan
    }

    /// When [`Book::expire`] has something to do next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.networks()
            .filter_map(|(_, network)| network.tables.deadlines.first())
            .map(|&(until, _)| until)
            .min()
    }
}

#[cfg(test)]
mod tests;
