//! What the API server refuses of a freeze. It has no clock: that an end lies ahead, `kubectl berth freeze` looks after.

use serde_json::{Value, json};

use crate::rule::rule;

/// Of the whole.
pub(super) fn spec() -> Value {
    json!([
        rule(
            "self.scope == oldSelf.scope",
            "the scope of a freeze cannot be changed; make another freeze and delete this one"
        ),
        rule(
            "self.reason == oldSelf.reason && self.by == oldSelf.by && has(self.ticket) == has(oldSelf.ticket) && (!has(self.ticket) || self.ticket == oldSelf.ticket)",
            "of a freeze only expiryTime can be changed; make another freeze and delete this one"
        ),
    ])
}

/// Of what is frozen.
pub(super) fn scope() -> Value {
    json!([
        rule(
            "[has(self.cluster), has(self.rack), has(self.node), has(self.application)].filter(there, there).size() == 1",
            "say exactly one of cluster, rack, node and application; make a freeze for each"
        ),
        rule(
            "!has(self.cluster) || self.cluster",
            "cluster is true or is not said"
        ),
    ])
}
