//! The way to the API server: by the Pod's service account, or by a kubeconfig that was named; and its failures in words.
//!
//! Tokens and certificate authorities are read again by the client when the kubelet renews them. A kubeconfig is used only
//! when it is named: what lies in a home folder mostly has more rights than a node's daemon should have.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::runtime::watcher;
use kube::{Client, Config};
use tokio::sync::{Notify, watch};

use super::node::Observed;

/// A packet to an API server that is gone may get no answer at all.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// A watch is told something every 60 to 75 seconds (`allowWatchBookmarks`; kube-apiserver's cacher.go), so one that is silent for longer has lost
/// its connection without a word. It happens when an uplink is taken over: the kernel forgets masqueraded connections, such as those to a
/// Service, together with the address that is taken off the NIC. Of what nobody changes there are bookmarks only where etcd has
/// `--watch-progress-notify-interval` (kubeadm: 5s); without it such a watch begins anew each time (tried: after 90 s; never with it).
const SILENCE_DEADLINE: Duration = Duration::from_secs(90);

/// How the API server is reached.
#[derive(Clone, Debug)]
pub(super) struct Access {
    kubeconfig: Option<PathBuf>,
}

/// A client, and what is known of the Node by it.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) client: Client,
    /// The API server's address; its place in memory tells one connection from another.
    pub(super) server: Arc<str>,
    /// The UID of the own Node, where there is one.
    pub(super) uid: Option<String>,
    /// Somebody found a part of it dead.
    pub(super) doubts: Arc<Notify>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The named kubeconfig cannot be used.
    #[error("kubeconfig {path} cannot be used")]
    Kubeconfig {
        path: PathBuf,
        #[source]
        source: KubeconfigError,
    },
    /// There is no service account, or nobody says where the API server is.
    #[error("the service account of this Pod cannot be used")]
    ServiceAccount(#[source] InClusterError),
    /// What they say makes no client.
    #[error("no client for the API server {server}")]
    Client {
        server: String,
        #[source]
        source: kube::Error,
    },
}

impl Access {
    pub(super) const fn new(kubeconfig: Option<PathBuf>) -> Self {
        Self { kubeconfig }
    }

    /// A client. Nothing is sent yet.
    pub(super) async fn connect(&self) -> Result<Connection, ConnectError> {
        let mut config = match &self.kubeconfig {
            None => Config::incluster().map_err(ConnectError::ServiceAccount)?,
            Some(path) => {
                let refused = |source| ConnectError::Kubeconfig {
                    path: path.clone(),
                    source,
                };
                let options = KubeConfigOptions::default();
                let read = Kubeconfig::read_from(path).map_err(refused)?;
                let config = Config::from_custom_kubeconfig(read, &options).await;
                config.map_err(refused)?
            }
        };
        config.connect_timeout = Some(CONNECT_DEADLINE);
        config.read_timeout = Some(SILENCE_DEADLINE);
        // Else the time that a connection was idle would count.
        config.reset_reader_on_write = true;
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        match ipamd_api::client(config) {
            Ok(client) => Ok(Connection {
                client,
                server: server.into(),
                uid: None,
                doubts: Arc::default(),
            }),
            Err(source) => Err(ConnectError::Client { server, source }),
        }
    }
}

impl From<&ConnectError> for Observed {
    fn from(error: &ConnectError) -> Self {
        Self::Away {
            problem: match error {
                ConnectError::ServiceAccount(InClusterError::ReadEnvironmentVariable(_)) => {
                    "nobody says where the API server is: KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is not set"
                        .to_owned()
                }
                error => format!("the API server cannot be asked: {error}: {}", root(error)),
            },
            advice: match error {
                ConnectError::Kubeconfig { .. } => "correct the kubeconfig that --kubeconfig names",
                ConnectError::ServiceAccount(_) => {
                    "run it as a Pod with a service account's token and KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, \
                     or name a kubeconfig with --kubeconfig"
                }
                ConnectError::Client { .. } => "check address and certificates of the API server",
            }
            .to_owned(),
        }
    }
}

/// Returns when there is another connection than this one. What is new of the Node alone makes no other.
///
/// # Cancellation
/// Safe.
pub(super) async fn another(
    connections: &mut watch::Receiver<Option<Connection>>,
    than: Option<&Connection>,
) {
    let place = |connection: &Connection| Arc::as_ptr(&connection.server);
    let is_other = |now: &Option<Connection>| now.as_ref().map(place) != than.map(place);
    if connections.wait_for(is_other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Connection {
    /// One of its sockets was dead: watches on others may be too, and would not hear of it for [`SILENCE_DEADLINE`].
    pub(super) fn doubt(&self) {
        self.doubts.notify_one();
    }

    /// Returns when somebody doubts it.
    ///
    /// # Cancellation
    /// Safe: a doubt is kept for the next that asks.
    pub(super) async fn doubted(&self) {
        self.doubts.notified().await;
    }

    /// What a failed watch means.
    pub(super) fn failed(&self, error: &watcher::Error) -> Observed {
        let server = &self.server;
        if let Some(status) = status(error) {
            return Observed::Away {
                problem: format!("the API server {server} refuses: {}", status.message),
                // 404: the Kind is not there.
                advice: if matches!(status.code, 401 | 403 | 404) {
                    "give the cluster the definitions and rights that berth-ipamd needs (`kubectl apply -k install/manifests`); \
                     the daemon asks again by itself"
                } else {
                    "see the API server's log; the daemon asks again by itself"
                }
                .to_owned(),
            };
        }
        Observed::Away {
            problem: format!("the API server {server} cannot be reached: {}", root(error)),
            advice: Self::way(),
        }
    }

    /// What it means that there is no answer.
    pub(super) fn silent(&self, deadline: Duration) -> Observed {
        let server = &self.server;
        Observed::Away {
            problem: format!("the API server {server} does not answer within {deadline:?}"),
            advice: Self::way(),
        }
    }

    fn way() -> String {
        "check the way from this node to it (where no kube-proxy runs, the ConfigMap berth-api names its address); \
         the daemon asks again by itself"
            .to_owned()
    }
}

/// The API server's own answer, where it gave one.
fn status(error: &watcher::Error) -> Option<&kube::core::Status> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => match error {
            kube::Error::Api(status) => Some(status),
            _ => None,
        },
        watcher::Error::WatchError(status) => Some(status),
        watcher::Error::NoResourceVersion => None,
    }
}

/// The innermost cause. Errors of this client print their causes themselves: the chain would say everything twice.
pub(super) fn root(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}
