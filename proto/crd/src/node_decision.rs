//! `NodeDecision`: one thing that the node lifecycle decided, did, or would have done, with all that it rests on. In Berth's own
//! namespace, named by its id.
//!
//! Made by the controllers' leader, changed by nobody: what became of an action is an object of its own. Their number is
//! bounded: the leader deletes the oldest. What is in the fields is for people and for filters; [`NodeDecisionSpec::record`]
//! is what was hashed: by it the chain is verified, and the decisions can be made again.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod rules;

use crate::time::Timestamp;

/// The longest text about a decision, a piece of evidence, an outcome. The controllers cut what is longer.
pub const TEXT_LIMIT: usize = 1024;

/// The longest record. The controllers leave out the record of a decision that is longer, whose chain is then in the archive only.
pub const RECORD_LIMIT: usize = 131_072;

/// How much evidence is told in words. What is more is in the record.
pub const EVIDENCE_LIMIT: usize = 64;

/// How many breakers, and how many targets, are told.
pub const LIST_LIMIT: usize = 64;

/// What was decided; never changed.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "berth.dev",
    version = "v1alpha1",
    kind = "NodeDecision",
    plural = "nodedecisions",
    shortname = "nd",
    category = "berth",
    namespaced,
    derive = "PartialEq",
    doc = "One decision of the node lifecycle, with its evidence, budgets, targets and outcome, and the hash of the one before. Never changed.",
    label("app.kubernetes.io/part-of", "berth"),
    selectable = ".spec.node",
    selectable = ".spec.rack",
    validation = ("self.metadata.name == self.spec.id", "the name of a decision is its id: metadata.name and spec.id differ"),
    printcolumn(name = "Time", type_ = "string", json_path = ".spec.time"),
    printcolumn(name = "About", type_ = "string", json_path = ".spec.subject.name"),
    printcolumn(name = "Change", type_ = "string", json_path = ".spec.change.type"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".spec.outcome.type"),
    printcolumn(name = "What", type_ = "string", json_path = ".spec.change.text"),
    printcolumn(name = "Rack", type_ = "string", json_path = ".spec.rack", priority = "1"),
    printcolumn(name = "Leader", type_ = "string", json_path = ".spec.leader", priority = "1"),
    printcolumn(name = "Of", type_ = "string", json_path = ".spec.of", description = "The decision whose outcome this is", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::spec()))]
pub struct NodeDecisionSpec {
    /// `TERM-SEQUENCE`.
    #[schemars(length(min = 3, max = 41), pattern(r"^(0|[1-9][0-9]*)-[1-9][0-9]*$"))]
    pub id: String,
    /// The term of the leader that decided.
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub term: u64,
    /// From 1 in that term, one more each time.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub sequence: u64,
    /// When, by the leader's wall clock, for people: nothing is reckoned by it.
    pub time: Timestamp,
    /// The node that the leader ran on.
    #[schemars(length(min = 1, max = 253))]
    pub leader: String,
    /// The hash of the configuration that it was decided under.
    #[schemars(length(max = 64), pattern(r"^[0-9a-f]{64}$"))]
    pub policy_hash: String,
    /// What it is about.
    pub subject: DecisionSubject,
    /// The node that it is about, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub node: Option<String>,
    /// The rack that it is about, or the one of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub rack: Option<String>,
    /// What it changes.
    pub change: DecisionChange,
    /// The Pods that it is about, as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub targets: Vec<DecisionTarget>,
    /// What it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub evidence: Vec<DecisionEvidence>,
    /// How much of the budgets was in use.
    pub budget: DecisionBudget,
    /// The breakers that were open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub breakers: Vec<String>,
    /// What became of it.
    pub outcome: DecisionOutcome,
    /// The decision whose outcome this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 41), pattern(r"^(0|[1-9][0-9]*)-[1-9][0-9]*$"))]
    pub of: Option<String>,
    /// The hash of the decision before: 64 hexadecimal digits.
    #[schemars(length(max = 64), pattern(r"^[0-9a-f]{64}$"))]
    pub previous: String,
    /// The hash of this one.
    #[schemars(length(max = 64), pattern(r"^[0-9a-f]{64}$"))]
    pub hash: String,
    /// The decision as it was made, as JSON: what was hashed. Empty where it is too long for an object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 131_072))]
    pub record: String,
}

/// What a decision is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionSubject {
    /// Of which kind.
    pub kind: SubjectKind,
    /// Its name; of the cluster none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
}

/// Of which kind a subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// All of it.
    Cluster,
    /// A rack.
    Rack,
    /// A node.
    Node,
}

/// What a decision changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionChange {
    /// Of which type.
    pub r#type: ChangeType,
    /// In words.
    #[schemars(length(max = 1024))]
    pub text: String,
    /// The verdict or phase before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub from: Option<String>,
    /// The verdict or phase now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub to: Option<String>,
    /// What is to be done: `Cordon`, `SoftEvict` and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub action: Option<String>,
    /// The rule that wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub rule: Option<String>,
    /// How far that rule may go there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub mode: Option<String>,
    /// What held it back, or which breaker opened or closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub hold: Option<String>,
}

/// Of which type a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ChangeType {
    /// A leader has begun to look. What is plainly healthy then has no decision of its own.
    TermBegan,
    /// What a node is.
    Verdict,
    /// Where it is in its life.
    Phase,
    /// Something is due and not done.
    Held,
    /// Something is to be done.
    Action,
    /// What was ordered and not yet done is not to be done any more.
    Cancelled,
    /// People are called.
    Escalated,
    /// A breaker opened.
    BreakerOpened,
    /// A breaker closed.
    BreakerClosed,
    /// What became of an action.
    Outcome,
}

/// A Pod that a decision is about, as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionTarget {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Which Pod of that name.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
    /// Which version of it.
    #[schemars(length(min = 1, max = 64))]
    pub resource_version: String,
}

/// One thing that a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionEvidence {
    /// Of which type: `KubeletLease`, `Vote`, `Finding` and so on.
    #[schemars(length(min = 1, max = 63))]
    pub r#type: String,
    /// In words.
    #[schemars(length(max = 1024))]
    pub text: String,
    /// Who saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub observer: Option<String>,
    /// For how long it had been so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub age_seconds: Option<u32>,
    /// From when on it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub threshold_seconds: Option<u32>,
}

/// How much of the budgets was in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionBudget {
    /// Nodes in action in the cluster.
    pub cluster: BudgetUse,
    /// Nodes in action in the rack.
    pub rack: BudgetUse,
    /// Dark racks in action.
    pub dark_racks: BudgetUse,
    /// Pods that may still be touched now.
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub pods: u32,
}

/// How much of a budget was in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetUse {
    /// So many,
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub used: u32,
    /// of so many.
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub limit: u32,
}

/// What became of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionOutcome {
    /// Of which type.
    pub r#type: OutcomeType,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub message: Option<String>,
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OutcomeType {
    /// Nothing was to be done: it is a record.
    Recorded,
    /// It was ordered. What became of it is another decision, `of` this one.
    Ordered,
    /// It would have been done: the rule is in dry-run there.
    WouldDo,
    /// It was done.
    Done,
    /// It was not done: somebody refused.
    Failed,
}

#[cfg(test)]
mod tests;
