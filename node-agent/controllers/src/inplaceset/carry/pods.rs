//! What is done to Pods of a set, and what is asked of their nodes.

use std::collections::BTreeMap;
use std::time::Instant;

use node_agent_inplace::plan::{self, Deed, Refusal, Revision, SetView, confirm};
use node_agent_inplace::pod::{Owner, PodView};
use node_agent_inplace::template::{Making, Precondition, patch_of, pod_of};
use proto_crd::container_restart::ContainerRestart;
use proto_crd::image_pull::ImagePull;
use proto_crd::in_place_set::InPlaceSet;
use proto_crd::names;
use serde_json::{Map, Value};
use tracing::{debug, info};

use super::super::body::{self, Hold, RestartOf};
use super::super::lean::manager_of;
use super::super::look::now;
use super::super::{Work, lock, view};
use super::{DeedError, Done, Job};
use crate::fleet::LeanPod;
use crate::read::ReadError;
use crate::world::Key;
use crate::write::{Basis, Fields, Part, WriteError, WriteKind};

impl Work {
    pub(super) async fn pod_deed(&self, job: &Job, deed: &Deed) -> Result<Done, DeedError> {
        match deed {
            Deed::CreatePod {
                name,
                ordinal,
                revision,
                release,
                near,
                replaces,
            } => {
                let revisions = &mut job.look.set.revisions.iter();
                let Some(revision) = revisions.find(|it| it.hash == *revision) else {
                    // Made a moment ago: the next look knows it.
                    return Ok(Done::NoMore);
                };
                let replaces = replaces.as_deref();
                let making = Making {
                    release: release.as_deref(),
                    near: near.as_deref(),
                    replaces: replaces.map(|uid| (uid, &job.look.surroundings.racks)),
                };
                let pod = pod_of(&job.look.set, revision, *ordinal, making);
                self.create_pod(job, name, revision, pod).await
            }
            Deed::AskPull {
                node,
                images,
                requested_by,
            } => {
                let pull = body::pull(&job.look.object, node, images, requested_by);
                self.ask_pull(job, node, pull, true).await
            }
            Deed::EndPull {
                node,
                in_time: true,
            } => {
                let uid = &job.look.set.uid;
                lock(&self.leftovers).note(node, uid, Instant::now());
                Ok(Done::Yes)
            }
            Deed::EndPull { node, .. } => {
                self.ask_pull(job, node, body::no_pull(node), false).await
            }
            deed => {
                if !self.is_still_right(job, deed).await? {
                    return Ok(Done::NoMore);
                }
                match deed {
                    Deed::AskRestart { .. } => self.ask_restart(job, deed).await,
                    Deed::DeletePod { pod, drained } => self.delete_pod(job, pod, *drained).await,
                    deed => self.change_pod(job, deed).await,
                }
            }
        }
    }

    /// What costs a Pod its service is asked again: the Pod and the set are read.
    async fn is_still_right(&self, job: &Job, deed: &Deed) -> Result<bool, DeedError> {
        let (Deed::HoldGate { pod, .. }
        | Deed::PatchPod { pod, .. }
        | Deed::DeletePod { pod, .. }
        | Deed::AskRestart { pod, .. }) = deed
        else {
            // At the version that was looked at nothing is different.
            return Ok(true);
        };
        let set = job.live_set(self).await?;
        let namespace = job.namespace();
        let live = self.reader.object::<LeanPod>("Pod", namespace, &pod.name);
        let live = live.await?;
        if let Some(live) = &live {
            self.fleet.lock().saw(live);
        } else {
            let key = (namespace.to_owned(), pod.name.clone());
            self.fleet.lock().forget(&key, &pod.uid);
        }
        let live = live.map(|live| view::pod_view(&live, &job.look.object));
        let confirmed = set.ok_or(Refusal::Stopped);
        let confirmed =
            confirmed.and_then(|set| confirm(deed, live.as_ref(), set, job.look.set.generation));
        if let Err(refusal) = &confirmed {
            debug!(namespace, pod = pod.name, %refusal, "not done after all");
        }
        Ok(confirmed.is_ok())
    }

    async fn create_pod(
        &self,
        job: &Job,
        name: &str,
        revision: &Revision,
        pod: Value,
    ) -> Result<Done, DeedError> {
        let namespace = job.namespace();
        let term = self.reign.term();
        let at = (namespace, name);
        let made = self
            .writer
            .make::<LeanPod>(term, WriteKind::CreatePod, at, pod);
        let made = made.await;
        let why = match &made {
            Err(WriteError::Refused { message, .. }) => Some(message.clone()),
            _ => None,
        };
        let set = (namespace.to_owned(), job.look.set.name.clone());
        lock(&self.memory).refused(&set, why);
        match made {
            Ok(pod) => {
                info!(namespace, pod = name, revision = revision.hash, "Pod made");
                self.fleet.lock().saw(&pod);
                Ok(Done::Yes)
            }
            // Ours of a moment ago, an orphan, or somebody else's: the next look says which.
            Err(WriteError::Outdated { .. }) => {
                let there = self
                    .reader
                    .object::<LeanPod>("Pod", namespace, name)
                    .await?;
                let Some(there) = there else {
                    return Ok(Done::NoMore);
                };
                self.fleet.lock().saw(&there);
                let view = view::pod_view(&there, &job.look.object);
                let Some(whose) = whose(&there, &view) else {
                    return Ok(Done::NoMore);
                };
                let name = name.to_owned();
                let taken = DeedError::Taken { name, whose };
                let why = Some(taken.to_string());
                lock(&self.memory).refused(&set, why);
                Err(taken)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn delete_pod(
        &self,
        job: &Job,
        pod: &plan::Basis,
        drained: bool,
    ) -> Result<Done, DeedError> {
        let namespace = job.namespace();
        let key = (namespace.to_owned(), pod.name.clone());
        let (term, kind) = (self.reign.term(), WriteKind::DeletePod);
        let deleted = self
            .writer
            .remove::<LeanPod>(term, kind, job.basis(pod))
            .await;
        let remains = self.known(&key, &pod.uid, deleted)?;
        info!(namespace, pod = pod.name, drained, "Pod deleted");
        match remains {
            Some(remains) if remains.metadata.deletion_timestamp.is_some() => {
                self.fleet.lock().saw(&remains);
            }
            _ => self.fleet.lock().forget(&key, &pod.uid),
        }
        Ok(Done::Yes)
    }

    /// A patch of a Pod, at the version that was looked at.
    async fn change_pod(&self, job: &Job, deed: &Deed) -> Result<Done, DeedError> {
        let Some((pod, kind, part, fields)) = patch(job, deed)? else {
            return Ok(Done::NoMore);
        };
        if let Deed::PatchPod {
            instead_of: Some(request),
            ..
        } = deed
        {
            self.end_restart(job, request).await?;
        }
        let key = (job.namespace().to_owned(), pod.name.clone());
        let (term, basis) = (self.reign.term(), job.basis(pod));
        let written = self.writer.change(term, kind, basis, part, fields).await;
        let after: LeanPod = self.known(&key, &pod.uid, written)?;
        self.fleet.lock().saw(&after);
        if let Deed::PatchPod { patch, .. } = deed {
            let (namespace, revision) = (job.namespace(), &patch.revision);
            info!(namespace, pod = pod.name, revision, "Pod patched");
        }
        Ok(Done::Yes)
    }

    /// What is gone is gone from the view too.
    fn known<T>(
        &self,
        key: &Key,
        uid: &str,
        outcome: Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        if matches!(outcome, Err(WriteError::Gone { .. })) {
            self.fleet.lock().forget(key, uid);
        }
        outcome
    }

    async fn ask_restart(&self, job: &Job, deed: &Deed) -> Result<Done, DeedError> {
        let Deed::AskRestart {
            name,
            pod,
            node,
            containers,
            deadline,
        } = deed
        else {
            return Ok(Done::NoMore);
        };
        let of = RestartOf {
            name,
            pod: &pod.name,
            uid: &pod.uid,
            node,
        };
        let request = body::restart(&job.look.object, of, containers, *deadline);
        let at = (job.namespace(), name.as_str());
        let (term, kind) = (self.reign.term(), WriteKind::AskRestart);
        let made = self
            .writer
            .make::<ContainerRestart>(term, kind, at, request);
        match made.await {
            Ok(made) => {
                self.stock.lock().saw_restart(&made);
                Ok(Done::Yes)
            }
            // This very request: it is seen soon.
            Err(WriteError::Outdated { .. }) => Ok(Done::NoMore),
            Err(error) => Err(error.into()),
        }
    }

    /// A request must not stop what is replaced now. One that is gone does not.
    async fn end_restart(&self, job: &Job, name: &str) -> Result<(), DeedError> {
        let namespace = job.namespace();
        let read = self
            .reader
            .object::<ContainerRestart>("ContainerRestart", namespace, name);
        let Some(request) = read.await? else {
            return Ok(());
        };
        let metadata = &request.metadata;
        if metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let basis = Basis::of(metadata);
        let (term, kind) = (self.reign.term(), WriteKind::EndRestart);
        let ended = self.writer.remove::<ContainerRestart>(term, kind, basis);
        match ended.await {
            Ok(_) | Err(WriteError::Gone { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Says what a set wants of a node: under the set's own name.
    async fn ask_pull(
        &self,
        job: &Job,
        node: &str,
        pull: Value,
        is_wanted: bool,
    ) -> Result<Done, DeedError> {
        let uid = &job.look.set.uid;
        let (term, manager) = (self.reign.term(), manager_of(uid));
        let at = (self.namespace.as_str(), node);
        let kind = if is_wanted {
            WriteKind::AskPull
        } else {
            WriteKind::EndPull
        };
        // Before it is asked: what is taken back now is of before.
        lock(&self.leftovers).asks(node, uid);
        if is_wanted && self.stock.lock().pull(at.0, node).is_none() {
            // The node's name is nobody's in particular: who asks for nothing any more leaves it there.
            let first = body::first_pull(node);
            match self.writer.make::<ImagePull>(term, kind, at, first).await {
                Ok(_) | Err(WriteError::Outdated { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let applied = self
            .writer
            .apply::<ImagePull>(term, kind, at, &manager, &pull)
            .await?;
        self.stock.lock().saw_pull(&applied);
        Ok(Done::Yes)
    }
}

/// Whose a Pod is, where a set of its name can neither have nor adopt it.
fn whose(pod: &LeanPod, view: &PodView) -> Option<String> {
    match view.owner {
        Owner::Ours => None,
        Owner::Nobody if view.selected => None,
        Owner::Nobody => Some("nobody's, without the labels of the set's selector".to_owned()),
        Owner::Other => {
            let mut owners = pod.metadata.owner_references.iter().flatten();
            let owner = owners.find(|owner| owner.controller == Some(true));
            let words = owner.map(|it| format!("of {} {} (UID {})", it.kind, it.name, it.uid));
            Some(words.unwrap_or_default())
        }
    }
}

/// What a deed writes to which Pod; nothing: the Pod is not known.
fn patch<'a>(
    job: &Job,
    deed: &'a Deed,
) -> Result<Option<(&'a plan::Basis, WriteKind, Part, Fields)>, DeedError> {
    let main = |pod, kind, fields| Ok(Some((pod, kind, Part::Main, Fields::Merge(fields))));
    match deed {
        Deed::Stamp {
            pod,
            operation,
            protections,
        } => {
            let annotations = body::annotations(Some(operation), protections.as_deref());
            main(pod, WriteKind::StampPod, body::stamp(&annotations))
        }
        Deed::HoldGate {
            pod,
            operation,
            protections,
        } => {
            let annotations = body::annotations(Some(operation), protections.as_deref());
            job.gate(pod, WriteKind::HoldPod, Hold::Enter, &annotations)
        }
        Deed::ReleaseGate { pod, operation } => {
            let annotations = body::annotations(operation.as_ref(), None);
            job.gate(pod, WriteKind::ReleasePod, Hold::Leave, &annotations)
        }
        Deed::PatchPod {
            pod,
            patch,
            operation,
            release,
            ..
        } => {
            let precondition = Precondition {
                uid: &pod.uid,
                version: &pod.version,
            };
            let more = body::annotations(operation.as_ref(), None).into_iter();
            let more = more.map(|(name, value)| (name, value.as_str().map(ToOwned::to_owned)));
            let mut more: BTreeMap<_, _> = more.collect();
            let name = names::RELEASE_ANNOTATION.to_owned();
            more.insert(name, Some(release.clone()));
            let fields = Fields::ByKeys(patch_of(precondition, patch, &more));
            Ok(Some((pod, WriteKind::PatchPod, Part::Main, fields)))
        }
        Deed::Finish { pod } => {
            let fields = body::stamp(&body::annotations(None, None));
            main(pod, WriteKind::FinishPod, fields)
        }
        Deed::Adopt { pod } | Deed::Orphan { pod } => {
            let Some(kept) = job.look.kept.get(&pod.name) else {
                return Ok(None);
            };
            let set = &job.look.object;
            if matches!(deed, Deed::Adopt { .. }) {
                main(pod, WriteKind::AdoptPod, body::adopted(&kept.metadata, set))
            } else {
                main(pod, WriteKind::OrphanPod, body::orphaned(kept, set))
            }
        }
        _ => Ok(None),
    }
}

impl Job {
    pub(super) fn namespace(&self) -> &str {
        let metadata = &self.look.object.metadata;
        metadata.namespace.as_deref().unwrap_or_default()
    }

    fn basis<'a>(&'a self, pod: &'a plan::Basis) -> Basis<'a> {
        Basis {
            namespace: self.namespace(),
            name: &pod.name,
            uid: &pod.uid,
            version: &pod.version,
        }
    }

    /// The set as it is now, read once for all deeds; nothing: it is gone, or another one.
    pub(super) async fn live_set(&self, work: &Work) -> Result<Option<&SetView>, DeedError> {
        let read = async {
            let (namespace, name) = (self.namespace(), &self.look.set.name);
            let live = work
                .reader
                .object::<InPlaceSet>("InPlaceSet", namespace, name);
            let live = live.await?;
            let uid = self.look.set.uid.as_str();
            let live = live.filter(|live| live.metadata.uid.as_deref() == Some(uid));
            let Some(live) = live else {
                return Ok::<_, ReadError>(None);
            };
            let stock = &mut work.stock.lock();
            stock.saw_set(&live);
            let revisions = stock.revisions_of(&live).map(|it| &**it);
            Ok(Some(view::set_view(&live, revisions)))
        };
        let live = self.live_set.get_or_try_init(|| read).await?;
        Ok(live.as_ref())
    }

    fn gate<'a>(
        &self,
        pod: &'a plan::Basis,
        kind: WriteKind,
        hold: Hold,
        annotations: &Map<String, Value>,
    ) -> Result<Option<(&'a plan::Basis, WriteKind, Part, Fields)>, DeedError> {
        let Some(view) = self.look.pods.iter().find(|it| it.uid == pod.uid) else {
            return Ok(None);
        };
        let holder = body::holder_of(&self.look.set.name);
        let fields = body::gate(&view.gate, hold, &holder, annotations, now())?;
        // A Pod without the gate has no condition to write: only its annotations.
        let part = if fields.get("status").is_some() {
            Part::Status
        } else {
            Part::Main
        };
        Ok(Some((pod, kind, part, Fields::ByKeys(fields))))
    }
}
