//! The agent's figures. Names begin with `berth_agent_`; labels are closed sets.

use node_agent_controllers::{ControllersMetrics, NodeCollector};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use proto_crd::condition::ConditionStatus;
use proto_crd::node_health::{Area, SignalState};

use crate::containers::ContainerMetrics;
use crate::guard::GuardMetrics;
use crate::health::{Finding, Signal, Verdict};
use crate::peers::PeerMetrics;
use crate::pull::PullMetrics;
use crate::restart::RestartMetrics;

/// All of them, and the parts that count into them.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// What is scraped.
    pub(crate) registry: Registry,
    /// Signals and reports.
    pub(crate) health: HealthMetrics,
    /// Attempts to pull images.
    pub(crate) pulls: PullMetrics,
    /// Restarts in place.
    pub(crate) restarts: RestartMetrics,
    /// Reports of Pods' containers.
    pub(crate) containers: ContainerMetrics,
    /// Storms of Pods that end.
    pub(crate) guard: GuardMetrics,
    /// Leadership, passes and writes.
    pub(crate) controllers: ControllersMetrics,
    /// What Kubernetes' own node lifecycle would tell of nodes.
    pub(crate) node_collector: NodeCollector,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("berth_agent");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        own.register("build", "Version of the agent", version);
        let health = HealthMetrics::register(own);
        let pulls = PullMetrics::register(own);
        let restarts = RestartMetrics::register(own);
        let containers = ContainerMetrics::register(own);
        let guard = GuardMetrics::register(own);
        let controllers = ControllersMetrics::register(own);
        let node_collector = NodeCollector::register(&mut registry);
        Self {
            registry,
            health,
            pulls,
            restarts,
            containers,
            guard,
            controllers,
            node_collector,
        }
    }
}

/// What is seen of the node and told. Clones count into the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct HealthMetrics {
    /// What is seen of other nodes.
    pub(crate) peers: PeerMetrics,
    states: Family<StateLabels, Gauge>,
    looks: Family<LookLabels, Counter>,
    reports: Family<ReportLabels, Counter>,
    told: Family<ToldLabels, Counter>,
    conditions: Family<ConditionLabels, Gauge>,
    restarts: Family<RestartLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    signal: Signal,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookLabels {
    signal: Signal,
    result: LookResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReportLabels {
    result: ReportResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToldLabels {
    object: Told,
    result: ReportResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    r#type: &'static str,
    status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RestartLabels {
    daemon: Restarted,
}

/// What was started again on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
pub(crate) enum Restarted {
    /// The container runtime.
    runtime,
    /// kubelet.
    kubelet,
}

/// What is written besides the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
pub(crate) enum Told {
    /// Conditions of the Node.
    condition,
    /// An Event on it.
    event,
    /// The agent's Lease.
    lease,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
enum Status {
    r#true,
    r#false,
    unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
enum State {
    healthy,
    unhealthy,
    unknown,
    absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
enum LookResult {
    good,
    bad,
    unclear,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
enum ReportResult {
    written,
    failed,
}

impl EncodeLabelValue for Signal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

impl HealthMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            peers: PeerMetrics::register(registry),
            ..Self::default()
        };
        registry.register(
            "signal",
            "1 for the state that a signal is in",
            metrics.states.clone(),
        );
        registry.register("looks", "Looks at signals", metrics.looks.clone());
        registry.register(
            "reports",
            "Writes of the node's NodeHealth, and reads of an earlier one that failed",
            metrics.reports.clone(),
        );
        registry.register(
            "told",
            "Writes of the Node's conditions, of Events on it and of the agent's Lease",
            metrics.told.clone(),
        );
        registry.register(
            "condition",
            "1 for the status that a condition of ours is in",
            metrics.conditions.clone(),
        );
        registry.register(
            "daemon_restarts",
            "Restarts of the runtime and of kubelet that were seen",
            metrics.restarts.clone(),
        );
        metrics
    }

    /// A look has ended.
    pub(crate) fn looked(&self, verdict: &Verdict) {
        let result = match verdict.finding {
            Finding::Good | Finding::Absent => LookResult::good,
            Finding::Bad(_) => LookResult::bad,
            Finding::Unclear { .. } => LookResult::unclear,
        };
        let labels = LookLabels {
            signal: verdict.signal,
            result,
        };
        self.looks.get_or_create(&labels).inc();
    }

    /// A signal is in this state.
    pub(crate) fn judged(&self, signal: Signal, state: SignalState) {
        for (label, of) in [
            (State::healthy, SignalState::Healthy),
            (State::unhealthy, SignalState::Unhealthy),
            (State::unknown, SignalState::Unknown),
            (State::absent, SignalState::Absent),
        ] {
            let labels = StateLabels {
                signal,
                state: label,
            };
            self.states.get_or_create(&labels).set((state == of).into());
        }
    }

    /// A part of the node has this status.
    pub(crate) fn concluded(&self, area: Area, status: ConditionStatus) {
        for (label, of) in [
            (Status::r#true, ConditionStatus::True),
            (Status::r#false, ConditionStatus::False),
            (Status::unknown, ConditionStatus::Unknown),
        ] {
            let labels = ConditionLabels {
                r#type: area.condition(),
                status: label,
            };
            let gauge = self.conditions.get_or_create(&labels);
            gauge.set((status == of).into());
        }
    }

    /// A daemon of the node was started again.
    pub(crate) fn restarted(&self, daemon: Restarted) {
        self.restarts.get_or_create(&RestartLabels { daemon }).inc();
    }

    /// Something besides the report was written, or could not be.
    pub(crate) fn told(&self, object: Told, written: bool) {
        let result = result(written);
        self.told
            .get_or_create(&ToldLabels { object, result })
            .inc();
    }

    /// A report was written, or could not be.
    pub(crate) fn wrote(&self, written: bool) {
        let result = result(written);
        self.reports.get_or_create(&ReportLabels { result }).inc();
    }
}

const fn result(written: bool) -> ReportResult {
    if written {
        ReportResult::written
    } else {
        ReportResult::failed
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn each_signal_is_in_one_state() {
        let metrics = Metrics::new();
        metrics
            .health
            .judged(Signal::new("ipamd"), SignalState::Healthy);
        metrics
            .health
            .judged(Signal::new("ipamd"), SignalState::Unhealthy);
        metrics
            .health
            .looked(&Verdict::good(Signal::new("kubelet"), "ok"));
        metrics.health.wrote(false);
        let mut text = String::new();
        encode(&mut text, &metrics.registry).unwrap();
        for line in [
            r#"berth_agent_signal{signal="ipamd",state="healthy"} 0"#,
            r#"berth_agent_signal{signal="ipamd",state="unhealthy"} 1"#,
            r#"berth_agent_signal{signal="ipamd",state="unknown"} 0"#,
            r#"berth_agent_looks_total{signal="kubelet",result="good"} 1"#,
            r#"berth_agent_reports_total{result="failed"} 1"#,
        ] {
            assert!(text.contains(line), "wanted {line} in\n{text}");
        }
    }
}
