//! Pull secrets: read by name when an attempt needs them, from one namespace that has nothing else, and forgotten after it.
//!
//! Never listed, never watched, never cached, never printed. A secret of another type is not used, whatever it holds.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use node_agent_pull::credentials::{Credentials, SECRET_KEY, SECRET_TYPE};
use node_agent_pull::failure::Failure;
use proto_crd::image_pull::PullReason;

const DEADLINE: Duration = Duration::from_secs(15);

const FORBIDDEN: u16 = 403;

/// The secrets of the one namespace.
#[derive(Clone)]
pub(super) struct Secrets {
    api: Api<Secret>,
    namespace: String,
}

impl Secrets {
    pub(super) fn new(client: Client, namespace: String) -> Self {
        Self {
            api: Api::namespaced(client, &namespace),
            namespace,
        }
    }

    /// What these secrets hold together.
    pub(super) async fn fetch(&self, names: &[String]) -> Result<Credentials, Failure> {
        let mut all = Credentials::default();
        for name in names {
            let read = tokio::time::timeout(DEADLINE, self.api.get_opt(name)).await;
            let secret = match read {
                Err(_) => {
                    return Err(
                        self.failure(name, "the API server does not answer; it is asked again")
                    );
                }
                Ok(Err(kube::Error::Api(status))) if status.code == FORBIDDEN => {
                    let words = "the agent may not read it; the right comes with install/manifests (rbac/agent.yaml): apply them again";
                    return Err(self.failure(name, words));
                }
                Ok(Err(error)) => {
                    let words = format!(
                        "it could not be read ({}); it is read again",
                        ipamd_daemon::chain(&error)
                    );
                    return Err(self.failure(name, &words));
                }
                Ok(Ok(None)) => {
                    let words = format!(
                        "there is none; make it: kubectl create secret docker-registry {name} -n {}",
                        self.namespace
                    );
                    return Err(self.failure(name, &words));
                }
                Ok(Ok(Some(secret))) => secret,
            };
            self.add(&mut all, name, &secret)?;
        }
        Ok(all)
    }

    fn add(&self, all: &mut Credentials, name: &str, secret: &Secret) -> Result<(), Failure> {
        let kind = secret.type_.as_deref().unwrap_or_default();
        if kind != SECRET_TYPE {
            let words = format!(
                "its type is {kind:?}, not {SECRET_TYPE}; make it with kubectl create secret docker-registry"
            );
            return Err(self.failure(name, &words));
        }
        let held = secret.data.as_ref().and_then(|data| data.get(SECRET_KEY));
        let held = held.ok_or_else(|| self.failure(name, &format!("it has no {SECRET_KEY}")))?;
        let added = all.add(&held.0);
        added.map_err(|error| self.failure(name, &error.to_string()))
    }

    fn failure(&self, name: &str, words: &str) -> Failure {
        let message = format!(
            "pull secret {name} in namespace {}: {words}",
            self.namespace
        );
        Failure::passing(PullReason::Secret, message)
    }
}
