//! The condition that status sections carry, as every Kubernetes tool reads it (`kubectl wait --for=condition=…`), and
//! the types and reasons of ours.
//!
//! Like `metav1.Condition`, with bounds. A condition is written on transition only; `lastTransitionTime` is the
//! status's, not the message's.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Type: nothing is known to be wrong with the node.
pub const HEALTHY: &str = "Healthy";

/// Reason of [`HEALTHY`]: every signal is healthy.
pub const ALL_HEALTHY: &str = "AllHealthy";

/// Reason of [`HEALTHY`]: at least one signal is unhealthy.
pub const SIGNALS_UNHEALTHY: &str = "SignalsUnhealthy";

/// Reason of [`HEALTHY`]: no signal is known to be unhealthy, and not all are known.
pub const SIGNALS_UNKNOWN: &str = "SignalsUnknown";

/// Type: a pool can be used as it is written.
pub const ACCEPTED: &str = "Accepted";

/// Reason of [`ACCEPTED`]: nothing speaks against it.
pub const VALID: &str = "Valid";

/// Reason of [`ACCEPTED`]: it contradicts itself, or another pool of its rack.
pub const CONTRADICTORY: &str = "Contradictory";

/// One aspect of an object's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The aspect.
    #[schemars(length(max = 63), pattern(r"^[A-Za-z][A-Za-z0-9]*$"))]
    pub r#type: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, for programs.
    #[schemars(length(max = 63), pattern(r"^[A-Za-z][A-Za-z0-9]*$"))]
    pub reason: String,
    /// Why, for people.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when the status is what it is.
    pub last_transition_time: Time,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows.
    Unknown,
}
