//! What agents see of each other and what they tell the API server of it: probes with loss, votes, reports with their gaps and delays.
//!
//! The figures are the agent's: a probe a second, dead after five in a row, a report on change at most every 30 s and every five
//! minutes otherwise, three peers of the own rack and two of two others, a vote withdrawn by who sees no gateway or too few peers.

use crate::Seconds;
use crate::network::Network;
use crate::random::Random;

/// Peers of the own rack.
const OWN_RACK: usize = 3;
/// Peers of other racks.
const OTHER_RACKS: usize = 2;
/// Probes in a row without an answer until a peer is dead.
const MISSES: u8 = 5;
/// A gateway that is silent so long speaks against the node.
const GATEWAY_PATIENCE: Seconds = 5;
/// The least time between two reports.
const REPORT_GAP: Seconds = 30;
/// Without a change.
const REPORT_PERIOD: Seconds = 300;
/// From a report's write until it is read, at most; from nothing on.
const REPORT_DELAY: Seconds = 2;

/// What an agent sees of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Whom.
    pub target: usize,
    /// Whether it answers.
    pub is_alive: bool,
    /// Since when it is so.
    pub since: Seconds,
    misses: u8,
}

/// What an agent told last.
#[derive(Clone, Debug)]
pub struct Report {
    /// When it was written.
    pub written: Seconds,
    /// Counts up with each.
    pub version: u64,
    /// Its vote is given.
    pub is_given: bool,
    /// What it sees.
    pub sights: Vec<Sight>,
    /// Its node is unhealthy by this rule's number.
    pub finding: Option<u16>,
    /// Its local check of kubelet fails.
    pub is_kubelet_bad: bool,
}

/// What an agent says instead of what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Everybody is dead.
    Dead,
    /// Everybody is alive.
    Alive,
}

/// What of a node an agent's report depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Agent {
    /// It runs.
    pub runs: bool,
    /// Its node is unhealthy by this rule's number.
    pub finding: Option<u16>,
    /// Its local check of kubelet fails.
    pub is_kubelet_bad: bool,
    /// What it says instead.
    pub lie: Option<Lie>,
}

/// All agents' eyes.
#[derive(Clone, Debug)]
pub struct Probes {
    sights: Vec<Vec<Sight>>,
    silent_since: Vec<Option<Seconds>>,
    written: Vec<Report>,
    /// What is on its way to the readers, and when it comes.
    coming: Vec<Option<(Seconds, Report)>>,
    read: Vec<Report>,
    /// Of a thousand probes so many are lost, with their answers.
    pub loss: u32,
}

impl Probes {
    /// Everybody sees everybody; reports were written at some time before.
    pub fn new(network: &Network, racks: usize, per_rack: usize, random: &mut Random) -> Self {
        let sights = peers(racks, per_rack, random)
            .into_iter()
            .map(|targets| {
                let sight = |target| Sight {
                    target,
                    is_alive: true,
                    since: 0,
                    misses: 0,
                };
                targets.into_iter().map(sight).collect::<Vec<_>>()
            })
            .collect::<Vec<_>>();
        let report = |sights: &Vec<Sight>| Report {
            written: 0,
            version: 1,
            is_given: true,
            sights: sights.clone(),
            finding: None,
            is_kubelet_bad: false,
        };
        let written: Vec<Report> = sights.iter().map(report).collect();
        debug_assert!((0..racks * per_rack).all(|node| network.has_gateway(node)));
        Self {
            silent_since: vec![None; sights.len()],
            coming: vec![None; sights.len()],
            read: written.clone(),
            written,
            sights,
            loss: 0,
        }
    }

    /// Who is looked at by this node.
    pub fn targets(&self, observer: usize) -> impl Iterator<Item = usize> {
        self.sights[observer].iter().map(|sight| sight.target)
    }

    /// What readers have of this node's agent.
    pub fn report(&self, node: usize) -> &Report {
        &self.read[node]
    }

    /// One second of everybody.
    pub fn step(&mut self, now: Seconds, network: &Network, agents: &[Agent], random: &mut Random) {
        for node in 0..self.sights.len() {
            if let Some((at, _)) = &self.coming[node]
                && *at <= now
                && let Some((_, report)) = self.coming[node].take()
            {
                self.read[node] = report;
            }
            if agents[node].runs {
                self.look(node, now, network, agents, random);
                if network.has_api(node) {
                    self.tell(node, now, agents[node], random);
                }
            }
        }
    }

    fn look(
        &mut self,
        node: usize,
        now: Seconds,
        network: &Network,
        agents: &[Agent],
        random: &mut Random,
    ) {
        if network.has_gateway(node) {
            self.silent_since[node] = None;
        } else {
            self.silent_since[node].get_or_insert(now);
        }
        for sight in &mut self.sights[node] {
            let answers = agents[sight.target].runs
                && network.answers(node, sight.target)
                && !(self.loss > 0 && random.in_thousand(self.loss));
            sight.misses = if answers {
                0
            } else {
                sight.misses.saturating_add(1)
            };
            let is_alive = answers || sight.is_alive && sight.misses < MISSES;
            if is_alive != sight.is_alive {
                sight.is_alive = is_alive;
                sight.since = now;
            }
        }
    }

    fn is_given(&self, node: usize, now: Seconds) -> bool {
        let alive = self.sights[node]
            .iter()
            .filter(|sight| sight.is_alive)
            .count();
        let has_gateway =
            self.silent_since[node].is_none_or(|since| now < since + GATEWAY_PATIENCE);
        has_gateway && alive * 2 >= self.sights[node].len()
    }

    fn tell(&mut self, node: usize, now: Seconds, agent: Agent, random: &mut Random) {
        let written = &self.written[node];
        if now < written.written + REPORT_GAP && written.version > 1 {
            return;
        }
        let mut sights = self.sights[node].clone();
        if let Some(lie) = agent.lie {
            for sight in &mut sights {
                let is_alive = lie == Lie::Alive;
                if sight.is_alive != is_alive {
                    // A liar's story is as old as it can be.
                    sight.since = sight.since.min(now.saturating_sub(60));
                }
                sight.is_alive = is_alive;
            }
        }
        let is_given = agent.lie.is_some() || self.is_given(node, now);
        let is_changed = is_given != written.is_given
            || agent.finding != written.finding
            || agent.is_kubelet_bad != written.is_kubelet_bad
            || sights
                .iter()
                .zip(&written.sights)
                .any(|(new, old)| new.is_alive != old.is_alive);
        if !is_changed && now < written.written + REPORT_PERIOD {
            return;
        }
        let report = Report {
            written: now,
            version: written.version + 1,
            is_given,
            sights,
            finding: agent.finding,
            is_kubelet_bad: agent.is_kubelet_bad,
        };
        self.written[node] = report.clone();
        self.coming[node] = Some((now + random.seconds(0, REPORT_DELAY), report));
    }
}

/// For each node whom it looks at: the next of its rack, and the next on a circle of one node of each rack. So nobody is looked at by
/// fewer than it looks at, and nodes of one rack are looked at from different racks.
fn peers(racks: usize, per_rack: usize, random: &mut Random) -> Vec<Vec<usize>> {
    let mut peers = vec![Vec::new(); racks * per_rack];
    for slot in 0..per_rack {
        let circle = random.choose(racks, racks);
        for (place, &rack) in circle.iter().enumerate() {
            let own = (1..=OWN_RACK.min(per_rack - 1))
                .map(|step| rack * per_rack + (slot + step) % per_rack);
            let others = (1..=OTHER_RACKS.min(racks - 1))
                .map(|step| circle[(place + step) % racks] * per_rack + slot);
            peers[rack * per_rack + slot].extend(own.chain(others));
        }
    }
    peers
}

#[cfg(test)]
mod tests;
