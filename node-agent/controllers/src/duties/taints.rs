//! Duties 2 and 3: the taints that follow from a node's conditions. Pure.
//!
//! `NoSchedule` as kube-controller-manager has it, with one difference: a node that has never said whether it is ready keeps the taint
//! that admission gave it, because what is not known is not good.
//!
//! `NoExecute` is never put on. Without `taint-eviction-controller` it would end nothing; it would keep new Pods away, which
//! `NoSchedule` does; kubelet would refuse Pods that are bound to the node by name; and it would be there as a sentence for the day on which
//! somebody starts that controller again. What kube-controller-manager left of it is taken off, also where the node is lost: the
//! lifecycle decides what becomes of Pods, by proof and one by one.

use k8s_openapi::api::core::v1::Taint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::node::NodeView;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";

/// Of which condition, where it is so, which taint.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    (
        "MemoryPressure",
        "True",
        "node.kubernetes.io/memory-pressure",
    ),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    (
        "NetworkUnavailable",
        "True",
        "node.kubernetes.io/network-unavailable",
    ),
];

/// The taints that a node is to have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Taints {
    /// All of them: a list is written whole.
    pub(super) all: Vec<Taint>,
    /// Whether one of kube-controller-manager's `NoExecute` goes.
    pub(super) lifts_sentence: bool,
}

/// The taints that a node is to have; nothing, where it has them.
pub(super) fn plan(node: &NodeView, now: &Time) -> Option<Taints> {
    let wanted = wanted(node);
    let mut lifts_sentence = false;
    let mut all = Vec::with_capacity(node.taints.len());
    for taint in &node.taints {
        if is_sentence(taint) {
            lifts_sentence = true;
        } else if !is_ours(taint) || wanted.contains(&taint.key.as_str()) {
            all.push(taint.clone());
        }
    }
    for key in wanted {
        let is_there = |taint: &Taint| taint.key == key && taint.effect == NO_SCHEDULE;
        if !all.iter().any(is_there) {
            all.push(Taint {
                effect: NO_SCHEDULE.to_owned(),
                key: key.to_owned(),
                time_added: Some(now.clone()),
                value: None,
            });
        }
    }
    (all != node.taints).then_some(Taints {
        all,
        lifts_sentence,
    })
}

fn wanted(node: &NodeView) -> Vec<&'static str> {
    let mut wanted: Vec<_> = BY_CONDITION
        .iter()
        .filter(|(kind, status, _)| node.conditions.get(*kind).is_some_and(|it| it == *status))
        .map(|(_, _, key)| *key)
        .collect();
    if node.ready().is_none() {
        let has = |key: &str| node.taints.iter().any(|it| it.key == key && is_ours(it));
        wanted.extend([NOT_READY, UNREACHABLE].into_iter().filter(|key| has(key)));
    }
    if node.unschedulable {
        wanted.push(UNSCHEDULABLE);
    }
    wanted
}

/// Whether it follows from conditions.
fn is_ours(taint: &Taint) -> bool {
    let key = taint.key.as_str();
    taint.effect == NO_SCHEDULE
        && (key == UNSCHEDULABLE || BY_CONDITION.iter().any(|(_, _, it)| *it == key))
}

/// Whether kube-controller-manager put it there, for its Pods to be deleted.
fn is_sentence(taint: &Taint) -> bool {
    taint.effect == NO_EXECUTE && (taint.key == NOT_READY || taint.key == UNREACHABLE)
}

#[cfg(test)]
mod tests;
