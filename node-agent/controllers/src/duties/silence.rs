//! For how long each kubelet has been silent, by this process's own monotonic clock.
//!
//! A sign of life is a later version of its Lease, or another heartbeat in its Node. **Never:** a time that a node wrote is compared with
//! anything but itself: a clock that was set back is no silence. A node counts from when it was first looked at, so that no
//! leader finds anybody silent who has just taken over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::node::NodeView;

/// Without a sign of life for so long a node is Unknown: kube-controller-manager's `--node-monitor-grace-period`, five renewals of the Lease.
pub(super) const GRACE: Duration = Duration::from_secs(50);

/// The same for a node that has never said how it is: its `--node-startup-grace-period`.
pub(super) const STARTUP_GRACE: Duration = Duration::from_secs(60);

/// When each node gave its last sign of life.
#[derive(Debug, Default)]
pub(super) struct Silence {
    signs: BTreeMap<String, Sign>,
}

#[derive(Clone, Debug)]
struct Sign {
    uid: String,
    /// The latest version of the Lease; zero, where there was none.
    lease: u64,
    /// The latest version of the Node, and the heartbeat in it.
    node: u64,
    heartbeat: Option<String>,
    at: Instant,
}

impl Silence {
    /// Takes what a watch or a read says of a node now; answers whether it has been silent for too long. What is older than what is known
    /// says nothing.
    pub(super) fn look(
        &mut self,
        name: &str,
        node: &NodeView,
        lease: Option<u64>,
        now: Instant,
    ) -> bool {
        // What is gone is no sign of life.
        let lease = lease.unwrap_or_default();
        let new = || Sign {
            uid: node.uid.clone(),
            lease,
            node: node.order(),
            heartbeat: node.heartbeat.clone(),
            at: now,
        };
        let Some(sign) = self.signs.get_mut(name).filter(|it| it.uid == node.uid) else {
            self.signs.insert(name.to_owned(), new());
            return false;
        };
        if lease > sign.lease {
            (sign.lease, sign.at) = (lease, now);
        }
        if node.order() > sign.node {
            sign.node = node.order();
            if node.heartbeat.is_some() && sign.heartbeat != node.heartbeat {
                (sign.heartbeat, sign.at) = (node.heartbeat.clone(), now);
            }
        }
        let grace = match node.ready() {
            Some(_) => GRACE,
            None => STARTUP_GRACE,
        };
        now.saturating_duration_since(sign.at) >= grace
    }

    /// Forgets nodes that are gone.
    pub(super) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.signs.retain(|name, _| is_there(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(uid: &str, version: u64, heartbeat: Option<&str>) -> NodeView {
        let ready = heartbeat.map(|_| ("Ready".to_owned(), "True".to_owned()));
        NodeView {
            uid: uid.to_owned(),
            version: version.to_string(),
            heartbeat: heartbeat.map(str::to_owned),
            conditions: ready.into_iter().collect(),
            ..NodeView::default()
        }
    }

    #[test]
    fn a_node_is_silent_when_nothing_of_it_changes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (h1, h2) = (Some("h1"), Some("h2"));
        // UID, version and heartbeat of the Node, version of the Lease: at 0 s, then at 49 s and at 50 s, when it is silent or not.
        for (first, then, is_silent) in [
            (("u1", 1, h1, Some(1)), ("u1", 1, h1, Some(1)), true),
            // Its Lease was renewed, or its status written: one of them is enough.
            (("u1", 1, h1, Some(1)), ("u1", 1, h1, Some(2)), false),
            (("u1", 1, h1, Some(1)), ("u1", 2, h2, Some(1)), false),
            // Somebody else wrote the Node.
            (("u1", 1, h1, Some(1)), ("u1", 2, h1, Some(1)), true),
            // A Lease that is gone, or has never been, is no sign of life; one that comes is.
            (("u1", 1, h1, Some(1)), ("u1", 1, h1, None), true),
            (("u1", 1, h1, None), ("u1", 1, h1, None), true),
            (("u1", 1, h1, None), ("u1", 1, h1, Some(1)), false),
            // A watch that is behind what was read live.
            (("u1", 9, h2, Some(9)), ("u1", 1, h1, Some(1)), true),
            // Another node of the same name.
            (("u1", 1, h1, Some(1)), ("u2", 2, h1, Some(1)), false),
            // One that has never said how it is has more time.
            (("u1", 1, None, None), ("u1", 1, None, None), false),
        ] {
            let mut silence = Silence::default();
            let mut look = |(uid, version, heartbeat, lease), seconds| {
                silence.look("n1", &node(uid, version, heartbeat), lease, at(seconds))
            };
            assert!(!look(first, 0));
            assert!(!look(then, 49), "{then:?}");
            assert_eq!(look(then, 50), is_silent, "{first:?} {then:?}");
        }
    }

    #[test]
    fn a_node_that_never_spoke_is_unknown_after_a_minute_and_a_new_leader_begins_anew() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut silence = Silence::default();
        for (seconds, is_silent) in [(0, false), (59, false), (60, true), (90, true)] {
            let found = silence.look("n1", &node("u1", 1, None), None, at(seconds));
            assert_eq!(found, is_silent, "{seconds}");
        }
        silence.keep(|_| false);
        assert!(!silence.look("n1", &node("u1", 1, None), None, at(91)));
    }
}
