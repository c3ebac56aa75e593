//! What is counted of the Pods.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Clones count into the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodsMetrics {
    /// Pods of this node that are known.
    pub(super) known: Gauge,
    /// Pods that were heard of, in lists and one by one.
    pub(super) heard: Counter,
    /// Watches that were begun with a list.
    pub(super) watches: Counter,
    /// ADDs that waited until their Pod was heard of, or had to go on without it.
    pub(super) awaited: Counter,
}

impl PodsMetrics {
    /// Makes them known; `registry` gives them their prefix.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "pods",
            "Pods of this node that are known",
            metrics.known.clone(),
        );
        let counters = [
            (
                "pods_heard",
                "Pods heard of, in lists and one by one",
                &metrics.heard,
            ),
            (
                "pod_watches",
                "Watches of the Pods begun with a list",
                &metrics.watches,
            ),
            (
                "pods_awaited",
                "ADDs that waited for word of their Pod",
                &metrics.awaited,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        metrics
    }
}
