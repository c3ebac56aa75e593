//! The verdict: what a node is by the evidence of this moment, and the evidence in words.

use super::memory::{Lease, Memory};
use super::racks::Rack;
use super::votes::Tally;
use crate::config::Config;
use crate::evidence::Evidence;
use crate::fencing::{self, LeaseSign, Life};
use crate::moment::Moment;
use crate::observation::{FenceProof, NodeObservation};
use crate::verdict::Verdict;

/// One node, with everything that its verdict rests on.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) memory: &'a Memory,
    pub(super) node: &'a NodeObservation,
    pub(super) tally: Option<&'a Tally<'a>>,
    pub(super) rack: Option<&'a Rack>,
    pub(super) now: Moment,
    pub(super) config: &'a Config,
}

impl Case<'_> {
    /// What the node is.
    pub(super) fn verdict(&self) -> Verdict {
        match self.memory.lease {
            Lease::Unproven => Verdict::Unknown,
            Lease::Fresh => self
                .memory
                .degraded(self.now, self.config)
                .map_or(Verdict::Healthy, |(class, _)| Verdict::Degraded(class)),
            Lease::Stale => self.silent(),
        }
    }

    fn silent(&self) -> Verdict {
        let is_seen = self.tally.is_some_and(|tally| tally.alive() > 0);
        if (is_seen && !self.is_outvoted()) || self.memory.agent_outlives(self.now, self.config) {
            let holds = self.memory.report_holds(self.node, self.now);
            let report = self.node.report.as_ref().filter(|_| holds);
            return if report.is_some_and(|report| report.kubelet_failing) {
                Verdict::KubeletDown
            } else {
                Verdict::ControlPlaneCut
            };
        }
        match self.loss() {
            // A proof needs no quorum: a cluster may be too small for one, or all peers may be gone. It needs silence.
            _ if self.is_proven_dead() => Verdict::FencedDead,
            Some(verdict) => verdict,
            None => Verdict::Unknown,
        }
    }

    fn is_proven_dead(&self) -> bool {
        let agent = &self.memory.agent;
        let unchanged = self.now.since(agent.changed);
        let agent = fencing::lease_sign(unchanged, agent.is_proven, self.config.timers.agent_stale);
        let is_seen = self.tally.is_some_and(|tally| tally.alive() > 0);
        let life = fencing::life(LeaseSign::Stale, agent, is_seen);
        life == Life::Silent && self.proof().is_some()
    }

    fn loss(&self) -> Option<Verdict> {
        if self.rack.is_some_and(|rack| rack.is_dark) {
            return Some(Verdict::RackDark);
        }
        let agent_is_stale = !self.memory.agent_is_fresh(self.now, self.config);
        let is_quorum = self
            .tally
            .is_some_and(|tally| tally.is_quorum(self.config, self.is_alone()));
        (agent_is_stale && (is_quorum || self.is_outvoted())).then_some(Verdict::QuorumDead)
    }

    fn is_alone(&self) -> bool {
        self.rack.is_none_or(|rack| rack.nodes < 2)
    }

    /// Both Leases are stale, and one vote says alive against many that say dead.
    pub(super) fn is_contested(&self) -> bool {
        let is_outvoted = self
            .tally
            .is_some_and(|tally| tally.is_outvoted(self.config, self.is_alone()));
        let agent_is_fresh = self.memory.agent_is_fresh(self.now, self.config);
        self.memory.lease == Lease::Stale && !agent_is_fresh && is_outvoted
    }

    /// And that has been so for long: replaced, and never taken for fenced.
    fn is_outvoted(&self) -> bool {
        let held = self.memory.outvoted_since;
        let held =
            held.is_some_and(|since| self.now.since(since) >= self.config.timers.outvoted_hold);
        held && self.is_contested()
    }

    /// The proof that it runs nothing, unless it is of before the node was last seen alive, or somebody sees it so now.
    fn proof(&self) -> Option<&FenceProof> {
        if self.tally.is_some_and(|tally| tally.alive() > 0) {
            return None;
        }
        let proof = self.node.fence.as_ref()?;
        (self.memory.spent_proof.as_ref() != Some(&proof.version)).then_some(proof)
    }

    /// What the verdict rests on.
    pub(super) fn evidence(&self) -> Vec<Evidence> {
        let timers = &self.config.timers;
        let age_of_agent = self.memory.agent.version.as_ref();
        let mut evidence = vec![
            Evidence::KubeletLease {
                age: self.now.since(self.memory.kubelet.changed),
                stale_after: timers.lease_stale,
            },
            Evidence::AgentLease {
                age: age_of_agent.map(|_| self.now.since(self.memory.agent.changed)),
                stale_after: timers.agent_stale,
            },
        ];
        for vote in self.tally.map_or(&[][..], |tally| &tally.votes) {
            evidence.push(Evidence::Vote {
                observer: vote.observer.clone(),
                same_rack: vote.same_rack,
                sees: vote.sees,
                counts: vote.counts,
            });
        }
        if let Some(rack) = self.rack.filter(|rack| rack.silent > 0) {
            evidence.push(Evidence::Rack {
                stale: rack.silent,
                nodes: rack.nodes,
                observers: rack.observers,
            });
        }
        for (rule, (class, since)) in &self.memory.findings {
            evidence.push(Evidence::Finding {
                rule: rule.clone(),
                class: *class,
                held: self.now.since(*since),
            });
        }
        if self.node.report.is_some() && !self.memory.report_holds(self.node, self.now) {
            evidence.push(Evidence::ReportExpired);
        }
        if let Some(proof) = self.proof() {
            evidence.push(Evidence::Fence {
                kind: proof.kind,
                by: proof.by.clone(),
            });
        }
        let penalty = self.memory.penalty.at(self.now, &self.config.flapping);
        if penalty > 0 {
            evidence.push(Evidence::Flaps { penalty });
        }
        evidence
    }
}
