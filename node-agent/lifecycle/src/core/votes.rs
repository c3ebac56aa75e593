//! What peers say of the nodes that are asked about, and whether that counts.

use std::collections::{BTreeMap, BTreeSet};

use proto_ids::{NodeName, RackName};

use super::memory::{Lease, Memory};
use crate::config::Config;
use crate::moment::Moment;
use crate::observation::{NodeObservation, Observations, Report, SightState, Standing};

/// One vote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vote<'a> {
    pub(super) observer: &'a NodeName,
    pub(super) rack: &'a RackName,
    pub(super) same_rack: bool,
    pub(super) sees: SightState,
    pub(super) counts: bool,
}

/// The votes about one node.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally<'a> {
    pub(super) votes: Vec<Vote<'a>>,
}

impl Tally<'_> {
    fn count(&self, sees: SightState, same_rack: Option<bool>) -> usize {
        let counted = self.votes.iter().filter(|vote| {
            vote.counts && vote.sees == sees && same_rack.is_none_or(|same| vote.same_rack == same)
        });
        counted.count()
    }

    pub(super) fn alive(&self) -> usize {
        self.count(SightState::Alive, None)
    }

    pub(super) fn alive_elsewhere(&self) -> usize {
        self.count(SightState::Alive, Some(false))
    }

    pub(super) fn dead(&self) -> usize {
        self.count(SightState::Dead, None)
    }

    /// Enough see it dead, near and far, and none alive.
    pub(super) fn is_quorum(&self, config: &Config, is_alone_in_rack: bool) -> bool {
        let quorum = &config.quorum;
        let near = if is_alone_in_rack {
            0
        } else {
            quorum.same_rack
        };
        self.alive() == 0
            && self.dead() >= quorum.dead
            && self.count(SightState::Dead, Some(true)) >= near
            && self.count(SightState::Dead, Some(false)) >= quorum.other_rack
    }
}

/// The votes about these nodes.
pub(super) fn collect<'a>(
    about: &BTreeSet<&'a NodeName>,
    memories: &BTreeMap<NodeName, Memory>,
    seen: &'a Observations,
    now: Moment,
    config: &Config,
) -> BTreeMap<&'a NodeName, Tally<'a>> {
    let mut tallies: BTreeMap<&NodeName, Tally<'a>> = BTreeMap::new();
    if about.is_empty() {
        return tallies;
    }
    for (observer, node) in &seen.nodes {
        let Some(report) = &node.report else { continue };
        let mut able = None;
        for sight in &report.sights {
            let Some(target) = about.get(&sight.target) else {
                continue;
            };
            if sight.state == SightState::Unknown || *target == observer {
                continue;
            }
            let Some(looked_at) = seen.nodes.get(*target) else {
                continue;
            };
            let is_able = *able.get_or_insert_with(|| {
                let memory = memories.get(observer);
                memory.is_some_and(|memory| is_able(memory, node, now, config))
            });
            tallies.entry(target).or_default().votes.push(Vote {
                observer,
                rack: &node.rack,
                same_rack: looked_at.rack == node.rack,
                sees: sight.state,
                counts: is_able && sees_others(report, target, config),
            });
        }
    }
    tallies
}

/// The observer can report, and says itself that its view is worth something.
fn is_able(memory: &Memory, node: &NodeObservation, now: Moment, config: &Config) -> bool {
    let can_report = memory.lease == Lease::Fresh || memory.agent_is_fresh(now, config);
    let is_given = node
        .report
        .as_ref()
        .is_some_and(|report| report.vote == Standing::Given);
    can_report && is_given && memory.report_holds(node, now)
}

/// It sees enough of its other peers. One that sees nobody else speaks of itself.
fn sees_others(report: &Report, target: &NodeName, config: &Config) -> bool {
    let mut known = 0_usize;
    let mut alive = 0_usize;
    for sight in report.sights.iter().filter(|sight| sight.target != *target) {
        known += usize::from(sight.state != SightState::Unknown);
        alive += usize::from(sight.state == SightState::Alive);
    }
    let wanted = known * config.quorum.observer_sees_percent as usize;
    known > 0 && alive * 100 >= wanted
}
