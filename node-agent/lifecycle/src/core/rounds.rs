//! The first half of a step: breakers, verdicts, and where each node goes by itself.

use std::collections::{BTreeMap, BTreeSet};

use proto_ids::{NodeName, RackName};

use super::memory::{Lease, Memory};
use super::view::View;
use super::{Core, DarkRack, Step, advance, causes};
use crate::beside::Beside;
use crate::config::Config;
use crate::decision::{Change, Outcome, Subject};
use crate::evidence::Evidence;
use crate::moment::Moment;
use crate::observation::{NodeObservation, RuleName};
use crate::phase::Phase;
use crate::verdict::Verdict;

/// What a node is and where it goes, before it is taken in.
struct Finding {
    verdict: Verdict,
    phase: Phase,
    evidence: Vec<Evidence>,
}

/// Nodes of a rack that is found dark in this step: one record.
type Darkened<'a> = BTreeMap<&'a RackName, Vec<NodeName>>;

/// So many nodes to which the same happens in one step, nothing of which does harm, are one record: a bad rule that is rolled out, or
/// an API server that half a cluster does not reach, would else be written down ten thousand times. What is lost, given back or
/// acted upon always has records of its own, with all their evidence.
const TOLD_TOGETHER: usize = 4;

/// The most nodes of one record.
const MEMBERS_LIMIT: usize = 500;

/// What changed about a node in this step.
struct Told {
    name: NodeName,
    changes: Vec<Change>,
    /// The rule that speaks worst of it.
    rule: Option<RuleName>,
    evidence: Vec<Evidence>,
}

impl Core {
    /// Opens and closes breakers.
    pub(super) fn break_or_close(&mut self, view: &View<'_>, step: &mut Step) {
        let now = view.now;
        let times = (self.desk.started, now);
        let causes = causes::observe(
            view.seen,
            &self.nodes,
            &view.racks,
            times,
            &self.desk.config,
        );
        let changes = self
            .desk
            .gates
            .update(&causes, now, &self.desk.config.breakers);
        for change in changes {
            let decision =
                self.desk
                    .record(now, Subject::Cluster, change, Vec::new(), Outcome::Recorded);
            step.decisions.push(decision);
        }
    }

    /// Judges every node.
    pub(super) fn judge(&mut self, view: &View<'_>, step: &mut Step) {
        self.darken(view);
        let mut darkened = Darkened::new();
        let mut told = Vec::new();
        let config = &self.desk.config;
        let mut memories = Beside::walk(&mut self.nodes);
        let mut findings = Vec::new();
        for (name, node) in &view.seen.nodes {
            let memory = memories.at(name.as_str());
            let finding = memory.and_then(|memory| find(view, name, (node, memory), config));
            findings.extend(finding.map(|finding| (name, node, finding)));
        }
        for (name, node, finding) in findings {
            told.extend(self.take_in(view, (name, node), finding, &mut darkened, step));
        }
        self.tell(view.now, told, step);
        for (rack, members) in darkened {
            let subject = Subject::Rack(rack.clone());
            let known = view.racks.get(rack);
            let evidence = vec![
                Evidence::Rack {
                    stale: known.map_or(0, |rack| rack.silent),
                    nodes: known.map_or(0, |rack| rack.nodes),
                    observers: known.map_or(0, |rack| rack.observers),
                },
                Evidence::Members(members),
            ];
            let change = Change::Verdict {
                from: Verdict::Unknown,
                to: Verdict::RackDark,
            };
            let record = self
                .desk
                .record(view.now, subject, change, evidence, Outcome::Recorded);
            step.decisions.push(record);
        }
    }

    fn darken(&mut self, view: &View<'_>) {
        self.dark
            .retain(|name, _| view.racks.get(name).is_some_and(|rack| rack.is_dark));
        for (name, _) in view.racks.iter().filter(|(_, rack)| rack.is_dark) {
            if !self.dark.contains_key(*name) {
                let dark = DarkRack {
                    since: view.now,
                    is_admitted: false,
                    held: BTreeSet::new(),
                };
                self.dark.insert((*name).clone(), dark);
            }
        }
    }

    fn take_in<'a>(
        &mut self,
        view: &View<'a>,
        (name, node): (&NodeName, &'a NodeObservation),
        finding: Finding,
        darkened: &mut Darkened<'a>,
        step: &mut Step,
    ) -> Option<Told> {
        let memory = self.nodes.get_mut(name)?;
        let now = view.now;
        let (was, from) = (memory.verdict, memory.phase);
        memory.verdict = finding.verdict;
        let is_first_sight = !std::mem::replace(&mut memory.is_judged, true);
        if is_first_sight && finding.verdict == Verdict::Healthy && finding.phase == from {
            return None;
        }
        let mut changes = Vec::new();
        if finding.verdict == Verdict::RackDark && was != Verdict::RackDark {
            darkened.entry(&node.rack).or_default().push(name.clone());
        } else if finding.verdict != was {
            changes.push(Change::Verdict {
                from: was,
                to: finding.verdict,
            });
        }
        if finding.phase != from {
            memory.enter(finding.phase, now);
            if finding.phase != Phase::RackDark {
                changes.push(Change::Phase {
                    from,
                    to: finding.phase,
                });
            }
            if from.is_lost() && !finding.phase.is_lost() && finding.verdict.is_alive() {
                memory.asked.clear();
                memory.has_superseded = true;
                step.cancelled.push(name.clone());
                memory.given_back = (!finding.verdict.is_connected()).then_some(now);
                changes.push(Change::Cancelled);
            } else if finding.phase == Phase::Healthy {
                memory.asked.clear();
            }
        }
        let worst = memory.degraded(now, &self.desk.config);
        Some(Told {
            name: name.clone(),
            changes,
            rule: worst.map(|(_, rule)| rule.clone()),
            evidence: finding.evidence,
        })
    }

    /// Writes down what changed: together what is the same of many and does no harm, each by itself else.
    fn tell(&mut self, now: Moment, told: Vec<Told>, step: &mut Step) {
        let mut alike: Vec<(Vec<Change>, Option<RuleName>, Vec<NodeName>)> = Vec::new();
        for told in told.iter().filter(|told| may_be_told_together(told)) {
            let same = alike
                .iter_mut()
                .find(|(changes, rule, _)| *changes == told.changes && *rule == told.rule);
            match same {
                Some((_, _, members)) => members.push(told.name.clone()),
                None => alike.push((
                    told.changes.clone(),
                    told.rule.clone(),
                    vec![told.name.clone()],
                )),
            }
        }
        alike.retain(|(_, _, members)| members.len() >= TOLD_TOGETHER);
        for told in told {
            let is_told = may_be_told_together(&told)
                && alike
                    .iter()
                    .any(|(changes, rule, _)| *changes == told.changes && *rule == told.rule);
            if !is_told {
                self.write(now, &told.name, told.changes, &told.evidence, step);
            }
        }
        for (changes, rule, members) in alike {
            for members in members.chunks(MEMBERS_LIMIT) {
                let mut evidence = vec![Evidence::Members(members.to_vec())];
                evidence.extend(rule.clone().map(Evidence::Rule));
                for change in &changes {
                    let record = self.desk.record(
                        now,
                        Subject::Cluster,
                        change.clone(),
                        evidence.clone(),
                        Outcome::Recorded,
                    );
                    step.decisions.push(record);
                }
            }
        }
    }

    /// Writes several changes of a node that rest on the same.
    pub(super) fn write(
        &mut self,
        now: Moment,
        name: &NodeName,
        changes: Vec<Change>,
        evidence: &[Evidence],
        step: &mut Step,
    ) {
        for change in changes {
            let subject = Subject::Node(name.clone());
            let record =
                self.desk
                    .record(now, subject, change, evidence.to_vec(), Outcome::Recorded);
            step.decisions.push(record);
        }
    }
}

/// What a node is now, and where it goes by itself. None: nothing is different.
fn find(
    view: &View<'_>,
    name: &NodeName,
    (node, memory): (&NodeObservation, &mut Memory),
    config: &Config,
) -> Option<Finding> {
    let now = view.now;
    let is_contested = view.case(name, node, memory, config).is_contested();
    memory.outvoted_since = is_contested.then(|| memory.outvoted_since.unwrap_or(now));
    let verdict = view.case(name, node, memory, config).verdict();
    memory.lost_since = memory.lost_since.filter(|_| verdict.is_lost());
    if verdict.is_lost() {
        memory.lost_since = memory.lost_since.or(Some(now));
    }
    memory.connected_since = memory.connected_since.filter(|_| verdict.is_connected());
    if verdict.is_connected() {
        memory.connected_since = memory.connected_since.or(Some(now));
    }
    memory.spend_proof(verdict, now, config);
    let was_there = !memory.phase.is_lost()
        && !matches!(
            memory.phase,
            Phase::Suspect | Phase::ControlPlaneCut | Phase::KubeletDown
        );
    // Or it was seen alive, its kubelet never in touch, and is lost again: a loss of its own.
    let is_lost_again = verdict.is_lost() && memory.given_back.is_some();
    if (was_there && memory.lease == Lease::Stale) || is_lost_again {
        memory.penalty.add_loss(now, &config.flapping);
    }
    if is_lost_again || verdict.is_connected() {
        memory.given_back = None;
    }
    let case = view.case(name, node, memory, config);
    let phase = advance::next(&case, verdict);
    let is_changed = verdict != memory.verdict || phase != memory.phase;
    is_changed.then(|| Finding {
        verdict,
        phase,
        evidence: case.evidence(),
    })
}

/// Nothing of it is about a node that is lost, or is given back.
fn may_be_told_together(told: &Told) -> bool {
    let is_harmless = |change: &Change| match change {
        Change::Verdict { from, to } => !from.is_lost() && !to.is_lost(),
        Change::Phase { from, to } => !from.is_lost() && !to.is_lost(),
        _ => false,
    };
    told.changes.iter().all(is_harmless)
}
