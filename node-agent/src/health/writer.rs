//! The `NodeHealth` of this node in the API: read at the start, made where it is missing, its status applied by server.
//!
//! Only this object is ever touched. It belongs to the Node (owner reference), so that it goes with it; the Node's UID is
//! learned from the own token, which names the node that it was made for, so that no right to read Nodes is needed.

use std::collections::BTreeMap;
use std::error::Error;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use proto_crd::names;
use proto_crd::node_health::{NodeHealth, NodeHealthSpec, NodeHealthStatus};
use proto_crd::peer::Peer;
use serde_json::json;
use tokio::sync::{OnceCell, watch};
use tracing::{info, warn};

use super::moment::Moment;

/// What the API server puts into the user of a token that is bound to a Pod on a node.
const TOKEN_NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const TOKEN_NODE_UID: &str = "authentication.kubernetes.io/node-uid";

const NOT_FOUND: u16 = 404;
const FORBIDDEN: u16 = 403;
const CONFLICT: u16 = 409;

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where Berth's own objects are.
    pub(crate) namespace: String,
    /// The node, and so the object.
    pub(crate) node: String,
}

/// Reads and writes the object.
pub(crate) struct Writer {
    client: Client,
    api: Api<NodeHealth>,
    place: Place,
    owner: OnceCell<Option<OwnerReference>>,
    rosters: watch::Sender<Option<Said>>,
}

/// Whom the agent is to look at, if somebody chose, as the API server said then.
pub(crate) type Said = (Option<Vec<Peer>>, Moment);

/// Why the API server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallApiError {
    /// It answered no.
    #[error("the API server says: {message} ({code})")]
    Refused {
        /// HTTP's.
        code: u16,
        /// Its words.
        message: String,
    },
    /// It did not answer, or not in words that can be read.
    #[error("no answer of the API server")]
    Unanswered {
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Why a report was not written or read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// Reading the earlier one.
    #[error("reading NodeHealth {name}{}", .source.advice())]
    Read {
        /// The object.
        name: String,
        /// Why.
        #[source]
        source: CallApiError,
    },
    /// Learning who we are to the API server.
    #[error("asking the API server for the node of our token")]
    Identify {
        /// Why.
        #[source]
        source: CallApiError,
    },
    /// The token is another node's.
    #[error(
        "our token is that of node {token:?}, and we were told to be {node:?}: --node must name the node that the Pod runs on"
    )]
    OtherNode {
        /// By the token.
        token: String,
        /// By the flag.
        node: String,
    },
    /// Making the object.
    #[error("creating NodeHealth {name}{}", .source.advice())]
    Create {
        /// The object.
        name: String,
        /// Why.
        #[source]
        source: CallApiError,
    },
    /// Writing its status.
    #[error("writing the status of NodeHealth {name}{}", .source.advice())]
    Apply {
        /// The object.
        name: String,
        /// Why.
        #[source]
        source: CallApiError,
    },
}

impl CallApiError {
    /// What to do about an answer that does not change by itself.
    pub(super) const fn advice(&self) -> &'static str {
        match self {
            Self::Refused {
                code: FORBIDDEN, ..
            } => {
                "; the rights of the agent come with install/manifests (rbac, policy): apply them again"
            }
            Self::Refused {
                code: NOT_FOUND, ..
            } => {
                "; are custom resource definition and namespace there? they come with install/manifests"
            }
            _ => "",
        }
    }

    /// There is none.
    pub(super) const fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: NOT_FOUND,
                ..
            }
        )
    }

    /// There is one of that name already.
    pub(super) const fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: CONFLICT, .. })
    }
}

impl From<kube::Error> for CallApiError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused {
                code: status.code,
                message: status.message.clone(),
            },
            // Its own text is its source's.
            kube::Error::Service(source) => Self::Unanswered { source },
            other => Self::Unanswered {
                source: other.into(),
            },
        }
    }
}

impl Writer {
    /// For the object of this node.
    pub(crate) fn new(client: Client, place: Place) -> Self {
        Self {
            api: Api::namespaced(client.clone(), &place.namespace),
            client,
            place,
            owner: OnceCell::new(),
            rosters: watch::Sender::new(None),
        }
    }

    /// Whom the agent is to look at: what every answer about the object says.
    pub(crate) fn rosters(&self) -> watch::Receiver<Option<Said>> {
        self.rosters.subscribe()
    }

    fn said(&self, object: &NodeHealth) {
        let said = (object.spec.peers.clone(), Moment::now());
        self.rosters.send_replace(Some(said));
    }

    /// The API server.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Which object.
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// What an earlier process reported, if there is an object and it has a status.
    pub(crate) async fn load(&self) -> Result<Option<NodeHealthStatus>, ReportError> {
        let found = self.api.get_opt(&self.place.node).await;
        let found = found.map_err(|error| ReportError::Read {
            name: self.place.node.clone(),
            source: error.into(),
        })?;
        if let Some(object) = &found {
            self.said(object);
        }
        Ok(found.and_then(|object| object.status))
    }

    /// Writes the report; makes the object where there is none.
    ///
    /// # Cancellation
    /// The report may be written or not; written again it does no harm.
    pub(super) async fn write(&self, status: NodeHealthStatus) -> Result<(), ReportError> {
        match self.apply(&status).await {
            Err(ReportError::Apply { source, .. }) if source.is_not_found() => {
                self.create().await?;
                self.apply(&status).await
            }
            outcome => outcome,
        }
    }

    async fn apply(&self, status: &NodeHealthStatus) -> Result<(), ReportError> {
        let name = &self.place.node;
        let patch = json!({
            "apiVersion": NodeHealth::api_version(&()),
            "kind": NodeHealth::kind(&()),
            "metadata": {"name": name},
            "status": status,
        });
        let applied = self
            .api
            .patch_status(name, &manager(), &Patch::Apply(patch))
            .await;
        let object = applied.map_err(|error| ReportError::Apply {
            name: name.clone(),
            source: error.into(),
        })?;
        self.said(&object);
        Ok(())
    }

    async fn create(&self) -> Result<(), ReportError> {
        let name = &self.place.node;
        let spec = NodeHealthSpec {
            node_name: name.clone(),
            // The controllers' to say.
            peers: None,
        };
        let object = NodeHealth {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(BTreeMap::from([(
                    "app.kubernetes.io/part-of".to_owned(),
                    "berth".to_owned(),
                )])),
                owner_references: self.owner().await?.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec,
            status: None,
        };
        let applied = self
            .api
            .patch(name, &manager(), &Patch::Apply(&object))
            .await;
        let made = applied.map_err(|error| ReportError::Create {
            name: name.clone(),
            source: error.into(),
        })?;
        info!(uid = made.uid(), "NodeHealth created");
        Ok(())
    }

    /// The Node, as our token names it: asked once.
    pub(super) async fn owner(&self) -> Result<Option<OwnerReference>, ReportError> {
        let asked = self.owner.get_or_try_init(|| self.ask_owner()).await;
        asked.cloned()
    }

    async fn ask_owner(&self) -> Result<Option<OwnerReference>, ReportError> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let asked = api
            .create(&PostParams::default(), &SelfSubjectReview::default())
            .await;
        let answer = asked.map_err(|error| ReportError::Identify {
            source: error.into(),
        })?;
        let user = answer.status.and_then(|status| status.user_info);
        let extra = user.and_then(|user| user.extra).unwrap_or_default();
        owner(&extra, &self.place.node)
    }
}

fn owner(
    extra: &BTreeMap<String, Vec<String>>,
    node: &str,
) -> Result<Option<OwnerReference>, ReportError> {
    let first = |key: &str| extra.get(key).and_then(|values| values.first());
    if let Some(token) = first(TOKEN_NODE_NAME).filter(|name| *name != node) {
        return Err(ReportError::OtherNode {
            token: token.clone(),
            node: node.to_owned(),
        });
    }
    let Some(uid) = first(TOKEN_NODE_UID) else {
        warn!(
            node,
            "our token names no node: the NodeHealth will not go with its Node"
        );
        return Ok(None);
    };
    Ok(Some(OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.to_owned(),
        uid: uid.clone(),
        ..OwnerReference::default()
    }))
}

/// Nobody else writes what is ours: a conflict could only be with an older field manager of our own.
fn manager() -> PatchParams {
    PatchParams::apply(names::AGENT_FIELD_MANAGER).force()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extra(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), vec![(*value).to_owned()]);
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn object_belongs_to_the_node_of_our_token() {
        let bound = extra(&[(TOKEN_NODE_NAME, "n1"), (TOKEN_NODE_UID, "u-1")]);
        let reference = owner(&bound, "n1").unwrap().unwrap();
        assert_eq!(
            (reference.name.as_str(), reference.uid.as_str()),
            ("n1", "u-1")
        );
        assert_eq!(reference.block_owner_deletion, None);
        assert_eq!(owner(&extra(&[]), "n1").unwrap(), None);
    }

    #[test]
    fn token_of_another_node_is_refused_with_both_names() {
        let bound = extra(&[(TOKEN_NODE_NAME, "n2"), (TOKEN_NODE_UID, "u-2")]);
        let error = owner(&bound, "n1").unwrap_err().to_string();
        assert!(
            error.contains("\"n2\"") && error.contains("\"n1\""),
            "{error}"
        );
    }

    #[test]
    fn refusals_that_stay_come_with_advice() {
        for (code, words) in [(403, "rights of the agent"), (404, "definition"), (500, "")] {
            let error = ReportError::Apply {
                name: "n1".into(),
                source: CallApiError::Refused {
                    code,
                    message: "no".into(),
                },
            };
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
