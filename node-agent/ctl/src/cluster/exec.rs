//! What a node's berth-ipamd says: its own commands, run in its Pod through the API server.
//!
//! A Pod that is away, a right that is missing and a node that does not answer are told as such; the answers of the other
//! nodes are worth the same without it.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

use super::Cluster;

/// The container of the Pod.
const CONTAINER: &str = "ipamd";

/// The longest answer that is taken: the log of one address, or the findings of one node, is some hundred lines.
const ANSWER_LIMIT_BYTES: u64 = 8 * 1024 * 1024;

/// "Done, and the answer is no": its document is whole.
const ANSWER_NO: i32 = 5;

/// How nodes are asked.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ExecArgs {
    /// Nodes that are asked at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) parallel: u16,

    /// How many seconds a node may take to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=600))]
    pub(crate) node_deadline: u16,
}

/// Why a node's berth-ipamd says nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskNodeError {
    /// It has no such Pod.
    #[error("there is no Pod of berth-ipamd on it; is it excluded from Berth, or down?")]
    NoPod,
    /// Whoever asks may not.
    #[error(
        "running commands in Berth's Pods is not allowed to you; the Role berth-operator of Berth's namespace allows it, once \
         somebody has bound it to you (install/manifests/rbac/operator.yaml)"
    )]
    Forbidden,
    /// The API server, or kubelet, would not pass it on.
    #[error("its Pod {pod} cannot be reached ({message}); do kubelet and the Pod run?")]
    PassOn { pod: String, message: String },
    /// The connection did not come about.
    #[error("its Pod {pod} cannot be reached; do kubelet and the Pod run?")]
    Connect {
        pod: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// No answer in time.
    #[error("it did not answer within {}s", .limit.as_secs())]
    Deadline { limit: Duration },
    /// The connection broke off.
    #[error("its answer broke off")]
    Read {
        #[source]
        source: std::io::Error,
    },
    /// The command did not work.
    #[error("{message}")]
    Command { message: String },
    /// The answer is of another version.
    #[error("its answer is not understood; is it of another version?")]
    Form {
        #[source]
        source: serde_json::Error,
    },
}

impl AskNodeError {
    /// Every other node would be as impossible to ask.
    pub(crate) fn is_everywhere(&self) -> bool {
        matches!(self, Self::Forbidden)
    }
}

/// What each node said.
pub(crate) type Answers<T> = BTreeMap<String, Result<T, AskNodeError>>;

/// Runs berth-ipamd's commands on nodes.
#[derive(Clone)]
pub(crate) struct Nodes {
    client: Client,
    namespace: String,
    pods: BTreeMap<String, String>,
    limit: Duration,
    parallel: usize,
}

impl Nodes {
    /// Whoever runs on these nodes; `pods` by [`Cluster::ipamd_pods`].
    pub(crate) fn new(cluster: &Cluster, pods: BTreeMap<String, String>, args: ExecArgs) -> Self {
        Self {
            client: cluster.client.clone(),
            namespace: cluster.namespace.clone(),
            pods,
            limit: Duration::from_secs(args.node_deadline.into()),
            parallel: args.parallel.into(),
        }
    }

    /// Runs a command of berth-ipamd on one node; its document.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        node: &str,
        words: &[String],
    ) -> Result<T, AskNodeError> {
        let pod = self.pods.get(node).ok_or(AskNodeError::NoPod)?;
        let asked = self.run(pod, words);
        let asked = tokio::time::timeout(self.limit, asked).await;
        let text = asked.map_err(|_| AskNodeError::Deadline { limit: self.limit })??;
        serde_json::from_slice(&text).map_err(|source| AskNodeError::Form { source })
    }

    /// Runs a command on all these nodes, some at a time. Stops asking when nobody may be asked.
    pub(crate) async fn ask_all<T: DeserializeOwned + Send + 'static>(
        &self,
        nodes: impl IntoIterator<Item = String>,
        words: &[String],
    ) -> Answers<T> {
        let mut answers = BTreeMap::new();
        let mut asked = JoinSet::new();
        let mut nodes = nodes.into_iter();
        let mut stop = false;
        loop {
            while !stop && asked.len() < self.parallel {
                let Some(node) = nodes.next() else { break };
                let (own, words) = (self.clone(), words.to_vec());
                asked.spawn(async move {
                    let answer = own.ask(&node, &words).await;
                    (node, answer)
                });
            }
            // A task that panics is a bug; its node is then named as one that was not asked.
            match asked.join_next().await {
                Some(Ok((node, answer))) => {
                    stop |= matches!(&answer, Err(error) if error.is_everywhere());
                    answers.insert(node, answer);
                }
                Some(Err(_)) => {}
                None => break,
            }
        }
        answers
    }

    async fn run(&self, pod: &str, words: &[String]) -> Result<Vec<u8>, AskNodeError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        // Flags first: after a "--" they would be none.
        let mut command = ["berth-ipamd", "--output", "json"]
            .map(ToOwned::to_owned)
            .to_vec();
        command.extend_from_slice(words);
        let params = AttachParams::default().container(CONTAINER);
        let process = api.exec(pod, command, &params).await;
        let mut process = process.map_err(|error| refused(pod, error))?;
        let (said, complaint) = output(&mut process).await?;
        let status = match process.take_status() {
            Some(status) => status.await,
            None => None,
        };
        judge(status.as_ref(), said, &complaint)
    }
}

fn refused(pod: &str, error: kube::Error) -> AskNodeError {
    use kube::client::UpgradeConnectionError::ProtocolSwitch;
    let code = match &error {
        kube::Error::Api(status) => status.code,
        kube::Error::UpgradeConnection(ProtocolSwitch(code)) => code.as_u16(),
        _ => 0,
    };
    let pod = pod.to_owned();
    match (code, error) {
        (403, _) => AskNodeError::Forbidden,
        (404, _) => AskNodeError::NoPod,
        (_, kube::Error::Api(status)) => AskNodeError::PassOn {
            pod,
            message: status.message,
        },
        (_, error) => AskNodeError::Connect {
            pod,
            source: Box::new(error),
        },
    }
}

async fn output(process: &mut AttachedProcess) -> Result<(Vec<u8>, String), AskNodeError> {
    let (mut said, mut complaint) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let read = |source| AskNodeError::Read { source };
    // Both at once: who writes the one waits for room in the other.
    let (one, other) = tokio::join!(
        async {
            match stdout {
                Some(stdout) => stdout.take(ANSWER_LIMIT_BYTES).read_to_end(&mut said).await,
                None => Ok(0),
            }
        },
        async {
            match stderr {
                Some(stderr) => {
                    stderr
                        .take(ANSWER_LIMIT_BYTES)
                        .read_to_end(&mut complaint)
                        .await
                }
                None => Ok(0),
            }
        }
    );
    one.map_err(read)?;
    other.map_err(read)?;
    Ok((said, String::from_utf8_lossy(&complaint).trim().to_owned()))
}

/// Whether the document is one, by how the command ended.
fn judge(status: Option<&Status>, said: Vec<u8>, complaint: &str) -> Result<Vec<u8>, AskNodeError> {
    let code = status.map(exit_code);
    if let Some(Some(0 | ANSWER_NO)) = code {
        return Ok(said);
    }
    let message = match (complaint, status) {
        ("", None) => "the connection to it ended before the command did".to_owned(),
        ("", Some(status)) => status.message.clone().unwrap_or_default(),
        (complaint, _) => complaint.to_owned(),
    };
    Err(AskNodeError::Command { message })
}

/// The code that a program ended with, as the API server tells it; none, where it did not run.
fn exit_code(status: &Status) -> Option<i32> {
    if status.status.as_deref() == Some("Success") {
        return Some(0);
    }
    let details = status.details.as_ref()?;
    let mut causes = details.causes.iter().flatten();
    let cause = causes.find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
    cause.message.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests;
