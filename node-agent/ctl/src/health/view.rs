//! What a node's report is worth now. Pure.
//!
//! The agent judges its signals; whether the agent itself still tells the truth, only the reader can judge: a report that
//! has expired, or is of before a reboot, says nothing about now.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proto_crd::node_health::{NodeHealth, NodeHealthStatus, Signal, SignalState};
use proto_crd::peer::{PeerSight, Vote};
use serde::Serialize;

use crate::age::{short, since};

/// An agent renews its Lease every half minute, and may be taken for alive for two minutes.
const ALIVE: Duration = Duration::from_secs(120);

/// What was read of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen<'a> {
    /// Its report, if there is one.
    pub(super) report: Option<&'a NodeHealth>,
    /// The boot that kubelet tells, where it was asked for.
    pub(super) boot_id: Option<&'a str>,
    /// When its agent last renewed its Lease, where that could be read.
    pub(super) renewed: Option<Timestamp>,
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
    /// When the agent last said that it lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent_renew_time: Option<Timestamp>,
    /// The signals; without a report in force as they were last reported.
    pub(super) signals: Vec<Signal>,
    /// What its agent sees of others, as it was last reported.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) peers: Vec<PeerSight>,
    /// Whether that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vote: Option<Vote>,
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
            void: Some(void_of(node, "there is no report", seen.renewed, now)),
            report_time: None,
            agent_version: None,
            agent_renew_time: seen.renewed,
            signals: Vec::new(),
            peers: Vec::new(),
            vote: None,
        };
    };
    let void = why_void(status, seen.boot_id, now);
    let void = void.map(|message| void_of(node, &message, seen.renewed, now));
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
        agent_renew_time: seen.renewed,
        signals: status.signals.clone(),
        peers: status.peers.clone(),
        vote: status.vote.clone(),
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

/// What is to be thought of a report that is not in force, by what the agent's Lease says.
fn void_of(node: &str, message: &str, renewed: Option<Timestamp>, now: Timestamp) -> Void {
    let pod = format!(
        "kubectl -n berth-system get pods -l app.kubernetes.io/name=berth-agent \
         --field-selector spec.nodeName={node} -o wide, and the logs of that Pod"
    );
    let (why, advice) = match renewed.map(|renewed| since(renewed, now)) {
        Some(ago) if ago < ALIVE => (
            format!(
                "its agent lives (its Lease was renewed {} ago) and does not write the report",
                short(ago)
            ),
            pod,
        ),
        Some(ago) => (
            format!(
                "its agent was last heard of {} ago: the node is down, the agent does not run, or it cannot reach the API server",
                short(ago)
            ),
            format!("kubectl get node {node}; {pod}"),
        ),
        None => (
            "the node is down, its agent does not run, or it cannot reach the API server"
                .to_owned(),
            format!("kubectl get node {node}; {pod}"),
        ),
    };
    Void {
        message: format!("{message}: {why}"),
        advice,
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
