//! Reads that are consistent: what a view says is asked again before harm is done by it.

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::ListParams;
use kube::core::{ClusterResourceScope, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::endpoints::{LeanSlice, SERVICE_LABEL, SliceView};
use crate::lean::{LeanInPlaceSet, LeanNode, LeanSet, NodeView, SetView};
use crate::world::Key;
use crate::write::Object;

/// An answer that takes longer is none.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// Objects of one answer of a list.
const PAGE: u32 = 500;

/// Asks the API server. Reads only.
#[derive(Clone)]
pub(crate) struct Reader {
    client: Client,
}

/// Something could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The API server said no, or did not answer.
    #[error("reading {kind} {name}")]
    Ask {
        /// What.
        kind: &'static str,
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("reading {kind} {name}: no answer within {ANSWER_LIMIT:?}")]
    Late {
        /// What.
        kind: &'static str,
        /// Which.
        name: String,
    },
}

impl Reader {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// An object of a namespace, if there is one.
    ///
    /// # Errors
    /// When it could not be asked.
    pub(crate) async fn object<K: Object>(
        &self,
        kind: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<K>, ReadError> {
        get(Api::namespaced(self.client.clone(), namespace), kind, name).await
    }

    /// An object without a namespace, if there is one.
    ///
    /// # Errors
    /// When it could not be asked.
    pub(crate) async fn object_of_cluster<K>(
        &self,
        kind: &'static str,
        name: &str,
    ) -> Result<Option<K>, ReadError>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        get(Api::all(self.client.clone()), kind, name).await
    }

    /// All objects that these parameters select, of one namespace or of all, in pages.
    ///
    /// # Errors
    /// When they could not be asked.
    pub(crate) async fn list<K: Object>(
        &self,
        kind: &'static str,
        namespace: Option<&str>,
        params: ListParams,
    ) -> Result<Vec<K>, ReadError> {
        let api = namespace.map_or_else(
            || Api::<K>::all(self.client.clone()),
            |namespace| Api::namespaced(self.client.clone(), namespace),
        );
        let mut params = params.limit(PAGE);
        let mut all = Vec::new();
        loop {
            let asked = tokio::time::timeout(ANSWER_LIMIT, api.list(&params)).await;
            let page = answer(asked, kind, namespace.unwrap_or("everywhere"))?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(all),
            }
        }
    }

    /// The Node of this name, if there is one.
    ///
    /// # Errors
    /// When it could not be asked.
    pub(crate) async fn node(&self, name: &str) -> Result<Option<NodeView>, ReadError> {
        let api = Api::<LeanNode>::all(self.client.clone());
        let node = get(api, "Node", name).await?;
        Ok(node.as_ref().map(NodeView::from))
    }

    /// The version of a Lease, if there is one.
    ///
    /// # Errors
    /// When it could not be asked.
    pub(crate) async fn lease_version(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<String>, ReadError> {
        let lease = self.object::<Lease>("Lease", namespace, name).await?;
        Ok(lease.and_then(|lease| lease.resource_version()))
    }

    /// The `StatefulSet`, if there is one.
    ///
    /// # Errors
    /// When it could not be asked.
    pub(crate) async fn set(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<SetView>, ReadError> {
        let api = Api::<LeanSet>::namespaced(self.client.clone(), namespace);
        let set = get(api, "StatefulSet", name).await?;
        Ok(set.as_ref().map(SetView::from))
    }

    /// The `InPlaceSet`, if there is one.
    ///
    /// # Errors
    /// When it could not be asked.
    pub(crate) async fn in_place_set(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<SetView>, ReadError> {
        let api = Api::<LeanInPlaceSet>::namespaced(self.client.clone(), namespace);
        let set = get(api, "InPlaceSet", name).await?;
        Ok(set.as_ref().map(SetView::from))
    }

    /// The Secret, if there is one.
    ///
    /// # Errors
    /// When it could not be asked.
    pub(crate) async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Secret>, ReadError> {
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        get(api, "Secret", name).await
    }

    /// The `EndpointSlice`s of these Services; of the whole namespace where none is named.
    ///
    /// # Errors
    /// When it could not be asked.
    pub(crate) async fn slices(
        &self,
        namespace: &str,
        services: &[String],
    ) -> Result<Vec<(Key, SliceView)>, ReadError> {
        let api = Api::<LeanSlice>::namespaced(self.client.clone(), namespace);
        let mut params = ListParams::default();
        if !services.is_empty() {
            let selector = format!("{SERVICE_LABEL} in ({})", services.join(","));
            params = params.labels(&selector);
        }
        let asked = tokio::time::timeout(ANSWER_LIMIT, api.list(&params)).await;
        let list = answer(asked, "EndpointSlices of namespace", namespace)?;
        let slices = list.items.iter();
        let slices = slices.map(|it| ((namespace.to_owned(), it.name_any()), it.into()));
        Ok(slices.collect())
    }

    /// Whether there is a Pod of this name.
    ///
    /// # Errors
    /// When it could not be asked.
    pub(crate) async fn has_pod(&self, namespace: &str, name: &str) -> Result<bool, ReadError> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let asked = tokio::time::timeout(ANSWER_LIMIT, api.get_metadata_opt(name)).await;
        let pod: Option<PartialObjectMeta<Pod>> = answer(asked, "Pod", name)?;
        Ok(pod.is_some())
    }
}

async fn get<K>(api: Api<K>, kind: &'static str, name: &str) -> Result<Option<K>, ReadError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let asked = tokio::time::timeout(ANSWER_LIMIT, api.get_opt(name)).await;
    answer(asked, kind, name)
}

fn answer<T>(
    asked: Result<kube::Result<T>, tokio::time::error::Elapsed>,
    kind: &'static str,
    name: &str,
) -> Result<T, ReadError> {
    let name = || name.to_owned();
    match asked {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(error)) => Err(ReadError::Ask {
            kind,
            name: name(),
            source: match error {
                // Its own text is its source's.
                kube::Error::Service(source) => source,
                other => other.into(),
            },
        }),
        Err(_) => Err(ReadError::Late { kind, name: name() }),
    }
}
