//! A decision of the core as the object that is written down. Pure.
//!
//! **Always holds:** `record` is what was hashed, whole, or empty where an object cannot hold it; everything else is for people and
//! filters, cut to the bounds of the kind.

use std::time::Duration;

use kube::core::ObjectMeta;
use node_agent_lifecycle::breaker::Cause;
use node_agent_lifecycle::decision::{Change, Decision, Hold, Outcome, Subject};
use node_agent_lifecycle::evidence::Evidence;
use node_agent_lifecycle::mode::Mode;
use node_agent_lifecycle::{Action, PodTarget};
use proto_crd::names;
use proto_crd::node_decision::{
    BudgetUse, ChangeType, DecisionBudget, DecisionChange, DecisionEvidence, DecisionOutcome,
    DecisionSubject, DecisionTarget, EVIDENCE_LIMIT, LIST_LIMIT, NodeDecision, NodeDecisionSpec,
    OutcomeType, RECORD_LIMIT, SubjectKind, TEXT_LIMIT,
};
use proto_crd::time::Timestamp;

/// The longest value of a label, and of a word of a change.
const LABEL_LIMIT: usize = 63;
/// The longest hold.
const HOLD_LIMIT: usize = 512;
/// The longest name of a breaker.
const BREAKER_LIMIT: usize = 253;

/// What of a decision the core does not say.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The rack of its node.
    pub(super) rack: Option<String>,
    /// How far the rule of its action may go there.
    pub(super) mode: Option<Mode>,
}

/// The object, as this leader writes it at this time.
pub(super) fn object(
    decision: &Decision,
    place: &Place,
    leader: &str,
    time: Timestamp,
) -> NodeDecision {
    let id = decision.id.to_string();
    let (subject, node, rack) = subject(&decision.subject, place.rack.as_deref());
    let record = serde_json::to_string(decision).unwrap_or_default();
    let mut labels = std::collections::BTreeMap::new();
    for (key, value) in [
        (names::NODE_LABEL, &node),
        (names::DECISION_RACK_LABEL, &rack),
    ] {
        if let Some(value) = value.as_ref().filter(|it| it.len() <= LABEL_LIMIT) {
            labels.insert(key.to_owned(), value.clone());
        }
    }
    let of = match &decision.change {
        Change::Outcome { of, .. } => Some(of.to_string()),
        _ => None,
    };
    let evidence: Vec<_> = decision.evidence.iter().flat_map(evidence).collect();
    let target_of_action = decision.change.action().and_then(Action::target);
    let spec = NodeDecisionSpec {
        term: decision.id.term,
        sequence: decision.id.sequence,
        time,
        leader: leader.to_owned(),
        policy_hash: decision.policy.to_string(),
        subject,
        node,
        rack,
        change: change(&decision.change, place.mode),
        targets: target_of_action.map(target).into_iter().collect(),
        evidence: evidence.into_iter().take(EVIDENCE_LIMIT).collect(),
        budget: DecisionBudget {
            cluster: used(decision.budget.cluster),
            rack: used(decision.budget.rack),
            dark_racks: used(decision.budget.dark_racks),
            pods: decision.budget.pods,
        },
        breakers: breakers(&decision.breakers),
        outcome: outcome(&decision.outcome),
        of,
        previous: decision.previous.to_string(),
        hash: decision.hash.to_string(),
        record: if record.len() <= RECORD_LIMIT {
            record
        } else {
            String::new()
        },
        id: id.clone(),
    };
    NodeDecision {
        metadata: ObjectMeta {
            name: Some(id),
            labels: (!labels.is_empty()).then_some(labels),
            ..ObjectMeta::default()
        },
        spec,
    }
}

/// Breakers, as they are told.
pub(super) fn breakers(causes: &[Cause]) -> Vec<String> {
    let words = causes
        .iter()
        .map(|cause| cut(&cause_words(cause), BREAKER_LIMIT));
    words.take(LIST_LIMIT).collect()
}

fn subject(
    subject: &Subject,
    rack: Option<&str>,
) -> (DecisionSubject, Option<String>, Option<String>) {
    let of = |kind, name: Option<&str>| DecisionSubject {
        kind,
        name: name.map(str::to_owned),
    };
    match subject {
        Subject::Cluster => (of(SubjectKind::Cluster, None), None, None),
        Subject::Rack(rack) => {
            let rack = rack.as_str();
            (of(SubjectKind::Rack, Some(rack)), None, Some(rack.into()))
        }
        Subject::Node(node) => {
            let node = node.as_str();
            let rack = rack.map(str::to_owned);
            (of(SubjectKind::Node, Some(node)), Some(node.into()), rack)
        }
    }
}

fn change(change: &Change, mode: Option<Mode>) -> DecisionChange {
    let (kind, text) = match change {
        Change::TermBegan { nodes } => (
            ChangeType::TermBegan,
            format!("a leader begins to look at {nodes} nodes"),
        ),
        Change::Verdict { from, to } => (ChangeType::Verdict, format!("{from} -> {to}")),
        Change::Phase { from, to } => (ChangeType::Phase, format!("{from:?} -> {to:?}")),
        Change::Held(hold) => (ChangeType::Held, format!("held: {}", hold_words(hold))),
        Change::Action(action) => (ChangeType::Action, action.to_string()),
        Change::Cancelled => (
            ChangeType::Cancelled,
            "the node is back: nothing more is done to it, nor to its Pods".to_owned(),
        ),
        Change::Escalated => (
            ChangeType::Escalated,
            "nothing here will help: somebody must look at the node".to_owned(),
        ),
        Change::BreakerOpened(cause) => (
            ChangeType::BreakerOpened,
            format!("nothing is done any more: {}", cause_words(cause)),
        ),
        Change::BreakerClosed(cause) => (
            ChangeType::BreakerClosed,
            format!("over: {}", cause_words(cause)),
        ),
        Change::Outcome { of, action } => (
            ChangeType::Outcome,
            format!("what became of {of}: {action}"),
        ),
    };
    let (from, to) = match change {
        Change::Verdict { from, to } => (Some(from.to_string()), Some(to.to_string())),
        Change::Phase { from, to } => (Some(format!("{from:?}")), Some(format!("{to:?}"))),
        _ => (None, None),
    };
    let hold = match change {
        Change::Held(hold) => Some(hold_words(hold)),
        Change::BreakerOpened(cause) | Change::BreakerClosed(cause) => Some(cause_words(cause)),
        _ => None,
    };
    let action = change.action();
    DecisionChange {
        r#type: kind,
        text: cut(&text, TEXT_LIMIT),
        from,
        to,
        action: action.map(|action| action_name(action).to_owned()),
        rule: action.map(|action| format!("{:?}", action.rule())),
        mode: action.and(mode).map(|mode| format!("{mode:?}")),
        hold: hold.map(|hold| cut(&hold, HOLD_LIMIT)),
    }
}

/// What is to be done, in one word.
pub(super) const fn action_name(action: &Action) -> &'static str {
    match action {
        Action::Cordon { .. } => "Cordon",
        Action::Uncordon { .. } => "Uncordon",
        Action::WithdrawEndpoints { .. } => "WithdrawEndpoints",
        Action::RestoreEndpoints { .. } => "RestoreEndpoints",
        Action::RestartKubelet { .. } => "RestartKubelet",
        Action::SoftEvict { .. } => "SoftEvict",
        Action::Readopt { .. } => "Readopt",
        Action::Evict { .. } => "Evict",
        Action::Fence { .. } => "Fence",
        Action::LiftFence { .. } => "LiftFence",
        Action::HardDelete { .. } => "HardDelete",
        Action::EndSuperseded { .. } => "EndSuperseded",
    }
}

fn target(target: &PodTarget) -> DecisionTarget {
    DecisionTarget {
        namespace: target.pod.namespace().to_owned(),
        name: target.pod.name().to_owned(),
        uid: target.uid.as_str().to_owned(),
        resource_version: target.version.as_str().to_owned(),
    }
}

/// One or, of many nodes, several: each as long as a text may be.
fn evidence(evidence: &Evidence) -> Vec<DecisionEvidence> {
    if let Evidence::Members(members) = evidence {
        let mut texts: Vec<String> = Vec::new();
        for member in members {
            match texts.last_mut() {
                Some(text) if text.len() + 2 + member.as_str().len() <= TEXT_LIMIT => {
                    text.push_str(", ");
                    text.push_str(member.as_str());
                }
                _ => texts.push(member.to_string()),
            }
        }
        return texts
            .into_iter()
            .map(|text| plain("Members", &text))
            .collect();
    }
    let text = evidence.to_string();
    let told = match evidence {
        Evidence::KubeletLease { age, stale_after } => DecisionEvidence {
            age_seconds: Some(seconds(*age)),
            threshold_seconds: Some(seconds(*stale_after)),
            ..plain("KubeletLease", &text)
        },
        Evidence::AgentLease { age, stale_after } => DecisionEvidence {
            age_seconds: age.map(seconds),
            threshold_seconds: Some(seconds(*stale_after)),
            ..plain("AgentLease", &text)
        },
        Evidence::Vote { observer, .. } => DecisionEvidence {
            observer: Some(observer.as_str().to_owned()),
            ..plain("Vote", &text)
        },
        Evidence::Finding { held, .. } => DecisionEvidence {
            age_seconds: Some(seconds(*held)),
            ..plain("Finding", &text)
        },
        Evidence::InPhase(age) => DecisionEvidence {
            age_seconds: Some(seconds(*age)),
            ..plain("InPhase", &text)
        },
        Evidence::Rack { .. } => plain("Rack", &text),
        Evidence::Rule(_) => plain("Rule", &text),
        Evidence::ReportExpired => plain("ReportExpired", &text),
        Evidence::Fence { .. } => plain("Fence", &text),
        Evidence::Flaps { .. } => plain("Flaps", &text),
        Evidence::Members(_) => plain("Members", &text),
    };
    vec![told]
}

fn plain(kind: &str, text: &str) -> DecisionEvidence {
    DecisionEvidence {
        r#type: kind.to_owned(),
        text: cut(text, TEXT_LIMIT),
        observer: None,
        age_seconds: None,
        threshold_seconds: None,
    }
}

fn outcome(outcome: &Outcome) -> DecisionOutcome {
    let (kind, message) = match outcome {
        Outcome::Recorded => (OutcomeType::Recorded, None),
        Outcome::Ordered => (OutcomeType::Ordered, None),
        Outcome::WouldDo => (OutcomeType::WouldDo, None),
        Outcome::Done => (OutcomeType::Done, None),
        Outcome::Failed(message) if message.is_empty() => {
            (OutcomeType::Failed, Some("nobody said why".to_owned()))
        }
        Outcome::Failed(message) => (OutcomeType::Failed, Some(cut(message, TEXT_LIMIT))),
    };
    DecisionOutcome {
        r#type: kind,
        message,
    }
}

/// Why something is held, in words.
pub(super) fn hold_words(hold: &Hold) -> String {
    match hold {
        Hold::NotLeading => "this process does not lead".to_owned(),
        Hold::Frozen(by) if by == "unreadable" => "the freezes cannot be read".to_owned(),
        Hold::Frozen(by) => format!("frozen by {by}"),
        Hold::Breaker(cause) => format!("breaker: {}", cause_words(cause)),
        Hold::Slow(cause) => format!("one at a time for a while, after: {}", cause_words(cause)),
        Hold::RackBudget => "enough nodes of the rack are in action".to_owned(),
        Hold::ZoneBudget => "enough nodes of the zone are in action".to_owned(),
        Hold::ClusterBudget => "enough of the cluster is in action".to_owned(),
        Hold::AppBudget => "the application has none to spare".to_owned(),
        Hold::Business => "business time".to_owned(),
        Hold::Maintenance => "people have said that the node is down for a while".to_owned(),
        Hold::Pressure => "the node is under pressure, or nobody knows".to_owned(),
    }
}

fn cause_words(cause: &Cause) -> String {
    match cause {
        Cause::StaleCluster => "too much of the cluster is silent".to_owned(),
        Cause::StaleZone(zone) => format!("too much of zone {zone} is silent"),
        Cause::DarkZones => "racks of several zones are dark".to_owned(),
        Cause::WatchLag => "the leader's watches are behind".to_owned(),
        Cause::LeaseWrite => "the leader's own writes are slow".to_owned(),
        Cause::WarmUp => "the leader has only just begun".to_owned(),
        Cause::RuleWave(rule) => format!("rule {rule} finds something on many nodes at once"),
        Cause::FailedReplacements(rack) => format!("replacements fail in rack {rack}"),
    }
}

fn used((used, limit): (u32, u32)) -> BudgetUse {
    BudgetUse { used, limit }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// Its beginning, of so many bytes at most.
fn cut(text: &str, limit: usize) -> String {
    text[..text.floor_char_boundary(limit)].to_owned()
}

#[cfg(test)]
mod tests;
