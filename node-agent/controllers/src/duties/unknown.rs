//! Duty 1: what a silent kubelet last said of its node holds no more. Pure.
//!
//! The same four conditions as kube-controller-manager's, with its reasons, which people and programs look for.
//! `NetworkUnavailable` is not kubelet's and stays.

use serde_json::{Value, json};

use super::node::NodeView;

/// What kubelet says of its node.
const KUBELETS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The conditions to write of a node whose kubelet is silent; none, where they say so already.
pub(super) fn plan(node: &NodeView, now: &str) -> Vec<Value> {
    let due = |kind: &&str| {
        let said = node.conditions.get(*kind).map(String::as_str);
        let (reason, message) = match said {
            Some("Unknown") => return None,
            Some(_) => (
                "NodeStatusUnknown",
                "Kubelet stopped posting node status, and does not renew its Lease.",
            ),
            None => (
                "NodeStatusNeverUpdated",
                "Kubelet never posted node status.",
            ),
        };
        Some(json!({
            "type": kind, "status": "Unknown", "reason": reason, "message": message, "lastTransitionTime": now,
        }))
    };
    KUBELETS.iter().filter_map(due).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_of_kubelets_becomes_unknown_once() {
        let node = |conditions: &[(&str, &str)]| NodeView {
            conditions: conditions
                .iter()
                .map(|(kind, status)| ((*kind).to_owned(), (*status).to_owned()))
                .collect(),
            ..NodeView::default()
        };
        let all = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
        let unknown = all.map(|kind| (kind, "Unknown"));
        for (said, due) in [
            (
                vec![
                    ("Ready", "True"),
                    ("MemoryPressure", "False"),
                    ("DiskPressure", "True"),
                    ("PIDPressure", "False"),
                    ("NetworkUnavailable", "False"),
                    ("berth.dev/KernelProblem", "False"),
                ],
                all.to_vec(),
            ),
            (vec![("Ready", "False")], all.to_vec()),
            (vec![], all.to_vec()),
            (unknown.to_vec(), vec![]),
            // Somebody else wrote a part.
            (
                vec![("Ready", "Unknown"), ("MemoryPressure", "False")],
                vec!["MemoryPressure", "DiskPressure", "PIDPressure"],
            ),
        ] {
            let plan = plan(&node(&said), "2026-01-01T00:00:00Z");
            let kinds: Vec<_> = plan.iter().map(|it| it["type"].as_str().unwrap()).collect();
            assert_eq!(kinds, due, "{said:?}");
            for condition in &plan {
                assert_eq!(condition["status"], "Unknown");
                let was_said = said.iter().any(|(kind, _)| condition["type"] == *kind);
                let reason = if was_said {
                    "NodeStatusUnknown"
                } else {
                    "NodeStatusNeverUpdated"
                };
                assert_eq!(condition["reason"], reason);
            }
        }
    }
}
