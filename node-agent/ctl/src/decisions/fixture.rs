//! Decisions as a leader would write them.

use node_agent_lifecycle::decision::{
    Budget, Change, Decision, DecisionId, Hash, Outcome, Subject,
};
use node_agent_lifecycle::{Action, Moment, evidence::Evidence};
use proto_crd::node_decision::{
    ChangeType, DecisionBudget, DecisionChange, DecisionEvidence, DecisionOutcome, DecisionSubject,
    DecisionTarget, NodeDecisionSpec, OutcomeType, SubjectKind,
};

/// What is to be written down.
pub(crate) struct Draft {
    pub(crate) node: &'static str,
    pub(crate) kind: ChangeType,
    pub(crate) change: Change,
    pub(crate) text: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) evidence: Vec<Evidence>,
    /// Seconds after 12:00.
    pub(crate) at: u64,
}

/// One change of a node.
pub(crate) fn draft(node: &'static str, kind: ChangeType, change: Change) -> Draft {
    Draft {
        node,
        kind,
        change,
        text: "",
        outcome: Outcome::Recorded,
        evidence: Vec::new(),
        at: 0,
    }
}

/// One chain of a term, from this hash on.
pub(crate) fn chain(term: u64, mut previous: Hash, drafts: Vec<Draft>) -> Vec<NodeDecisionSpec> {
    let mut written = Vec::new();
    for (sequence, draft) in (1..).zip(drafts) {
        let mut decision = Decision {
            id: DecisionId { term, sequence },
            at: Moment::default(),
            policy: Hash::default(),
            subject: Subject::Node(draft.node.parse().unwrap()),
            change: draft.change.clone(),
            evidence: draft.evidence.clone(),
            budget: Budget::default(),
            breakers: Vec::new(),
            outcome: draft.outcome.clone(),
            previous,
            hash: Hash::default(),
        };
        decision.hash = decision.digest();
        previous = decision.hash;
        written.push(spec(&decision, &draft));
    }
    written
}

fn spec(decision: &Decision, draft: &Draft) -> NodeDecisionSpec {
    let (minute, second) = (draft.at / 60, draft.at % 60);
    let evidence = decision.evidence.iter().map(|it| DecisionEvidence {
        r#type: "Vote".to_owned(),
        text: it.to_string(),
        observer: None,
        age_seconds: None,
        threshold_seconds: None,
    });
    NodeDecisionSpec {
        id: decision.id.to_string(),
        term: decision.id.term,
        sequence: decision.id.sequence,
        time: format!("2026-01-31T12:{minute:02}:{second:02}Z")
            .parse()
            .unwrap(),
        leader: "n0".to_owned(),
        policy_hash: decision.policy.to_string(),
        subject: DecisionSubject {
            kind: SubjectKind::Node,
            name: Some(draft.node.to_owned()),
        },
        node: Some(draft.node.to_owned()),
        rack: Some("a".to_owned()),
        change: change(&decision.change, draft),
        targets: targets(&decision.change),
        evidence: evidence.collect(),
        budget: DecisionBudget::default(),
        breakers: Vec::new(),
        outcome: outcome(&decision.outcome),
        of: match &decision.change {
            Change::Outcome { of, .. } => Some(of.to_string()),
            _ => None,
        },
        previous: decision.previous.to_string(),
        hash: decision.hash.to_string(),
        record: serde_json::to_string(decision).unwrap(),
    }
}

fn change(change: &Change, draft: &Draft) -> DecisionChange {
    let (from, to) = match change {
        Change::Verdict { from, to } => (Some(from.to_string()), Some(to.to_string())),
        Change::Phase { from, to } => (Some(format!("{from:?}")), Some(format!("{to:?}"))),
        _ => (None, None),
    };
    let action = match change {
        Change::Action(action) => Some(action),
        _ => None,
    };
    let name = |action| {
        let words = format!("{action:?}");
        words.split(' ').next().unwrap_or_default().to_owned()
    };
    DecisionChange {
        r#type: draft.kind,
        text: action.map_or_else(|| draft.text.to_owned(), ToString::to_string),
        from,
        to,
        action: action.map(name),
        rule: action.map(|action| format!("{:?}", action.rule())),
        mode: None,
        hold: match change {
            Change::Held(hold) => Some(format!("{hold:?}")),
            _ => None,
        },
    }
}

fn targets(change: &Change) -> Vec<DecisionTarget> {
    let target = change.action().and_then(Action::target);
    let target = target.map(|target| DecisionTarget {
        namespace: target.pod.namespace().to_owned(),
        name: target.pod.name().to_owned(),
        uid: target.uid.as_str().to_owned(),
        resource_version: target.version.as_str().to_owned(),
    });
    target.into_iter().collect()
}

fn outcome(outcome: &Outcome) -> DecisionOutcome {
    let (kind, message) = match outcome {
        Outcome::Recorded => (OutcomeType::Recorded, None),
        Outcome::Ordered => (OutcomeType::Ordered, None),
        Outcome::WouldDo => (OutcomeType::WouldDo, None),
        Outcome::Done => (OutcomeType::Done, None),
        Outcome::Failed(why) => (OutcomeType::Failed, Some(why.clone())),
    };
    DecisionOutcome {
        r#type: kind,
        message,
    }
}
