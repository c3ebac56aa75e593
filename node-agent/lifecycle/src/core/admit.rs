//! The gated arrows: who is admitted to be replaced, emptied or ended, in which order, and what holds those that are not.

use std::collections::BTreeMap;
use std::time::Duration;

use proto_ids::{NodeName, RackName};

use super::budget::Usage;
use super::desk::Subjected;
use super::memory::Memory;
use super::view::{View, place};
use super::{Core, Step};
use crate::beside::Beside;
use crate::decision::{Change, Hold, Outcome, Subject};
use crate::evidence::Evidence;
use crate::moment::Moment;
use crate::observation::{Class, NodeObservation, ReplacementState};
use crate::phase::Phase;
use crate::verdict::Verdict;
use crate::window::is_business;

/// What asks to be admitted.
enum Unit<'a> {
    Node(&'a NodeName, &'a NodeObservation),
    /// With one node of it, for its zone.
    Rack(&'a RackName, &'a NodeName, &'a NodeObservation),
}

struct Candidate<'a> {
    unit: Unit<'a>,
    /// Larger goes first: rank, age and what failed in its rack, in thousandths.
    weight: i64,
}

impl Core {
    /// Admits what the budgets allow: how much of them is in use then.
    pub(super) fn admit<'a>(&mut self, view: &View<'a>, step: &mut Step) -> Usage<'a> {
        let mut usage = Usage::count(view.seen, &self.nodes, &self.dark);
        let mut candidates = self.candidates(view);
        candidates.extend(self.dark_racks(view));
        // Stable: of equal weight, the first by name.
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.weight));
        for candidate in candidates {
            match candidate.unit {
                Unit::Node(name, node) => self.admit_node(view, &mut usage, (name, node), step),
                Unit::Rack(rack, name, node) => {
                    self.admit_rack(view, &mut usage, rack, (name, node), step);
                }
            }
        }
        self.join_admitted(view, step);
        self.desk.budget = usage.snapshot(None, 0, &self.desk.config.budgets);
        usage
    }

    fn candidates<'a>(&self, view: &View<'a>) -> Vec<Candidate<'a>> {
        let config = &self.desk.config;
        let failed = failed_by_rack(view);
        let mut candidates = Vec::new();
        let mut memories = Beside::walk(&self.nodes);
        for (name, node) in &view.seen.nodes {
            let Some(memory) = memories.at(name.as_str()) else {
                continue;
            };
            let Some((rank, since)) = due(memory, view.now, config) else {
                continue;
            };
            let backoff = failed.get(&node.rack).copied().unwrap_or(0);
            let age = view.now.since(since);
            candidates.push(Candidate {
                unit: Unit::Node(name, node),
                weight: weight(rank, age, backoff, config.budgets.rank_age),
            });
        }
        candidates
    }

    fn dark_racks<'a>(&self, view: &View<'a>) -> Vec<Candidate<'a>> {
        if self.dark.is_empty() {
            return Vec::new();
        }
        let config = &self.desk.config;
        let mut first: BTreeMap<&RackName, (&NodeName, &NodeObservation)> = BTreeMap::new();
        for (name, node) in &view.seen.nodes {
            first.entry(&node.rack).or_insert((name, node));
        }
        let waiting = self.dark.iter().filter(|(_, dark)| {
            !dark.is_admitted && view.now.since(dark.since) >= config.timers.rack_hold
        });
        let units = waiting.filter_map(|(rack, dark)| {
            let (name, node) = *first.get(rack)?;
            let age = view.now.since(dark.since);
            Some(Candidate {
                unit: Unit::Rack(&node.rack, name, node),
                weight: weight(2, age, 0, config.budgets.rank_age),
            })
        });
        units.collect()
    }

    fn admit_node<'a>(
        &mut self,
        view: &View<'a>,
        usage: &mut Usage<'a>,
        (name, node): (&'a NodeName, &'a NodeObservation),
        step: &mut Step,
    ) {
        let now = view.now;
        let Some(memory) = self.nodes.get_mut(name) else {
            return;
        };
        let from = memory.phase;
        let to = match (from, memory.verdict) {
            (Phase::Cordoned, _) => Phase::Draining,
            (_, Verdict::FencedDead) => Phase::HardEvicting,
            _ => Phase::SoftEvicting,
        };
        let is_admitted = from == Phase::SoftEvicting;
        let desk = &mut self.desk;
        let stopped = standing(desk, view, name, node, memory);
        let windows = &desk.config.business;
        let business = (to == Phase::Draining && is_business(windows, view.seen.week))
            .then_some(Hold::Business);
        let gate = |desk: &super::Desk| {
            let place = place(node, memory, now, &desk.config);
            desk.gates.holds(place, now, &desk.config.breakers)
        };
        let full = || usage.node_hold(node, &desk.config.budgets);
        let hold = stopped.or(business).or_else(|| {
            if is_admitted {
                None
            } else {
                gate(desk).or_else(full)
            }
        });
        let budget = usage.snapshot(Some(&node.rack), 0, &desk.config.budgets);
        desk.budget = budget;
        if let Some(hold) = hold {
            let mut about = Subjected { name, node, memory };
            desk.note_hold(view, &mut about, hold, step);
            return;
        }
        if !is_admitted || memory.is_idle {
            usage.add_node(node);
        }
        if !is_admitted {
            desk.gates
                .admitted(place(node, memory, now, &desk.config), now);
        }
        let evidence = view.case(name, node, memory, &desk.config).evidence();
        memory.enter(to, now);
        self.write(now, name, vec![Change::Phase { from, to }], &evidence, step);
    }

    fn admit_rack<'a>(
        &mut self,
        view: &View<'a>,
        usage: &mut Usage<'a>,
        rack: &'a RackName,
        (name, node): (&'a NodeName, &'a NodeObservation),
        step: &mut Step,
    ) {
        let now = view.now;
        let (Some(memory), Some(dark)) = (self.nodes.get(name), self.dark.get_mut(rack)) else {
            return;
        };
        let desk = &mut self.desk;
        let place = place(node, memory, now, &desk.config);
        let hold = rack_standing(desk, view, rack)
            .or_else(|| desk.gates.holds(place, now, &desk.config.breakers))
            .or_else(|| usage.rack_hold(node, &desk.config.budgets));
        desk.budget = usage.snapshot(Some(rack), 0, &desk.config.budgets);
        let known = view.racks.get(rack);
        let mut evidence = vec![
            Evidence::Rack {
                stale: known.map_or(0, |rack| rack.silent),
                nodes: known.map_or(0, |rack| rack.nodes),
                observers: known.map_or(0, |rack| rack.observers),
            },
            Evidence::InPhase(now.since(dark.since)),
        ];
        let change = match hold {
            Some(hold) if !dark.held.insert(hold.clone()) => return,
            Some(hold) => Change::Held(hold),
            None => {
                dark.is_admitted = true;
                usage.add_rack(node);
                desk.gates.admitted(place, now);
                evidence.push(Evidence::Members(members(view, &self.nodes, rack)));
                Change::Phase {
                    from: Phase::RackDark,
                    to: Phase::SoftEvicting,
                }
            }
        };
        let subject = Subject::Rack(rack.clone());
        let record = desk.record(now, subject, change, evidence, Outcome::Recorded);
        step.decisions.push(record);
    }

    /// The nodes of a rack that was admitted go with it: those of today, and those that follow.
    fn join_admitted(&mut self, view: &View<'_>, step: &mut Step) {
        if !self.dark.values().any(|dark| dark.is_admitted) {
            return;
        }
        let mut memories = Beside::walk(&mut self.nodes);
        for (name, node) in &view.seen.nodes {
            let Some(memory) = memories.at(name.as_str()) else {
                continue;
            };
            let dark = self.dark.get(&node.rack);
            if !dark.is_some_and(|dark| dark.is_admitted) {
                continue;
            }
            if memory.phase != Phase::RackDark {
                continue;
            }
            if let Some(hold) = standing(&self.desk, view, name, node, memory) {
                let mut about = Subjected { name, node, memory };
                self.desk.note_hold(view, &mut about, hold, step);
                continue;
            }
            // Of the rack's one record; nothing is fenced before its own record says so.
            memory.enter(Phase::SoftEvicting, view.now);
        }
    }
}

/// What stops a node from being admitted, whatever the budgets say.
fn standing(
    desk: &super::Desk,
    view: &View<'_>,
    name: &NodeName,
    node: &NodeObservation,
    memory: &Memory,
) -> Option<Hold> {
    let seen = view.seen;
    if seen.controller.term != Some(desk.chain.term) {
        return Some(Hold::NotLeading);
    }
    if let Some(by) = seen.freezes.hold(name, node, None) {
        return Some(Hold::Frozen(by.to_owned()));
    }
    if node.maintenance {
        return Some(Hold::Maintenance);
    }
    desk.gates
        .stops(place(node, memory, view.now, &desk.config))
}

/// What stops a rack: a freeze of one of its nodes stops that node only.
fn rack_standing(desk: &super::Desk, view: &View<'_>, rack: &RackName) -> Option<Hold> {
    if view.seen.controller.term != Some(desk.chain.term) {
        return Some(Hold::NotLeading);
    }
    let by = view.seen.freezes.rack_hold(rack)?;
    Some(Hold::Frozen(by.to_owned()))
}

fn members(
    view: &View<'_>,
    memories: &BTreeMap<NodeName, Memory>,
    rack: &RackName,
) -> Vec<NodeName> {
    let of_rack = view.seen.nodes.iter().filter(|(name, node)| {
        let memory = memories.get(*name);
        node.rack == *rack && memory.is_some_and(|memory| memory.phase == Phase::RackDark)
    });
    of_rack.map(|(name, _)| name.clone()).collect()
}

/// Whether something is due for a node by itself: its rank, and since when it waits.
fn due(memory: &Memory, now: Moment, config: &crate::config::Config) -> Option<(i64, Moment)> {
    let timers = &config.timers;
    let lost = memory.lost_since;
    let steady = lost.is_some_and(|since| now.since(since) >= timers.quorum_steady);
    let stale_for = memory.stale_since.map(|since| now.since(since));
    match (memory.phase, memory.verdict) {
        (Phase::SoftEvicting | Phase::QuorumDead | Phase::RackDark, Verdict::FencedDead)
            if steady =>
        {
            Some((3, lost?))
        }
        (Phase::QuorumDead, Verdict::QuorumDead)
            if steady && stale_for.is_some_and(|age| age >= timers.quorum_hold) =>
        {
            Some((2, lost?))
        }
        (Phase::Cordoned, Verdict::Degraded(Class::Urgent)) => Some((1, memory.phase_since)),
        (Phase::Cordoned, Verdict::Degraded(Class::Drain)) => Some((0, memory.phase_since)),
        _ => None,
    }
}

fn weight(rank: i64, age: Duration, failed: i64, rank_age: Duration) -> i64 {
    let per_rank = rank_age.as_millis().max(1);
    let aged = i64::try_from(age.as_millis() * 1000 / per_rank).unwrap_or(i64::MAX / 4);
    (rank - failed) * 1000 + aged
}

fn failed_by_rack<'a>(view: &View<'a>) -> BTreeMap<&'a RackName, i64> {
    let mut failed = BTreeMap::new();
    for replacement in &view.seen.replacements {
        if let (ReplacementState::Failed, Some(rack)) = (replacement.state, &replacement.rack) {
            *failed.entry(rack).or_default() += 1;
        }
    }
    failed
}
