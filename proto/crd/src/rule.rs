//! What the API server checks by itself (CEL, `x-kubernetes-validations`): the pieces that rules of every Kind are made of.
//!
//! One mistake gives one sentence: a rule whose precondition does not hold is silent, because another rule speaks. What
//! rules may cost is bounded by the API server, before any object is there, by the bounds of texts and lists.

use serde_json::{Value, json};

/// A duration as `humantime` reads and writes it, and the two words that stand for none and for ever.
pub(crate) const DURATION: &str = "^(forever|none|[0-9]+ ?(ns|us|ms|s|m|h|d|w|M|y|sec|secs|second|seconds|min|mins|minute|minutes|hr|hrs|hour|hours|day|days|wk|wks|week|weeks|month|months|yr|yrs|year|years)( ?[0-9]+ ?(ns|us|ms|s|m|h|d|w|M|y|sec|secs|second|seconds|min|mins|minute|minutes|hr|hrs|hour|hours|day|days|wk|wks|week|weeks|month|months|yr|yrs|year|years))*)$";

/// A rule and what is said when it does not hold.
pub(crate) fn rule(expression: impl Into<String>, message: &str) -> Value {
    json!({"rule": expression.into(), "message": message})
}

/// A rule and an expression that says what is wrong.
pub(crate) fn rule_saying(expression: impl Into<String>, message: impl Into<String>) -> Value {
    json!({"rule": expression.into(), "messageExpression": message.into()})
}

/// It holds, where all of these do.
pub(crate) fn held(conditions: &[&str], expression: &str) -> String {
    format!("!({}) || {expression}", conditions.join(" && "))
}
