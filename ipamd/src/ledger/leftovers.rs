//! Attachments that no port on the node speaks for, looked for while the daemon runs.
//!
//! A runtime that lost a sandbox never calls DEL for it, and none calls GC by itself: what is left over would be known only by a
//! restart. Told, counted, never freed: a port that is missing is no proof that nobody uses the address. An attachment counts when
//! two looks in a row find no port, since the plugin makes it after it was answered, and only in networks of the runtime that had
//! ports at all: the interfaces of other plugins, which take only addresses from here, have none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto_ids::{Attachment, CniNetworkName, IfName};
use tokio::time::Instant;

/// One dump of all links each time, some milliseconds with 256 Pods.
const PERIOD: Duration = Duration::from_secs(30);

/// Attachments without a port, with what is said of each.
pub(crate) type WithoutPort = BTreeMap<(Attachment, IfName), String>;

/// What the last look left open.
#[derive(Debug)]
pub(super) struct Leftovers {
    next: Instant,
    suspects: BTreeSet<(Attachment, IfName)>,
    wired: BTreeSet<CniNetworkName>,
    told: WithoutPort,
}

impl Leftovers {
    /// `found` by the recovery: nothing is being wired then.
    pub(super) fn new(found: WithoutPort) -> Self {
        Self {
            next: Instant::now() + PERIOD,
            suspects: found.keys().cloned().collect(),
            wired: BTreeSet::new(),
            told: found,
        }
    }

    /// Whether it is time to look again.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Takes what a look found, and the networks of the ports that there are; answers what is new.
    pub(super) fn look(
        &mut self,
        found: WithoutPort,
        wired: impl IntoIterator<Item = CniNetworkName>,
    ) -> Vec<String> {
        self.next = Instant::now() + PERIOD;
        self.wired.extend(wired);
        let suspects = found.keys().cloned().collect();
        let confirmed: WithoutPort = found
            .into_iter()
            .filter(|(key, _)| self.suspects.contains(key))
            .filter(|(key, _)| {
                self.wired.contains(&key.0.cni_network) || self.told.contains_key(key)
            })
            .collect();
        let new = confirmed
            .iter()
            .filter(|(key, _)| !self.told.contains_key(key));
        let new = new.map(|(_, line)| line.clone()).collect();
        self.suspects = suspects;
        self.told = confirmed;
        new
    }

    /// One line each.
    pub(super) fn lines(&self) -> impl Iterator<Item = &String> {
        self.told.values()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.told.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bank() -> [CniNetworkName; 1] {
        ["bank".parse().unwrap()]
    }

    fn without(sandboxes: &[&str]) -> WithoutPort {
        let entry = |sandbox: &&str| {
            let attachment = Attachment {
                cni_network: "bank".parse().unwrap(),
                sandbox: sandbox.parse().unwrap(),
                ifname: "eth0".parse().unwrap(),
            };
            (
                (attachment, "eth0".parse().unwrap()),
                format!("{sandbox} is left"),
            )
        };
        sandboxes.iter().map(entry).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_attachment_counts_when_two_looks_in_a_row_find_no_port() {
        let mut leftovers = Leftovers::new(WithoutPort::new());
        assert!(!leftovers.is_due());
        tokio::time::advance(PERIOD).await;
        assert!(leftovers.is_due());
        // Being wired at the first look; another one is left.
        assert!(
            leftovers
                .look(without(&["wired", "left"]), bank())
                .is_empty()
        );
        assert!(!leftovers.is_due());
        assert_eq!(
            leftovers.look(without(&["left", "next"]), bank()),
            ["left is left"]
        );
        assert_eq!(leftovers.count(), 1);
        // Told once, as long as it stays.
        assert_eq!(
            leftovers.look(without(&["left", "next"]), bank()),
            ["next is left"]
        );
        assert_eq!(leftovers.lines().count(), 2);
        assert!(leftovers.look(without(&[]), bank()).is_empty());
        assert_eq!(leftovers.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn interfaces_of_other_plugins_are_not_missed() {
        let mut leftovers = Leftovers::new(WithoutPort::new());
        for _ in 0..3 {
            assert!(leftovers.look(without(&["delegated"]), []).is_empty());
        }
        assert_eq!(leftovers.look(without(&["delegated"]), bank()).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_start_found_is_told_until_it_is_gone() {
        let mut leftovers = Leftovers::new(without(&["left"]));
        assert_eq!(leftovers.count(), 1);
        assert!(
            leftovers.look(without(&["left"]), bank()).is_empty(),
            "it was told at the start"
        );
        assert_eq!(leftovers.count(), 1);
    }
}
