//! What the API server refuses of a policy, besides the bounds of its numbers.

use serde_json::{Value, json};

use crate::rule::rule;

/// Of a business window.
pub(super) fn window() -> Value {
    json!([rule(
        "self.from != self.until",
        "it begins when it ends; a whole day is from 00:00 until 24:00"
    )])
}
