//! What the API server refuses of a decision: any change, and what contradicts itself.

use serde_json::{Value, json};

use crate::rule::rule;

/// Of the whole.
pub(super) fn spec() -> Value {
    json!([
        rule("self == oldSelf", "a decision is never changed"),
        rule(
            "self.id.split('-').map(n, int(n)) == [self.term, self.sequence]",
            "the id of a decision is TERM-SEQUENCE"
        ),
        rule(
            "(self.change.type == 'Outcome') == has(self.of)",
            "an outcome, and nothing else, is of another decision (of)"
        ),
        rule(
            "(self.outcome.type == 'Failed') == has(self.outcome.message)",
            "a failure, and nothing else, has a message"
        ),
        rule(
            "(self.subject.kind == 'Cluster') != has(self.subject.name)",
            "a rack and a node have a name, the cluster has none"
        ),
        rule(
            "self.subject.kind == 'Node' ? has(self.node) && self.node == self.subject.name : !has(self.node)",
            "node is the node that it is about, if it is one"
        ),
    ])
}
