//! Whether the record holds together: each decision is what was hashed, and follows the one before. Pure.
//!
//! What people read stands beside the record and is not hashed: it is compared with it. Across terms the chain goes on where the
//! new leader had read the last decision; where it had not, a term stands alone, which is no fault.

use std::collections::BTreeSet;

use node_agent_lifecycle::decision::{Change, Hash, Outcome, Subject};
use node_agent_lifecycle::{Action, Decision};
use proto_crd::node_decision::{ChangeType, NodeDecisionSpec, OutcomeType, SubjectKind};
use serde::Serialize;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Findings {
    /// Decisions that are what was hashed.
    pub(crate) sound: usize,
    /// Decisions of which the object does not hold the record: it is too long.
    pub(crate) unrecorded: usize,
    /// Links from a decision to the one before that were followed.
    pub(crate) links: usize,
    /// What does not hold.
    pub(crate) broken: Vec<String>,
    /// What is not there, of what there was.
    pub(crate) missing: Vec<String>,
}

/// Looks at all of these, which are in order; `is_all`: nothing was left out by who asked.
pub(crate) fn verify(decisions: &[NodeDecisionSpec], is_all: bool) -> Findings {
    let mut findings = Findings::default();
    for decision in decisions {
        findings.look(decision);
    }
    for pair in decisions.windows(2) {
        if let [one, next] = pair {
            findings.link(one, next, is_all);
        }
    }
    if is_all {
        findings.starts(decisions);
    }
    findings
}

impl Findings {
    fn look(&mut self, decision: &NodeDecisionSpec) {
        let id = &decision.id;
        if decision.record.is_empty() {
            self.unrecorded += 1;
            return;
        }
        let record: Decision = match serde_json::from_str(&decision.record) {
            Ok(record) => record,
            Err(error) => {
                self.broken.push(format!(
                    "decision {id}: its record cannot be read by this version: {error}"
                ));
                return;
            }
        };
        if record.hash != record.digest() {
            self.broken
                .push(format!("decision {id} was changed: its hash is another"));
        } else if let Some(field) = differs(decision, &record) {
            self.broken.push(format!(
                "decision {id}: {field} is not what its record says"
            ));
        } else {
            self.sound += 1;
        }
    }

    fn link(&mut self, one: &NodeDecisionSpec, next: &NodeDecisionSpec, is_all: bool) {
        if one.term != next.term {
            return;
        }
        if next.sequence == one.sequence.saturating_add(1) {
            if next.previous == one.hash {
                self.links += 1;
            } else {
                self.broken.push(format!(
                    "decision {} does not follow {}: the hash of the one before is another",
                    next.id, one.id
                ));
            }
        } else if is_all {
            let (first, last) = (
                one.sequence.saturating_add(1),
                next.sequence.saturating_sub(1),
            );
            let term = one.term;
            self.missing.push(if first == last {
                format!("decision {term}-{first} is not there")
            } else {
                format!("decisions {term}-{first} to {term}-{last} are not there")
            });
        }
    }

    /// How terms begin. The oldest that is kept has lost what was before it.
    fn starts(&mut self, decisions: &[NodeDecisionSpec]) {
        let none = Hash::default().to_string();
        let mut hashes = BTreeSet::new();
        let mut before: Option<&NodeDecisionSpec> = None;
        for decision in decisions {
            let begins = before.is_some_and(|it| it.term != decision.term);
            if begins && decision.sequence > 1 {
                let (term, first) = (decision.term, decision.sequence - 1);
                self.missing.push(format!(
                    "decisions {term}-1 to {term}-{first} are not there"
                ));
            } else if begins && decision.previous != none {
                if hashes.contains(decision.previous.as_str()) {
                    self.links += 1;
                } else {
                    self.missing.push(format!(
                        "the decision that {} follows is not there",
                        decision.id
                    ));
                }
            }
            hashes.insert(decision.hash.as_str());
            before = Some(decision);
        }
    }
}

/// The first field that people read and that is not what was hashed.
fn differs(decision: &NodeDecisionSpec, record: &Decision) -> Option<&'static str> {
    let (kind, name) = match &record.subject {
        Subject::Cluster => (SubjectKind::Cluster, None),
        Subject::Rack(rack) => (SubjectKind::Rack, Some(rack.as_str())),
        Subject::Node(node) => (SubjectKind::Node, Some(node.as_str())),
    };
    let of = match &record.change {
        Change::Outcome { of, .. } => Some(of.to_string()),
        _ => None,
    };
    let same = [
        ("id", decision.id == record.id.to_string()),
        ("hash", decision.hash == record.hash.to_string()),
        ("previous", decision.previous == record.previous.to_string()),
        (
            "policyHash",
            decision.policy_hash == record.policy.to_string(),
        ),
        (
            "subject",
            decision.subject.kind == kind && decision.subject.name.as_deref() == name,
        ),
        (
            "change",
            decision.change.r#type == change_type(&record.change),
        ),
        (
            "outcome",
            decision.outcome.r#type == outcome_type(&record.outcome),
        ),
        ("of", decision.of == of),
        ("targets", targets_agree(decision, record)),
    ];
    same.into_iter()
        .find(|(_, is_same)| !is_same)
        .map(|(field, _)| field)
}

fn targets_agree(decision: &NodeDecisionSpec, record: &Decision) -> bool {
    let target = record.change.action().and_then(Action::target);
    let written = decision
        .targets
        .iter()
        .map(|it| (&*it.namespace, &*it.name, &*it.uid));
    let recorded = target.map(|it| (it.pod.namespace(), it.pod.name(), it.uid.as_str()));
    written.eq(recorded)
}

const fn change_type(change: &Change) -> ChangeType {
    match change {
        Change::TermBegan { .. } => ChangeType::TermBegan,
        Change::Verdict { .. } => ChangeType::Verdict,
        Change::Phase { .. } => ChangeType::Phase,
        Change::Held(_) => ChangeType::Held,
        Change::Action(_) => ChangeType::Action,
        Change::Cancelled => ChangeType::Cancelled,
        Change::Escalated => ChangeType::Escalated,
        Change::BreakerOpened(_) => ChangeType::BreakerOpened,
        Change::BreakerClosed(_) => ChangeType::BreakerClosed,
        Change::Outcome { .. } => ChangeType::Outcome,
    }
}

const fn outcome_type(outcome: &Outcome) -> OutcomeType {
    match outcome {
        Outcome::Recorded => OutcomeType::Recorded,
        Outcome::Ordered => OutcomeType::Ordered,
        Outcome::WouldDo => OutcomeType::WouldDo,
        Outcome::Done => OutcomeType::Done,
        Outcome::Failed(_) => OutcomeType::Failed,
    }
}

#[cfg(test)]
mod tests;
