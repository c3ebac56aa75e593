//! What is counted of the peers. No peer is named: labels are closed sets.

use node_agent_peers::mesh::Dropped;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use proto_crd::peer::{PeerState, VoteState};

use super::sight::Sights;

/// Datagrams, peers, the vote. Clones count into the same.
#[derive(Clone, Debug)]
pub(crate) struct PeerMetrics {
    sent: Family<SentLabels, Counter>,
    received: Family<ReceivedLabels, Counter>,
    peers: Family<StateLabels, Gauge>,
    vote: Gauge,
    rtt: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SentLabels {
    kind: Sent,
}

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
pub(super) enum Sent {
    /// A question.
    probe,
    /// An answer to one.
    answer,
    /// The kernel did not take it.
    failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReceivedLabels {
    result: Result,
}

/// What became of what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
pub(super) enum Result {
    probe,
    answer,
    flood,
    no_key,
    alien,
    forged,
    malformed,
    misdirected,
    replayed,
    paced,
    unasked,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
enum State {
    alive,
    dead,
    unknown,
}

impl From<Dropped> for Result {
    fn from(why: Dropped) -> Self {
        match why {
            Dropped::Flood => Self::flood,
            Dropped::NoKey => Self::no_key,
            Dropped::Alien => Self::alien,
            Dropped::Forged => Self::forged,
            Dropped::Malformed => Self::malformed,
            Dropped::Misdirected => Self::misdirected,
            Dropped::Replayed => Self::replayed,
            Dropped::Paced => Self::paced,
            Dropped::Unasked => Self::unasked,
        }
    }
}

impl Default for PeerMetrics {
    fn default() -> Self {
        Self {
            sent: Family::default(),
            received: Family::default(),
            peers: Family::default(),
            vote: Gauge::default(),
            // From within a rack to a node that is badly starved.
            rtt: Histogram::new([0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 0.5, 1.0]),
        }
    }
}

impl PeerMetrics {
    /// Registers all of them.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "peer_datagrams_sent",
            "Datagrams to peers",
            metrics.sent.clone(),
        );
        registry.register(
            "peer_datagrams_received",
            "Datagrams at the peers' port: probes that were answered, answers that were waited for, and what was dropped",
            metrics.received.clone(),
        );
        registry.register("peers", "Peers that are in a state", metrics.peers.clone());
        registry.register(
            "peer_vote",
            "1 while what this node sees of its peers is to be counted",
            metrics.vote.clone(),
        );
        registry.register(
            "peer_rtt_seconds",
            "How long answers of peers take",
            metrics.rtt.clone(),
        );
        metrics
    }

    /// A datagram was sent.
    pub(super) fn sent(&self, kind: Sent) {
        self.sent.get_or_create(&SentLabels { kind }).inc();
    }

    /// A datagram was received.
    pub(super) fn received(&self, result: Result) {
        self.received
            .get_or_create(&ReceivedLabels { result })
            .inc();
    }

    /// An answer took so long.
    pub(super) fn answered(&self, rtt: std::time::Duration) {
        self.rtt.observe(rtt.as_secs_f64());
    }

    /// This is seen.
    pub(super) fn sees(&self, sights: &Sights) {
        for (label, of) in [
            (State::alive, PeerState::Alive),
            (State::dead, PeerState::Dead),
            (State::unknown, PeerState::Unknown),
        ] {
            let count = sights.peers.iter().filter(|it| it.state == of).count();
            let gauge = self.peers.get_or_create(&StateLabels { state: label });
            gauge.set(count.try_into().unwrap_or(i64::MAX));
        }
        let is_given = sights.vote.state == VoteState::Given;
        self.vote.set(is_given.into());
    }
}
