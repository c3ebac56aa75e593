//! What the node lifecycle counts. Labels are closed sets.

use std::time::Duration;

use node_agent_lifecycle::Action;
use node_agent_lifecycle::verdict::Verdict;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Of a step: one over ten thousand nodes is to be done within 50 ms.
const STEP_BUCKETS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// Verdicts, steps, decisions, orders. Clones count into the same.
#[derive(Clone, Debug)]
pub(crate) struct LifecycleMetrics {
    nodes: Family<VerdictLabels, Gauge>,
    steps: Histogram,
    decisions: Family<DecisionLabels, Counter>,
    orders: Family<OrderLabels, Counter>,
    breakers: Gauge,
    waiting: Gauge,
}

/// A verdict, without what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
pub(crate) enum VerdictKind {
    healthy,
    degraded,
    kubelet_down,
    control_plane_cut,
    rack_dark,
    quorum_dead,
    fenced_dead,
    unknown,
}

impl VerdictKind {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::healthy,
        Self::degraded,
        Self::kubelet_down,
        Self::control_plane_cut,
        Self::rack_dark,
        Self::quorum_dead,
        Self::fenced_dead,
        Self::unknown,
    ];
}

/// The kind of a verdict.
pub(super) const fn kind(verdict: Verdict) -> VerdictKind {
    match verdict {
        Verdict::Healthy => VerdictKind::healthy,
        Verdict::Degraded(_) => VerdictKind::degraded,
        Verdict::KubeletDown => VerdictKind::kubelet_down,
        Verdict::ControlPlaneCut => VerdictKind::control_plane_cut,
        Verdict::RackDark => VerdictKind::rack_dark,
        Verdict::QuorumDead => VerdictKind::quorum_dead,
        Verdict::FencedDead => VerdictKind::fenced_dead,
        Verdict::Unknown => VerdictKind::unknown,
    }
}

/// What became of a decision's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
pub(super) enum DecisionResult {
    /// It is in the API.
    written,
    /// It is not: what it ordered is not done.
    lost,
    /// It was deleted, being one too many.
    deleted,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
pub(super) enum OrderResult {
    /// It was done.
    done,
    /// It was not right any more when its turn came.
    refused,
    /// It was, and could not be done.
    failed,
    /// Its node came back before.
    cancelled,
}

/// What was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
enum ActionKind {
    cordon,
    uncordon,
    withdraw_endpoints,
    restore_endpoints,
    restart_kubelet,
    soft_evict,
    readopt,
    evict,
    fence,
    lift_fence,
    hard_delete,
    end_superseded,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    verdict: VerdictKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    result: DecisionResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OrderLabels {
    action: ActionKind,
    result: OrderResult,
}

impl Default for LifecycleMetrics {
    fn default() -> Self {
        Self {
            nodes: Family::default(),
            steps: Histogram::new(STEP_BUCKETS),
            decisions: Family::default(),
            orders: Family::default(),
            breakers: Gauge::default(),
            waiting: Gauge::default(),
        }
    }
}

impl LifecycleMetrics {
    /// Registers all of them.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "lifecycle_nodes",
            "Nodes by the leader's verdict; nothing, where this process does not lead",
            metrics.nodes.clone(),
        );
        registry.register_with_unit(
            "lifecycle_step",
            "How long one look at all nodes took",
            Unit::Seconds,
            metrics.steps.clone(),
        );
        registry.register(
            "lifecycle_decisions",
            "Decisions: written to the API, lost on the way (nothing is done then), deleted again because there were enough",
            metrics.decisions.clone(),
        );
        registry.register(
            "lifecycle_orders",
            "Orders by what became of them; refused: not right any more when its turn came",
            metrics.orders.clone(),
        );
        registry.register(
            "lifecycle_open_breakers",
            "Breakers that hold everything, or everything of a zone or a rule, back",
            metrics.breakers.clone(),
        );
        registry.register(
            "lifecycle_waiting_decisions",
            "Decisions that are to be written and were not yet",
            metrics.waiting.clone(),
        );
        metrics
    }

    /// All nodes were looked at.
    pub(super) fn stepped(&self, took: Duration, census: &[(VerdictKind, i64)], breakers: usize) {
        self.steps.observe(took.as_secs_f64());
        for (verdict, count) in census {
            let labels = VerdictLabels { verdict: *verdict };
            self.nodes.get_or_create(&labels).set(*count);
        }
        self.breakers.set(breakers.try_into().unwrap_or(i64::MAX));
    }

    /// This process leads no more.
    pub(super) fn ended(&self) {
        self.nodes.clear();
        self.breakers.set(0);
        self.waiting.set(0);
    }

    /// So many decisions wait to be written.
    pub(super) fn wait(&self, count: usize) {
        self.waiting.set(count.try_into().unwrap_or(i64::MAX));
    }

    /// What became of a decision's object.
    pub(super) fn decided(&self, result: DecisionResult) {
        self.decisions
            .get_or_create(&DecisionLabels { result })
            .inc();
    }

    /// What became of an order.
    pub(super) fn ordered(&self, action: &Action, result: OrderResult) {
        let action = match action {
            Action::Cordon { .. } => ActionKind::cordon,
            Action::Uncordon { .. } => ActionKind::uncordon,
            Action::WithdrawEndpoints { .. } => ActionKind::withdraw_endpoints,
            Action::RestoreEndpoints { .. } => ActionKind::restore_endpoints,
            Action::RestartKubelet { .. } => ActionKind::restart_kubelet,
            Action::SoftEvict { .. } => ActionKind::soft_evict,
            Action::Readopt { .. } => ActionKind::readopt,
            Action::Evict { .. } => ActionKind::evict,
            Action::Fence { .. } => ActionKind::fence,
            Action::LiftFence { .. } => ActionKind::lift_fence,
            Action::HardDelete { .. } => ActionKind::hard_delete,
            Action::EndSuperseded { .. } => ActionKind::end_superseded,
        };
        self.orders
            .get_or_create(&OrderLabels { action, result })
            .inc();
    }
}
