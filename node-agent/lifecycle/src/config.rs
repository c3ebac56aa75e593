//! Every number of the rule, with its default and where that comes from.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mode::Modes;
use crate::window::Window;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Every number of the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// When something is taken for so.
    pub timers: Timers,
    /// How many dead votes are needed.
    pub quorum: Quorum,
    /// How much may be done at once.
    pub budgets: Budgets,
    /// When nothing is done any more.
    pub breakers: Breakers,
    /// When a node that comes and goes is left alone.
    pub flapping: Flapping,
    /// When nothing is disturbed that still works.
    pub business: Vec<Window>,
    /// How far each rule may go.
    pub modes: Modes,
}

/// When something is taken for so. All on the controller's monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers {
    /// A kubelet Lease that did not change for so long is read from the API server itself (kubelet renews it every 10 s).
    pub lease_warn: Duration,
    /// And for so long, and was read again, is stale.
    pub lease_stale: Duration,
    /// An agent's Lease that did not change for so long is stale (it is renewed every 30 s).
    pub agent_stale: Duration,
    /// An agent's Lease renewed so long after kubelet's last proves that the node lived on when kubelet's stopped: kubelet's own
    /// period and a watch's delay.
    pub agent_outlives: Duration,
    /// A finding counts after so long.
    pub cordon_hold: Duration,
    /// And for a drain.
    pub drain_hold: Duration,
    /// And for an urgent one.
    pub urgent_hold: Duration,
    /// A node is replaced when it was lost for so long,
    pub quorum_hold: Duration,
    /// and a quorum held without a break for so long.
    pub quorum_steady: Duration,
    /// The nodes of a dark rack went silent within so long (bursts: Ford, OSDI'10).
    pub rack_burst: Duration,
    /// A dark rack is replaced after so long.
    pub rack_hold: Duration,
    /// A node cut from the control plane gets our taint after so long.
    pub cut_cordon: Duration,
    /// And people are called after so long.
    pub cut_escalate: Duration,
    /// A Lease that is renewed so long after a proof of fencing was seen shows that the proof is of before: the delay of a watch.
    pub proof_overtakes: Duration,
    /// One vote against a larger quorum is outvoted after so long, for replacement only.
    pub outvoted_hold: Duration,
    /// Between two restarts of a kubelet.
    pub kubelet_restart: Duration,
    /// How many of them before it is left to people.
    pub kubelet_restarts: u32,
    /// A finding is gone for so long before the taint goes.
    pub healthy_delay: Duration,
    /// A node that is back is healthy after so long,
    pub recovery: Duration,
    /// or after this, doubled for each flap.
    pub recovery_per_flap: Duration,
    /// A node is back for so long before Pods on it count again whose replacements are not ready: what says so is to be of after its return
    /// (owners are read every 10 s). Else replacements that became ready just before would be ended by their owner, all at once.
    pub readopt: Duration,
    /// An order that had no effect is given again after so long.
    pub retry: Duration,
    /// To end a Pod in vain is tried again after ever longer, at last after this: a disruption budget may never allow it.
    pub end_retry: Duration,
    /// An order older than this is not carried out.
    pub order_life: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            lease_warn: seconds(20),
            lease_stale: seconds(30),
            agent_stale: seconds(45),
            agent_outlives: seconds(12),
            cordon_hold: seconds(60),
            drain_hold: seconds(300),
            urgent_hold: seconds(30),
            quorum_hold: seconds(60),
            quorum_steady: seconds(30),
            rack_burst: seconds(120),
            rack_hold: seconds(120),
            cut_cordon: seconds(15),
            cut_escalate: seconds(30 * 60),
            proof_overtakes: seconds(5),
            outvoted_hold: seconds(180),
            kubelet_restart: seconds(60),
            kubelet_restarts: 2,
            healthy_delay: seconds(300),
            recovery: seconds(120),
            recovery_per_flap: seconds(60),
            readopt: seconds(15),
            retry: seconds(30),
            end_retry: seconds(300),
            order_life: seconds(10),
        }
    }
}

/// How many dead votes are needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// So many in all,
    pub dead: usize,
    /// of these so many from its own rack (none where its rack has no other node),
    pub same_rack: usize,
    /// and so many from others.
    pub other_rack: usize,
    /// So many dead votes outvote a single alive one, in time.
    pub outvoting: usize,
    /// A dark rack: so many observers of other racks see its nodes dead,
    pub dark_observers: usize,
    /// in so many racks (as many as there are, where there are fewer).
    pub dark_racks: usize,
    /// An observer that sees fewer of its other peers than this does not count.
    pub observer_sees_percent: u32,
}

impl Default for Quorum {
    fn default() -> Self {
        Self {
            dead: 3,
            same_rack: 1,
            other_rack: 1,
            outvoting: 4,
            dark_observers: 3,
            dark_racks: 2,
            observer_sees_percent: 50,
        }
    }
}

/// How much may be done at once. The smallest wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budgets {
    /// Nodes in action in a rack, of its nodes; at least one. A dark rack is one decision and no node.
    pub rack_percent: u32,
    /// Nodes in action in a zone.
    pub zone_nodes: u32,
    /// Nodes in action in the cluster, of its nodes; at least one.
    pub cluster_percent: u32,
    /// Dark racks in action in a zone.
    pub zone_dark_racks: u32,
    /// And in the cluster.
    pub cluster_dark_racks: u32,
    /// Pods a second in the cluster, and at once.
    pub pods_per_second: u32,
    /// Marks on nodes (taints, endpoints, fences) a second in the cluster, and at once.
    pub marks_per_second: u32,
    /// Between two Pods that end on one node: two at most in ten seconds.
    pub node_gap: Duration,
    /// Replacements of an application that are not ready yet, of its replicas; at least one.
    pub app_surge_percent: u32,
    /// Waiting for so long weighs as much as one rank more.
    pub rank_age: Duration,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            rack_percent: 5,
            zone_nodes: 20,
            cluster_percent: 2,
            zone_dark_racks: 1,
            cluster_dark_racks: 2,
            pods_per_second: 5,
            marks_per_second: 20,
            node_gap: seconds(5),
            app_surge_percent: 25,
            rank_age: seconds(600),
        }
    }
}

/// When nothing is done any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakers {
    /// More than this of a zone or the cluster are stale. Dark racks that are one decision do not count.
    pub stale_percent: u32,
    /// And at least so many nodes: one of four is no wave.
    pub stale_nodes: u32,
    /// So many zones with a dark rack.
    pub dark_zones: usize,
    /// The watches are further behind.
    pub watch_lag: Duration,
    /// The controller's own lease writes take longer.
    pub lease_write: Duration,
    /// It does not lead for so long yet.
    pub warm_up: Duration,
    /// More than this of the cluster have findings of one rule
    pub wave_percent: u32,
    /// and at least so many nodes,
    pub wave_nodes: u32,
    /// begun within so long.
    pub wave_window: Duration,
    /// So many of our replacements in one rack fail.
    pub failed_replacements: u32,
    /// A breaker closes when its cause is gone for so long.
    pub quiet: Duration,
    /// From then on one node is admitted in so long,
    pub slow_gap: Duration,
    /// for so long.
    pub slow_for: Duration,
}

impl Default for Breakers {
    fn default() -> Self {
        Self {
            stale_percent: 20,
            stale_nodes: 3,
            dark_zones: 2,
            watch_lag: seconds(15),
            lease_write: seconds(2),
            warm_up: seconds(60),
            wave_percent: 5,
            wave_nodes: 3,
            wave_window: seconds(30 * 60),
            failed_replacements: 3,
            quiet: seconds(30),
            slow_gap: seconds(30),
            slow_for: seconds(600),
        }
    }
}

/// When a node that comes and goes is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flapping {
    /// What a loss adds to its penalty.
    pub per_loss: u32,
    /// The penalty halves in so long.
    pub half_life: Duration,
    /// Above this it flaps,
    pub suppress: u32,
    /// until it is below this.
    pub reuse: u32,
    /// It never grows above this.
    pub ceiling: u32,
}

impl Default for Flapping {
    fn default() -> Self {
        Self {
            per_loss: 1000,
            half_life: seconds(15 * 60),
            suppress: 2000,
            reuse: 750,
            ceiling: 6000,
        }
    }
}
