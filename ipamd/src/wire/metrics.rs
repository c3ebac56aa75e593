//! What is counted of the wire.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of all segments together. Clones count into the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct WireMetrics {
    /// Segments listened to.
    pub(super) segments: Gauge,
    /// Well-formed ARP and ND messages heard.
    pub(super) heard: Counter,
    /// Claims the ledger was asked about.
    pub(super) sightings: Counter,
    /// Of those, foreign ones.
    pub(super) foreign: Counter,
    /// Conflicts that ended in silence.
    pub(super) silent: Counter,
    /// Questions asked.
    pub(super) probes: Counter,
    /// Questions that the kernel did not take.
    pub(super) send_failures: Counter,
    /// Segments that could not be listened to, each try.
    pub(super) listen_failures: Counter,
}

impl WireMetrics {
    /// Makes the counters known; `registry` gives them their prefix.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let wire = registry.sub_registry_with_prefix("wire");
        wire.register("segments", "Segments listened to", metrics.segments.clone());
        let counters = [
            ("heard", "ARP and ND messages heard", &metrics.heard),
            (
                "sightings",
                "Claims the ledger was asked about",
                &metrics.sightings,
            ),
            (
                "foreign_claims",
                "Claims of foreign hosts to addresses of ours",
                &metrics.foreign,
            ),
            (
                "silent_conflicts",
                "Conflicts that ended in silence",
                &metrics.silent,
            ),
            ("probes", "Addresses asked for", &metrics.probes),
            (
                "send_failures",
                "Questions the kernel did not take",
                &metrics.send_failures,
            ),
            (
                "listen_failures",
                "Tries to listen that failed",
                &metrics.listen_failures,
            ),
        ];
        for (name, help, counter) in counters {
            wire.register(name, help, counter.clone());
        }
        metrics
    }
}
