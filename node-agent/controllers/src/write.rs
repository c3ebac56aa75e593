//! The one way by which controllers change anything: under a [`Term`], paced, with preconditions, counted.
//!
//! **Always holds:** a write is sent only while its term stands, says which it is, and its answer is believed only until then; it
//! names UID and version of what it was decided on, so that it fails when somebody was faster: the next term's leader too. No
//! controller has a client of its own.

mod answered;
mod cluster;
mod ending;
mod pace;

use std::error::Error;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{NamespaceResourceScope, ObjectMeta, Status};
use kube::{Api, Client, Resource, ResourceExt as _};
use proto_crd::names;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::metrics::{ControllersMetrics, WriteResult};
use crate::term::{Term, TermEnded};
pub(crate) use answered::{Fields, Part};
use pace::Pace;

/// All controllers together. A rack of forty nodes that is fenced is some thousand marks, so half a minute; an API server
/// takes hundreds a second.
const WRITES_PER_SECOND: u32 = 50;

/// An answer that takes longer is none.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;

/// What is written, for people and for figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WriteKind {
    /// A claim's fence mark, set.
    Fence,
    /// A claim's fence mark, removed.
    Unfence,
    /// A claim's Node, after the Node was made anew.
    Adopt,
    /// A claim's release mark, set.
    Release,
    /// A claim's release mark, removed.
    Unrelease,
    /// A claim, deleted.
    DeleteClaim,
    /// The finalizer of a claim that is being deleted, removed.
    FinishClaim,
    /// A pool's status.
    PoolStatus,
    /// Whom a node's agent looks at.
    Roster,
    /// What peers sign with.
    PeerKey,
    /// A Pod's finalizer, put on.
    Protect,
    /// A Pod's finalizer, taken off.
    Unprotect,
    /// A Pod of a set, made.
    CreatePod,
    /// A Pod of a set, deleted.
    DeletePod,
    /// How far a Pod's upgrade is.
    StampPod,
    /// A Pod's gate, held.
    HoldPod,
    /// A Pod's gate, given back.
    ReleasePod,
    /// A Pod's images, labels and annotations.
    PatchPod,
    /// A Pod's upgrade, over.
    FinishPod,
    /// A Pod that was nobody's, made a set's.
    AdoptPod,
    /// A Pod of a set, made nobody's.
    OrphanPod,
    /// A request to restart containers of a Pod.
    AskRestart,
    /// A request to restart containers, taken back.
    EndRestart,
    /// Images, asked of a node.
    AskPull,
    /// Images, asked of a node no more.
    EndPull,
    /// A revision of a set, made or counted anew.
    Revision,
    /// A revision of a set, deleted.
    DeleteRevision,
    /// A set's status.
    SetStatus,
    /// An Event.
    Event,
    /// Conditions of a Node whose kubelet is silent.
    NodeCondition,
    /// Taints of a Node.
    NodeTaint,
    /// Labels of a Node.
    NodeLabel,
    /// A decision about a node, made.
    Decision,
    /// A decision about a node, deleted: there are enough.
    DropDecision,
    /// What the leader says of a freeze.
    FreezeStatus,
    /// A freeze, deleted: it has expired.
    EndFreeze,
    /// What the leader says of the policy.
    PolicyStatus,
    /// A node's own taint of ours, put on.
    Cordon,
    /// A node's own taint of ours, taken off.
    Uncordon,
    /// A node's out-of-service taint of ours, put on.
    FenceNode,
    /// A node's out-of-service taint of ours, taken off.
    UnfenceNode,
    /// That the Pods of a node are out of the endpoints, or back.
    EndpointsMark,
    /// A Pod's Ready, taken.
    WithdrawPod,
    /// A Pod's Ready, given back.
    RestorePod,
    /// A Pod that counts no more.
    SoftEvict,
    /// A Pod that counts again.
    Readopt,
    /// A Pod, evicted.
    Evict,
    /// A Pod of a fenced node, deleted.
    HardDelete,
    /// A Pod of a node that is back, deleted: it was replaced.
    EndSuperseded,
}

/// The object as it was when the write was decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Basis<'a> {
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
    /// Its UID.
    pub(crate) uid: &'a str,
    /// Its version.
    pub(crate) version: &'a str,
}

impl<'a> Basis<'a> {
    /// An object as it was read. What the API server did not say of it is empty, and no object is so: such a write is refused.
    pub(crate) fn of(metadata: &'a ObjectMeta) -> Self {
        Self {
            namespace: metadata.namespace.as_deref().unwrap_or_default(),
            name: metadata.name.as_deref().unwrap_or_default(),
            uid: metadata.uid.as_deref().unwrap_or_default(),
            version: metadata.resource_version.as_deref().unwrap_or_default(),
        }
    }

    /// For an end, which has no body that would name them.
    fn preconditions(self) -> Preconditions {
        Preconditions {
            resource_version: Some(self.version.to_owned()),
            uid: Some(self.uid.to_owned()),
        }
    }
}

/// Why a write was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// This process does not lead.
    #[error(transparent)]
    Term(#[from] TermEnded),
    /// Somebody changed it since it was looked at.
    #[error("{name} was changed meanwhile")]
    Outdated {
        /// The object.
        name: String,
    },
    /// It is gone.
    #[error("{name} is gone")]
    Gone {
        /// The object.
        name: String,
    },
    /// The API server said no.
    #[error("the API server refuses to change {name}: {message} ({code}){}", advice(*code))]
    Refused {
        /// The object.
        name: String,
        /// HTTP's.
        code: u16,
        /// Its words.
        message: String,
    },
    /// It did not answer, or not in words that can be read.
    #[error("no answer of the API server to a change of {name}")]
    Unanswered {
        /// The object.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer came too late to be believed, or not at all.
    #[error("no answer of the API server to a change of {name} in time")]
    Late {
        /// The object.
        name: String,
    },
}

fn advice(code: u16) -> &'static str {
    match code {
        403 => {
            "; the rights of the controllers come with install/manifests (rbac, policy): apply them again"
        }
        _ => "",
    }
}

impl WriteError {
    /// Whether it is worth going on with the next object: the API server answers, and this process leads.
    pub(crate) const fn is_of_this_object(&self) -> bool {
        matches!(
            self,
            Self::Outdated { .. } | Self::Gone { .. } | Self::Refused { .. }
        )
    }

    /// Whether somebody was faster, which is no failure.
    pub(crate) const fn is_overtaken(&self) -> bool {
        matches!(self, Self::Outdated { .. } | Self::Gone { .. })
    }
}

/// Writes. Clones share the pace.
#[derive(Clone)]
pub(crate) struct Writer {
    client: Client,
    pace: Arc<Mutex<Pace>>,
    metrics: ControllersMetrics,
}

impl Writer {
    pub(crate) fn new(client: Client, metrics: ControllersMetrics) -> Self {
        let pace = Pace::new(WRITES_PER_SECOND, WRITES_PER_SECOND);
        Self {
            client,
            pace: Arc::new(Mutex::new(pace)),
            metrics,
        }
    }

    /// Changes fields of an object, if it is still as it was.
    ///
    /// # Errors
    /// See [`WriteError`].
    ///
    /// # Cancellation
    /// The write may be made or not.
    pub(crate) async fn patch<K>(
        &self,
        term: &Term,
        kind: WriteKind,
        basis: Basis<'_>,
        fields: Value,
    ) -> Result<(), WriteError>
    where
        K: Object,
    {
        let (api, patch) = (self.api::<K>(basis), merge(term, basis, fields));
        let call = async { api.patch(basis.name, &manager(), &patch).await.map(drop) };
        self.write(term, kind, basis.name, call).await
    }

    /// Changes fields of an object's status, if the object is still as it was.
    ///
    /// # Errors
    /// See [`WriteError`].
    ///
    /// # Cancellation
    /// The write may be made or not.
    pub(crate) async fn patch_status<K>(
        &self,
        term: &Term,
        kind: WriteKind,
        basis: Basis<'_>,
        status: Value,
    ) -> Result<(), WriteError>
    where
        K: Object,
    {
        let api = self.api::<K>(basis);
        let patch = merge(term, basis, json!({ "status": status }));
        let call = async {
            let patched = api.patch_status(basis.name, &manager(), &patch).await;
            patched.map(drop)
        };
        self.write(term, kind, basis.name, call).await
    }

    /// Changes a field that nobody else writes, marked with a name of its own: of this UID, whatever else was changed meanwhile.
    ///
    /// # Errors
    /// See [`WriteError`].
    ///
    /// # Cancellation
    /// The write may be made or not.
    pub(crate) async fn patch_own<K>(
        &self,
        term: &Term,
        kind: WriteKind,
        basis: Basis<'_>,
        manager: &str,
        mut fields: Value,
    ) -> Result<(), WriteError>
    where
        K: Object,
    {
        fields["metadata"]["uid"] = basis.uid.into();
        let patch = Patch::Merge(stamped(term, fields));
        let api = self.api::<K>(basis);
        let params = PatchParams {
            field_manager: Some(manager.to_owned()),
            ..PatchParams::default()
        };
        let call = async { api.patch(basis.name, &params, &patch).await.map(drop) };
        self.write(term, kind, basis.name, call).await
    }

    /// Makes an object, if there is none of its name.
    ///
    /// # Errors
    /// See [`WriteError`]; [`WriteError::Outdated`] where there is one.
    ///
    /// # Cancellation
    /// The object may be made or not.
    pub(crate) async fn create<K>(
        &self,
        term: &Term,
        kind: WriteKind,
        namespace: &str,
        object: &K,
    ) -> Result<(), WriteError>
    where
        K: Object + Serialize,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let name = object.name_any();
        let mut object = object.clone();
        let annotations = object.annotations_mut();
        annotations.insert(names::TERM_ANNOTATION.to_owned(), term.number().to_string());
        let params = PostParams {
            field_manager: Some(names::CONTROLLERS_FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let call = async { api.create(&params, &object).await.map(drop) };
        self.write(term, kind, &name, call).await
    }

    /// Deletes an object, if it is still as it was.
    ///
    /// # Errors
    /// See [`WriteError`].
    ///
    /// # Cancellation
    /// The object may be deleted or not.
    pub(crate) async fn delete<K>(
        &self,
        term: &Term,
        kind: WriteKind,
        basis: Basis<'_>,
    ) -> Result<(), WriteError>
    where
        K: Object,
    {
        let api = self.api::<K>(basis);
        let params = DeleteParams::background().preconditions(basis.preconditions());
        let call = async { api.delete(basis.name, &params).await.map(drop) };
        self.write(term, kind, basis.name, call).await
    }

    fn api<K: Object>(&self, basis: Basis<'_>) -> Api<K> {
        Api::namespaced(self.client.clone(), basis.namespace)
    }

    async fn write<T>(
        &self,
        term: &Term,
        kind: WriteKind,
        name: &str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, WriteError> {
        let turn = {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.take(Instant::now())
        };
        tokio::time::sleep_until(turn.into()).await;
        let permit = term.permit().await?;
        let limit = permit.until().min(Instant::now() + ANSWER_LIMIT);
        let name = name.to_owned();
        let outcome = match tokio::time::timeout_at(limit.into(), call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(refused(error, name)),
            Err(_) => Err(WriteError::Late { name }),
        };
        self.metrics.wrote(kind, result(&outcome));
        outcome
    }
}

/// What can be written: an object of a namespace.
pub(crate) trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
{
}

/// A patch that the API server takes only for this UID at this version.
fn merge(term: &Term, basis: Basis<'_>, fields: Value) -> Patch<Value> {
    Patch::Merge(at(term, basis, fields))
}

/// Fields that are for this UID at this version only.
fn at(term: &Term, basis: Basis<'_>, mut fields: Value) -> Value {
    fields["metadata"]["uid"] = basis.uid.into();
    fields["metadata"]["resourceVersion"] = basis.version.into();
    stamped(term, fields)
}

/// With the term that it is written in. (A custom resource's status says nothing of it: the API server drops metadata there.)
fn stamped(term: &Term, mut fields: Value) -> Value {
    let number = term.number().to_string();
    fields["metadata"]["annotations"][names::TERM_ANNOTATION] = number.into();
    fields
}

fn manager() -> PatchParams {
    PatchParams {
        field_manager: Some(names::CONTROLLERS_FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// What the API server says, with what stands only in its causes: the name of a disruption budget does.
fn words(status: &Status) -> String {
    let causes = status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .map(|cause| cause.message.as_str());
    let mut words = status.message.clone();
    for cause in causes {
        if !words.contains(cause) {
            words.push(' ');
            words.push_str(cause);
        }
    }
    words
}

fn refused(error: kube::Error, name: String) -> WriteError {
    match error {
        kube::Error::Api(status) => match status.code {
            CONFLICT => WriteError::Outdated { name },
            NOT_FOUND => WriteError::Gone { name },
            code => WriteError::Refused {
                name,
                code,
                message: words(&status),
            },
        },
        // Its own text is its source's.
        kube::Error::Service(source) => WriteError::Unanswered { name, source },
        other => WriteError::Unanswered {
            name,
            source: other.into(),
        },
    }
}

fn result<T>(outcome: &Result<T, WriteError>) -> WriteResult {
    match outcome {
        Ok(_) => WriteResult::done,
        Err(error) if error.is_overtaken() => WriteResult::overtaken,
        Err(WriteError::Refused { .. }) => WriteResult::refused,
        Err(_) => WriteResult::unanswered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_with_causes_that_the_message_does_not_say() {
        let said = |status: Value| {
            let status: Status = serde_json::from_value(status).unwrap();
            refused(kube::Error::Api(Box::new(status)), "shop-0".to_owned()).to_string()
        };
        let kept = json!({
            "code": 429, "message": "Cannot evict pod as it would violate the pod's disruption budget.",
            "details": {"causes": [{"reason": "DisruptionBudget", "message": "The disruption budget shop needs 3 healthy pods and has 3 currently"}]},
        });
        assert_eq!(
            said(kept),
            "the API server refuses to change shop-0: Cannot evict pod as it would violate the pod's disruption budget. \
             The disruption budget shop needs 3 healthy pods and has 3 currently (429)"
        );
        let invalid = json!({
            "code": 422, "message": "Pod \"shop-0\" is invalid: spec.x: Required value",
            "details": {"causes": [{"message": "Required value", "field": "spec.x"}]},
        });
        assert_eq!(
            said(invalid),
            "the API server refuses to change shop-0: Pod \"shop-0\" is invalid: spec.x: Required value (422)"
        );
    }

    #[test]
    fn every_patch_names_uid_version_and_term() {
        let basis = Basis {
            namespace: "berth-system",
            name: "p.10.0.0.1",
            uid: "u1",
            version: "7",
        };
        let fields = json!({
            "spec": {"fenced": null},
            "metadata": {"finalizers": [], "annotations": {"berth.dev/node-uid": "u2"}},
        });
        let term = Term::won(3, Instant::now());
        let Patch::Merge(patch) = merge(&term, basis, fields) else {
            panic!("no merge patch");
        };
        assert_eq!(
            patch,
            json!({
                "spec": {"fenced": null},
                "metadata": {
                    "finalizers": [], "uid": "u1", "resourceVersion": "7",
                    "annotations": {"berth.dev/node-uid": "u2", "berth.dev/term": "3"},
                },
            })
        );
    }
}
