//! Ends of objects that are not the usual one: by the Eviction API, at once, by the name alone.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, EvictParams};

use super::{Basis, Object, WriteError, WriteKind, Writer};
use crate::term::Term;

impl Writer {
    /// Evicts a Pod, if it is still the one that was looked at and its disruption budget allows it.
    ///
    /// # Errors
    /// See [`WriteError`]; [`WriteError::Refused`] with 429 where the budget does not.
    ///
    /// # Cancellation
    /// The Pod may be evicted or not.
    pub(crate) async fn evict(
        &self,
        term: &Term,
        kind: WriteKind,
        basis: Basis<'_>,
    ) -> Result<(), WriteError> {
        let api = self.api::<Pod>(basis);
        let params = EvictParams {
            delete_options: Some(DeleteParams::default().preconditions(basis.preconditions())),
            ..EvictParams::default()
        };
        let call = async { api.evict(basis.name, &params).await.map(drop) };
        self.write(term, kind, basis.name, call).await
    }

    /// Deletes an object without waiting for anybody, if it is still as it was: what ran there runs no more.
    ///
    /// # Errors
    /// See [`WriteError`].
    ///
    /// # Cancellation
    /// The object may be deleted or not.
    pub(crate) async fn delete_at_once<K: Object>(
        &self,
        term: &Term,
        kind: WriteKind,
        basis: Basis<'_>,
    ) -> Result<(), WriteError> {
        let api = self.api::<K>(basis);
        let params = DeleteParams::default()
            .grace_period(0)
            .preconditions(basis.preconditions());
        let call = async { api.delete(basis.name, &params).await.map(drop) };
        self.write(term, kind, basis.name, call).await
    }

    /// Deletes an object that nobody changes and whose name is never given twice.
    ///
    /// # Errors
    /// See [`WriteError`].
    ///
    /// # Cancellation
    /// The object may be deleted or not.
    pub(crate) async fn drop_named<K: Object>(
        &self,
        term: &Term,
        kind: WriteKind,
        basis: Basis<'_>,
    ) -> Result<(), WriteError> {
        let api = self.api::<K>(basis);
        let call = async {
            let params = DeleteParams::background();
            api.delete(basis.name, &params).await.map(drop)
        };
        self.write(term, kind, basis.name, call).await
    }
}
