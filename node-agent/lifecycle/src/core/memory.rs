//! What the core remembers of one node from step to step: versions with the moments at which they changed, and where the node is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto_ids::PodUid;

use crate::config::{Config, Flapping, Timers};
use crate::decision::Hold;
use crate::moment::Moment;
use crate::observation::{Class, NodeObservation, RuleName, Version};
use crate::phase::Phase;
use crate::verdict::Verdict;

/// A version, and when it was seen to change.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) version: Option<Version>,
    pub(super) changed: Moment,
    /// It changed while this core looked: before that its age is only a lower bound.
    pub(super) is_proven: bool,
}

impl Track {
    fn new(version: Option<&Version>, now: Moment) -> Self {
        Self {
            version: version.cloned(),
            changed: now,
            is_proven: false,
        }
    }

    /// Looks again; true where it changed.
    fn look(&mut self, version: Option<&Version>, now: Moment) -> bool {
        if self.version.as_ref() == version {
            return false;
        }
        self.version = version.cloned();
        self.changed = now;
        self.is_proven = version.is_some();
        true
    }
}

/// How kubelet's Lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lease {
    /// Not seen to change since this core looks, nor for long enough to be stale.
    Unproven,
    /// Renewed lately.
    Fresh,
    /// Not, and read again from the API server itself.
    Stale,
}

/// A penalty that halves by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Penalty {
    value: u32,
    at: Moment,
}

impl Penalty {
    /// Now. Between two halvings it falls in a straight line: whole numbers only, so that a replay gives the same.
    pub(super) fn at(self, now: Moment, flapping: &Flapping) -> u32 {
        let half = flapping.half_life.as_millis().max(1);
        let age = now.since(self.at).as_millis();
        let halvings = u32::try_from(age / half).unwrap_or(u32::MAX);
        let value = u128::from(self.value.checked_shr(halvings).unwrap_or(0));
        let left = value - value * (age % half) / (2 * half);
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    pub(super) fn add_loss(&mut self, now: Moment, flapping: &Flapping) {
        let sum = self.at(now, flapping).saturating_add(flapping.per_loss);
        self.value = sum.min(flapping.ceiling);
        self.at = now;
    }
}

/// What was asked for already.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    Cordon,
    Uncordon,
    Withdraw,
    Restore,
    Fence,
    LiftFence,
    Restart(u32),
    SoftEvict(PodUid),
    Readopt(PodUid),
    End(PodUid),
}

/// A Pod that was told to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastEnd {
    pub(super) at: Moment,
    pub(super) pod: PodUid,
    /// It was not carried out, or nothing is enforced: there is nothing to be seen.
    pub(super) is_void: bool,
}

impl LastEnd {
    /// What it brings is not seen yet.
    pub(super) fn is_awaited(&self, now: Moment, timers: &Timers) -> bool {
        !self.is_void && now.since(self.at) < timers.retry
    }
}

/// How often something was asked for, and when last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tries {
    pub(super) last: Moment,
    pub(super) times: u32,
}

impl Tries {
    /// As one: the time of the later, and all of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            last: self.last.max(other.last),
            times: self.times.saturating_add(other.times),
        }
    }

    /// It is too early to ask once more: each time it is waited twice as long as before.
    pub(super) fn is_waiting(self, now: Moment, timers: &Timers) -> bool {
        let doublings = self.times.saturating_sub(1).min(16);
        let wait = timers.retry.saturating_mul(1 << doublings);
        self.times > 0 && now.since(self.last) < wait.min(timers.end_retry)
    }
}

/// What the core remembers of one node.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a thing that was said or seen, independent of the others"
)]
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) kubelet: Track,
    pub(super) agent: Track,
    pub(super) report: Track,
    /// What is found, since when.
    pub(super) findings: BTreeMap<RuleName, (Class, Moment)>,
    /// Without any finding that counts, since then.
    pub(super) clean_since: Option<Moment>,
    pub(super) lease: Lease,
    pub(super) stale_since: Option<Moment>,
    /// Taken for lost, since then, without a break.
    pub(super) lost_since: Option<Moment>,
    pub(super) connected_since: Option<Moment>,
    /// A single alive vote stands against a larger quorum, both Leases stale, since then, without a break.
    pub(super) outvoted_since: Option<Moment>,
    /// It was judged by a Lease of which something is known.
    pub(super) is_judged: bool,
    /// The proof that it runs nothing, and when that was first seen.
    pub(super) proof: Option<(Version, Moment)>,
    /// A proof of before the node was last seen alive.
    pub(super) spent_proof: Option<Version>,
    pub(super) verdict: Verdict,
    pub(super) phase: Phase,
    pub(super) phase_since: Moment,
    pub(super) penalty: Penalty,
    /// What held something in this phase: each is said once.
    pub(super) held: BTreeSet<Hold>,
    pub(super) asked: BTreeMap<Asked, Tries>,
    pub(super) restarts: u32,
    /// The Pod that was last told to end there.
    pub(super) last_end: Option<LastEnd>,
    pub(super) is_escalated: bool,
    /// In action, with nothing left to do.
    pub(super) is_idle: bool,
    /// It may have Pods that were given up.
    pub(super) has_superseded: bool,
    /// It was lost, was seen alive then, and its kubelet is not in touch yet.
    pub(super) given_back: Option<Moment>,
}

impl Memory {
    pub(super) fn new(node: &NodeObservation, now: Moment) -> Self {
        let is_ours = node.cordoned || node.endpoints_withdrawn || node.fence_marked;
        let report = node.report.as_ref().map(|report| &report.version);
        Self {
            kubelet: Track::new(node.kubelet_lease.as_ref(), now),
            agent: Track::new(node.agent_lease.as_ref(), now),
            report: Track::new(report, now),
            findings: BTreeMap::new(),
            clean_since: None,
            lease: Lease::Unproven,
            stale_since: None,
            lost_since: None,
            connected_since: None,
            outvoted_since: None,
            is_judged: false,
            proof: None,
            spent_proof: None,
            verdict: Verdict::Unknown,
            // Another leader was about something here: it is taken up as a node that is back, and found lost again if it is.
            phase: if is_ours {
                Phase::Recovering
            } else {
                Phase::Healthy
            },
            phase_since: now,
            penalty: Penalty::default(),
            held: BTreeSet::new(),
            asked: BTreeMap::new(),
            restarts: 0,
            last_end: None,
            is_escalated: false,
            is_idle: false,
            has_superseded: true,
            given_back: None,
        }
    }

    /// Takes in what is seen. True where the Lease is to be read from the API server itself.
    pub(super) fn look(&mut self, node: &NodeObservation, now: Moment, config: &Config) -> bool {
        self.kubelet.look(node.kubelet_lease.as_ref(), now);
        self.agent.look(node.agent_lease.as_ref(), now);
        self.report
            .look(node.report.as_ref().map(|report| &report.version), now);
        self.look_at_findings(node, now);
        self.look_at_proof(node, now);
        let timers = &config.timers;
        let age = now.since(self.kubelet.changed);
        let read_after = self.kubelet.changed + timers.lease_warn;
        let was_read = node
            .kubelet_lease_read
            .is_some_and(|read| read >= read_after);
        self.lease = match (age < timers.lease_stale, self.kubelet.is_proven) {
            (true, true) => Lease::Fresh,
            (true, false) => Lease::Unproven,
            (false, _) if was_read => Lease::Stale,
            // Old, but perhaps only in the watch's cache: it stays what it was.
            (false, _) => self.lease,
        };
        match self.lease {
            Lease::Stale => self.stale_since = self.stale_since.or(Some(now)),
            Lease::Fresh | Lease::Unproven => self.stale_since = None,
        }
        age >= timers.lease_warn && !was_read
    }

    fn look_at_proof(&mut self, node: &NodeObservation, now: Moment) {
        let proof = node.fence.as_ref().map(|proof| &proof.version);
        if self.proof.as_ref().map(|(version, _)| version) != proof {
            self.proof = proof.map(|version| (version.clone(), now));
        }
        if proof.is_none() {
            // An operator's taint says no time: put on again, it is another proof.
            self.spent_proof = None;
        }
    }

    /// A sign of life that is later than the proof: it proves nothing any more. Signs that were under way when it came do not count, or
    /// whoever says at once that he switched the node off would say it in vain.
    pub(super) fn spend_proof(&mut self, verdict: Verdict, now: Moment, config: &Config) {
        let Some((version, seen)) = &self.proof else {
            return;
        };
        let timers = &config.timers;
        let is_later =
            |track: &Track| track.is_proven && track.changed >= *seen + timers.proof_overtakes;
        let has_renewed = is_later(&self.kubelet) || is_later(&self.agent);
        let is_still_seen = verdict.is_alive() && now.since(*seen) >= timers.agent_stale;
        if has_renewed || is_still_seen {
            self.spent_proof = Some(version.clone());
        }
    }

    fn look_at_findings(&mut self, node: &NodeObservation, now: Moment) {
        // An expired report neither finds anything nor clears anything.
        let Some(report) = node
            .report
            .as_ref()
            .filter(|_| self.report_holds(node, now))
        else {
            return;
        };
        self.findings
            .retain(|rule, _| report.findings.iter().any(|found| found.rule == *rule));
        for found in report
            .findings
            .iter()
            .filter(|found| found.class >= Class::Cordon)
        {
            let entry = self.findings.entry(found.rule.clone());
            let known = entry.or_insert((found.class, now));
            if known.0 != found.class {
                *known = (found.class, now);
            }
        }
        self.clean_since = if self.findings.is_empty() {
            self.clean_since.or(Some(now))
        } else {
            None
        };
    }

    /// The agent's report is there and has not expired.
    pub(super) fn report_holds(&self, node: &NodeObservation, now: Moment) -> bool {
        node.report
            .as_ref()
            .is_some_and(|report| now.since(self.report.changed) < report.ttl)
    }

    /// The agent's Lease was renewed lately.
    pub(super) fn agent_is_fresh(&self, now: Moment, config: &Config) -> bool {
        self.agent.is_proven && now.since(self.agent.changed) < config.timers.agent_stale
    }

    /// The agent lived on when kubelet had stopped.
    pub(super) fn agent_outlives(&self, now: Moment, config: &Config) -> bool {
        let after = self.kubelet.changed + config.timers.agent_outlives;
        self.agent_is_fresh(now, config) && self.agent.changed >= after
    }

    /// The worst finding that held for its time, and its rule.
    pub(super) fn degraded(&self, now: Moment, config: &Config) -> Option<(Class, &RuleName)> {
        let timers = &config.timers;
        let held = self.findings.iter().filter_map(|(rule, (class, since))| {
            let age = now.since(*since);
            let holds = [
                (Class::Urgent, timers.urgent_hold),
                (Class::Drain, timers.drain_hold),
                (Class::Cordon, timers.cordon_hold),
            ];
            let class = holds
                .into_iter()
                .find(|(as_class, hold)| as_class <= class && age >= *hold)?
                .0;
            Some((class, rule))
        });
        held.max_by_key(|(class, _)| *class)
    }

    /// Enters a phase.
    pub(super) fn enter(&mut self, phase: Phase, now: Moment) {
        self.phase = phase;
        self.phase_since = now;
        self.held.clear();
        self.is_idle = false;
        self.is_escalated = false;
        self.restarts = 0;
    }

    /// For how long nothing has been found. Where there is no agent nothing is looked for; an expired report says nothing.
    pub(super) fn clean_for(&self, node: &NodeObservation, now: Moment) -> Option<Duration> {
        match (&node.report, self.clean_since) {
            (None, _) if self.findings.is_empty() => Some(Duration::MAX),
            (Some(_), Some(since)) if self.report_holds(node, now) => Some(now.since(since)),
            _ => None,
        }
    }

    /// Whether this was not asked for yet, or in vain for so long.
    pub(super) fn may_ask(&self, what: &Asked, retry: Option<Duration>, now: Moment) -> bool {
        match (self.asked.get(what), retry) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(tries), Some(retry)) => now.since(tries.last) >= retry,
        }
    }

    /// It is asked for, once more.
    pub(super) fn ask(&mut self, what: Asked, now: Moment) {
        let tries = self.asked.entry(what).or_default();
        tries.last = now;
        tries.times = tries.times.saturating_add(1);
    }

    /// When and how often this Pod was told to end.
    pub(super) fn ends(&self, pod: &PodUid) -> Option<Tries> {
        self.asked.get(&Asked::End(pod.clone())).copied()
    }
}
