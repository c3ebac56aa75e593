//! Our taints of a Node, and the conditions by which a Pod is out of the endpoints. Pure: what there is, and what is to be.
//!
//! **Always holds:** taints and conditions of others are written back as they are. The out-of-service taint has the effect `NoSchedule`: with
//! `NoExecute` Kubernetes' own `taint-eviction-controller` would delete all Pods of the node at once. Those who wait for the taint
//! (Pod garbage collection, the detaching of volumes) look at its key alone. A node has one taint of a key and an effect: where
//! somebody's own has that effect already, ours takes the other one that evicts nobody.

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use proto_crd::names;

use crate::lean::LeanTaint;

const NO_SCHEDULE: &str = "NoSchedule";
const PREFER_NO_SCHEDULE: &str = "PreferNoSchedule";

/// With our `NoSchedule` taint; none, where it is there.
pub(super) fn cordoned(taints: &[LeanTaint]) -> Option<Vec<LeanTaint>> {
    let is_there = taints.iter().any(|taint| taint.key == names::CORDON_TAINT);
    (!is_there).then(|| with(taints, taint(names::CORDON_TAINT, "", NO_SCHEDULE)))
}

/// Without it; none, where it is not there.
pub(super) fn uncordoned(taints: &[LeanTaint]) -> Option<Vec<LeanTaint>> {
    without(taints, |taint| taint.key == names::CORDON_TAINT)
}

/// Fenced by our decision; none, where it is.
pub(super) fn fenced(taints: &[LeanTaint]) -> Option<Vec<LeanTaint>> {
    if taints.iter().any(is_our_fence) {
        return None;
    }
    let is_taken = taints
        .iter()
        .any(|taint| taint.key == names::OUT_OF_SERVICE_TAINT && taint.effect == NO_SCHEDULE);
    let effect = if is_taken {
        PREFER_NO_SCHEDULE
    } else {
        NO_SCHEDULE
    };
    let ours = taint(
        names::OUT_OF_SERVICE_TAINT,
        names::OUT_OF_SERVICE_BY_BERTH,
        effect,
    );
    Some(with(taints, ours))
}

/// Fenced by our decision no more; none, where it is not. An operator's own taint stays.
pub(super) fn unfenced(taints: &[LeanTaint]) -> Option<Vec<LeanTaint>> {
    without(taints, is_our_fence)
}

fn is_our_fence(taint: &LeanTaint) -> bool {
    taint.key == names::OUT_OF_SERVICE_TAINT && taint.value == names::OUT_OF_SERVICE_BY_BERTH
}

fn taint(key: &str, value: &str, effect: &str) -> LeanTaint {
    LeanTaint {
        key: key.to_owned(),
        value: value.to_owned(),
        effect: effect.to_owned(),
        time_added: None,
    }
}

fn with(taints: &[LeanTaint], more: LeanTaint) -> Vec<LeanTaint> {
    taints.iter().cloned().chain([more]).collect()
}

fn without(taints: &[LeanTaint], is_it: impl Fn(&LeanTaint) -> bool) -> Option<Vec<LeanTaint>> {
    let left: Vec<LeanTaint> = taints.iter().filter(|it| !is_it(it)).cloned().collect();
    (left.len() < taints.len()).then_some(left)
}

/// What a Pod's Ready is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    /// `True` or `False`.
    pub(super) status: &'static str,
    /// Why; empty where it is.
    pub(super) reason: &'static str,
}

/// Out of the endpoints: where it is ready, and not ending.
pub(super) fn withdrawn(pod: &Pod) -> Option<Ready> {
    let is_ready = condition(pod, "Ready").is_some_and(|it| it.status == "True");
    (is_ready && pod.metadata.deletion_timestamp.is_none()).then_some(Ready {
        status: "False",
        reason: names::NODE_LOST_REASON,
    })
}

/// Back in them: as kubelet would say it, by what it said last. Nothing, where it was not we who took it out.
pub(super) fn restored(pod: &Pod) -> Option<Ready> {
    let ready = condition(pod, "Ready")?;
    if ready.status == "True" || ready.reason.as_deref() != Some(names::NODE_LOST_REASON) {
        return None;
    }
    let is_true = |kind: &str| condition(pod, kind).is_some_and(|it| it.status == "True");
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter());
    let mut gates = gates.flatten();
    let ready = if !is_true("ContainersReady") {
        ("False", "ContainersNotReady")
    } else if gates.all(|gate| is_true(&gate.condition_type)) {
        ("True", "")
    } else {
        ("False", "ReadinessGatesNotReady")
    };
    Some(Ready {
        status: ready.0,
        reason: ready.1,
    })
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|it| it.type_ == kind)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn taints(list: Value) -> Vec<LeanTaint> {
        serde_json::from_value(list).unwrap()
    }

    fn others() -> Value {
        json!([
            {"key": "a", "value": "b", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"},
        ])
    }

    #[test]
    fn our_taint_comes_and_goes_and_others_stay_as_they_are() {
        let before = taints(others());
        let after = cordoned(&before).unwrap();
        assert_eq!(after[..2], before[..]);
        assert_eq!(
            serde_json::to_value(&after[2]).unwrap(),
            json!({"key": "berth.dev/cordon", "effect": "NoSchedule"})
        );
        assert_eq!(cordoned(&after), None);
        assert_eq!(uncordoned(&after), Some(before.clone()));
        assert_eq!(uncordoned(&before), None);
        assert_eq!(serde_json::to_value(&before).unwrap(), others());
    }

    #[test]
    fn a_fence_of_ours_stands_beside_an_operators_and_goes_without_it() {
        let key = names::OUT_OF_SERVICE_TAINT;
        for (theirs, effect) in [
            (json!([]), "NoSchedule"),
            (
                json!([{"key": key, "value": "nodeshutdown", "effect": "NoExecute"}]),
                "NoSchedule",
            ),
            (
                json!([{"key": key, "value": "", "effect": "NoSchedule"}]),
                "PreferNoSchedule",
            ),
        ] {
            let before = taints(theirs);
            let after = fenced(&before).unwrap();
            assert_eq!(after.last().unwrap().effect, effect);
            assert_eq!(after.last().unwrap().value, "berth");
            assert_eq!(fenced(&after), None);
            assert_eq!(unfenced(&after), Some(before));
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is written at the call is used once"
    )]
    fn pod(conditions: Value, gates: Value) -> Pod {
        let pod = json!({
            "metadata": {"name": "p"}, "spec": {"containers": [], "readinessGates": gates},
            "status": {"conditions": conditions},
        });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn endpoints_are_given_back_as_kubelet_would_and_only_what_was_taken() {
        let ours = json!({"type": "Ready", "status": "False", "reason": "NodeLost"});
        let ready = json!({"type": "Ready", "status": "True"});
        let containers = json!({"type": "ContainersReady", "status": "True"});
        let gate = json!([{"conditionType": "berth.dev/ServiceReady"}]);
        let held = json!({"type": "berth.dev/ServiceReady", "status": "False"});
        for (conditions, gates, out, back) in [
            (json!([ready]), json!([]), Some("NodeLost"), None),
            (json!([ours, containers]), json!([]), None, Some("")),
            (json!([ours]), json!([]), None, Some("ContainersNotReady")),
            (
                json!([ours, containers, held]),
                gate.clone(),
                None,
                Some("ReadinessGatesNotReady"),
            ),
            (
                json!([{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]),
                json!([]),
                None,
                None,
            ),
            (json!([]), json!([]), None, None),
        ] {
            let pod = pod(conditions.clone(), gates);
            assert_eq!(withdrawn(&pod).map(|it| it.reason), out, "{conditions}");
            assert_eq!(restored(&pod).map(|it| it.reason), back, "{conditions}");
        }
    }
}
