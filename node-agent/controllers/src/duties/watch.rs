//! What the duties see: all Nodes, and the versions of kubelets' Leases. Watched only while the duties are ours.
//!
//! Of Leases nothing but the metadata: ten thousand kubelets renew theirs a thousand times a second. A view may be old: before a node is
//! called silent it is asked live.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::coordination::v1::Lease;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;

use super::node::{LeanNode, NodeView};
use crate::cache::Cache;
use crate::follow::{config, follow, kept};
use crate::metrics::ControllersMetrics;
use crate::mirror::version_of;

/// Where kubelets' Leases are.
pub(super) const LEASES: &str = "kube-node-lease";

/// Everything that is watched.
#[derive(Debug, Default)]
pub(super) struct Seen {
    nodes: Cache<String, NodeView>,
    /// By node: the version.
    leases: Cache<String, u64>,
}

impl Seen {
    /// Whether both lists have been read to their end.
    pub(super) fn is_complete(&self) -> bool {
        self.nodes.is_complete() && self.leases.is_complete()
    }

    /// All Nodes.
    pub(super) fn nodes(&self) -> &BTreeMap<String, NodeView> {
        self.nodes.items()
    }

    /// The version of a kubelet's Lease.
    pub(super) fn lease(&self, node: &str) -> Option<u64> {
        self.leases.items().get(node).copied()
    }
}

/// What is seen, kept up to date by [`DutyWatch::run`]. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct SeenHandle {
    seen: Arc<Mutex<Seen>>,
    changes: watch::Receiver<u64>,
}

impl SeenHandle {
    /// What is seen now. Never held across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what was different.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

/// Keeps it up to date.
pub(super) struct DutyWatch {
    client: Client,
    seen: Arc<Mutex<Seen>>,
    changes: watch::Sender<u64>,
    metrics: ControllersMetrics,
}

impl DutyWatch {
    /// Nothing is seen yet.
    pub(super) fn new(client: Client, metrics: ControllersMetrics) -> (Self, SeenHandle) {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (changes, receiver) = watch::channel(0);
        let handle = SeenHandle {
            seen: Arc::clone(&seen),
            changes: receiver,
        };
        let watch = Self {
            client,
            seen,
            changes,
            metrics,
        };
        (watch, handle)
    }

    /// Watches; has no end of its own.
    ///
    /// # Cancellation
    /// Ends the watches.
    pub(super) async fn run(&self) {
        let nodes = watcher(Api::<LeanNode>::all(self.client.clone()), config());
        let leases = Api::<PartialObjectMeta<Lease>>::namespaced(self.client.clone(), LEASES);
        let leases = watcher(leases, config());
        let take_node = |event: Event<LeanNode>| {
            let event = kept(&event, |node| (node.name_any(), NodeView::from(node)));
            self.note(|seen| seen.nodes.apply(event));
        };
        let take_lease = |event: Event<_>| {
            let event = kept(&event, |lease: &PartialObjectMeta<Lease>| {
                (lease.name_any(), version_of(lease))
            });
            self.note(|seen| seen.leases.apply(event));
        };
        tokio::join!(
            follow("nodes of the duties", nodes, &self.metrics, take_node),
            follow("leases of kubelets", leases, &self.metrics, take_lease),
        );
    }

    fn note(&self, change: impl FnOnce(&mut Seen) -> bool) {
        let is_news = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut seen)
        };
        if is_news {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}
