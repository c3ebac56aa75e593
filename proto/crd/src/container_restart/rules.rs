//! What the API server refuses of a request, whoever makes it: what could never end well. What depends on the Pod is said by
//! the node's agent. No message has a number in it: the API server reckons that the text of one may be endless.

use serde_json::{Value, json};

use super::{DEFAULT_DEADLINE, DEFAULT_MIN_STARTED};
use crate::rule::rule;

const UNCHANGED: &str = "a request cannot be changed; delete it and make another one";

/// Of the whole, and that it does not change.
pub(super) fn spec() -> Value {
    let deadline = format!(
        "self.?activeDeadlineSeconds.orValue({})",
        DEFAULT_DEADLINE.as_secs()
    );
    let least = least();
    let mut rules = vec![
        rule("self == oldSelf", UNCHANGED),
        // Lists of which each entry has a name are equal in any order.
        rule(
            "self.containers.map(c, c.name) == oldSelf.containers.map(c, c.name)",
            UNCHANGED,
        ),
        rule(
            format!("{least} < {deadline}"),
            "strategy: it could never end well, since unreadyGracePeriodSeconds and minStartedSeconds (5 where it is not said; for each container, where ordered) are not less than activeDeadlineSeconds (600 where it is not said)",
        ),
    ];
    for field in ["terminationGracePeriodSeconds", "maxBackOffSeconds"] {
        let value = format!("self.?strategy.?{field}.orValue(0)");
        rules.push(rule(
            format!("{value} <= {deadline}"),
            &format!(
                "strategy: {field} is longer than the request may take at all: activeDeadlineSeconds (600 where it is not said)"
            ),
        ));
    }
    Value::Array(rules)
}

/// How long it takes where stopping and starting take no time.
fn least() -> String {
    format!(
        "(self.?strategy.?unreadyGracePeriodSeconds.orValue(0) \
         + self.?strategy.?minStartedSeconds.orValue({}) * (self.?strategy.?ordered.orValue(false) ? size(self.containers) : 1))",
        DEFAULT_MIN_STARTED.as_secs()
    )
}

/// Of the status: a verdict stays.
pub(super) fn status() -> Value {
    json!([
        rule(
            "!(oldSelf.?phase.orValue('Pending') in ['Succeeded', 'Failed']) || self.?phase.orValue('Pending') == oldSelf.phase",
            "a verdict stays"
        ),
        rule(
            "!(self.?phase.orValue('Pending') in ['Succeeded', 'Failed']) || has(self.completedAt)",
            "a verdict says when it was reached (completedAt)"
        ),
        rule(
            "(self.?phase.orValue('Pending') == 'Failed') == has(self.reason)",
            "a failure, and nothing else, has a reason"
        ),
    ])
}
