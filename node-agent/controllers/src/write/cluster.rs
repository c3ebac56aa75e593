//! Writes of objects without a namespace: Nodes. As others: under a term, paced, at the UID and version that was looked at.

use std::fmt::Debug;

use kube::api::Patch;
use kube::core::ClusterResourceScope;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Basis, WriteError, WriteKind, Writer, at, manager, merge};
use crate::term::Term;

/// What can be written: an object of the cluster.
pub(crate) trait ClusterObject:
    Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Debug
{
}

impl<K> ClusterObject for K where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Debug
{
}

impl Writer {
    /// Changes fields of an object without a namespace, if it is still as it was. A list that is named replaces the one that is there.
    ///
    /// # Errors
    /// See [`WriteError`].
    ///
    /// # Cancellation
    /// The write may be made or not.
    pub(crate) async fn patch_of_cluster<K: ClusterObject>(
        &self,
        term: &Term,
        kind: WriteKind,
        basis: Basis<'_>,
        fields: Value,
    ) -> Result<(), WriteError> {
        let api = Api::<K>::all(self.client.clone());
        let patch = merge(term, basis, fields);
        let call = async { api.patch(basis.name, &manager(), &patch).await.map(drop) };
        self.write(term, kind, basis.name, call).await
    }

    /// Changes entries of lists in the status of an object without a namespace, if it is still as it was: of a Node's conditions those
    /// that are named, by their type; the others stay.
    ///
    /// # Errors
    /// See [`WriteError`].
    ///
    /// # Cancellation
    /// The write may be made or not.
    pub(crate) async fn merge_status_of_cluster<K: ClusterObject>(
        &self,
        term: &Term,
        kind: WriteKind,
        basis: Basis<'_>,
        status: Value,
    ) -> Result<(), WriteError> {
        let api = Api::<K>::all(self.client.clone());
        let patch = Patch::Strategic(at(term, basis, json!({ "status": status })));
        let call = async {
            let patched = api.patch_status(basis.name, &manager(), &patch).await;
            patched.map(drop)
        };
        self.write(term, kind, basis.name, call).await
    }
}
