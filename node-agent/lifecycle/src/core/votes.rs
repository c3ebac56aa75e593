//! What peers say of the nodes that are asked about, and whether that counts.

use std::collections::{BTreeMap, BTreeSet};

use proto_ids::{NodeName, RackName};

use super::memory::{Lease, Memory};
use crate::config::Config;
use crate::fencing;
use crate::moment::Moment;
use crate::observation::{NodeObservation, Observations, SightState};

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
        self.alive() == 0 && self.agree(config.quorum.dead, config, is_alone_in_rack)
    }

    /// One sees it alive, and many more, near and far, see it dead: one liar is not to be believed for ever.
    pub(super) fn is_outvoted(&self, config: &Config, is_alone_in_rack: bool) -> bool {
        self.alive() == 1 && self.agree(config.quorum.outvoting, config, is_alone_in_rack)
    }

    fn agree(&self, wanted: usize, config: &Config, is_alone_in_rack: bool) -> bool {
        let quorum = &config.quorum;
        let near = if is_alone_in_rack {
            0
        } else {
            quorum.same_rack
        };
        self.dead() >= wanted
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
                counts: fencing::vote_counts(
                    report,
                    target,
                    is_able,
                    is_able,
                    config.quorum.observer_sees_percent,
                ),
            });
        }
    }
    tallies
}

/// The observer is in touch, and its report holds.
fn is_able(memory: &Memory, node: &NodeObservation, now: Moment, config: &Config) -> bool {
    let can_report = memory.lease == Lease::Fresh || memory.agent_is_fresh(now, config);
    can_report && memory.report_holds(node, now)
}
