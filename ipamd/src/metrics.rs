//! The daemon's figures: calls as they are answered, and what ledger and wire say of themselves when a scraper asks.
//!
//! Names begin with `berth_ipamd_`. Labels are closed sets, but for pools and networks, whose number the operator bounds.

mod collector;

use std::collections::BTreeSet;
use std::time::Instant;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use proto_ipam::v1::Reason;

use crate::ledger::LedgerHandle;
use crate::sync::{ClaimsMetrics, PodsMetrics};
use crate::wire::WireMetrics;

/// From a tenth of a millisecond (an answer from memory) to seconds (a disk that hangs).
const LATENCY_SECONDS: [f64; 14] = [
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0,
];

/// All of them, and the parts that others count into.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// What is scraped.
    pub(crate) registry: Registry,
    /// Calls.
    pub(crate) calls: CallMetrics,
    /// The wire.
    pub(crate) wire: WireMetrics,
    /// The Pods of this node.
    pub(crate) pods: PodsMetrics,
    /// Counts what is asked about claims.
    pub(crate) claims: ClaimsMetrics,
    /// Pools that are not used as they are written.
    pub(crate) refused_pools: Gauge,
    /// Reloads of the configuration, by how they went.
    pub(crate) reloads: Family<ReloadLabels, Counter>,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new(ledger: &LedgerHandle, capabilities: &BTreeSet<String>) -> Self {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("berth_ipamd");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        own.register("build", "Version of the daemon", version);
        let kept = Family::<CapabilityLabels, Gauge>::default();
        for capability in capabilities {
            let labels = CapabilityLabels {
                capability: capability.clone(),
            };
            kept.get_or_create(&labels).set(1);
        }
        own.register("capability", "Kernel capabilities kept", kept);
        let reloads = Family::<ReloadLabels, Counter>::default();
        own.register("reloads", "Reloads of the configuration", reloads.clone());
        let refused_pools = Gauge::default();
        let help = "Pool objects of this rack that are not used as they are written";
        own.register("refused_pools", help, refused_pools.clone());
        let calls = CallMetrics::register(own);
        let wire = WireMetrics::register(own);
        let pods = PodsMetrics::register(own);
        let claims = ClaimsMetrics::register(own);
        let collector = collector::LedgerCollector::new(ledger.clone());
        own.register_collector(Box::new(collector));
        Self {
            registry,
            calls,
            wire,
            pods,
            claims,
            refused_pools,
            reloads,
        }
    }
}

/// How a reload went.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReloadLabels {
    pub(crate) result: ReloadResult,
}

/// How a reload went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ReloadResult {
    /// Applied whole.
    Applied,
    /// Refused whole.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CapabilityLabels {
    // Of the kernel's closed set.
    capability: String,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Allocate,
    Release,
    Check,
    Collect,
    Status,
    List,
    Who,
    Why,
    Reserve,
    Free,
    Fsck,
    Export,
    Import,
    Reload,
}

/// How a call was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallResult {
    /// As asked.
    Done,
    /// Refused, for this reason.
    Refused(Reason),
    /// The caller went away, or its deadline passed, before there was an answer.
    Abandoned,
}

impl Verb {
    /// As it is logged and labelled.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Allocate => "allocate",
            Self::Release => "release",
            Self::Check => "check",
            Self::Collect => "collect",
            Self::Status => "status",
            Self::List => "list",
            Self::Who => "who",
            Self::Why => "why",
            Self::Reserve => "reserve",
            Self::Free => "free",
            Self::Fsck => "fsck",
            Self::Export => "export",
            Self::Import => "import",
            Self::Reload => "reload",
        }
    }
}

impl EncodeLabelValue for Verb {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

impl EncodeLabelValue for CallResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Done => "done".encode(encoder),
            Self::Abandoned => "abandoned".encode(encoder),
            Self::Refused(reason) => {
                let name = reason.as_str_name();
                let word = name.strip_prefix("REASON_").unwrap_or(name);
                word.to_ascii_lowercase().encode(encoder)
            }
        }
    }
}

impl EncodeLabelValue for ReloadResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Applied => "applied".encode(encoder),
            Self::Refused => "refused".encode(encoder),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    verb: Verb,
    result: CallResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: Verb,
}

/// Calls by verb: how many with which result, and how long they took. Clones count into the same.
#[derive(Clone, Debug)]
pub(crate) struct CallMetrics {
    results: Family<CallLabels, Counter>,
    durations: Family<VerbLabels, Histogram>,
}

impl CallMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            results: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(LATENCY_SECONDS)),
        };
        registry.register("calls", "Calls answered", metrics.results.clone());
        registry.register_with_unit(
            "call_duration",
            "From the call's arrival to its answer",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        metrics
    }

    /// Begins to time a call. Dropped without an answer it counts as abandoned.
    pub(crate) fn begin(&self, verb: Verb) -> Call {
        Call {
            metrics: self.clone(),
            verb,
            begun: Instant::now(),
            result: CallResult::Abandoned,
        }
    }
}

/// One call under way.
#[derive(Debug)]
pub(crate) struct Call {
    metrics: CallMetrics,
    verb: Verb,
    begun: Instant,
    result: CallResult,
}

impl Call {
    /// The call is answered.
    pub(crate) fn answered(mut self, result: CallResult) {
        self.result = result;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Self { verb, result, .. } = *self;
        let taken = self.begun.elapsed().as_secs_f64();
        let durations = &self.metrics.durations;
        durations.get_or_create(&VerbLabels { verb }).observe(taken);
        let results = &self.metrics.results;
        results.get_or_create(&CallLabels { verb, result }).inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn calls_are_counted_by_verb_and_result_also_when_abandoned() {
        let mut registry = Registry::with_prefix("berth_ipamd");
        let calls = CallMetrics::register(&mut registry);
        calls.begin(Verb::Allocate).answered(CallResult::Done);
        let refused = CallResult::Refused(Reason::AddressTaken);
        calls.begin(Verb::Allocate).answered(refused);
        drop(calls.begin(Verb::Release));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"berth_ipamd_calls_total{verb="allocate",result="done"} 1"#,
            r#"berth_ipamd_calls_total{verb="allocate",result="address_taken"} 1"#,
            r#"berth_ipamd_calls_total{verb="release",result="abandoned"} 1"#,
            r#"berth_ipamd_call_duration_seconds_count{verb="allocate"} 2"#,
        ] {
            assert!(text.contains(line), "wanted {line} in\n{text}");
        }
    }
}
