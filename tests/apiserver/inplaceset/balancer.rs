//! A load balancer as the protocol has it for third parties: its finalizer is on a Pod as long as it sends requests there.

use serde_json::{Value, json};

use super::judge::{gate, is_ready};
use super::rig::Rig;

/// Its finalizer.
pub(super) const BALANCER: &str = "protection.berth.dev/balancer";

/// How it behaves in one pass over a set's Pods.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Comes and goes with the gate.
    Well,
    /// Comes, and never goes.
    Clings,
}

/// One pass. Somebody else may have been faster: the next pass does what is left.
pub(super) fn tend(rig: &Rig, set: &str, mood: Mood) {
    for pod in rig.record.pods(set) {
        let held: Vec<Value> = pod["metadata"]["finalizers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let has = held.iter().any(|it| it == BALANCER);
        let is_ending = !pod["metadata"]["deletionTimestamp"].is_null();
        let serves = is_ready(&pod) && gate(&pod) == Some("True");
        let wanted = match (mood, has) {
            (_, false) => serves && !is_ending,
            (Mood::Well, true) => gate(&pod) != Some("False") && !is_ending,
            (Mood::Clings, true) => true,
        };
        if wanted == has {
            continue;
        }
        let mut finalizers: Vec<Value> = held.into_iter().filter(|it| it != BALANCER).collect();
        if wanted {
            finalizers.push(BALANCER.into());
        }
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let version = &pod["metadata"]["resourceVersion"];
        let patch = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
        let patch = patch.to_string();
        let words = [
            "patch",
            "pod",
            name,
            "-n",
            "shop",
            "--type=merge",
            "-p",
            &patch,
        ];
        // A version that is old is refused: the record tells a newer one in a moment.
        let _ = rig.api.kubectl(&words);
    }
}
