//! What is counted of pulls.

use node_agent_pull::book::{Outcome, Verdict};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Clones count into the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct PullMetrics {
    pulls: Family<Labels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    result: PullResult,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
pub(super) enum PullResult {
    /// The node had the image.
    present,
    /// It was pulled.
    pulled,
    /// There will be another attempt.
    repeated,
    /// The image was given up.
    failed,
    /// The runtime was away before anything was begun.
    away,
}

impl PullResult {
    /// Before it is known whether there will be another attempt.
    pub(super) const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Present { .. } => Self::present,
            Outcome::Pulled { .. } => Self::pulled,
            Outcome::Failed(_) => Self::repeated,
            Outcome::Away(_) => Self::away,
        }
    }
}

impl PullMetrics {
    /// Registers everything.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "image_pulls",
            "Attempts to make the node have an image that its ImagePull asks for",
            metrics.pulls.clone(),
        );
        metrics
    }

    /// An attempt has ended.
    pub(super) fn ended(&self, result: PullResult, verdict: Verdict) {
        let result = match verdict {
            Verdict::Forgotten => return,
            Verdict::GivenUp => PullResult::failed,
            Verdict::Succeeded | Verdict::Repeated => result,
        };
        self.pulls.get_or_create(&Labels { result }).inc();
    }
}

#[cfg(test)]
mod tests {
    use node_agent_pull::failure::Failure;
    use prometheus_client::encoding::text::encode;
    use proto_crd::image_pull::PullReason;

    use super::*;

    #[test]
    fn attempts_are_counted_by_how_they_ended() {
        let mut registry = Registry::with_prefix("berth_agent");
        let metrics = PullMetrics::register(&mut registry);
        let failed = Outcome::Failed(Failure::passing(PullReason::Registry, "500"));
        for verdict in [Verdict::Repeated, Verdict::Repeated, Verdict::GivenUp] {
            metrics.ended(PullResult::of(&failed), verdict);
        }
        let present = Outcome::Present { digest: None };
        metrics.ended(PullResult::of(&present), Verdict::Succeeded);
        metrics.ended(PullResult::of(&present), Verdict::Forgotten);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"berth_agent_image_pulls_total{result="repeated"} 2"#,
            r#"berth_agent_image_pulls_total{result="failed"} 1"#,
            r#"berth_agent_image_pulls_total{result="present"} 1"#,
        ] {
            assert!(text.contains(line), "wanted {line} in\n{text}");
        }
    }
}
