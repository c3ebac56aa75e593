//! Pods that are pinged ten times a second by an outside host while something happens to their node; what was lost is counted.
//!
//! Counted by sequence numbers below the last answer, and the last answer is newer than the end of what happened: a packet
//! that is under way when the pings stop is not lost, and a Pod that went silent is not overlooked.

use std::{collections::BTreeSet, time::Duration};

use tests_testbed::{Namespace, Pending, Process, wait_patiently};

/// An answer takes milliseconds; the machine may be busy.
const ANSWER: Duration = Duration::from_secs(60);

/// Pings under way.
pub(crate) struct Pings(Vec<(String, Process)>);

impl Pings {
    /// Begins to ping these addresses, each by a process of its own; every one has answered when this returns.
    pub(crate) fn start(host: &Namespace, addresses: &[String]) -> Self {
        let spawn = |address: &String| {
            let words = ["ping", "-n", "-i", "0.1", address];
            let name = format!("pings-{address}");
            (address.clone(), host.spawn(&name, &words).unwrap())
        };
        let mut pings = Self(addresses.iter().map(spawn).collect());
        pings.wait_for_more();
        pings
    }

    /// Stops, and fails where a packet was lost; how many were answered, all together.
    #[track_caller]
    pub(crate) fn finish_without_loss(mut self) -> usize {
        self.wait_for_more();
        let mut answered = 0;
        let mut lost = Vec::new();
        for (address, process) in &mut self.0 {
            process.kill().unwrap();
            let seen = answers(&process.log());
            answered += seen.len();
            let newest = seen.last().copied().unwrap_or_default();
            let missing: Vec<u32> = (1..=newest).filter(|it| !seen.contains(it)).collect();
            if !missing.is_empty() {
                lost.push(format!("{address}: {missing:?} of {newest}"));
            }
        }
        assert!(lost.is_empty(), "packets were lost: {}", lost.join("; "));
        answered
    }

    /// Waits until each address has answered a packet that was not answered before.
    fn wait_for_more(&mut self) {
        for (address, process) in &mut self.0 {
            let before = answers(&process.log()).last().copied();
            let what = format!("an answer of {address}");
            wait_patiently(&what, ANSWER, || {
                if answers(&process.log()).last().copied() > before {
                    return Ok(());
                }
                if !process.is_running() {
                    return Err(Pending::because(format!("ping ended: {}", process.log())));
                }
                Err(Pending::because(process.log_tail()))
            })
            .unwrap();
        }
    }
}

/// The sequence numbers that were answered.
fn answers(log: &str) -> BTreeSet<u32> {
    let answered = log.lines().filter(|line| line.contains(" bytes from "));
    answered
        .filter_map(|line| {
            let (_, rest) = line.split_once("icmp_seq=")?;
            rest.split_whitespace().next()?.parse().ok()
        })
        .collect()
}
