//! Which racks are dark: most of a rack silent at once, seen dead from several other racks, and none of it seen alive from there.

use std::collections::{BTreeMap, BTreeSet};

use proto_ids::{NodeName, RackName};

use super::memory::{Lease, Memory};
use super::votes::Tally;
use crate::beside::Beside;
use crate::config::Config;
use crate::moment::Moment;
use crate::observation::{Observations, SightState};

/// What is known of a rack.
#[derive(Clone, Debug, Default)]
pub(super) struct Rack {
    /// Its nodes.
    pub(super) nodes: usize,
    /// Those that are silent, and nothing proves that they live.
    pub(super) silent: usize,
    /// Observers in other racks that see one of these dead.
    pub(super) observers: usize,
    pub(super) is_dark: bool,
}

/// Every rack that has a node, judged.
pub(super) fn judge<'a>(
    seen: &'a Observations,
    memories: &BTreeMap<NodeName, Memory>,
    tallies: &BTreeMap<&'a NodeName, Tally<'a>>,
    now: Moment,
    config: &Config,
) -> BTreeMap<&'a RackName, Rack> {
    let mut racks: BTreeMap<&RackName, Rack> = BTreeMap::new();
    let mut silences: BTreeMap<&RackName, Vec<(&NodeName, Moment)>> = BTreeMap::new();
    let mut seen_alive: BTreeSet<&RackName> = BTreeSet::new();
    let mut memories = Beside::walk(memories);
    for (name, node) in &seen.nodes {
        racks.entry(&node.rack).or_default().nodes += 1;
        let Some(memory) = memories
            .at(name.as_str())
            .filter(|memory| memory.lease == Lease::Stale)
        else {
            continue;
        };
        let tally = tallies.get(name);
        if tally.is_some_and(|tally| tally.alive_elsewhere() > 0) {
            seen_alive.insert(&node.rack);
        }
        let lives =
            tally.is_some_and(|tally| tally.alive() > 0) || memory.agent_outlives(now, config);
        if let Some(since) = memory.stale_since.filter(|_| !lives) {
            silences.entry(&node.rack).or_default().push((name, since));
        }
    }
    let rack_count = racks.len();
    for (rack, silent) in silences {
        let Some(entry) = racks.get_mut(rack) else {
            continue;
        };
        entry.silent = largest_burst(&silent, config);
        let mut observers = BTreeSet::new();
        let mut from = BTreeSet::new();
        for (name, _) in &silent {
            let votes = tallies.get(name).map_or(&[][..], |tally| &tally.votes);
            for vote in votes {
                if vote.counts && !vote.same_rack && vote.sees == SightState::Dead {
                    observers.insert(vote.observer);
                    from.insert(vote.rack);
                }
            }
        }
        entry.observers = observers.len();
        let racks_wanted = config.quorum.dark_racks.min(rack_count.saturating_sub(1));
        entry.is_dark = entry.silent >= 2
            && 2 * entry.silent > entry.nodes
            && !seen_alive.contains(rack)
            && observers.len() >= config.quorum.dark_observers
            && from.len() >= racks_wanted.max(1);
    }
    racks
}

/// The most nodes that went silent within the burst window.
fn largest_burst(silent: &[(&NodeName, Moment)], config: &Config) -> usize {
    let mut moments: Vec<Moment> = silent.iter().map(|(_, since)| *since).collect();
    moments.sort_unstable();
    let mut first = 0;
    let mut largest = 0;
    for (last, moment) in moments.iter().enumerate() {
        while moment.since(moments[first]) > config.timers.rack_burst {
            first += 1;
        }
        largest = largest.max(last + 1 - first);
    }
    largest
}
