//! What the controllers count. Labels are closed sets.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::lifecycle::LifecycleMetrics;
use crate::write::WriteKind;

/// Leadership, passes and writes. Clones count into the same.
#[derive(Clone, Debug, Default)]
pub struct ControllersMetrics {
    leader: Gauge,
    term: Gauge,
    terms: Counter,
    passes: Family<PassLabels, Counter>,
    writes: Family<WriteLabels, Counter>,
    relists: Counter,
    waiting_sets: Gauge,
    lifecycle: LifecycleMetrics,
}

/// A controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
pub(crate) enum Controller {
    claim,
    pool,
    peer,
    protection,
    inplaceset,
    duties,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
pub(crate) enum PassResult {
    done,
    failed,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
pub(crate) enum WriteResult {
    done,
    overtaken,
    refused,
    unanswered,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    controller: Controller,
    result: PassResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: WriteKind,
    result: WriteResult,
}

impl EncodeLabelValue for WriteKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let text = match self {
            Self::Fence => "fence",
            Self::Unfence => "unfence",
            Self::Adopt => "adopt",
            Self::Release => "release",
            Self::Unrelease => "unrelease",
            Self::DeleteClaim => "delete_claim",
            Self::FinishClaim => "finish_claim",
            Self::PoolStatus => "pool_status",
            Self::Roster => "roster",
            Self::PeerKey => "peer_key",
            Self::Protect => "protect",
            Self::Unprotect => "unprotect",
            Self::CreatePod => "create_pod",
            Self::DeletePod => "delete_pod",
            Self::StampPod => "stamp_pod",
            Self::HoldPod => "hold_pod",
            Self::ReleasePod => "release_pod",
            Self::PatchPod => "patch_pod",
            Self::FinishPod => "finish_pod",
            Self::AdoptPod => "adopt_pod",
            Self::OrphanPod => "orphan_pod",
            Self::AskRestart => "ask_restart",
            Self::EndRestart => "end_restart",
            Self::AskPull => "ask_pull",
            Self::EndPull => "end_pull",
            Self::Revision => "revision",
            Self::DeleteRevision => "delete_revision",
            Self::SetStatus => "set_status",
            Self::Event => "event",
            Self::Decision => "decision",
            Self::DropDecision => "drop_decision",
            Self::FreezeStatus => "freeze_status",
            Self::EndFreeze => "end_freeze",
            Self::PolicyStatus => "policy_status",
            Self::Cordon => "cordon",
            Self::Uncordon => "uncordon",
            Self::FenceNode => "fence_node",
            Self::UnfenceNode => "unfence_node",
            Self::EndpointsMark => "endpoints_mark",
            Self::WithdrawPod => "withdraw_pod",
            Self::RestorePod => "restore_pod",
            Self::SoftEvict => "soft_evict",
            Self::Readopt => "readopt",
            Self::Evict => "evict",
            Self::HardDelete => "hard_delete",
            Self::EndSuperseded => "end_superseded",
            Self::NodeCondition => "node_condition",
            Self::NodeTaint => "node_taint",
            Self::NodeLabel => "node_label",
        };
        text.encode(encoder)
    }
}

impl ControllersMetrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            lifecycle: LifecycleMetrics::register(registry),
            ..Self::default()
        };
        registry.register(
            "controllers_leader",
            "1 while this process leads the controllers",
            metrics.leader.clone(),
        );
        registry.register(
            "controllers_term",
            "Number of the term that this process leads in, else 0",
            metrics.term.clone(),
        );
        registry.register(
            "controllers_terms",
            "Terms that this process has won",
            metrics.terms.clone(),
        );
        registry.register(
            "controllers_passes",
            "Passes of a controller over all it looks at",
            metrics.passes.clone(),
        );
        registry.register(
            "controllers_writes",
            "Writes of the controllers; overtaken: somebody had changed the object",
            metrics.writes.clone(),
        );
        registry.register(
            "controllers_lists",
            "Lists that watches began with",
            metrics.relists.clone(),
        );
        registry.register(
            "controllers_waiting_sets",
            "InPlaceSets that are to be looked at and were not yet",
            metrics.waiting_sets.clone(),
        );
        metrics
    }

    /// Those of the node lifecycle.
    pub(crate) fn lifecycle(&self) -> LifecycleMetrics {
        self.lifecycle.clone()
    }

    /// A term was won, or is over.
    pub(crate) fn leads(&self, term: Option<u64>) {
        self.leader.set(term.is_some().into());
        let number = term.and_then(|number| number.try_into().ok());
        self.term.set(number.unwrap_or_default());
        if term.is_some() {
            self.terms.inc();
        }
    }

    /// A controller has looked at everything.
    pub(crate) fn passed(&self, controller: Controller, result: PassResult) {
        let labels = PassLabels { controller, result };
        self.passes.get_or_create(&labels).inc();
    }

    /// A write has ended.
    pub(crate) fn wrote(&self, kind: WriteKind, result: WriteResult) {
        let labels = WriteLabels { kind, result };
        self.writes.get_or_create(&labels).inc();
    }

    /// So many sets wait to be looked at.
    pub(crate) fn sets_wait(&self, count: usize) {
        self.waiting_sets.set(count.try_into().unwrap_or(i64::MAX));
    }

    /// A watch began anew with a list.
    pub(crate) fn listed(&self) {
        self.relists.inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn figures_say_who_leads_and_what_was_written() {
        let mut registry = Registry::default();
        let metrics = ControllersMetrics::register(&mut registry);
        metrics.leads(Some(3));
        metrics.wrote(WriteKind::Fence, WriteResult::done);
        metrics.passed(Controller::claim, PassResult::done);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "controllers_leader 1",
            "controllers_term 3",
            r#"controllers_writes_total{kind="fence",result="done"} 1"#,
            r#"controllers_passes_total{controller="claim",result="done"} 1"#,
        ] {
            // Whole lines: the description of a figure begins with its name too.
            assert!(
                text.lines().any(|it| it == line),
                "wanted {line} in\n{text}"
            );
        }
    }
}
