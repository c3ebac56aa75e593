//! What restarts and upgrades read and write: one Pod, its gate, its images; requests for restarts; the images that a node is to have.
//!
//! Of a Pod only what was read is written over: each write names the version. What others wrote into the same lists stays.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::{Api, Resource as _};
use proto_crd::container_restart::{ContainerRestart, ContainerRestartSpec};
use proto_crd::image_pull::{ImagePull, ImagePullSpec};
use serde_json::Value;

use super::marks::Written;
use super::{Cluster, explain, explain_step};

/// Whose the fields are that are written here.
const FIELD_MANAGER: &str = "kubectl-berth";

/// What of a Pod is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Specification and metadata.
    Whole,
    /// Status.
    Status,
}

impl Cluster {
    /// A Pod's namespace and name: `namespace/name`, or a name in the namespace that is named or the kubeconfig's.
    pub(crate) fn pod_named(&self, words: &str, namespace: Option<&str>) -> (String, String) {
        if let Some((namespace, name)) = words.split_once('/') {
            return (namespace.to_owned(), name.to_owned());
        }
        let namespace = namespace.unwrap_or_else(|| self.default_namespace());
        (namespace.to_owned(), words.to_owned())
    }

    /// A Pod, if there is one.
    pub(crate) async fn running_pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>> {
        let found = self.pod_api(namespace).get_opt(name).await;
        found.map_err(|error| explain("the Pod", error))
    }

    /// Merges into a Pod as kubelet does (conditions by their type, containers by their name).
    pub(crate) async fn write_pod(
        &self,
        (namespace, name): (&str, &str),
        part: Part,
        patch: &Value,
    ) -> Result<Written> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = self.pod_api(namespace);
        let patch = Patch::Strategic(patch);
        let asked = match part {
            Part::Whole => api.patch(name, &params, &patch).await,
            Part::Status => api.patch_status(name, &params, &patch).await,
        };
        match asked {
            Ok(_) => Ok(Written::Done),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Written::Outrun),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Written::Gone),
            Err(error) => Err(explain_step(
                "writing",
                &format!("the Pod {namespace}/{name}"),
                error,
            )),
        }
    }

    /// Asks for a restart.
    pub(crate) async fn create_restart(
        &self,
        namespace: &str,
        pod: &str,
        spec: ContainerRestartSpec,
    ) -> Result<ContainerRestart> {
        let request = ContainerRestart {
            metadata: ObjectMeta {
                generate_name: Some(format!("{pod}-")),
                ..ObjectMeta::default()
            },
            spec,
            status: None,
        };
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let made = self.restart_api(namespace).create(&params, &request).await;
        made.map_err(|error| explain_step("making", "the ContainerRestart", error))
    }

    /// A request, if there is one.
    pub(crate) async fn restart(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ContainerRestart>> {
        let found = self.restart_api(namespace).get_opt(name).await;
        found.map_err(|error| explain("the ContainerRestart", error))
    }

    /// What a node is to have, if anybody has said so.
    pub(crate) async fn image_pull(&self, node: &str) -> Result<Option<ImagePull>> {
        let found = self.image_pull_api().get_opt(node).await;
        found.map_err(|error| explain("the ImagePull", error))
    }

    /// Sees to it that there is an object for the node, of which many writers then apply their parts. It goes with its Node.
    pub(crate) async fn ensure_image_pull(&self, node: &str) -> Result<()> {
        let mut object = ImagePull::new(
            node,
            ImagePullSpec {
                node_name: node.to_owned(),
                images: Vec::new(),
                parallelism: None,
            },
        );
        // Who may ask for images may perhaps not read Nodes; and the object is mostly there.
        object.metadata.owner_references = match self.node(node).await {
            Ok(Some(found)) => found.controller_owner_ref(&()).map(|mut owner| {
                owner.controller = None;
                vec![owner]
            }),
            _ => None,
        };
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match self.image_pull_api().create(&params, &object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => {
                let what = format!("the ImagePull of node {node}");
                Err(explain_step("making", &what, error))
            }
        }
    }

    /// Applies one writer's part of what a node is to have; what it applied before and does not any more goes. The generation
    /// that this gave.
    pub(crate) async fn apply_image_pull(
        &self,
        node: &str,
        manager: &str,
        object: &Value,
    ) -> Result<i64> {
        // Another writer that asks for the same image asks in its own name too; who comes last is answered, and so is the other.
        let params = PatchParams::apply(manager).force();
        let asked = self
            .image_pull_api()
            .patch(node, &params, &Patch::Apply(object))
            .await;
        let what = format!("the ImagePull of node {node}");
        let made = asked.map_err(|error| explain_step("writing", &what, error))?;
        made.metadata
            .generation
            .with_context(|| format!("{what} has no generation"))
    }

    fn pod_api(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn restart_api(&self, namespace: &str) -> Api<ContainerRestart> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn image_pull_api(&self) -> Api<ImagePull> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}
