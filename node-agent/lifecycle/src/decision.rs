//! The record: every change of a verdict or a phase, every action, every hold, each with what it rests on and the hash of the one before.
//!
//! **Always holds:** a record is never changed; what became of an action is a record of its own. A chain is of one term of one
//! leader, and starts from the hash that it is given.

use std::fmt;

use proto_ids::{NodeName, RackName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::action::Action;
use crate::breaker::Cause;
use crate::evidence::Evidence;
use crate::moment::Moment;
use crate::phase::Phase;
use crate::verdict::Verdict;

/// Which decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DecisionId {
    /// The leader's term.
    pub term: u64,
    /// From 1 in that term.
    pub sequence: u64,
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.term, self.sequence)
    }
}

/// The SHA-256 of a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

/// A text is no hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not 64 hexadecimal digits")]
pub struct ParseHashError {
    text: String,
}

impl TryFrom<String> for Hash {
    type Error = ParseHashError;

    fn try_from(text: String) -> Result<Self, ParseHashError> {
        let mut bytes = [0; 32];
        let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex {
            return Err(ParseHashError { text });
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2);
            match digits.map(|digits| u8::from_str_radix(digits, 16)) {
                Some(Ok(value)) => *byte = value,
                _ => return Err(ParseHashError { text }),
            }
        }
        Ok(Self(bytes))
    }
}

impl Hash {
    /// Of anything that has a fixed form as JSON.
    pub(crate) fn of(record: &impl Serialize) -> Self {
        let mut hasher = Hasher(Sha256::new());
        // Cannot fail: nothing here has a map with keys that are no text, and the hasher takes everything. A hash of half a
        // record would only make its chain not verify.
        let _ = serde_json::to_writer(&mut hasher, record);
        Self(hasher.0.finalize().into())
    }
}

struct Hasher(Sha256);

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a decision is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// All of it.
    Cluster,
    /// A rack: its TOR failing is one decision.
    Rack(RackName),
    /// A node.
    Node(NodeName),
}

/// Why something that was due was not done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hold {
    /// This process does not lead, or in another term.
    NotLeading,
    /// People have frozen it.
    Frozen(String),
    /// A breaker is open.
    Breaker(Cause),
    /// A breaker was open a while ago: one at a time.
    Slow(Cause),
    /// So many of the rack are in action.
    RackBudget,
    /// So many of the zone are in action.
    ZoneBudget,
    /// So many of the cluster are in action.
    ClusterBudget,
    /// The application has too many that are not ready.
    AppBudget,
    /// It is business time.
    Business,
    /// People have said that it goes down for a while.
    Maintenance,
    /// The node is under pressure.
    Pressure,
}

/// What a decision changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A leader has begun to look, at so many nodes. What is plainly healthy at first sight has no record of its own.
    TermBegan {
        /// How many.
        nodes: usize,
    },
    /// What a node is.
    Verdict {
        /// Before.
        from: Verdict,
        /// Now.
        to: Verdict,
    },
    /// Where it is in its life.
    Phase {
        /// Before.
        from: Phase,
        /// Now.
        to: Phase,
    },
    /// Something is due and not done. Said once, until the reason is another.
    Held(Hold),
    /// Something is to be done.
    Action(Action),
    /// What was ordered and not yet done is not to be done any more.
    Cancelled,
    /// People are called: nothing here will help.
    Escalated,
    /// A breaker opened.
    BreakerOpened(Cause),
    /// A breaker closed.
    BreakerClosed(Cause),
    /// What became of an action.
    Outcome {
        /// Of which decision.
        of: DecisionId,
        /// What was to be done.
        action: Action,
    },
}

impl Change {
    /// What is to be done, or what something became of.
    pub const fn action(&self) -> Option<&Action> {
        match self {
            Self::Action(action) | Self::Outcome { action, .. } => Some(action),
            _ => None,
        }
    }
}

/// What became of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Nothing was to be done: it is a record.
    Recorded,
    /// It was ordered.
    Ordered,
    /// It would have been: the rule is in dry-run there.
    WouldDo,
    /// It was done.
    Done,
    /// It was not done: somebody refused.
    Failed(String),
}

/// How much of the budgets was in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Nodes in action in the cluster, and how many may be.
    pub cluster: (u32, u32),
    /// Nodes in action in the rack, and how many may be.
    pub rack: (u32, u32),
    /// Dark racks in action, and how many may be.
    pub dark_racks: (u32, u32),
    /// Pods that may still be touched now.
    pub pods: u32,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Which.
    pub id: DecisionId,
    /// When, on the clock of the leader of that term.
    pub at: Moment,
    /// The hash of the configuration that it was made under.
    pub policy: Hash,
    /// What it is about.
    pub subject: Subject,
    /// What it changes.
    pub change: Change,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// How much of the budgets was in use.
    pub budget: Budget,
    /// The breakers that were open.
    pub breakers: Vec<Cause>,
    /// What became of it.
    pub outcome: Outcome,
    /// The hash of the record before.
    pub previous: Hash,
    /// The hash of this record, without this field.
    pub hash: Hash,
}

impl Decision {
    /// The hash that it must have.
    pub fn digest(&self) -> Hash {
        Hash::of(&(
            (&self.id, &self.at, &self.policy, &self.subject),
            (&self.change, &self.evidence, &self.budget),
            (&self.breakers, &self.outcome, &self.previous),
        ))
    }

    /// The node that it is about.
    pub const fn node(&self) -> Option<&NodeName> {
        match &self.subject {
            Subject::Node(node) => Some(node),
            Subject::Cluster | Subject::Rack(_) => None,
        }
    }
}

/// A chain does not hold together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It was changed after it was made.
    #[error("decision {0} was changed: its hash is another")]
    Digest(DecisionId),
    /// One before it is missing or was changed.
    #[error("decision {0} does not follow the one before")]
    Link(DecisionId),
}

/// Whether these records follow each other, from this hash on, and none was changed.
///
/// # Errors
/// The first that does not.
pub fn verify(start: Hash, decisions: &[Decision]) -> Result<(), VerifyError> {
    let mut previous = start;
    for decision in decisions {
        if decision.previous != previous {
            return Err(VerifyError::Link(decision.id));
        }
        if decision.hash != decision.digest() {
            return Err(VerifyError::Digest(decision.id));
        }
        previous = decision.hash;
    }
    Ok(())
}
