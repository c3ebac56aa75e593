//! The cluster, as far as the daemon needs it: which rack a label of its own Node names, and Events on that Node.
//!
//! Owns the connection to the API server and what is remembered of its answers. Always: nobody waits for the API server
//! longer than for its first answer; a rack that is known stays known while it is away, across restarts too. Never: another
//! Node, or anything at all where the configuration has no `[kubernetes]`.

mod api;
mod claims;
mod events;
mod last;
mod node;
mod outbox;
mod pods;
mod pools;
mod sealed;

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ipamd_core::NodeRack;
use ipamd_daemon::{Tasks, chain};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{DefaultBackoff, watch_object};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tracing::{info, warn};

use crate::ledger::LedgerHandle;
use api::{Access, Connection};
pub(crate) use claims::{ClaimsHandle, ClaimsMetrics, GrantError, Granting};
use claims::{ClaimsParts, spawn_claims};
pub(crate) use events::EventsHandle;
use last::{Last, LastFile};
use node::{Decision, Observed, Own};
pub(crate) use outbox::Topic;
use pods::spawn_pods;
pub(crate) use pods::{PodFacts, PodsHandle, PodsMetrics};
pub(crate) use pools::{PoolSource, Remembered, Seen};

/// An API server that is there answers within milliseconds, a busy one within seconds. After that long a node does with what it
/// knows: a Pod waits meanwhile.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// While nothing can be handed out for want of an answer, it is asked for at least so often.
const URGENT_PAUSE: Duration = Duration::from_secs(5);

/// What the cluster is asked with.
pub(crate) struct SyncParts {
    /// The label of the Node that says its rack.
    pub(crate) rack_label: Box<str>,
    /// The kubeconfig; `None`: by the Pod's service account.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The store's folder, where the last known rack lies too.
    pub(crate) store: PathBuf,
    /// Knows the node's name and its pools.
    pub(crate) ledger: LedgerHandle,
    /// Where pools are objects: those that were in use last, and what counts those that are refused.
    pub(crate) pools: Option<(Remembered, Gauge)>,
    /// Counts what is heard of Pods.
    pub(crate) pods: PodsMetrics,
    /// Counts what is asked about claims.
    pub(crate) claims: ClaimsMetrics,
    /// Free addresses that are kept claimed in each network and family.
    pub(crate) warm: usize,
}

/// What comes from the cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The rack of this node; `None`: it is configured.
    pub(crate) rack: Option<watch::Receiver<NodeRack>>,
    /// The pools of its rack; `None`: they are configured.
    pub(crate) pools: Option<PoolSource>,
    /// Takes what an operator must hear of.
    pub(crate) events: EventsHandle,
    /// The Pods of this node; none where pools are configured.
    pub(crate) pods: PodsHandle,
    /// Gives addresses, and claims them.
    pub(crate) claims: ClaimsHandle,
}

impl Cluster {
    /// There is none.
    pub(crate) fn of_nobody() -> Self {
        Self {
            rack: None,
            pools: None,
            events: EventsHandle::to_nobody(),
            pods: PodsHandle::of_nobody(),
            claims: ClaimsHandle::of_nobody(),
        }
    }
}

/// Starts to follow the own Node, and to tell Events on it. `rack` is what is the case before the first answer.
pub(crate) fn spawn_sync(tasks: &Tasks, parts: SyncParts, rack: NodeRack) -> Cluster {
    let settings = parts.ledger.status().borrow().settings.clone();
    let node = settings.settings().node.clone();
    let (rack, racks) = watch::channel(rack);
    let (connection, connections) = watch::channel(None);
    let (pools, seen) = watch::channel(Seen::default());
    let events = EventsHandle::new();
    // Where nothing is claimed, what a Pod says counts as far as the plugin is told it.
    let pods = if settings.settings().claiming {
        spawn_pods(tasks, &parts, node.clone(), connections.clone())
    } else {
        PodsHandle::of_nobody()
    };
    let claims = claims_of(tasks, &parts, &node, &pods, &connections, &events);
    let token = tasks.token();
    let source = parts.pools.map(|(remembered, refusals)| {
        let watching = pools::run(racks.clone(), connections.clone(), pools.clone());
        let ended = token.clone();
        tasks.spawn("pools", async move { until(&ended, watching).await });
        PoolSource::new(seen, remembered, events.clone(), refusals)
    });
    let writer = events::run(
        events.clone(),
        node.clone(),
        parts.ledger.status(),
        connections,
    );
    let ended = token.clone();
    tasks.spawn("events", async move { until(&ended, writer).await });
    let file = LastFile::new(parts.store, &node, &parts.rack_label);
    let sync = Sync {
        access: Access::new(parts.kubeconfig),
        own: Own {
            node,
            label: parts.rack_label,
        },
        last: file.load(),
        file: Arc::new(file),
        stored: true,
        ledger: parts.ledger,
        rack,
        connection,
        pools,
        events: events.clone(),
        away: false,
    };
    tasks.spawn("sync", async move { until(&token, sync.run()).await });
    Cluster {
        rack: Some(racks),
        pools: source,
        events,
        pods,
        claims,
    }
}

/// What claims addresses; where pools are configured, nothing does.
fn claims_of(
    tasks: &Tasks,
    parts: &SyncParts,
    node: &proto_ids::NodeName,
    pods: &PodsHandle,
    connections: &watch::Receiver<Option<Connection>>,
    events: &EventsHandle,
) -> ClaimsHandle {
    if !parts.ledger.status().borrow().settings.settings().claiming {
        return ClaimsHandle::of_nobody();
    }
    let parts = ClaimsParts {
        node: node.clone(),
        ledger: parts.ledger.clone(),
        pods: pods.subscribe(),
        connections: connections.clone(),
        events: events.clone(),
        metrics: parts.claims.clone(),
        warm: parts.warm,
    };
    spawn_claims(tasks, parts)
}

async fn until(token: &tokio_util::sync::CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = token.cancelled() => {}
        () = work => {}
    }
}

/// The task that follows the Node.
struct Sync {
    access: Access,
    own: Own,
    last: Option<Last>,
    file: Arc<LastFile>,
    /// Whether the disk knows what `last` says.
    stored: bool,
    ledger: LedgerHandle,
    rack: watch::Sender<NodeRack>,
    connection: watch::Sender<Option<Connection>>,
    pools: watch::Sender<Seen>,
    events: EventsHandle,
    away: bool,
}

impl Sync {
    async fn run(mut self) {
        let mut pauses = DefaultBackoff::default();
        loop {
            // Made anew each time, so that a renewed certificate authority or address is found.
            match self.access.connect().await {
                Ok(connection) => self.follow(connection).await,
                Err(error) => self.decide(Observed::from(&error)).await,
            }
            let pause = pauses.next().unwrap_or(URGENT_PAUSE);
            let urgent = self.rack.borrow().is_awaited();
            tokio::time::sleep(if urgent {
                pause.min(URGENT_PAUSE)
            } else {
                pause
            })
            .await;
        }
    }

    /// Follows the Node until the connection fails.
    async fn follow(&mut self, connection: Connection) {
        let nodes = Api::<PartialObjectMeta<Node>>::all(connection.client.clone());
        let mut seen = pin!(watch_object(nodes, self.own.node.as_str()));
        let mut deadline = Some(ANSWER_DEADLINE);
        loop {
            let next = async {
                match deadline {
                    Some(deadline) => tokio::time::timeout(deadline, seen.next()).await,
                    None => Ok(seen.next().await),
                }
            };
            let next = tokio::select! {
                next = next => next,
                // Everybody goes over to a new one.
                () = connection.doubted() => return,
            };
            match next {
                Ok(Some(Ok(object))) => {
                    deadline = None;
                    let uid = object.as_ref().and_then(|node| node.metadata.uid.clone());
                    self.connection.send_replace(Some(Connection {
                        uid,
                        ..connection.clone()
                    }));
                    let observed = Observed::of(object, &self.own);
                    self.decide(observed).await;
                }
                Ok(Some(Err(error))) => {
                    return self.decide(connection.failed(&error)).await;
                }
                // The stream has no end of its own.
                Ok(None) => return,
                Err(_) => return self.decide(connection.silent(ANSWER_DEADLINE)).await,
            }
        }
    }

    /// Does with what was seen what [`node::plan`] says.
    async fn decide(&mut self, observed: Observed) {
        self.tell(&observed);
        pools::tell_trouble(&self.pools, &observed);
        let settings = self.ledger.status().borrow().settings.clone();
        let racks = settings.settings().racks(None);
        let Decision {
            rack,
            remember,
            moved,
        } = node::plan(&self.own, &racks, observed, self.last.as_ref());
        if let Some(last) = remember {
            self.last = Some(last);
            self.stored = false;
        }
        self.store().await;
        self.rack.send_if_modified(|known| {
            let changed = *known != rack;
            if changed {
                info!(node = %self.own.node, %rack, "rack by label");
                *known = rack;
            }
            changed
        });
        if let Some(moved) = moved {
            warn!(node = %self.own.node, from = %moved.from, to = %moved.to, "rack changed");
            self.events.put(Topic::RackChanged, moved.to_string());
        }
    }

    /// Says once that the API server is away, and that it is back.
    fn tell(&mut self, observed: &Observed) {
        match observed {
            Observed::Away { problem, advice } if !self.away => {
                warn!(error = problem, advice, "API server does not answer");
                self.away = true;
            }
            Observed::Away { .. } => {}
            Observed::Present { .. } | Observed::Absent => {
                if self.away {
                    info!("API server answers again");
                }
                self.away = false;
            }
        }
    }

    /// Stores the last known rack, and what could not be stored before.
    async fn store(&mut self) {
        let Some(last) = self.last.clone().filter(|_| !self.stored) else {
            return;
        };
        let file = Arc::clone(&self.file);
        let stored = tokio::task::spawn_blocking(move || file.store(&last)).await;
        match stored {
            Ok(Ok(())) => self.stored = true,
            Ok(Err(error)) => warn!(error = %chain(&error), "last known rack cannot be stored"),
            Err(error) => warn!(%error, "last known rack cannot be stored"),
        }
    }
}
