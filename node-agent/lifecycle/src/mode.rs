//! How far a rule may go: watch, say what it would do, do it. For each rule and rack.

use std::collections::BTreeMap;

use proto_ids::RackName;
use serde::{Deserialize, Serialize};

/// What acts. Each has a mode of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rule {
    /// Our own taint.
    Cordon,
    /// Endpoints withdrawn and restored.
    Endpoints,
    /// kubelet restarted by the node's agent.
    LocalRepair,
    /// Replacement without delete.
    SoftEvict,
    /// Eviction by the Eviction API.
    Drain,
    /// Claims marked, out-of-service.
    Fence,
    /// Delete on a fenced node.
    HardEvict,
    /// Superseded Pods of a returning node.
    RecoveryGuard,
}

/// How far a rule may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Verdicts only.
    Observe,
    /// Decisions that say what it would have done.
    DryRun,
    /// It is done.
    Enforce,
}

/// The modes of all rules and racks. What is said more closely wins: rule and rack, then rule, then the default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modes {
    default: Mode,
    rules: BTreeMap<Rule, Mode>,
    racks: BTreeMap<RackName, BTreeMap<Rule, Mode>>,
}

impl Modes {
    /// The same for everything.
    pub const fn all(mode: Mode) -> Self {
        Self {
            default: mode,
            rules: BTreeMap::new(),
            racks: BTreeMap::new(),
        }
    }

    /// This rule otherwise.
    #[must_use]
    pub fn with_rule(mut self, rule: Rule, mode: Mode) -> Self {
        self.rules.insert(rule, mode);
        self
    }

    /// This rule otherwise in this rack.
    #[must_use]
    pub fn with_rack(mut self, rule: Rule, rack: RackName, mode: Mode) -> Self {
        self.racks.entry(rack).or_default().insert(rule, mode);
        self
    }

    /// How far this rule may go in this rack.
    pub fn of(&self, rule: Rule, rack: &RackName) -> Mode {
        let in_rack = self.racks.get(rack).and_then(|rules| rules.get(&rule));
        *in_rack
            .or_else(|| self.rules.get(&rule))
            .unwrap_or(&self.default)
    }
}

impl Default for Modes {
    /// Everything is said and nothing done, until somebody has compared it with what upstream does. A restart of kubelet is not
    /// even proposed: it is opted in to.
    fn default() -> Self {
        Self::all(Mode::DryRun).with_rule(Rule::LocalRepair, Mode::Observe)
    }
}
