//! Whether a node lives of which somebody says that it does not: by its Leases and by what its peers' agents report. Pure.
//!
//! The question is asked of few nodes, and answered by [`node_agent_lifecycle::fencing`], as the node lifecycle's own. **Always
//! holds:** an age is of this process's monotonic clock.

use std::time::{Duration, Instant};

use node_agent_lifecycle::config::{Config, Timers};
use node_agent_lifecycle::fencing::{LeaseSign, Life, lease_sign, life, vote_counts};
use node_agent_lifecycle::observation::{Report, SightState};
use proto_ids::NodeName;

use super::patience::Patience;
use crate::heartbeats::{Beats, Heartbeats};
use crate::world::World;

/// Since when reports are what they are: by their observer and version.
pub(super) type Reports = Patience<(String, String)>;

/// Whether the node lives. `reports_seen`: for how long this very report of this observer is known.
pub(super) fn life_of(
    node: &str,
    world: &World,
    heartbeats: &Heartbeats,
    now: Instant,
    mut report_age: impl FnMut(&str, &Report) -> Duration,
) -> Life {
    let config = Config::default();
    let timers = &config.timers;
    let kubelet = sign(&heartbeats.kubelets, node, timers.lease_stale, now);
    let agent = sign(&heartbeats.agents, node, timers.agent_stale, now);
    let Ok(target) = node.parse::<NodeName>() else {
        return life(kubelet, agent, false);
    };
    let percent = config.quorum.observer_sees_percent;
    // Not only until the first: all ages are counted on.
    let mut is_seen = false;
    for (observer, report) in world.reports.items() {
        let Some(report) = report
            .as_ref()
            .filter(|it| observer != node && sees(it, &target))
        else {
            continue;
        };
        let holds = report_age(observer, report) < report.ttl;
        let can_report = can_report(heartbeats, observer, timers, now);
        is_seen |= vote_counts(report, &target, can_report, holds, percent);
    }
    life(kubelet, agent, is_seen)
}

fn sees(report: &Report, target: &NodeName) -> bool {
    let mut sights = report.sights.iter();
    sights.any(|sight| sight.target == *target && sight.state == SightState::Alive)
}

/// As the node lifecycle asks it of an observer.
fn can_report(heartbeats: &Heartbeats, observer: &str, timers: &Timers, now: Instant) -> bool {
    let signs = [
        sign(&heartbeats.kubelets, observer, timers.lease_stale, now),
        sign(&heartbeats.agents, observer, timers.agent_stale, now),
    ];
    signs.contains(&LeaseSign::Fresh)
}

fn sign(beats: &Beats, node: &str, stale_after: Duration, now: Instant) -> LeaseSign {
    match beats.get(node) {
        Some(beat) => {
            let unchanged = now.saturating_duration_since(beat.since);
            lease_sign(unchanged, beat.is_proven, stale_after)
        }
        // There is none: nothing renews it.
        None if beats.is_complete() => LeaseSign::Stale,
        None => LeaseSign::Unknown,
    }
}
