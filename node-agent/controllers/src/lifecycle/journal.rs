//! Decisions, written down: each as an object, in their order, before anything is done by it; a line of the archive; the oldest deleted.
//!
//! **Always holds:** what could not be written is said to be lost, and its order is not carried out; the chain begins with the hash of the
//! newest decision that there is; no more than a bounded number stays in the API.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use kube::api::ListParams;
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt as _};
use node_agent_lifecycle::decision::Hash;
use proto_crd::node_decision::NodeDecision;
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::archive::Archive;
use super::desk::{Desk, Entry};
use super::event::{Told, event};
use super::figures::{DecisionResult, LifecycleMetrics};
use super::object::object;
use crate::read::{ReadError, Reader};
use crate::reign::Reign;
use crate::write::{Basis, WriteError, WriteKind, Writer};

/// A write without an answer is tried so often.
const TRIES: u32 = 3;
/// And again after so long.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// While nothing is to be written, it is looked again after so long all the same.
const IDLE: Duration = Duration::from_secs(1);
/// Too many are deleted so many at once, so that a lower bound does not delay what is decided.
const DELETED_AT_ONCE: usize = 2;

/// A decision as it is read at the beginning of a term.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = NodeDecision)]
struct LeanDecision {
    metadata: ObjectMeta,
    spec: LeanDecisionSpec,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct LeanDecisionSpec {
    term: u64,
    sequence: u64,
    hash: String,
}

/// What there is at the beginning of a term.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Term and sequence of each decision, of which the name is made.
    names: BTreeSet<(u64, u64)>,
    /// The hash of the newest.
    pub(super) previous: Hash,
}

impl Known {
    /// The term that decisions of this leader are of: its own, or a later one, where decisions of that are there already. (A Lease
    /// that somebody deleted begins to count anew.)
    pub(super) fn term(&self, own: u64) -> u64 {
        let last = self.names.last().map_or(0, |(term, _)| *term);
        if last < own { own } else { last + 1 }
    }
}

/// What there is.
///
/// # Errors
/// When it could not be asked.
pub(super) async fn known(reader: &Reader, namespace: &str) -> Result<Known, ReadError> {
    let params = ListParams::default();
    let decisions = reader.list::<LeanDecision>("NodeDecisions", Some(namespace), params);
    let mut known = Known::default();
    let mut last = None;
    for decision in decisions.await? {
        let id = (decision.spec.term, decision.spec.sequence);
        known.names.insert(id);
        if last.is_none_or(|last| last < id) {
            last = Some(id);
            // One that is none begins a chain of its own.
            known.previous = Hash::try_from(decision.spec.hash).unwrap_or_default();
        }
    }
    Ok(known)
}

/// Writes decisions down.
pub(super) struct Journal {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) namespace: String,
    /// The node that this process runs on.
    pub(super) leader: String,
    pub(super) archive: Option<Archive>,
    pub(super) metrics: LifecycleMetrics,
    pub(super) known: Known,
    pub(super) told: Told,
    /// The archive fails, and that was said.
    pub(super) is_unarchived: bool,
}

impl Journal {
    /// Writes what is decided, until the term is over.
    pub(super) async fn run(mut self, desk: &Desk, reign: &Reign) {
        while reign.goes_on() {
            let (entry, waiting, kept) = {
                let mut state = desk.lock();
                (state.next_entry(), state.waiting(), state.rules.kept)
            };
            self.metrics.wait(waiting);
            let Some(entry) = entry else {
                self.prune(reign, kept).await;
                tokio::select! {
                    () = desk.news.notified() => {}
                    () = reign.until(Instant::now() + IDLE) => {}
                }
                continue;
            };
            let is_written = self.write(reign, &entry).await;
            desk.lock().settle(entry.decision.id, is_written);
            desk.news.notify_waiters();
            let result = if is_written {
                DecisionResult::written
            } else {
                DecisionResult::lost
            };
            self.metrics.decided(result);
            if is_written {
                self.tell(reign, &entry).await;
                self.prune(reign, kept).await;
            }
        }
    }

    /// Whether it is in the API now.
    async fn write(&mut self, reign: &Reign, entry: &Entry) -> bool {
        let made = object(&entry.decision, &entry.place, &self.leader, entry.time);
        let name = made.name_any();
        let mut is_there = false;
        for attempt in 1..=TRIES {
            let term = reign.term();
            let kind = WriteKind::Decision;
            let written = self.writer.create(term, kind, &self.namespace, &made).await;
            match written {
                Ok(()) => is_there = true,
                // An attempt before it arrived after all, or it is somebody else's.
                Err(WriteError::Outdated { .. }) => {
                    let found: Result<Option<NodeDecision>, _> = self
                        .reader
                        .object("NodeDecision", &self.namespace, &name)
                        .await;
                    is_there =
                        found.is_ok_and(|it| it.is_some_and(|it| it.spec.hash == made.spec.hash));
                }
                Err(WriteError::Term(_)) => return false,
                Err(error) if error.is_of_this_object() => {
                    warn!(decision = name, error = %chain(&error), "decision not written; nothing is done by it");
                    return false;
                }
                Err(error) => {
                    debug!(decision = name, attempt, error = %chain(&error), "decision not written");
                    reign.until(Instant::now() + TRY_AGAIN).await;
                    continue;
                }
            }
            break;
        }
        if !is_there {
            warn!(
                decision = name,
                "decision not written; nothing is done by it"
            );
            return false;
        }
        let id = entry.decision.id;
        self.known.names.insert((id.term, id.sequence));
        self.archive(&made).await;
        true
    }

    async fn archive(&mut self, made: &NodeDecision) {
        let Some(archive) = &self.archive else { return };
        match archive.append(&made.spec).await {
            Ok(()) => self.is_unarchived = false,
            Err(error) if self.is_unarchived => {
                debug!(error = %chain(&error), "still not archived");
            }
            Err(error) => {
                warn!(error = %chain(&error), "decisions are not archived: the API keeps up to twice as many until they are");
                self.is_unarchived = true;
            }
        }
    }

    /// Deletes the oldest, where there are too many.
    async fn prune(&mut self, reign: &Reign, kept: usize) {
        let kept = if self.is_unarchived { 2 * kept } else { kept };
        for _ in 0..DELETED_AT_ONCE {
            if self.known.names.len() <= kept || !reign.goes_on() {
                return;
            }
            let Some(id) = self.known.names.first().copied() else {
                return;
            };
            let name = format!("{}-{}", id.0, id.1);
            let basis = Basis {
                namespace: &self.namespace,
                name: &name,
                uid: "",
                version: "",
            };
            let kind = WriteKind::DropDecision;
            let deleted = self
                .writer
                .drop_named::<NodeDecision>(reign.term(), kind, basis);
            match deleted.await {
                Err(error) if !error.is_overtaken() => {
                    debug!(decision = name, error = %chain(&error), "old decision not deleted");
                    return;
                }
                _ => {
                    self.known.names.remove(&id);
                    self.metrics.decided(DecisionResult::deleted);
                }
            }
        }
    }

    /// Tells people on the Node, now and then.
    async fn tell(&mut self, reign: &Reign, entry: &Entry) {
        let Some(note) = self.told.note(&entry.decision, Instant::now()) else {
            return;
        };
        let event = event(&note, &self.leader, entry.time);
        let term = reign.term();
        let told = self
            .writer
            .create(term, WriteKind::Event, "default", &event);
        match told.await {
            Err(error) if !error.is_overtaken() => {
                debug!(error = %chain(&error), "Event not written");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_of_the_own_term_or_of_one_after_all_that_there_are() {
        let of = |names: &[(u64, u64)]| Known {
            names: names.iter().copied().collect(),
            previous: Hash::default(),
        };
        assert_eq!(of(&[]).term(3), 3);
        assert_eq!(of(&[(1, 9), (2, 400)]).term(3), 3);
        // The Lease was deleted and counts anew: no name is given twice.
        assert_eq!(of(&[(7, 1), (2, 4)]).term(1), 8);
        assert_eq!(of(&[(3, 1)]).term(3), 4);
    }
}
