//! The cluster as kubectl would find it, and what is read from it. Reads only; long lists in pages.

use std::fmt::Debug;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, PartialObjectMeta};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use proto_crd::names;
use proto_crd::node_health::NodeHealth;

/// What one answer holds: an API server gives 500 objects in well under a second.
const PAGE: u32 = 500;

/// Which cluster. kubectl hands a plugin its environment, but none of its own flags.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Server and credentials; default: as kubectl (KUBECONFIG, else ~/.kube/config)
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Context in that file; default: its current one
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) context: Option<String>,

    /// Namespace of Berth's own objects
    #[arg(
        long,
        short,
        value_name = "NAME",
        default_value = names::NAMESPACE,
        global = true
    )]
    pub(crate) namespace: String,
}

/// A client of the cluster.
pub(crate) struct Cluster {
    client: Client,
    namespace: String,
}

impl Cluster {
    /// Finds server and credentials. Asks nobody yet.
    pub(crate) async fn connect(args: &ClusterArgs) -> Result<Self> {
        let options = KubeConfigOptions {
            context: args.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match &args.kubeconfig {
            Some(path) => Kubeconfig::read_from(path)
                .with_context(|| format!("reading {}", path.display()))?,
            None => Kubeconfig::read().context(
                "finding the cluster; name its kubeconfig by KUBECONFIG or --kubeconfig",
            )?,
        };
        let config = Config::from_custom_kubeconfig(config, &options)
            .await
            .context("reading the kubeconfig")?;
        Ok(Self {
            client: Client::try_from(config).context("making a client of the API server")?,
            namespace: args.namespace.clone(),
        })
    }

    /// The reports of all nodes.
    pub(crate) async fn reports(&self) -> Result<Vec<NodeHealth>> {
        let api = self.report_api();
        let list = async |params| api.list(&params).await;
        pages("the NodeHealths", list).await
    }

    /// The report of one node, if there is one.
    pub(crate) async fn report(&self, node: &str) -> Result<Option<NodeHealth>> {
        let found = self.report_api().get_opt(node).await;
        found.map_err(|error| explain("the NodeHealth", error))
    }

    /// The names of all nodes.
    pub(crate) async fn node_names(&self) -> Result<Vec<String>> {
        let api: Api<Node> = Api::all(self.client.clone());
        let list = async |params| api.list_metadata(&params).await;
        let nodes: Vec<PartialObjectMeta<Node>> = pages("the Nodes", list).await?;
        Ok(nodes.iter().map(ResourceExt::name_any).collect())
    }

    /// One node, if there is one.
    pub(crate) async fn node(&self, name: &str) -> Result<Option<Node>> {
        let api: Api<Node> = Api::all(self.client.clone());
        let found = api.get_opt(name).await;
        found.map_err(|error| explain("the Node", error))
    }

    fn report_api(&self) -> Api<NodeHealth> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

async fn pages<K: Clone + Debug>(
    what: &str,
    list: impl AsyncFn(ListParams) -> kube::Result<kube::core::ObjectList<K>>,
) -> Result<Vec<K>> {
    let mut all = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = list(params).await.map_err(|error| explain(what, error))?;
        let rest = page.metadata.continue_.filter(|token| !token.is_empty());
        all.extend(page.items);
        match rest {
            Some(token) => params = ListParams::default().limit(PAGE).continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// The API server's own words, without the rest of its answer.
fn explain(what: &str, error: kube::Error) -> anyhow::Error {
    let said = match error {
        kube::Error::Api(status) if status.code == 404 => anyhow!(
            "{}; is Berth installed there? (kubectl apply -k install/manifests)",
            status.message
        ),
        kube::Error::Api(status) => anyhow!("{}", status.message),
        // Its own text is its source's.
        kube::Error::Service(source) => anyhow::Error::from_boxed(source),
        other => other.into(),
    };
    said.context(format!("reading {what}"))
}
