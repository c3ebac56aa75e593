//! What is told in a set's status and in Events.

use std::time::Instant;

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use node_agent_inplace::plan::Deed;
use proto_crd::in_place_set::{InPlaceSet, InPlaceSetStatus};
use serde_json::{Map, Value, json};

use super::super::tell::{self, Note};
use super::super::{Work, lock};
use super::{DeedError, Done, Job};
use crate::write::{Basis, Fields, Part, WriteError, WriteKind};

impl Work {
    pub(super) async fn other_deed(&self, job: &Job, deed: &Deed) -> Result<Done, DeedError> {
        let term = self.reign.term();
        match deed {
            Deed::CreateRevision { .. }
            | Deed::AdoptRevision { .. }
            | Deed::NumberRevision { .. }
            | Deed::DeleteRevision { .. } => return self.revision_deed(job, deed).await,
            Deed::WriteStatus => {
                let set = &job.look.set;
                let basis = job.basis_of(&set.name, &set.uid, &set.version);
                let status = changes(&set.status, &job.status);
                let fields = Fields::Merge(json!({ "status": status }));
                let (kind, part) = (WriteKind::SetStatus, Part::Status);
                let written = self.writer.change(term, kind, basis, part, fields).await?;
                self.stock.lock().saw_set(&written);
            }
            Deed::Tell { .. } => self.tell(&job.look.object, deed).await?,
            _ => return Ok(Done::NoMore),
        }
        Ok(Done::Yes)
    }

    async fn tell(&self, set: &InPlaceSet, deed: &Deed) -> Result<(), DeedError> {
        let Deed::Tell {
            warning,
            reason,
            message,
        } = deed
        else {
            return Ok(());
        };
        let note = Note {
            is_warning: *warning,
            reason,
            text: message,
        };
        let uid = set.uid().unwrap_or_default();
        if !lock(&self.told).may(&uid, note.reason, Instant::now()) {
            return Ok(());
        }
        let event = tell::event(set, note, &self.instance, Timestamp::now());
        let namespace = set.namespace().unwrap_or_default();
        let term = self.reign.term();
        let told = self
            .writer
            .create::<Event>(term, WriteKind::Event, &namespace, &event);
        match told.await {
            // Told by the leader before.
            Ok(()) | Err(WriteError::Outdated { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Job {
    pub(super) fn basis_of<'a>(
        &'a self,
        name: &'a str,
        uid: &'a str,
        version: &'a str,
    ) -> Basis<'a> {
        Basis {
            namespace: self.namespace(),
            name,
            uid,
            version,
        }
    }
}

/// The status as a merge patch: what was there and is no longer is said to be nothing.
fn changes(before: &InPlaceSetStatus, after: &InPlaceSetStatus) -> Value {
    merged(&json!(before), &json!(after))
}

/// What has to be merged into `before` so that it is `after`. Lists are replaced.
fn merged(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return after.clone();
    };
    let mut patch: Map<String, Value> = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .map(|name| (name.clone(), Value::Null))
        .collect();
    for (name, value) in after {
        let was = before.get(name).unwrap_or(&Value::Null);
        patch.insert(name.clone(), merged(was, value));
    }
    patch.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_longer_so_is_taken_back() {
        let before = json!({"replicas": 2, "release": {"id": "r1", "waitsFor": "x", "pods": [{"name": "a"}]}, "gone": 1});
        let after = json!({"replicas": 3, "release": {"id": "r1", "pods": [{"name": "b"}]}});
        assert_eq!(
            merged(&before, &after),
            json!({"replicas": 3, "release": {"id": "r1", "waitsFor": null, "pods": [{"name": "b"}]}, "gone": null})
        );
    }

    #[test]
    fn a_status_that_was_not_there_is_written_whole() {
        let patch = changes(&InPlaceSetStatus::default(), &InPlaceSetStatus::default());
        assert_eq!(patch["observedGeneration"], 0);
        assert!(patch.get("release").is_none());
    }
}
