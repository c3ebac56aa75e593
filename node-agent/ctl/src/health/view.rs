//! What a node's report is worth now. Pure.
//!
//! The agent judges its signals; whether the agent itself still tells the truth, only the reader can judge: a report that
//! has expired, or is of before a reboot, says nothing about now.

use k8s_openapi::jiff::Timestamp;
use proto_crd::node_health::{NodeHealth, NodeHealthStatus, Signal, SignalState};
use serde::Serialize;

use crate::age::{short, since};

/// What was read of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen<'a> {
    /// Its report, if there is one.
    pub(super) report: Option<&'a NodeHealth>,
    /// The boot that kubelet tells, where it was asked for.
    pub(super) boot_id: Option<&'a str>,
}

/// What is known of a node now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeView {
    /// The node.
    pub(super) node: String,
    /// How it is: unhealthy when one signal is, else unknown when one is, or when there is no report in force.
    pub(super) state: SignalState,
    /// Why there is no report in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) void: Option<Void>,
    /// When it was reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) report_time: Option<Timestamp>,
    /// By which version of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent_version: Option<String>,
    /// The signals; without a report in force as they were last reported.
    pub(super) signals: Vec<Signal>,
}

/// Why a report is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Void {
    /// What is the case.
    pub(super) message: String,
    /// What to do.
    pub(super) advice: String,
}

impl NodeView {
    /// Whether all is known to be well.
    pub(super) fn is_healthy(&self) -> bool {
        self.state == SignalState::Healthy
    }
}

/// What is known of the node by what was read.
pub(super) fn judge(node: &str, seen: Seen<'_>, now: Timestamp) -> NodeView {
    let status = seen.report.and_then(|report| report.status.as_ref());
    let Some(status) = status else {
        return NodeView {
            node: node.to_owned(),
            state: SignalState::Unknown,
            void: Some(void(node, "there is no report")),
            report_time: None,
            agent_version: None,
            signals: Vec::new(),
        };
    };
    let void = why_void(status, seen.boot_id, now).map(|message| void(node, &message));
    let state = match void {
        Some(_) => SignalState::Unknown,
        None => overall(&status.signals),
    };
    NodeView {
        node: node.to_owned(),
        state,
        void,
        report_time: Some(status.report_time.0),
        agent_version: Some(status.agent_version.clone()),
        signals: status.signals.clone(),
    }
}

fn why_void(status: &NodeHealthStatus, boot_id: Option<&str>, now: Timestamp) -> Option<String> {
    // A Node that no kubelet has reported on names no boot.
    if boot_id.is_some_and(|boot| !boot.is_empty() && boot != status.boot_id) {
        return Some("the report is of before the node's last boot".to_owned());
    }
    let expiry = status.expiry_time.0;
    (expiry <= now).then(|| format!("the report has expired {} ago", short(since(expiry, now))))
}

fn void(node: &str, message: &str) -> Void {
    Void {
        message: format!(
            "{message}: the node is down, its agent does not run, or it cannot reach the API server"
        ),
        advice: format!(
            "kubectl get node {node}; kubectl -n berth-system get pods -l app.kubernetes.io/name=berth-agent \
             --field-selector spec.nodeName={node} -o wide, and the logs of that Pod"
        ),
    }
}

fn overall(signals: &[Signal]) -> SignalState {
    let any = |state| signals.iter().any(|signal| signal.state == state);
    if any(SignalState::Unhealthy) {
        SignalState::Unhealthy
    } else if signals.is_empty() || any(SignalState::Unknown) {
        SignalState::Unknown
    } else {
        SignalState::Healthy
    }
}

#[cfg(test)]
mod tests;
