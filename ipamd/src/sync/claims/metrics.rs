//! What the driver counts.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::requests::{Answer, Ask};
use ipamd_core::ClaimWrite;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Request {
    Get,
    Create,
    Update,
    Delete,
    Find,
    List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Outcome {
    Done,
    Conflict,
    Refused,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    request: Request,
    result: Outcome,
}

/// Requests about claims, and how many there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClaimsMetrics {
    requests: Family<Labels, Counter>,
    pub(super) own: Gauge,
    pub(super) waiting: Gauge,
    pub(super) awaited: Counter,
}

impl ClaimsMetrics {
    /// Makes them known; `registry` gives them their prefix.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "claim_requests",
            "Requests to the API server about claims, by what was asked and what became of it",
            metrics.requests.clone(),
        );
        registry.register(
            "claims",
            "Claims at the API server that name this node",
            metrics.own.clone(),
        );
        registry.register(
            "claims_waiting",
            "Claims about which nothing can be done before something else happens",
            metrics.waiting.clone(),
        );
        registry.register(
            "claim_awaiting_adds",
            "ADDs that did not find their addresses here and had to wait for claims",
            metrics.awaited.clone(),
        );
        metrics
    }

    pub(super) fn set_own(&self, count: usize) {
        self.own.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn set_waiting(&self, count: usize) {
        self.waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn count(&self, ask: &Ask, answer: &Answer) {
        let request = match ask {
            Ask::Look(_) => Request::Get,
            Ask::Write(_, write) => match **write {
                ClaimWrite::Create(_) => Request::Create,
                ClaimWrite::Update { .. } => Request::Update,
                ClaimWrite::Delete { .. } => Request::Delete,
            },
            Ask::Find(_) => Request::Find,
            Ask::Survey(_) | Ask::Sweep(_) => Request::List,
        };
        let result = match answer {
            Answer::Claim(_) | Answer::Found(_) => Outcome::Done,
            Answer::Conflict => Outcome::Conflict,
            Answer::Refused(_) => Outcome::Refused,
            Answer::Failed(_) => Outcome::Failed,
        };
        self.requests
            .get_or_create(&Labels { request, result })
            .inc();
    }
}
