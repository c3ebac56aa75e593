//! Writes whose answer is wanted: the object as it is then, so that nothing is decided on what was before the own write.

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use proto_crd::names;
use serde_json::Value;

use super::{Basis, Object, WriteError, WriteKind, Writer, manager, merge, stamped};
use crate::term::Term;

/// What of an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but its status.
    Main,
    /// Its status.
    Status,
}

/// How fields of an object are changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fields {
    /// Lists as a whole. Custom resources have no other way.
    Merge(Value),
    /// Lists by their keys.
    ByKeys(Value),
}

impl Fields {
    fn patch(self, term: &Term, basis: Basis<'_>) -> Patch<Value> {
        match self {
            Self::Merge(fields) => merge(term, basis, fields),
            Self::ByKeys(fields) => match merge(term, basis, fields) {
                Patch::Merge(fields) => Patch::Strategic(fields),
                other => other,
            },
        }
    }
}

impl Writer {
    /// Makes an object, if there is none of its name. Answers it as it is then.
    ///
    /// # Errors
    /// See [`WriteError`]; [`WriteError::Outdated`] where there is one.
    ///
    /// # Cancellation
    /// The object may be made or not.
    pub(crate) async fn make<K: Object>(
        &self,
        term: &Term,
        kind: WriteKind,
        (namespace, name): (&str, &str),
        object: Value,
    ) -> Result<K, WriteError> {
        let object = stamped(term, object);
        let call = async {
            let params = PostParams {
                field_manager: Some(names::CONTROLLERS_FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            };
            let body = canonical(&object).into_bytes();
            let request = Request::new(K::url_path(&(), Some(namespace)));
            let request = request.create(&params, body);
            let mut request = request.map_err(kube::Error::BuildRequest)?;
            request.extensions_mut().insert("create");
            self.client.request::<K>(request).await
        };
        self.write(term, kind, name, call).await
    }

    /// Changes fields of an object, if it is still as it was. Answers it as it is then.
    ///
    /// # Errors
    /// See [`WriteError`].
    ///
    /// # Cancellation
    /// The write may be made or not.
    pub(crate) async fn change<K: Object>(
        &self,
        term: &Term,
        kind: WriteKind,
        basis: Basis<'_>,
        part: Part,
        fields: Fields,
    ) -> Result<K, WriteError> {
        let (api, patch) = (self.api::<K>(basis), fields.patch(term, basis));
        let call = async {
            match part {
                Part::Main => api.patch(basis.name, &manager(), &patch).await,
                Part::Status => api.patch_status(basis.name, &manager(), &patch).await,
            }
        };
        self.write(term, kind, basis.name, call).await
    }

    /// Says what is wanted of an object that others write too, under a name of its own; what it wanted before and does not now
    /// goes. Answers the object as it is then.
    ///
    /// # Errors
    /// See [`WriteError`].
    ///
    /// # Cancellation
    /// The write may be made or not.
    pub(crate) async fn apply<K: Object>(
        &self,
        term: &Term,
        kind: WriteKind,
        (namespace, name): (&str, &str),
        manager: &str,
        fields: &Value,
    ) -> Result<K, WriteError> {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let params = PatchParams::apply(manager).force();
        let call = async { api.patch(name, &params, &Patch::Apply(fields)).await };
        self.write(term, kind, name, call).await
    }

    /// Deletes an object, if it is still as it was. Answers it as it is then, where something remains of it.
    ///
    /// # Errors
    /// See [`WriteError`].
    ///
    /// # Cancellation
    /// The object may be deleted or not.
    pub(crate) async fn remove<K: Object>(
        &self,
        term: &Term,
        kind: WriteKind,
        basis: Basis<'_>,
    ) -> Result<Option<K>, WriteError> {
        let api = self.api::<K>(basis);
        let params = DeleteParams::background().preconditions(basis.preconditions());
        let call = async { api.delete(basis.name, &params).await };
        let outcome = self.write(term, kind, basis.name, call).await;
        Ok(outcome?.left())
    }
}

/// An object as the API server itself would write it. What it keeps as it came (the `data` of a `ControllerRevision`) it compares as
/// it came: after a patch of anything else it finds other bytes otherwise, and refuses it as a change of what is immutable.
fn canonical(object: &Value) -> String {
    // All of these are in strings only.
    let escapes = [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ];
    let text = object.to_string();
    escapes
        .into_iter()
        .fold(text, |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;

    #[test]
    fn lists_go_by_their_keys_where_that_is_asked_for_and_always_at_a_version() {
        let basis = Basis {
            namespace: "prod",
            name: "shop-0",
            uid: "u1",
            version: "7",
        };
        let term = Term::won(3, Instant::now());
        let fields = json!({"status": {"conditions": []}});
        let Patch::Strategic(patch) = Fields::ByKeys(fields).patch(&term, basis) else {
            panic!("no strategic patch");
        };
        let metadata =
            json!({"uid": "u1", "resourceVersion": "7", "annotations": {"berth.dev/term": "3"}});
        assert_eq!(patch["metadata"], metadata);
        let whole = Fields::Merge(json!({})).patch(&term, basis);
        assert!(matches!(whole, Patch::Merge(_)));
    }

    #[test]
    fn objects_are_written_as_the_api_server_writes_them() {
        let object = json!({"b": "x && y > z < \u{2028}\u{2029}", "a": ["\"\\u003c"]});
        let text = canonical(&object);
        assert_eq!(
            text,
            r#"{"a":["\"\\u003c"],"b":"x \u0026\u0026 y \u003e z \u003c \u2028\u2029"}"#
        );
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, object);
    }
}
