//! Which breakers have a cause at this moment.

use std::collections::{BTreeMap, BTreeSet};

use proto_ids::{NodeName, RackName};

use super::memory::{Lease, Memory};
use super::racks::Rack;
use crate::beside::Beside;
use crate::breaker::Cause;
use crate::config::Config;
use crate::moment::Moment;
use crate::observation::{Observations, ReplacementState, RuleName, ZoneName};
use crate::phase::Phase;

#[derive(Default)]
struct Share {
    stale: usize,
    nodes: usize,
}

impl Share {
    fn is_wave(&self, config: &Config) -> bool {
        let breakers = &config.breakers;
        self.stale >= breakers.stale_nodes as usize
            && self.stale * 100 > self.nodes * breakers.stale_percent as usize
    }
}

/// All causes that hold.
pub(super) fn observe<'a>(
    seen: &'a Observations,
    memories: &BTreeMap<NodeName, Memory>,
    racks: &BTreeMap<&'a RackName, Rack>,
    (started, now): (Moment, Moment),
    config: &Config,
) -> BTreeSet<Cause> {
    let breakers = &config.breakers;
    let mut causes = BTreeSet::new();
    let own = [
        (
            seen.controller.watch_lag > breakers.watch_lag,
            Cause::WatchLag,
        ),
        (
            seen.controller.lease_write_p99 > breakers.lease_write,
            Cause::LeaseWrite,
        ),
        (now.since(started) < breakers.warm_up, Cause::WarmUp),
    ];
    causes.extend(
        own.into_iter()
            .filter(|(holds, _)| *holds)
            .map(|(_, cause)| cause),
    );
    let dark = dark_by_zone(seen, racks);
    if dark.len() >= breakers.dark_zones {
        causes.insert(Cause::DarkZones);
    }
    let excused = excused(&dark, config);
    stale(seen, memories, &excused, config, &mut causes);
    waves(memories, seen.nodes.len(), now, config, &mut causes);
    failed(seen, config, &mut causes);
    causes
}

fn dark_by_zone<'a>(
    seen: &'a Observations,
    racks: &BTreeMap<&'a RackName, Rack>,
) -> BTreeMap<&'a ZoneName, BTreeSet<&'a RackName>> {
    let mut dark: BTreeMap<&ZoneName, BTreeSet<&RackName>> = BTreeMap::new();
    if !racks.values().any(|rack| rack.is_dark) {
        return dark;
    }
    for node in seen.nodes.values() {
        if racks.get(&node.rack).is_some_and(|rack| rack.is_dark) {
            dark.entry(&node.zone).or_default().insert(&node.rack);
        }
    }
    dark
}

/// Dark racks that are one decision each: as many as may be in action. A zone with more of them has another trouble.
fn excused<'a>(
    dark: &BTreeMap<&'a ZoneName, BTreeSet<&'a RackName>>,
    config: &Config,
) -> BTreeSet<&'a RackName> {
    let budgets = &config.budgets;
    let all: usize = dark.values().map(BTreeSet::len).sum();
    if all > budgets.cluster_dark_racks as usize {
        return BTreeSet::new();
    }
    let few = dark
        .values()
        .filter(|racks| racks.len() <= budgets.zone_dark_racks as usize);
    few.flatten().copied().collect()
}

fn stale(
    seen: &Observations,
    memories: &BTreeMap<NodeName, Memory>,
    excused: &BTreeSet<&RackName>,
    config: &Config,
    causes: &mut BTreeSet<Cause>,
) {
    let mut cluster = Share::default();
    let mut zones: BTreeMap<&ZoneName, Share> = BTreeMap::new();
    let mut memories = Beside::walk(memories);
    for (name, node) in &seen.nodes {
        let Some(memory) = memories.at(name.as_str()) else {
            continue;
        };
        // What is dead, proven and done with is no wave.
        if excused.contains(&node.rack) || memory.phase == Phase::Gone {
            continue;
        }
        let zone = zones.entry(&node.zone).or_default();
        let is_stale = usize::from(memory.lease == Lease::Stale);
        for share in [&mut cluster, zone] {
            share.nodes += 1;
            share.stale += is_stale;
        }
    }
    if cluster.is_wave(config) {
        causes.insert(Cause::StaleCluster);
    }
    for (zone, share) in zones {
        if share.is_wave(config) {
            causes.insert(Cause::StaleZone(zone.clone()));
        }
    }
}

fn waves(
    memories: &BTreeMap<NodeName, Memory>,
    nodes: usize,
    now: Moment,
    config: &Config,
    causes: &mut BTreeSet<Cause>,
) {
    let breakers = &config.breakers;
    let mut rules: BTreeMap<&RuleName, usize> = BTreeMap::new();
    for memory in memories.values() {
        for (rule, (_, since)) in &memory.findings {
            if now.since(*since) <= breakers.wave_window {
                *rules.entry(rule).or_default() += 1;
            }
        }
    }
    for (rule, found) in rules {
        let is_many = found >= breakers.wave_nodes as usize;
        if is_many && found * 100 > nodes * breakers.wave_percent as usize {
            causes.insert(Cause::RuleWave(rule.clone()));
        }
    }
}

fn failed(seen: &Observations, config: &Config, causes: &mut BTreeSet<Cause>) {
    let mut racks: BTreeMap<&RackName, u32> = BTreeMap::new();
    for replacement in &seen.replacements {
        if let (ReplacementState::Failed, Some(rack)) = (replacement.state, &replacement.rack) {
            *racks.entry(rack).or_default() += 1;
        }
    }
    for (rack, count) in racks {
        if count >= config.breakers.failed_replacements {
            causes.insert(Cause::FailedReplacements(rack.clone()));
        }
    }
}
