//! What became of requests to restart containers.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Counts ends of requests. Clones count into the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct RestartMetrics {
    ended: Family<Labels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    result: RestartResult,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
pub(super) enum RestartResult {
    succeeded,
    failed,
    /// Before anything was stopped.
    refused,
}

impl RestartMetrics {
    /// Registers the figures.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "restarts",
            "Requests to restart containers in place, by their end",
            metrics.ended.clone(),
        );
        metrics
    }

    /// A request has ended.
    pub(super) fn ended(&self, result: RestartResult) {
        self.ended.get_or_create(&Labels { result }).inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn ends_are_counted_by_what_they_are() {
        let mut registry = Registry::default();
        let metrics = RestartMetrics::register(registry.sub_registry_with_prefix("berth_agent"));
        metrics.ended(RestartResult::refused);
        metrics.clone().ended(RestartResult::refused);
        metrics.ended(RestartResult::succeeded);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"berth_agent_restarts_total{result="refused"} 2"#,
            r#"berth_agent_restarts_total{result="succeeded"} 1"#,
        ] {
            assert!(text.contains(line), "wanted {line} in\n{text}");
        }
    }
}
