//! What is done to a set's revisions.
//!
//! **Always holds:** no object that is not the set's is changed, but for a revision that a former set of its name left behind.

use node_agent_inplace::plan::Deed;
use serde_json::json;
use tracing::warn;

use super::super::lean::LeanRevision;
use super::super::{Work, body};
use super::{DeedError, Done, Job};
use crate::write::{Fields, Part, WriteError, WriteKind};

impl Work {
    pub(super) async fn revision_deed(&self, job: &Job, deed: &Deed) -> Result<Done, DeedError> {
        let term = self.reign.term();
        match deed {
            Deed::CreateRevision {
                name,
                hash,
                number,
                template,
            } => {
                let revision = body::revision(&job.look.object, name, hash, *number, template);
                let at = (job.namespace(), name.as_str());
                let kind = WriteKind::Revision;
                let made = self.writer.make::<LeanRevision>(term, kind, at, revision);
                match made.await {
                    Ok(made) => self.stock.lock().saw_revision(&made),
                    Err(WriteError::Outdated { .. }) => return self.name_taken(job, name).await,
                    Err(error) => return Err(error.into()),
                }
            }
            Deed::AdoptRevision { name, uid, version } => {
                // A set that is no more itself must not take them from the one after it.
                if job.live_set(self).await?.is_none() {
                    return Ok(Done::NoMore);
                }
                let basis = job.basis_of(name, uid, version);
                let key = (job.namespace().to_owned(), name.clone());
                let known = self.stock.lock().revision(&key);
                let Some(known) = known else {
                    return Ok(Done::NoMore);
                };
                let fields = Fields::Merge(body::adopted(&known.metadata, &job.look.object));
                let (kind, part) = (WriteKind::Revision, Part::Main);
                let adopted = self.writer.change(term, kind, basis, part, fields).await?;
                self.stock.lock().saw_revision(&adopted);
            }
            Deed::NumberRevision {
                name,
                uid,
                version,
                number,
            } => {
                let basis = job.basis_of(name, uid, version);
                let fields = Fields::Merge(json!({"revision": number}));
                let (kind, part) = (WriteKind::Revision, Part::Main);
                let changed = self.writer.change(term, kind, basis, part, fields).await?;
                self.stock.lock().saw_revision(&changed);
            }
            Deed::DeleteRevision { name, uid, version } => {
                let basis = job.basis_of(name, uid, version);
                let kind = WriteKind::DeleteRevision;
                self.writer
                    .remove::<LeanRevision>(term, kind, basis)
                    .await?;
                let key = (job.namespace().to_owned(), name.clone());
                self.stock.lock().forget_revision(&key, uid);
            }
            _ => return Ok(Done::NoMore),
        }
        Ok(Done::Yes)
    }

    /// A revision's name is another object's. One that is not the set's counts as a collision, and the next look takes another name.
    async fn name_taken(&self, job: &Job, name: &str) -> Result<Done, DeedError> {
        let namespace = job.namespace();
        let there = self
            .reader
            .object::<LeanRevision>("ControllerRevision", namespace, name);
        let Some(there) = there.await? else {
            return Ok(Done::NoMore);
        };
        if there.is_of_set(&job.look.set.name) {
            // Ours of a moment ago, or one of a former set: left behind, or about to go.
            self.stock.lock().saw_revision(&there);
            return Ok(Done::NoMore);
        }
        let (term, set) = (self.reign.term(), &job.look.set);
        let count = set.status.collision_count.saturating_add(1);
        warn!(
            namespace,
            set = set.name,
            revision = name,
            count,
            "a ControllerRevision that is not the set's has the name; taking another"
        );
        let basis = job.basis_of(&set.name, &set.uid, &set.version);
        let fields = Fields::Merge(json!({"status": {"collisionCount": count}}));
        let (kind, part) = (WriteKind::SetStatus, Part::Status);
        let written = self.writer.change(term, kind, basis, part, fields).await?;
        self.stock.lock().saw_set(&written);
        Ok(Done::NoMore)
    }
}
