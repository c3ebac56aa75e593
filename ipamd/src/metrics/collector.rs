//! The ledger's figures and the pools, read at the moment of a scrape. Never waits for the ledger.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::ledger::figures::{Counter, Durations, Figures, Gauge};
use crate::ledger::{LedgerHandle, LedgerStatus, Phase};

/// Reads a ledger.
#[derive(Debug)]
pub(super) struct LedgerCollector {
    ledger: LedgerHandle,
}

impl LedgerCollector {
    pub(super) const fn new(ledger: LedgerHandle) -> Self {
        Self { ledger }
    }
}

impl Collector for LedgerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = self.ledger.status().borrow().clone();
        phase(&mut encoder, status.phase)?;
        pools(&mut encoder, &status)?;
        figures(&mut encoder, self.ledger.figures())
    }
}

const PHASES: [(Phase, &str); 5] = [
    (Phase::Serving, "serving"),
    (Phase::Recovering, "recovering"),
    (Phase::ReadOnly, "read_only"),
    (Phase::Damaged, "damaged"),
    (Phase::NoRack, "no_rack"),
];

fn phase(encoder: &mut DescriptorEncoder<'_>, now: Phase) -> Result<(), fmt::Error> {
    let help = "1 for the phase the daemon is in";
    let mut family = encoder.encode_descriptor("phase", help, None, MetricType::Gauge)?;
    for (phase, word) in PHASES {
        let value = ConstGauge::new(u64::from(phase == now));
        value.encode(family.encode_family(&[("phase", word)])?)?;
    }
    Ok(())
}

fn pools(encoder: &mut DescriptorEncoder<'_>, status: &LedgerStatus) -> Result<(), fmt::Error> {
    let help = "Addresses the pool may hand out";
    let kind = MetricType::Gauge;
    let mut family = encoder.encode_descriptor("pool_capacity_addresses", help, None, kind)?;
    for pool in &status.pools {
        let labels = [
            ("pool", pool.pool.as_str()),
            ("network", pool.network.as_str()),
        ];
        ConstGauge::new(pool.capacity).encode(family.encode_family(&labels)?)?;
    }
    let help = "Addresses of the pool by state; held ones are kept for somebody and unused";
    let mut family = encoder.encode_descriptor("pool_addresses", help, None, kind)?;
    for pool in &status.pools {
        let by_state = [
            ("attached", pool.attached),
            ("held", pool.held),
            ("quarantined", pool.quarantined),
            ("conflicting", pool.conflicting),
            ("free", pool.free),
        ];
        for (state, count) in by_state {
            let labels = [
                ("pool", pool.pool.as_str()),
                ("network", pool.network.as_str()),
                ("state", state),
            ];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

type Read<T> = fn(&Figures) -> &T;

const COUNTERS: [(&str, &str, Read<Counter>); 14] = [
    ("commits", "Commits that are on the disk", |f| &f.commits),
    ("commit_failures", "Commits that failed", |f| {
        &f.commit_failures
    }),
    (
        "committed_requests",
        "Requests made durable; divided by the commits, the size of a group",
        |f| &f.committed_requests,
    ),
    (
        "busy_refusals",
        "Requests refused because the queue was full",
        |f| &f.busy_refusals,
    ),
    ("expired_holds", "Holds that time ended", |f| {
        &f.expired_holds
    }),
    ("expired_quarantines", "Quarantines that time ended", |f| {
        &f.expired_quarantines
    }),
    (
        "audit_pruned_lines",
        "Lines pruned from the audit log",
        |f| &f.audit_pruned,
    ),
    (
        "tombstones",
        "Releases finished for plugins that found no daemon",
        |f| &f.tombstones,
    ),
    (
        "damaged_tombstones",
        "Tombstones that could not be read and were moved aside",
        |f| &f.damaged_tombstones,
    ),
    ("stores_set_aside", "Damaged stores set aside", |f| {
        &f.stores_set_aside
    }),
    (
        "store_reopened",
        "Times the store was opened anew after a failed write",
        |f| &f.reopened,
    ),
    (
        "sandbox_comparisons",
        "Comparisons of the runtime's sandboxes with the book",
        |f| &f.comparisons,
    ),
    (
        "sandbox_comparison_failures",
        "Comparisons that were none: the runtime did not answer, or not in whole",
        |f| &f.comparison_failures,
    ),
    (
        "ended_attachments_without_sandbox",
        "Attachments that ended because their sandbox was gone without a DEL",
        |f| &f.sandboxless_ended,
    ),
];

const GAUGES: [(&str, &str, Option<&Unit>, Read<Gauge>); 8] = [
    ("store_records", "Records in the store", None, |f| {
        &f.records
    }),
    (
        "store",
        "Size of the store's file",
        Some(&Unit::Bytes),
        |f| &f.store_bytes,
    ),
    (
        "store_headroom",
        "Free on the store's disk",
        Some(&Unit::Bytes),
        |f| &f.headroom_bytes,
    ),
    (
        "recovery_ports",
        "Host-side ports found at the start",
        None,
        |f| &f.ports,
    ),
    (
        "recovery_adopted_interfaces",
        "Interfaces taken into the book at the start",
        None,
        |f| &f.adopted,
    ),
    (
        "attachments_without_port",
        "Attachments for which there is no port on the node, as of the last look",
        None,
        |f| &f.without_port,
    ),
    (
        "sandbox_findings",
        "What did not fit at the last comparison of sandboxes and book; log and fsck name each",
        None,
        |f| &f.garbage,
    ),
    (
        "recovery_findings",
        "Findings of the start; the log names them",
        None,
        |f| &f.findings,
    ),
];

fn figures(encoder: &mut DescriptorEncoder<'_>, figures: &Figures) -> Result<(), fmt::Error> {
    for (name, help, read) in COUNTERS {
        let counter = ConstCounter::new(read(figures).get());
        let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
        counter.encode(metric)?;
    }
    for (name, help, unit, read) in GAUGES {
        let gauge = ConstGauge::new(read(figures).get());
        let metric = encoder.encode_descriptor(name, help, unit, gauge.metric_type())?;
        gauge.encode(metric)?;
    }
    let help = "A commit: write, flush, sync, witness";
    let unit = Some(&Unit::Seconds);
    let metric = encoder.encode_descriptor("commit_duration", help, unit, MetricType::Histogram)?;
    commit_durations(metric, figures)
}

fn commit_durations(mut metric: MetricEncoder<'_>, figures: &Figures) -> Result<(), fmt::Error> {
    let durations = &figures.commit_durations;
    let bounds = Durations::BOUNDS_MICROSECONDS;
    // The encoder writes the largest bound as "+Inf".
    #[expect(clippy::cast_precision_loss, reason = "bounds are small integers")]
    let bounds = bounds.iter().map(|bound| *bound as f64 / 1e6);
    let buckets: Vec<(f64, u64)> = bounds.chain([f64::MAX]).zip(durations.buckets()).collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    metric.encode_histogram::<NoLabelSet>(durations.sum().as_secs_f64(), count, &buckets, None)
}
