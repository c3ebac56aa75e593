//! How many writes the controllers' account made, as the API server counts them: one flow schema for each kind of object that is
//! written, and the metric of what was let through by each. Reads are in none of them.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};
use tests_testbed::{ApiServer, ControlPlane};

/// Each with the resources it counts: the first that fits takes a request.
const SCHEMAS: [(&str, &str, &[&str]); 7] = [
    ("bench-pod-status", "", &["pods/status"]),
    ("bench-pods", "", &["pods"]),
    ("bench-events", "events.k8s.io", &["events"]),
    ("bench-pulls", "berth.dev", &["imagepulls"]),
    ("bench-sets", "berth.dev", &["inplacesets/status"]),
    ("bench-revisions", "apps", &["controllerrevisions"]),
    ("bench-other", "*", &["*"]),
];

const METRIC: &str = "apiserver_flowcontrol_dispatched_requests_total{";

/// By schema.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(BTreeMap<&'static str, f64>);

/// Makes the schemas: they only count, at a level that has room.
pub(crate) fn install(api: &ControlPlane) -> Result<()> {
    for (place, (name, group, resources)) in (100..).zip(SCHEMAS) {
        let account = json!({"name": "berth-controllers", "namespace": "berth-system"});
        let schema: Value = json!({
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": name},
            "spec": {
                "matchingPrecedence": place, "priorityLevelConfiguration": {"name": "workload-high"},
                "rules": [{
                    "subjects": [{"kind": "ServiceAccount", "serviceAccount": account}],
                    "resourceRules": [{
                        "verbs": ["create", "update", "patch", "delete"], "apiGroups": [group],
                        "resources": resources, "namespaces": ["*"], "clusterScope": true,
                    }],
                }],
            },
        });
        api.apply(&schema.to_string())?;
    }
    Ok(())
}

impl Counts {
    /// Since the API server started.
    pub(crate) fn read(api: &ApiServer) -> Result<Self> {
        let text = api.kubectl(&["get", "--raw", "/metrics"])?.ok()?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut counts = BTreeMap::new();
        let lines = text.lines().filter_map(|line| line.strip_prefix(METRIC));
        for line in lines {
            let of = SCHEMAS.iter().find(|(name, _, _)| {
                let label = format!("flow_schema=\"{name}\"");
                line.split(['{', '}', ',']).any(|it| it == label)
            });
            let value = line
                .rsplit(' ')
                .next()
                .and_then(|it| it.parse::<f64>().ok());
            if let (Some((name, _, _)), Some(value)) = (of, value) {
                *counts.entry(*name).or_default() += value;
            }
        }
        Self(counts)
    }

    /// Since an earlier reading.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |name: &str| earlier.0.get(name).copied().unwrap_or_default();
        let counts = self
            .0
            .iter()
            .map(|(name, value)| (*name, value - before(name)));
        Self(counts.collect())
    }

    /// All writes.
    pub(crate) fn all(&self) -> f64 {
        self.0.values().sum()
    }

    /// Writes to Pods.
    pub(crate) fn of_pods(&self) -> f64 {
        let pods = ["bench-pods", "bench-pod-status"];
        pods.iter().filter_map(|name| self.0.get(name)).sum()
    }

    /// All of them, a Pod.
    pub(crate) fn each(&self, pods: f64) -> String {
        let words = self.0.iter().map(|(name, count)| {
            let name = name.trim_start_matches("bench-");
            format!("{name} {:.2}", count / pods)
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_counted_by_their_schema() {
        let text = "apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"bench-pods\",priority_level=\"workload-high\"} 12\n\
            apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"bench-pod-status\",priority_level=\"workload-high\"} 3\n\
            apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"exempt\",priority_level=\"exempt\"} 900\n\
            other 7\n";
        let counts = Counts::parse(text);
        assert!((counts.all() - 15.0).abs() < 1e-9 && (counts.of_pods() - 15.0).abs() < 1e-9);
        let earlier = Counts::parse(&text.replace("} 12", "} 2"));
        assert!((counts.since(&earlier).all() - 10.0).abs() < 1e-9);
        assert_eq!(counts.each(3.0), "pod-status 1.00, pods 4.00");
    }
}
