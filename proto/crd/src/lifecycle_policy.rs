//! `LifecyclePolicy`: how far the node lifecycle may go, where and when. One object, `default`, in Berth's own namespace; written by
//! operators, its status by the controllers' leader.
//!
//! Without it everything is in dry-run: decided and written down, and nothing done. Only what an operator needs is here; the
//! other numbers of the rule are `node-agent/lifecycle`'s. What is written more closely wins: rule and rack, rule, `mode`.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod rules;

use crate::condition::Condition;

/// How many decisions are kept where nothing is written.
pub const DEFAULT_DECISIONS_KEPT: u32 = 2000;

/// How far the node lifecycle may go.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "berth.dev",
    version = "v1alpha1",
    kind = "LifecyclePolicy",
    plural = "lifecyclepolicies",
    shortname = "lp",
    category = "berth",
    namespaced,
    status = "LifecyclePolicyStatus",
    derive = "PartialEq",
    doc = "How far the node lifecycle may go, where and when. One object, named default; without it everything is in dry-run.",
    label("app.kubernetes.io/part-of", "berth"),
    validation = ("self.metadata.name == 'default'", "there is one LifecyclePolicy, and its name is default"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", description = "Of rules and racks of which nothing else is said"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].status"),
    printcolumn(name = "Breakers", type_ = "string", json_path = ".status.breakers", description = "That are open"),
    printcolumn(name = "Frozen by", type_ = "string", json_path = ".status.frozenBy"),
    printcolumn(name = "Replace", type_ = "boolean", json_path = ".spec.replace", description = "Whether Berth does the duties of node-lifecycle-controller", priority = "1"),
    printcolumn(name = "Hash", type_ = "string", json_path = ".status.policyHash", description = "As decisions name it", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", default)]
pub struct LifecyclePolicySpec {
    /// How far rules may go of which nothing else is said. Default: `DryRun`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "DryRun"))]
    pub mode: Option<LifecycleMode>,
    /// How far each rule may go.
    #[serde(skip_serializing_if = "RuleModes::is_empty")]
    pub rules: RuleModes,
    /// And in a rack.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 512),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["rack"])
    )]
    pub racks: Vec<RackModes>,
    /// When nothing is disturbed that still works.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub business_windows: Vec<BusinessWindow>,
    /// How much may be done at once.
    #[serde(skip_serializing_if = "is_default")]
    pub budgets: BudgetOverrides,
    /// When something is taken for so.
    #[serde(skip_serializing_if = "is_default")]
    pub timers: TimerOverrides,
    /// How many must see it. Small clusters cannot have what is the default.
    #[serde(skip_serializing_if = "is_default")]
    pub quorum: QuorumOverrides,
    /// When nothing is done any more.
    #[serde(skip_serializing_if = "is_default")]
    pub breakers: BreakerOverrides,
    /// How many `NodeDecision`s are kept; what is older is in the archive only. Default: 2000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 20_000), extend("default" = DEFAULT_DECISIONS_KEPT))]
    pub decisions_kept: Option<u32>,
    /// The cluster runs without `node-lifecycle-controller` and `taint-eviction-controller`: Berth does their duties. Default: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace: Option<bool>,
}

/// How far a rule may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LifecycleMode {
    /// Verdicts only.
    Observe,
    /// Decisions that say what it would have done.
    DryRun,
    /// It is done.
    Enforce,
}

/// How far each rule may go; what is not said is as outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleModes {
    /// Our own `NoSchedule` taint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cordon: Option<LifecycleMode>,
    /// Endpoints withdrawn and restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<LifecycleMode>,
    /// kubelet restarted by the node's agent. `Observe` where nothing is said of it, whatever `mode` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_repair: Option<LifecycleMode>,
    /// Replacement without delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_evict: Option<LifecycleMode>,
    /// Eviction by the Eviction API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<LifecycleMode>,
    /// Claims marked, out-of-service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<LifecycleMode>,
    /// Delete on a fenced node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_evict: Option<LifecycleMode>,
    /// Superseded Pods of a returning node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_guard: Option<LifecycleMode>,
}

impl RuleModes {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How far each rule may go in a rack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RackModes {
    /// The rack.
    #[schemars(
        length(min = 1, max = 63),
        pattern(r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$")
    )]
    pub rack: String,
    /// How far each rule may go there.
    pub rules: RuleModes,
}

/// When nothing is disturbed that still works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::window()))]
pub struct BusinessWindow {
    /// On which days it begins.
    #[schemars(length(min = 1, max = 7), extend("x-kubernetes-list-type" = "set"))]
    pub days: Vec<Day>,
    /// The first minute, `09:00`.
    #[schemars(length(max = 5), pattern(r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// The first minute after it, `11:30`; `24:00` is midnight. Where it is before `from` it is on the next day.
    #[schemars(length(max = 5), pattern(r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"))]
    pub until: String,
    /// The difference of the clock that is meant from UTC, `+08:00`. Default: none. It does not follow summer time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 6), pattern(r"^[+-](0[0-9]|1[0-4]):[0-5][0-9]$"))]
    pub time_zone: Option<String>,
}

/// A day of the week.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Day {
    /// The first.
    Monday,
    /// The second.
    Tuesday,
    /// The third.
    Wednesday,
    /// The fourth.
    Thursday,
    /// The fifth.
    Friday,
    /// The sixth.
    Saturday,
    /// The seventh.
    Sunday,
}

/// How much may be done at once. What is not said is as `node-agent/lifecycle` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetOverrides {
    /// Nodes in action in a rack, of its nodes; at least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub rack_percent: Option<u32>,
    /// Nodes in action in a zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub zone_nodes: Option<u32>,
    /// Nodes in action in the cluster, of its nodes; at least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub cluster_percent: Option<u32>,
    /// Dark racks in action in a zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 16))]
    pub zone_dark_racks: Option<u32>,
    /// Dark racks in action in the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 16))]
    pub cluster_dark_racks: Option<u32>,
    /// Pods a second in the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub pods_per_second: Option<u32>,
    /// Replacements of an application that are not ready yet, of its replicas; at least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub app_surge_percent: Option<u32>,
}

/// When something is taken for so. What is not said is as `node-agent/lifecycle` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TimerOverrides {
    /// A node is replaced when it was lost for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 30, max = 86_400))]
    pub quorum_hold_seconds: Option<u32>,
    /// And when a quorum saw it so without a break for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86_400))]
    pub quorum_steady_seconds: Option<u32>,
    /// And where a single observer says that it lives, and many that it does not, after so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 86_400))]
    pub outvoted_hold_seconds: Option<u32>,
    /// A dark rack is replaced after so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 86_400))]
    pub rack_hold_seconds: Option<u32>,
    /// A finding is reason enough for our taint after so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86_400))]
    pub cordon_hold_seconds: Option<u32>,
    /// And for a drain.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 86_400))]
    pub drain_hold_seconds: Option<u32>,
    /// A finding is gone for so long before the taint goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86_400))]
    pub healthy_delay_seconds: Option<u32>,
    /// A node that is back is healthy after so long; if that is longer, after a minute doubled for each of its losses that is remembered (two
    /// minutes after the first, four after the second).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 30, max = 86_400))]
    pub recovery_seconds: Option<u32>,
    /// People are called when a node is cut from the control plane for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 86_400))]
    pub cut_escalate_seconds: Option<u32>,
}

/// How many must see it. What is not said is as `node-agent/lifecycle` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct QuorumOverrides {
    /// So many observers must see a node dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 8))]
    pub dead: Option<u32>,
    /// So many observers of other racks must see the nodes of a dark rack dead,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 16))]
    pub dark_observers: Option<u32>,
    /// in so many racks; as many as there are, where there are fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8))]
    pub dark_racks: Option<u32>,
}

/// When nothing is done any more. What is not said is as `node-agent/lifecycle` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BreakerOverrides {
    /// For so long after its beginning a leader does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 3600))]
    pub warm_up_seconds: Option<u32>,
    /// Nothing is done while more of a zone or of the cluster is silent,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60))]
    pub stale_percent: Option<u32>,
    /// and at least so many nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub stale_nodes: Option<u32>,
    /// After that one node is admitted in so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub slow_gap_seconds: Option<u32>,
}

/// What the leader goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LifecyclePolicyStatus {
    /// The generation of the object that this is about.
    #[schemars(range(min = 0))]
    pub observed_generation: i64,
    /// The hash of the configuration that follows from it, as decisions name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub policy_hash: Option<String>,
    /// The breakers that are open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub breakers: Vec<String>,
    /// The freezes that are in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub frozen_by: Vec<String>,
    /// Whether it is gone by: `Accepted`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests;
