//! What one step sees, put together once: the votes and the racks.

use std::collections::{BTreeMap, BTreeSet};

use proto_ids::{NodeName, RackName};

use super::Core;
use super::assess::Case;
use super::gates::Place;
use super::memory::{Lease, Memory};
use super::racks::{self, Rack};
use super::votes::{self, Tally};
use crate::beside::Beside;
use crate::config::Config;
use crate::moment::Moment;
use crate::observation::{NodeObservation, Observations};
use crate::phase::Phase;

/// What one step sees.
pub(super) struct View<'a> {
    pub(super) now: Moment,
    pub(super) seen: &'a Observations,
    pub(super) tallies: BTreeMap<&'a NodeName, Tally<'a>>,
    pub(super) racks: BTreeMap<&'a RackName, Rack>,
}

impl Core {
    /// Puts together what this step sees.
    pub(super) fn view<'a>(&self, now: Moment, seen: &'a Observations) -> View<'a> {
        let mut memories = Beside::walk(&self.nodes);
        let about: BTreeSet<&NodeName> = seen
            .nodes
            .iter()
            .filter(|(name, node)| {
                let memory = memories.at(name.as_str());
                node.endpoints_withdrawn
                    || memory.is_some_and(|memory| {
                        memory.lease == Lease::Stale || memory.phase != Phase::Healthy
                    })
            })
            .map(|(name, _)| name)
            .collect();
        let config = &self.desk.config;
        let tallies = votes::collect(&about, &self.nodes, seen, now, config);
        let racks = racks::judge(seen, &self.nodes, &tallies, now, config);
        View {
            now,
            seen,
            tallies,
            racks,
        }
    }
}

impl View<'_> {
    /// One node, with everything that its verdict rests on.
    pub(super) fn case<'b>(
        &'b self,
        name: &NodeName,
        node: &'b NodeObservation,
        memory: &'b Memory,
        config: &'b Config,
    ) -> Case<'b> {
        Case {
            memory,
            node,
            tally: self.tallies.get(name),
            rack: self.racks.get(&node.rack),
            now: self.now,
            config,
        }
    }
}

/// Where the node is, as far as breakers go.
pub(super) fn place<'a>(
    node: &'a NodeObservation,
    memory: &'a Memory,
    now: Moment,
    config: &Config,
) -> Place<'a> {
    // A rule speaks only for what is in touch: a lost node is not replaced because of a finding.
    let is_lost = memory.phase.is_lost();
    let worst = memory.degraded(now, config).filter(|_| !is_lost);
    Place {
        zone: &node.zone,
        rule: worst.map(|(_, rule)| rule),
    }
}
