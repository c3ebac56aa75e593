//! What is asked of the API server for requests and their Pods. Every call has a deadline; every write names the version it was
//! decided on. After a call without an answer the others are not even tried for a moment: nothing waits for a server that is away.

use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Resource as _};
use node_agent_restart::gate::Holders;
use proto_crd::container_restart::{ContainerRestart, ContainerRestartStatus};
use proto_crd::names;
use proto_crd::time::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::request::Request;
use crate::pods::LeanPod;

/// An answer that takes longer is none.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
/// How long the server is taken for away after that.
const AWAY_FOR: Duration = Duration::from_secs(2);

const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;
const FORBIDDEN: u16 = 403;

/// Why the API server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskApiError {
    /// Somebody changed the object since it was looked at.
    #[error("the object was changed meanwhile")]
    Outdated,
    /// It is gone.
    #[error("the object is gone")]
    Gone,
    /// It said no.
    #[error("the API server says: {message} ({code}){}", advice(*code))]
    Refused { code: u16, message: String },
    /// It did not answer, or not in words that can be read.
    #[error("no answer of the API server")]
    Unanswered {
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It did not answer a moment ago, and was not asked.
    #[error("the API server is away")]
    Away,
}

fn advice(code: u16) -> &'static str {
    if code == FORBIDDEN {
        "; the rights of the agent come with install/manifests (rbac, policy): apply them again"
    } else {
        ""
    }
}

impl From<kube::Error> for AskApiError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                CONFLICT => Self::Outdated,
                NOT_FOUND => Self::Gone,
                // It is there and cannot do anything: as good as away.
                500.. | 429 => Self::Unanswered {
                    source: status.message.clone().into(),
                },
                code => Self::Refused {
                    code,
                    message: status.message.clone(),
                },
            },
            // Its own text is its source's.
            kube::Error::Service(source) => Self::Unanswered { source },
            other => Self::Unanswered {
                source: other.into(),
            },
        }
    }
}

/// Asks. Clones know of the same silence.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    away_until: Arc<Mutex<Option<Instant>>>,
}

impl Api {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            away_until: Arc::default(),
        }
    }

    /// For what has no version to be conditional upon.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The Pod as it is now; none: there is none.
    pub(super) async fn pod(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<LeanPod>, AskApiError> {
        let api = kube::Api::<LeanPod>::namespaced(self.client(), namespace);
        self.ask(api.get_opt(name)).await
    }

    /// The request as it is now; none: there is none.
    pub(super) async fn request(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ContainerRestart>, AskApiError> {
        let api = self.requests(namespace);
        self.ask(api.get_opt(name)).await
    }

    /// Writes the condition of a Pod's readiness gate, if the Pod is still as it was read.
    pub(super) async fn hold(
        &self,
        pod: &LeanPod,
        holders: &Holders,
        now: Timestamp,
    ) -> Result<(), AskApiError> {
        let api = kube::Api::<LeanPod>::namespaced(self.client(), pod.namespace());
        let before = pod.condition(names::SERVICE_READY_GATE);
        let mut condition = json!({
            "type": names::SERVICE_READY_GATE,
            "status": holders.status(),
            "reason": holders.reason(),
            "message": holders.message(),
        });
        if before.is_none_or(|before| before.status != holders.status()) {
            condition["lastTransitionTime"] = now.to_string().into();
        }
        let patch = json!({
            "metadata": {
                "uid": pod.uid(),
                "resourceVersion": pod.metadata.resource_version,
            },
            "status": {"conditions": [condition]},
        });
        let (name, params, patch) = (pod.name(), manager(), Patch::Strategic(patch));
        let patched = self.ask(api.patch_status(name, &params, &patch)).await;
        patched.map(drop)
    }

    /// Writes a request's status, if the request is still as it was read. Answers it as it is then.
    pub(super) async fn store(
        &self,
        request: &Request,
        status: &ContainerRestartStatus,
    ) -> Result<ContainerRestart, AskApiError> {
        let mut patch = basis(request);
        patch["status"] = changes(&request.told, status);
        let (api, params) = (self.requests(&request.namespace), manager());
        let patch = Patch::Merge(patch);
        self.ask(api.patch_status(&request.name, &params, &patch))
            .await
    }

    /// Sets or removes our finalizer, if the request is still as it was read. Answers it as it is then.
    pub(super) async fn set_finalizer(
        &self,
        request: &Request,
        wanted: bool,
    ) -> Result<ContainerRestart, AskApiError> {
        let api = self.requests(&request.namespace);
        let Some(live) = self.ask(api.get_opt(&request.name)).await? else {
            return Err(AskApiError::Gone);
        };
        let mut finalizers = live.metadata.finalizers.clone().unwrap_or_default();
        finalizers.retain(|finalizer| finalizer != names::CONTAINER_RESTART_FINALIZER);
        if wanted {
            finalizers.push(names::CONTAINER_RESTART_FINALIZER.to_owned());
        }
        let mut patch = basis(request);
        patch["metadata"]["finalizers"] = finalizers.into();
        let (params, patch) = (manager(), Patch::Merge(patch));
        self.ask(api.patch(&request.name, &params, &patch)).await
    }

    /// Deletes a request.
    pub(super) async fn delete(&self, request: &Request) -> Result<(), AskApiError> {
        let api = self.requests(&request.namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(request.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        self.ask(api.delete(&request.name, &params)).await.map(drop)
    }

    /// Makes an Event; one of its name that is there is this one.
    pub(super) async fn tell(&self, event: &Event) -> Result<(), AskApiError> {
        let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
        let api = kube::Api::<Event>::namespaced(self.client(), namespace);
        match self.ask(api.create(&PostParams::default(), event)).await {
            Ok(_) | Err(AskApiError::Outdated) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn requests(&self, namespace: &str) -> kube::Api<ContainerRestart> {
        kube::Api::namespaced(self.client(), namespace)
    }

    /// Asks, unless nobody answered a moment ago.
    pub(super) async fn ask<T>(
        &self,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, AskApiError> {
        let away_until = *self.away();
        if away_until.is_some_and(|until| Instant::now() < until) {
            return Err(AskApiError::Away);
        }
        let answer = match tokio::time::timeout(ANSWER_LIMIT, call).await {
            Ok(answer) => answer.map_err(AskApiError::from),
            Err(_) => Err(AskApiError::Unanswered {
                source: format!("nothing came within {ANSWER_LIMIT:?}").into(),
            }),
        };
        let is_silent = matches!(&answer, Err(AskApiError::Unanswered { .. }));
        *self.away() = is_silent.then(|| Instant::now() + AWAY_FOR);
        answer
    }

    fn away(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.away_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which object in which version a patch is of.
fn basis(request: &Request) -> Value {
    json!({
        "apiVersion": ContainerRestart::api_version(&()),
        "kind": ContainerRestart::kind(&()),
        "metadata": {"uid": request.uid, "resourceVersion": request.version},
    })
}

/// The status as a merge patch: what was there and is no longer is said to be nothing.
fn changes(before: &ContainerRestartStatus, after: &ContainerRestartStatus) -> Value {
    let fields = |status: &ContainerRestartStatus| match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        // Texts, numbers and times: there is nothing that JSON could not say.
        _ => Map::new(),
    };
    let mut patch: Map<String, Value> = fields(before)
        .into_iter()
        .map(|(name, _)| (name, Value::Null))
        .collect();
    patch.extend(fields(after));
    patch.into()
}

fn manager() -> PatchParams {
    PatchParams {
        field_manager: Some(names::AGENT_FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_longer_so_is_taken_back() {
        let before = ContainerRestartStatus {
            queue_position: Some(1),
            message: "waits".to_owned(),
            ..ContainerRestartStatus::default()
        };
        let after = ContainerRestartStatus::default();
        let patch = changes(&before, &after);
        assert_eq!(patch["queuePosition"], Value::Null);
        assert!(patch.as_object().unwrap().contains_key("queuePosition"));
        assert_eq!(patch["message"], "");
        assert!(!patch.as_object().unwrap().contains_key("reason"));
    }
}
