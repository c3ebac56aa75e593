//! The chain of records of one term.

use crate::breaker::Cause;
use crate::decision::{Budget, Change, Decision, DecisionId, Hash, Outcome, Subject};
use crate::evidence::Evidence;
use crate::moment::Moment;

/// Where the chain is.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) term: u64,
    sequence: u64,
    policy: Hash,
    previous: Hash,
}

/// One record, before it is in the chain.
pub(super) struct Draft {
    pub(super) subject: Subject,
    pub(super) change: Change,
    pub(super) evidence: Vec<Evidence>,
    pub(super) budget: Budget,
    pub(super) breakers: Vec<Cause>,
    pub(super) outcome: Outcome,
}

impl Chain {
    pub(super) const fn new(term: u64, policy: Hash, previous: Hash) -> Self {
        Self {
            term,
            sequence: 0,
            policy,
            previous,
        }
    }

    pub(super) const fn policy(&self) -> Hash {
        self.policy
    }

    pub(super) const fn set_policy(&mut self, policy: Hash) {
        self.policy = policy;
    }

    pub(super) const fn last(&self) -> u64 {
        self.sequence
    }

    pub(super) fn append(&mut self, at: Moment, draft: Draft) -> Decision {
        self.sequence += 1;
        let mut decision = Decision {
            id: DecisionId {
                term: self.term,
                sequence: self.sequence,
            },
            at,
            policy: self.policy,
            subject: draft.subject,
            change: draft.change,
            evidence: draft.evidence,
            budget: draft.budget,
            breakers: draft.breakers,
            outcome: draft.outcome,
            previous: self.previous,
            hash: Hash::default(),
        };
        decision.hash = decision.digest();
        self.previous = decision.hash;
        decision
    }
}
