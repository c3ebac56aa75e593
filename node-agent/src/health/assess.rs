//! The table of rules: for each signal when it sets, when it clears, how long a look holds, and what it is reason enough for.
//!
//! Data only, and each rule stands in its signal's module. A rule must be able to set before a look expires, or the signal
//! would be unknown instead of unhealthy; a test looks.

use std::time::Duration;

use proto_crd::node_health::Decision;

use super::signal::Signal;
use super::signals::{
    addresses, book, certificates, clock, conntrack, disk_write, dns, exec, gateway, ipamd,
    kernel_log, kill_storm, kubelet, kubelet_lease, leaks, limits, lost_addresses, memory, mounts,
    neighbours, pressure, processes, reboots, restarts, runtime, space, terminating, uplink,
};

/// From one look of a source to the next, where nothing asks for another period.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// A look that takes longer has failed.
pub(super) const LOOK_DEADLINE: Duration = Duration::from_secs(5);

/// How a signal is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The signal.
    pub(super) signal: Signal,
    /// From one look to the next.
    pub(super) period: Duration,
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

/// How long a look holds, where nothing asks for another time.
pub(super) const TTL: Duration = Duration::from_secs(60);

/// No new Pods after a minute, if what starts them, or gives them addresses, is away.
pub(super) const CORDON: Option<Escalation> = Some(Escalation {
    after: Duration::from_secs(60),
    to: Decision::Cordon,
});

/// All of them, in the order in which they are reported.
pub(super) const TABLE: &[Rule] = &[
    ipamd::RULE,
    addresses::RULE,
    book::RULE,
    lost_addresses::RULE,
    kubelet::RULE,
    kubelet_lease::RULE,
    restarts::KUBELET_RULE,
    runtime::RULE,
    exec::RULE,
    restarts::RUNTIME_RULE,
    runtime::NETWORK_RULE,
    terminating::RULE,
    kill_storm::RULE,
    uplink::RULE,
    uplink::FLAPS_RULE,
    uplink::ERRORS_RULE,
    uplink::BOND_RULE,
    gateway::RULE,
    conntrack::RULE,
    neighbours::RULE,
    leaks::NAMESPACES_RULE,
    leaks::PORTS_RULE,
    dns::RULE,
    clock::RULE,
    clock::STEPS_RULE,
    certificates::RULE,
    disk_write::RULE,
    mounts::RULE,
    space::SPACE_RULE,
    space::INODES_RULE,
    pressure::IO_RULE,
    pressure::MEMORY_RULE,
    memory::MEMORY_RULE,
    memory::KILLS_RULE,
    limits::PIDS_RULE,
    limits::FILES_RULE,
    processes::ZOMBIES_RULE,
    processes::BLOCKED_RULE,
    kernel_log::RULES[0],
    kernel_log::RULES[1],
    kernel_log::RULES[2],
    kernel_log::RULES[3],
    kernel_log::RULES[4],
    kernel_log::RULES[5],
    kernel_log::RULES[6],
    kernel_log::RULES[7],
    kernel_log::RULES[8],
    reboots::RULE,
];

#[cfg(test)]
mod tests {
    use proto_crd::node_health::{SIGNALS_LIMIT, VALUE_LIMIT};

    use super::*;

    #[test]
    fn every_rule_sets_before_a_good_look_expires() {
        for rule in TABLE {
            // From the end of the last good look to the end of the look that sets, when all of them hang.
            let sets = rule.period * rule.set + LOOK_DEADLINE;
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
        assert!(names.len() <= SIGNALS_LIMIT);
        for name in names {
            let proper = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.chars().all(proper) && name.len() <= 40, "{name}");
        }
    }
}
