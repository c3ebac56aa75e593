//! What the node lifecycle is told and tells: freezes, made and ended here; its policy and decisions, only read.

use anyhow::Result;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::core::ObjectMeta;
use proto_crd::lifecycle_freeze::{FreezeScope, LifecycleFreeze, LifecycleFreezeSpec};
use proto_crd::lifecycle_policy::LifecyclePolicy;
use proto_crd::names;
use proto_crd::node_decision::NodeDecision;

use super::{Cluster, explain, explain_step, pages, pages_of};

/// Whose the fields are that are written here.
const FIELD_MANAGER: &str = "kubectl-berth";

impl Cluster {
    /// All freezes, also those that have expired.
    pub(crate) async fn freezes(&self) -> Result<Vec<LifecycleFreeze>> {
        let api = self.freeze_api();
        let list = async |params| api.list(&params).await;
        pages("the LifecycleFreezes", list).await
    }

    /// Makes a freeze; its name begins so.
    pub(crate) async fn make_freeze(
        &self,
        prefix: &str,
        spec: LifecycleFreezeSpec,
    ) -> Result<LifecycleFreeze> {
        let freeze = named_by_server(prefix, spec);
        let made = self.freeze_api().create(&params(false), &freeze).await;
        made.map_err(|error| explain_step("making", "the LifecycleFreeze", error))
    }

    /// Whether the API server that answers holds by the freeze of this UID.
    pub(crate) async fn is_frozen_by(&self, uid: &str) -> Result<bool> {
        let spec = LifecycleFreezeSpec {
            scope: FreezeScope {
                cluster: Some(true),
                ..FreezeScope::default()
            },
            reason: "whether another is in force".to_owned(),
            by: FIELD_MANAGER.to_owned(),
            ticket: None,
            expiry_time: None,
        };
        let mut probe = named_by_server("probe-", spec);
        let note = (names::FREEZE_PROBE_ANNOTATION.to_owned(), uid.to_owned());
        probe.metadata.annotations = Some([note].into());
        match self.freeze_api().create(&params(true), &probe).await {
            Ok(_) => Ok(false),
            Err(kube::Error::Api(status))
                if status.message.contains(names::FREEZE_PROBE_POLICY) =>
            {
                Ok(true)
            }
            Err(error) => Err(explain_step(
                "asking",
                "whether the API server holds by it",
                error,
            )),
        }
    }

    /// Ends a freeze; false: there is none of that name.
    pub(crate) async fn end_freeze(&self, name: &str) -> Result<bool> {
        let api = self.freeze_api();
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => {
                let what = format!("the LifecycleFreeze {name}");
                Err(explain_step("deleting", &what, error))
            }
        }
    }

    /// The decisions that are selected by their fields, or all.
    pub(crate) async fn decisions(&self, fields: Option<String>) -> Result<Vec<NodeDecision>> {
        let api: Api<NodeDecision> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = async |params| api.list(&params).await;
        let params = ListParams {
            field_selector: fields,
            ..ListParams::default()
        };
        pages_of("the NodeDecisions", params, list, Some).await
    }

    /// How far the node lifecycle may go; none: it is told nothing, and does nothing.
    pub(crate) async fn lifecycle_policy(&self) -> Result<Option<LifecyclePolicy>> {
        let api: Api<LifecyclePolicy> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = api.get_opt(names::LIFECYCLE_POLICY).await;
        found.map_err(|error| explain("the LifecyclePolicy", error))
    }

    fn freeze_api(&self) -> Api<LifecycleFreeze> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

fn named_by_server(prefix: &str, spec: LifecycleFreezeSpec) -> LifecycleFreeze {
    LifecycleFreeze {
        metadata: ObjectMeta {
            generate_name: Some(prefix.to_owned()),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

fn params(dry_run: bool) -> PostParams {
    PostParams {
        dry_run,
        field_manager: Some(FIELD_MANAGER.to_owned()),
    }
}
