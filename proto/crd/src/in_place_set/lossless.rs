//! How a Pod's traffic is led away and back: the fields of the drain protocol.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{rules, whole};

/// How a Pod's traffic is led away before its containers are replaced, and back afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lossless {
    /// How long nothing is done after the last of its traffic was led away. Default: 3.
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 3600))]
    pub quiet_seconds: u32,
    /// How long that may take. Default: 300.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 1, max = 86_400))]
    pub drain_timeout_seconds: u32,
    /// How long it may take to lead it back. Default: 300.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 1, max = 86_400))]
    pub attach_timeout_seconds: u32,
    /// What is done where its traffic was not led away in time. Default: `Hold`.
    #[serde(default)]
    pub on_drain_timeout: OnDrainTimeout,
    /// Finalizers of a Pod, each there as long as somebody sends traffic to it: all are there before the Pod counts as
    /// released, and none is when its containers are replaced. `protection.berth.dev/endpoints` is Berth's own; others are
    /// put and removed by those who send the traffic, under names with the same prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 85)),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = rules::protections())
    )]
    pub protections: Vec<String>,
}

/// What is done where a Pod's traffic was not led away in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDrainTimeout {
    /// It gets its traffic back, and the release is held.
    #[default]
    Hold,
    /// Its containers are replaced all the same.
    Proceed,
}

impl Lossless {
    /// How long nothing is done after the last of its traffic was led away.
    pub fn quiet(&self) -> Duration {
        whole(self.quiet_seconds)
    }

    /// How long it may take to lead its traffic away.
    pub fn drain_timeout(&self) -> Duration {
        whole(self.drain_timeout_seconds)
    }

    /// How long it may take to lead it back.
    pub fn attach_timeout(&self) -> Duration {
        whole(self.attach_timeout_seconds)
    }
}

impl Default for Lossless {
    fn default() -> Self {
        Self {
            quiet_seconds: three(),
            drain_timeout_seconds: five_minutes(),
            attach_timeout_seconds: five_minutes(),
            on_drain_timeout: OnDrainTimeout::Hold,
            protections: Vec::new(),
        }
    }
}

const fn three() -> u32 {
    3
}

const fn five_minutes() -> u32 {
    300
}
