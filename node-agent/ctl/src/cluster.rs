//! The cluster as kubectl would find it, and what is read from it; long lists in pages.
//!
//! Of all the commands' code only [`marks`], [`releases`] and [`lifecycle`] write: marks on claims, what restarts and upgrades need, and
//! freezes; [`exec`] runs berth-ipamd's own commands on nodes.

pub(crate) mod exec;
mod lifecycle;
pub(crate) mod marks;
mod objects;
pub(crate) mod releases;
pub(crate) mod sets;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, PartialObjectMeta};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use proto_crd::names;
use proto_crd::node_health::NodeHealth;

pub(crate) use objects::StatefulSetSeen;

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
        value_name = "NAME",
        default_value = names::NAMESPACE,
        global = true
    )]
    pub(crate) berth_namespace: String,
}

/// How the rack of a node is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct RackArgs {
    /// Label of the Nodes that names their rack, where the configuration names another
    #[arg(long, value_name = "KEY", default_value = names::RACK_LABEL)]
    pub(crate) rack_label: String,
}

/// A client of the cluster.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    namespace: String,
    default_namespace: String,
}

impl Cluster {
    /// Finds server and credentials. Asks nobody yet.
    pub(crate) async fn connect(args: &ClusterArgs) -> Result<Self> {
        let options = KubeConfigOptions {
            context: args.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match &args.kubeconfig {
            Some(path) => Kubeconfig::read_from(path).with_context(|| {
                format!(
                    "reading {}; give --kubeconfig a file with which `kubectl get nodes` works",
                    path.display()
                )
            })?,
            None => Kubeconfig::read().context(
                "finding the cluster; name its kubeconfig by KUBECONFIG or --kubeconfig",
            )?,
        };
        let config = Config::from_custom_kubeconfig(config, &options)
            .await
            .context("reading the kubeconfig")?;
        let default_namespace = config.default_namespace.clone();
        Ok(Self {
            client: Client::try_from(config).context("making a client of the API server")?,
            namespace: args.berth_namespace.clone(),
            default_namespace,
        })
    }

    /// The namespace of the kubeconfig's context, where Pods are named without one.
    pub(crate) fn default_namespace(&self) -> &str {
        &self.default_namespace
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

    /// When each node's agent last renewed its Lease.
    pub(crate) async fn agent_renewals(&self) -> Result<BTreeMap<String, Timestamp>> {
        let api = self.lease_api();
        let list = async |params| api.list(&params).await;
        let of = |lease: Lease| Some((lease.name_any(), renewal(lease)?));
        let all = pages_of("the agents' Leases", ListParams::default(), list, of).await?;
        Ok(all.into_iter().collect())
    }

    /// When the agent of a node last renewed its Lease, if it ever did.
    pub(crate) async fn agent_renewal(&self, node: &str) -> Result<Option<Timestamp>> {
        let found = self.lease_api().get_opt(node).await;
        let found = found.map_err(|error| explain("the agent's Lease", error))?;
        Ok(found.and_then(renewal))
    }

    fn lease_api(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn report_api(&self) -> Api<NodeHealth> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

fn renewal(lease: Lease) -> Option<Timestamp> {
    Some(lease.spec?.renew_time?.0)
}

async fn pages<K: Clone + Debug>(
    what: &str,
    list: impl AsyncFn(ListParams) -> kube::Result<kube::core::ObjectList<K>>,
) -> Result<Vec<K>> {
    pages_of(what, ListParams::default(), list, Some).await
}

/// All pages of a list, of each object only what `keep` makes of it: a hundred thousand Pods do not fit anywhere whole.
async fn pages_of<K: Clone + Debug, V>(
    what: &str,
    params: ListParams,
    list: impl AsyncFn(ListParams) -> kube::Result<kube::core::ObjectList<K>>,
    keep: impl Fn(K) -> Option<V>,
) -> Result<Vec<V>> {
    let mut all = Vec::new();
    let first = params.limit(PAGE);
    let mut params = first.clone();
    loop {
        let page = list(params).await.map_err(|error| explain(what, error))?;
        let rest = page.metadata.continue_.filter(|token| !token.is_empty());
        all.extend(page.items.into_iter().filter_map(&keep));
        match rest {
            Some(token) => params = first.clone().continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// The API server's own words, without the rest of its answer, and what to do.
fn explain(what: &str, error: kube::Error) -> anyhow::Error {
    explain_step("reading", what, error)
}

fn explain_step(doing: &str, what: &str, error: kube::Error) -> anyhow::Error {
    let said = match error {
        kube::Error::Api(status) if status.code == 404 => anyhow!(
            "{}; is Berth installed there, and in this version? (kubectl apply -k install/manifests)",
            status.message
        ),
        kube::Error::Api(status) if status.code == 403 => anyhow!(
            "{}; the ClusterRole berth-operator allows it, once somebody has bound it to you",
            status.message
        ),
        kube::Error::Api(status) if status.code == 410 => anyhow!(
            "{}; the list changed too much while it was read: try again",
            status.message
        ),
        kube::Error::Api(status) => anyhow!("{}", status.message),
        // Its own text is its source's.
        kube::Error::Service(source) => anyhow::Error::from_boxed(source).context(
            "the API server cannot be reached (does kubectl get nodes work with this kubeconfig?)",
        ),
        other => other.into(),
    };
    said.context(format!("{doing} {what}"))
}
