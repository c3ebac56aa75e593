//! This node's Pods, and what they say of their addresses: heard of as soon as they are bound to the node, so that an ADD
//! finds everything at hand.
//!
//! Owns a watch that the API server filters to the own node's Pods with a network of their own, metadata only, and what is
//! remembered of it. Always: nobody waits for the API server while it is away; what was heard stays until it says otherwise,
//! across restarts too. Never: another node's Pods, or anything at all where pools are configured and nothing is claimed.

mod facts;
mod last;
mod metrics;
mod view;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ipamd_daemon::Tasks;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use proto_ids::{NodeName, PodKey, PodUid};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_stream::StreamExt;
use tracing::{info, warn};

use super::api::{Connection, another};
use super::node::Observed;
use super::{ANSWER_DEADLINE, SyncParts};
use last::{PodsFile, remember};

pub(crate) use facts::{PodFacts, RackChange};
pub(crate) use metrics::PodsMetrics;
pub(crate) use view::{Contact, PodsView};

/// The kubelet begins with a Pod when it hears of it, and so do we: one is ahead of the other by milliseconds. A daemon that
/// just started, or an API server that is busy, takes longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where the pauses between tries end.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is known of this node's Pods.
#[derive(Clone, Debug)]
pub(crate) struct PodsHandle {
    view: watch::Receiver<PodsView>,
    metrics: PodsMetrics,
}

impl PodsHandle {
    /// Knows of no Pod, and waits for none.
    pub(crate) fn of_nobody() -> Self {
        Self {
            view: watch::channel(PodsView::of_nobody()).1,
            metrics: PodsMetrics::default(),
        }
    }

    /// What is known of a Pod now. With a UID another Pod of the same name is not it.
    pub(crate) fn facts(&self, pod: &PodKey, uid: Option<&PodUid>) -> Option<Arc<PodFacts>> {
        self.view.borrow().pod(pod, uid).cloned()
    }

    /// The same, after a short while in which it may be heard of; no longer than the API server answers.
    pub(crate) async fn known(&self, pod: &PodKey, uid: Option<&PodUid>) -> Option<Arc<PodFacts>> {
        let is_done =
            |view: &PodsView| view.pod(pod, uid).is_some() || view.contact() == Contact::Away;
        let mut view = self.subscribe();
        if !is_done(&view.borrow_and_update()) {
            self.metrics.awaited.inc();
            // A closed channel or a passed deadline: what is known then is what there is.
            let waited = timeout(PATIENCE, view.wait_for(is_done)).await;
            drop(waited);
        }
        self.facts(pod, uid)
    }

    /// Hears of every change: all Pods that are there, and whether the API server says what becomes of them.
    pub(crate) fn subscribe(&self) -> watch::Receiver<PodsView> {
        self.view.clone()
    }
}

/// Starts to follow the Pods of this node.
pub(super) fn spawn_pods(
    tasks: &Tasks,
    parts: &SyncParts,
    node: NodeName,
    connections: watch::Receiver<Option<Connection>>,
) -> PodsHandle {
    let metrics = parts.pods.clone();
    let file = PodsFile::new(parts.store.clone(), node.clone());
    let (publish, view) = watch::channel(PodsView::remembered(file.load()));
    let following = Following {
        node,
        connections,
        view: publish,
        metrics: metrics.clone(),
    };
    let token = tasks.token();
    let ended = token.clone();
    tasks.spawn("pods", async move {
        super::until(&ended, following.follow()).await;
    });
    tasks.spawn("pods-file", remember(file, view.clone(), token));
    PodsHandle { view, metrics }
}

/// The task that follows them.
struct Following {
    node: NodeName,
    connections: watch::Receiver<Option<Connection>>,
    view: watch::Sender<PodsView>,
    metrics: PodsMetrics,
}

impl Following {
    async fn follow(mut self) {
        let mut connections = self.connections.clone();
        let mut pauses = DefaultBackoff::default();
        let mut away = false;
        loop {
            let connection = self.connection().await;
            let failed = tokio::select! {
                failed = self.watch(&connection, &mut away) => failed,
                // This one was found dead, here or elsewhere.
                () = another(&mut connections, Some(&connection)) => continue,
            };
            if let Observed::Away { problem, advice } = failed
                && !std::mem::replace(&mut away, true)
            {
                warn!(
                    error = problem,
                    advice, "Pods of this node cannot be followed"
                );
            }
            self.lose();
            tokio::select! {
                () = sleep(pauses.next().unwrap_or(LONGEST_PAUSE)) => {}
                () = another(&mut connections, Some(&connection)) => {}
            }
        }
    }

    /// The newest connection, once there is one.
    async fn connection(&mut self) -> Connection {
        loop {
            if let Some(connection) = self.connections.borrow_and_update().clone() {
                return connection;
            }
            match timeout(ANSWER_DEADLINE, self.connections.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return std::future::pending().await,
                // An API server that is away from the start must not be waited for by every ADD.
                Err(_) => self.lose(),
            }
        }
    }

    /// Follows the Pods until that fails; why.
    async fn watch(&self, connection: &Connection, away: &mut bool) -> Observed {
        let pods = Api::<PartialObjectMeta<Pod>>::all(connection.client.clone());
        let own = watcher::Config::default().fields(&selector(&self.node));
        let mut seen = pin!(watcher(pods, own));
        self.metrics.watches.inc();
        let mut deadline = Some(Instant::now() + ANSWER_DEADLINE);
        loop {
            let next = match deadline {
                Some(deadline) => timeout_at(deadline, seen.next()).await,
                None => Ok(seen.next().await),
            };
            match next {
                Ok(Some(Ok(event))) => {
                    if matches!(event, Event::InitDone) {
                        deadline = None;
                        let again = std::mem::take(away);
                        info!(node = %self.node, again, "Pods of this node are followed");
                    }
                    self.take(event);
                }
                Ok(Some(Err(error))) => return connection.failed(&error),
                // The stream has no end of its own.
                Ok(None) | Err(_) => return connection.silent(ANSWER_DEADLINE),
            }
        }
    }

    fn take(&self, event: Event<PartialObjectMeta<Pod>>) {
        if !matches!(event, Event::Init | Event::InitDone) {
            self.metrics.heard.inc();
        }
        self.view.send_if_modified(|view| {
            let changed = view.take(event);
            let known = view.pods().len();
            let known = i64::try_from(known).unwrap_or(i64::MAX);
            self.metrics.known.set(known);
            changed
        });
    }

    fn lose(&self) {
        self.view.send_if_modified(PodsView::lose);
    }
}

/// The Pods that need addresses of this node: not those in the node's own network, and none that is over. `spec.hostNetwork`
/// is selectable since Kubernetes 1.28; a Pod that says nothing of it counts as `false` (tried with 1.36).
fn selector(node: &NodeName) -> String {
    format!(
        "spec.nodeName={node},spec.hostNetwork=false,status.phase!=Succeeded,status.phase!=Failed"
    )
}

#[cfg(test)]
mod tests;
