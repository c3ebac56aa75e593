//! `InPlaceSets`, their revisions and their Pods, as far as releases are concerned; and what people write of a set.

use anyhow::Result;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, PartialObjectMeta, Patch, PatchParams};
use kube::{Api, ResourceExt};
use proto_crd::in_place_set::InPlaceSet;
use proto_crd::names;
use serde::Deserialize;
use serde_json::Value;

use super::marks::Written;
use super::{Cluster, explain, explain_step, pages_of};

/// Whose the fields are that are written here.
const FIELD_MANAGER: &str = "kubectl-berth";

/// A revision of a set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RevisionSeen {
    /// The name of its `ControllerRevision`.
    pub(crate) name: String,
    /// Its hash, by which Pods and the set's status name it.
    pub(crate) hash: String,
    /// Its number.
    pub(crate) number: i64,
    /// When it was made.
    pub(crate) created: Option<Timestamp>,
    /// What Pods of it are made of.
    pub(crate) template: Option<Value>,
}

impl RevisionSeen {
    /// What of it matters here.
    pub(crate) fn of(set: &str, revision: ControllerRevision) -> Self {
        let name = revision.name_any();
        let labelled = revision.labels().get(names::REVISION_LABEL).cloned();
        let rest = || name.strip_prefix(set)?.strip_prefix('-');
        let data = revision.data.map_or(Value::Null, |it| it.0);
        let template = [&data["spec"]["template"], &data]
            .into_iter()
            .find(|it| it["spec"]["containers"].is_array());
        Self {
            hash: labelled
                .or_else(|| rest().map(ToOwned::to_owned))
                .unwrap_or_else(|| name.clone()),
            number: revision.revision,
            created: revision.metadata.creation_timestamp.map(|it| it.0),
            template: template.cloned(),
            name,
        }
    }
}

/// A Pod of a set, as its metadata says it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PodOfSet {
    /// Its name.
    pub(crate) name: String,
    /// Its revision, by its hash.
    pub(crate) revision: String,
    /// It is being deleted.
    pub(crate) deleting: bool,
    /// What is under way with it.
    pub(crate) operation: Option<OperationSeen>,
}

/// What of [`names::LOSSLESS_ANNOTATION`] people are told; the rest is the controllers'.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct OperationSeen {
    /// How far it is.
    pub(crate) state: String,
    /// Since when it is there.
    pub(crate) since: Option<Timestamp>,
    /// Why it was given up, if it was.
    pub(crate) failure: Option<FailureSeen>,
}

/// Why an operation was given up.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct FailureSeen {
    /// For programs.
    pub(crate) reason: String,
    /// For people.
    pub(crate) message: String,
}

impl OperationSeen {
    /// What the annotation says. One of a version that says it otherwise is under way all the same.
    pub(crate) fn of(annotation: &str) -> Self {
        serde_json::from_str(annotation).unwrap_or_else(|_| Self {
            state: "UnderWay".to_owned(),
            since: None,
            failure: None,
        })
    }
}

impl PodOfSet {
    fn of(pod: &PartialObjectMeta<Pod>) -> Self {
        let annotation = pod.annotations().get(names::LOSSLESS_ANNOTATION);
        let revision = pod.labels().get(names::REVISION_LABEL);
        Self {
            name: pod.name_any(),
            revision: revision.cloned().unwrap_or_default(),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            operation: annotation.map(|it| OperationSeen::of(it)),
        }
    }
}

impl Cluster {
    /// A set, if there is one.
    pub(crate) async fn in_place_set(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<InPlaceSet>> {
        let found = self.set_api(namespace).get_opt(name).await;
        found.map_err(|error| explain("the InPlaceSet", error))
    }

    /// Its revisions, the first one first.
    pub(crate) async fn revisions(&self, set: &InPlaceSet) -> Result<Vec<RevisionSeen>> {
        let namespace = set.namespace().unwrap_or_default();
        let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), &namespace);
        let list = async |params| api.list(&params).await;
        let keep = |revision: ControllerRevision| {
            is_of(set, &revision).then(|| RevisionSeen::of(&set.name_any(), revision))
        };
        let params = ListParams::default();
        let mut all = pages_of("the ControllerRevisions", params, list, keep).await?;
        all.sort_by_key(|it| it.number);
        Ok(all)
    }

    /// Its Pods, by their names only as far as they end alike: the controllers number them.
    pub(crate) async fn pods_of_set(&self, set: &InPlaceSet) -> Result<Vec<PodOfSet>> {
        let namespace = set.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let list = async |params| api.list_metadata(&params).await;
        let params = ListParams::default().labels(&set.spec.selector.to_string());
        let keep = |pod: PartialObjectMeta<Pod>| is_of(set, &pod).then(|| PodOfSet::of(&pod));
        let mut all = pages_of("the Pods of the set", params, list, keep).await?;
        // shop-2 is before shop-10.
        all.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
        Ok(all)
    }

    /// Merges into a set.
    pub(crate) async fn merge_in_place_set(
        &self,
        set: &InPlaceSet,
        patch: &Value,
    ) -> Result<Written> {
        self.write_in_place_set(set, &Patch::Merge(patch)).await
    }

    /// Replaces parts of a set: operations of RFC 6902.
    pub(crate) async fn replace_in_place_set(
        &self,
        set: &InPlaceSet,
        operations: &Value,
    ) -> Result<Written> {
        let patch = serde_json::from_value(operations.clone())?;
        self.write_in_place_set(set, &Patch::<Value>::Json(patch))
            .await
    }

    async fn write_in_place_set<P: serde::Serialize + std::fmt::Debug>(
        &self,
        set: &InPlaceSet,
        patch: &Patch<P>,
    ) -> Result<Written> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let (namespace, name) = (set.namespace().unwrap_or_default(), set.name_any());
        match self.set_api(&namespace).patch(&name, &params, patch).await {
            Ok(_) => Ok(Written::Done),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Written::Outrun),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Written::Gone),
            // Another set has its name now: its UID cannot be changed into the other one's.
            Err(kube::Error::Api(status))
                if status.code == 422 && status.message.contains("metadata.uid") =>
            {
                Ok(Written::Gone)
            }
            Err(error) => {
                let what = format!("the InPlaceSet {namespace}/{name}");
                Err(explain_step("writing", &what, error))
            }
        }
    }

    fn set_api(&self, namespace: &str) -> Api<InPlaceSet> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// Whether an object has this set for its controller: one of the same name that was made anew is another one.
fn is_of(set: &InPlaceSet, object: &impl ResourceExt) -> bool {
    object
        .owner_references()
        .iter()
        .any(|it| it.controller == Some(true) && Some(&it.uid) == set.metadata.uid.as_ref())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn revision_is_told_by_its_hash_and_its_template() {
        let template = json!({"spec": {"containers": [{"name": "main"}]}});
        for data in [json!({"spec": {"template": template}}), template.clone()] {
            let revision = serde_json::from_value(json!({
                "metadata": {"name": "shop-7b1d", "namespace": "prod", "creationTimestamp": "2026-01-01T00:00:00Z"},
                "revision": 2, "data": data,
            }))
            .unwrap();
            let seen = RevisionSeen::of("shop", revision);
            assert_eq!((seen.hash.as_str(), seen.number), ("7b1d", 2));
            assert_eq!(seen.template, Some(template.clone()));
        }
        // Somebody else's: kubectl's own of a DaemonSet, say.
        let revision = serde_json::from_value(json!({
            "metadata": {"name": "other", "labels": {"controller-revision-hash": "aa"}}, "revision": 1, "data": {"spec": {}},
        }))
        .unwrap();
        let seen = RevisionSeen::of("shop", revision);
        assert_eq!((seen.hash.as_str(), seen.template), ("aa", None));
    }

    #[test]
    fn pod_tells_its_revision_and_what_is_under_way() {
        let pod = |annotations: Value| -> PodOfSet {
            let pod = json!({
                "metadata": {
                    "name": "shop-3", "labels": {"controller-revision-hash": "bb"}, "annotations": annotations,
                },
            });
            PodOfSet::of(&serde_json::from_value(pod).unwrap())
        };
        let idle = pod(json!({}));
        assert_eq!((idle.revision.as_str(), &idle.operation), ("bb", &None));
        let under_way = |said: &str| pod(json!({"berth.dev/lossless": said})).operation.unwrap();
        let drains = under_way(
            r#"{"op":"Upgrade","state":"Draining","since":"2026-01-01T00:00:10Z","of":"later"}"#,
        );
        assert_eq!(drains.state, "Draining");
        assert_eq!(drains.since.unwrap().to_string(), "2026-01-01T00:00:10Z");
        assert_eq!(drains.failure, None);
        let given_up =
            under_way(r#"{"state":"Serving","failure":{"reason":"DrainTimeout","message":"slb"}}"#);
        assert_eq!(given_up.failure.unwrap().reason, "DrainTimeout");
        assert_eq!(under_way("?").state, "UnderWay");
    }
}
