//! Timers of tainted nodes' Pods, and the deletes that wait for the client.

use std::collections::{BTreeMap, VecDeque};

use crate::Seconds;
use crate::workload::PodId;
use crate::world::World;

/// What admission adds to every Pod: `tolerationSeconds` of not-ready and unreachable.
const TOLERATION: Seconds = 300;
/// `--kube-api-qps` and `--kube-api-burst` of the controller manager.
const QPS: u32 = 20;
const BURST: u32 = 30;
/// Event, GET, PATCH of the status, DELETE.
const CALLS: u32 = 4;

/// The rule's second half.
#[derive(Clone, Debug, Default)]
pub(super) struct Evictions {
    /// When the taint of a node was seen.
    seen: BTreeMap<usize, Seconds>,
    /// Their timers have fired; nothing cancels them any more.
    fired: VecDeque<PodId>,
    /// Calls that may be made now.
    calls: u32,
}

impl Evictions {
    /// A new leader's: it sees all taints at once.
    pub(super) fn new(tainted: &[bool], now: Seconds) -> Self {
        let seen = tainted.iter().enumerate().filter(|(_, tainted)| **tainted);
        Self {
            seen: seen.map(|(node, _)| (node, now)).collect(),
            fired: VecDeque::new(),
            calls: BURST,
        }
    }

    /// A node was tainted.
    pub(super) fn see(&mut self, node: usize, now: Seconds) {
        self.seen.insert(node, now);
    }

    /// A node's taint is gone: timers that have not fired are stopped, and only these.
    pub(super) fn cancel(&mut self, node: usize) {
        self.seen.remove(&node);
    }

    /// Fires timers, and deletes as fast as the client lets it.
    pub(super) fn step(&mut self, world: &mut World) {
        let now = world.now;
        for (&node, &seen) in &self.seen {
            // Also Pods that were bound in between: their own timers end at the taint's time plus theirs, or later.
            if now == seen + TOLERATION {
                self.fired.extend(&world.nodes[node].pods);
            }
        }
        self.calls = (self.calls + QPS).min(BURST);
        while self.calls >= CALLS {
            let Some(pod) = self.fired.pop_front() else {
                break;
            };
            self.calls -= CALLS;
            // By name and without a look at the node: it is deleted wherever its node is by now.
            if world.delete(pod) {
                world.measure.counts().writes += u64::from(CALLS) - 1;
            }
        }
    }
}
