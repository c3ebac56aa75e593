//! Image pulls: makes this node have the images that its `ImagePull` asks for, before anything needs them, and tells how far it is.
//!
//! Only the object of this node is watched, and only its status is written. What is decided lies in `node-agent-pull`; here are the
//! watch, the runtime, the secrets and the writes. An attempt never waits for the API server, unless it needs a secret. Nothing is
//! ever removed from the node: that is kubelet's.

mod attempt;
mod keeper;
mod metrics;
mod progress;
mod secrets;
mod writer;

use clap::Args;
use ipamd_daemon::Tasks;
use kube::Client;
use node_agent_cri::Runtime;
use tokio::sync::{mpsc, watch};

pub(crate) use self::metrics::PullMetrics;

use self::attempt::Site;
use self::keeper::{Keeper, keep};
use self::secrets::Secrets;
use self::writer::{Stand, Writer, spawn_writer};

/// How many notices of attempts may wait: more than run at once.
const NOTICES: usize = 16;

/// Where pull secrets are.
#[derive(Clone, Debug, Args)]
pub(crate) struct PullArgs {
    /// Namespace of the secrets that images are pulled with; none of another namespace is ever read
    #[arg(
        long,
        value_name = "NAME",
        default_value = proto_crd::names::PULL_SECRETS_NAMESPACE,
        env = "BERTH_AGENT_PULL_SECRETS_NAMESPACE"
    )]
    pub(crate) pull_secrets_namespace: String,
}

/// What pulls work with.
pub(crate) struct Pulls {
    /// Of an API server that may be silent on a watch for long.
    pub(crate) client: Client,
    /// Where Berth's own objects are.
    pub(crate) namespace: String,
    /// Where pull secrets are.
    pub(crate) secrets_namespace: String,
    /// This node, and so the object.
    pub(crate) node: String,
    /// Who pulls.
    pub(crate) runtime: Runtime,
    /// What is counted.
    pub(crate) metrics: PullMetrics,
}

/// Starts to follow the object of this node.
pub(crate) fn spawn_pulls(tasks: &Tasks, pulls: Pulls) {
    let (stands, told) = watch::channel(None::<Stand>);
    let (notices, heard) = mpsc::channel(NOTICES);
    let writer = Writer::new(pulls.client.clone(), &pulls.namespace, &pulls.node);
    spawn_writer(tasks, writer, told);
    let secrets = Secrets::new(pulls.client.clone(), pulls.secrets_namespace);
    let keeper = Keeper {
        tasks: tasks.clone(),
        site: Site {
            runtime: pulls.runtime,
            secrets,
            notices,
        },
        metrics: pulls.metrics,
        stands,
    };
    let token = tasks.token();
    tasks.spawn("pulls", async move {
        // Nothing is lost by ending in the middle: the next process makes what was under way again.
        tokio::select! {
            () = token.cancelled() => {}
            () = keep(keeper, pulls.client, &pulls.namespace, &pulls.node, heard) => {}
        }
    });
}
