//! The table of rules: for each signal when it sets, when it clears, how long a look holds, and what it is reason enough for.
//!
//! Data only. A rule must be able to set before a look expires, or the signal would be unknown instead of unhealthy; a
//! test looks.

use std::time::Duration;

use proto_crd::node_health::Decision;

use super::signal::Signal;

/// From one look of a source to the next.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// A look that takes longer has failed.
pub(super) const LOOK_DEADLINE: Duration = Duration::from_secs(5);

/// How a signal is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The signal.
    pub(super) signal: Signal,
    /// Without a new look for so long it is unknown.
    pub(super) ttl: Duration,
    /// So many bad looks in a row make it unhealthy.
    pub(super) set: u32,
    /// So many good looks in a row make it healthy again.
    pub(super) clear: u32,
    /// What it is reason enough for when it sets.
    pub(super) decision: Decision,
    /// What it is reason enough for when it stays.
    pub(super) escalation: Option<Escalation>,
    /// What is healthy, for people.
    pub(super) threshold: &'static str,
}

/// A stronger decision after some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Escalation {
    /// Unhealthy for so long.
    pub(super) after: Duration,
    /// The stronger decision.
    pub(super) to: Decision,
}

const TTL: Duration = Duration::from_secs(60);

/// No new Pods after a minute, if what starts them, or gives them addresses, is away.
const CORDON: Option<Escalation> = Some(Escalation {
    after: Duration::from_secs(60),
    to: Decision::Cordon,
});

/// All of them.
pub(super) const TABLE: [Rule; 3] = [
    Rule {
        signal: Signal::Ipamd,
        ttl: TTL,
        // A restart or upgrade of the daemon takes a few seconds, and the Pods that start meanwhile wait for it.
        set: 3,
        clear: 2,
        decision: Decision::Observe,
        escalation: CORDON,
        threshold: "answers and serves; wrong when not so at 3 looks, 10 s apart",
    },
    Rule {
        signal: Signal::Addresses,
        ttl: TTL,
        set: 3,
        // Pods come and go: what is free must stay free for a while, or the signal would flap with every one.
        clear: 6,
        decision: Decision::Observe,
        escalation: None,
        threshold: "5 % free of each network; wrong when fewer at 3 looks, 10 s apart",
    },
    Rule {
        signal: Signal::Kubelet,
        ttl: TTL,
        // As node-problem-detector looks; three, since a kubelet under load misses one.
        set: 3,
        clear: 2,
        decision: Decision::Observe,
        escalation: CORDON,
        threshold: "healthz answers 200 in 5 s; wrong when not so at 3 looks, 10 s apart",
    },
];

#[cfg(test)]
mod tests {
    use proto_crd::node_health::VALUE_LIMIT;

    use super::*;

    #[test]
    fn every_rule_sets_before_a_good_look_expires() {
        for rule in TABLE {
            // From the end of the last good look to the end of the look that sets, when all of them hang.
            let sets = PERIOD * rule.set + LOOK_DEADLINE;
            assert!(sets < rule.ttl, "{rule:?}");
            assert!(rule.set >= 1 && rule.clear >= 1, "{rule:?}");
        }
    }

    #[test]
    fn escalation_goes_up_and_texts_fit() {
        for rule in TABLE {
            assert!(rule.escalation.is_none_or(|step| step.to > rule.decision));
            assert!(rule.threshold.len() <= VALUE_LIMIT, "{rule:?}");
        }
    }

    #[test]
    fn every_signal_has_one_rule() {
        let mut names: Vec<_> = TABLE.iter().map(|rule| rule.signal.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }
}
