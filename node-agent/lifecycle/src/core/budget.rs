//! Nodes in action: how many there are, and how many there may be. The smallest of the nested budgets wins.

use std::collections::{BTreeMap, BTreeSet};

use proto_ids::{NodeName, RackName};

use super::DarkRack;
use super::memory::Memory;
use crate::beside::Beside;
use crate::config::Budgets;
use crate::decision::{Budget, Hold};
use crate::observation::{NodeObservation, Observations, ZoneName};

/// Nodes and dark racks in action.
#[derive(Default)]
pub(super) struct Usage<'a> {
    nodes: u32,
    cluster: u32,
    rack_nodes: BTreeMap<&'a RackName, u32>,
    racks: BTreeMap<&'a RackName, u32>,
    zones: BTreeMap<&'a ZoneName, u32>,
    dark_racks: BTreeSet<&'a RackName>,
    dark_zones: BTreeMap<&'a ZoneName, BTreeSet<&'a RackName>>,
}

impl<'a> Usage<'a> {
    /// Counts. A node of a dark rack that was admitted is part of that one decision.
    pub(super) fn count(
        seen: &'a Observations,
        memories: &BTreeMap<NodeName, Memory>,
        dark: &BTreeMap<RackName, DarkRack>,
    ) -> Self {
        let mut usage = Self::default();
        let mut memories = Beside::walk(memories);
        for (name, node) in &seen.nodes {
            usage.nodes += 1;
            *usage.rack_nodes.entry(&node.rack).or_default() += 1;
            let is_busy = memories
                .at(name.as_str())
                .is_some_and(|memory| memory.phase.is_in_action() && !memory.is_idle);
            if !is_busy {
                continue;
            }
            if dark.get(&node.rack).is_some_and(|dark| dark.is_admitted) {
                usage.add_rack(node);
            } else {
                usage.add_node(node);
            }
        }
        usage
    }

    pub(super) fn add_node(&mut self, node: &'a NodeObservation) {
        self.cluster += 1;
        *self.racks.entry(&node.rack).or_default() += 1;
        *self.zones.entry(&node.zone).or_default() += 1;
    }

    pub(super) fn add_rack(&mut self, node: &'a NodeObservation) {
        self.dark_racks.insert(&node.rack);
        self.dark_zones
            .entry(&node.zone)
            .or_default()
            .insert(&node.rack);
    }

    fn cluster_limit(&self, budgets: &Budgets) -> u32 {
        percent(self.nodes, budgets.cluster_percent)
    }

    fn rack_limit(&self, rack: &RackName, budgets: &Budgets) -> u32 {
        let nodes = self.rack_nodes.get(rack).copied().unwrap_or(0);
        percent(nodes, budgets.rack_percent)
    }

    /// What stops one node more.
    pub(super) fn node_hold(&self, node: &NodeObservation, budgets: &Budgets) -> Option<Hold> {
        let in_rack = self.racks.get(&node.rack).copied().unwrap_or(0);
        let in_zone = self.zones.get(&node.zone).copied().unwrap_or(0);
        if self.cluster >= self.cluster_limit(budgets) {
            Some(Hold::ClusterBudget)
        } else if in_zone >= budgets.zone_nodes {
            Some(Hold::ZoneBudget)
        } else if in_rack >= self.rack_limit(&node.rack, budgets) {
            Some(Hold::RackBudget)
        } else {
            None
        }
    }

    /// What stops one dark rack more.
    pub(super) fn rack_hold(&self, node: &NodeObservation, budgets: &Budgets) -> Option<Hold> {
        let in_zone = self.dark_zones.get(&node.zone).map_or(0, BTreeSet::len);
        if self.dark_racks.len() >= budgets.cluster_dark_racks as usize {
            Some(Hold::ClusterBudget)
        } else if in_zone >= budgets.zone_dark_racks as usize {
            Some(Hold::ZoneBudget)
        } else {
            None
        }
    }

    /// As it is written down.
    pub(super) fn snapshot(&self, rack: Option<&RackName>, pods: u32, budgets: &Budgets) -> Budget {
        let in_rack = rack.and_then(|rack| self.racks.get(rack)).copied();
        let dark = u32::try_from(self.dark_racks.len()).unwrap_or(u32::MAX);
        Budget {
            cluster: (self.cluster, self.cluster_limit(budgets)),
            rack: (
                in_rack.unwrap_or(0),
                rack.map_or(0, |rack| self.rack_limit(rack, budgets)),
            ),
            dark_racks: (dark, budgets.cluster_dark_racks),
            pods,
        }
    }
}

fn percent(of: u32, percent: u32) -> u32 {
    let share = u64::from(of) * u64::from(percent) / 100;
    u32::try_from(share).unwrap_or(u32::MAX).max(1)
}
