//! Upstream's rule: `node-lifecycle-controller` and `taint-eviction-controller` of Kubernetes 1.36, as their source has it.
//!
//! Faithful in when a node is Unknown, what a renewal of a lease is, when Pods are called unready, taints by zones' buckets, zones'
//! states, timers, and deletes that wait uncancellable for a client of 20 calls a second. In the rule's favour: its other writes wait
//! for nothing (the source has them wait for a client of the same 20 calls, so that a mass failure also delays the pass itself).

mod eviction;
mod zone;

use crate::Seconds;
use crate::replay::{Rule, RunError};
use crate::world::{Ready, World};

use eviction::Evictions;
use zone::{Zone, ZoneState};

/// `--node-monitor-period`.
const MONITOR_PERIOD: Seconds = 5;
/// `--node-monitor-grace-period`.
const GRACE: Seconds = 50;

/// What the controller remembers of a node (`nodeHealthData`).
#[derive(Clone, Copy, Debug)]
struct Health {
    probe: Seconds,
    /// The lease's time of renewal, where there is a saved lease.
    renewed: Option<i64>,
    heartbeat: u64,
}

/// The rule.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    nodes: Vec<Option<Health>>,
    zones: Vec<Zone>,
    /// By node: it has the `unreachable:NoExecute` taint. An object's, so it outlives a leader.
    tainted: Vec<bool>,
    evictions: Evictions,
}

impl Rule for Upstream {
    fn name(&self) -> &'static str {
        "upstream"
    }

    fn has_agents(&self) -> bool {
        false
    }

    fn lead(&mut self, world: &World) -> Result<(), RunError> {
        self.tainted.resize(world.nodes.len(), false);
        self.nodes = vec![None; world.nodes.len()];
        self.zones = vec![Zone::default(); world.size.zones];
        // Timers are in memory: a new leader sees the taints and waits anew.
        self.evictions = Evictions::new(&self.tainted, world.now);
        Ok(())
    }

    fn step(&mut self, world: &mut World) -> Result<(), RunError> {
        if world.now.is_multiple_of(MONITOR_PERIOD) {
            self.monitor(world);
        }
        self.taint(world);
        self.evictions.step(world);
        Ok(())
    }
}

impl Upstream {
    /// `monitorNodeHealth`.
    fn monitor(&mut self, world: &mut World) {
        for node in 0..world.nodes.len() {
            let observed = world.nodes[node].ready;
            let current = self.update_health(world, node);
            if current == Ready::True {
                self.mark_reachable(world, node);
            } else {
                let zone = world.network.place(node).zone;
                self.zones[zone].queue.add(node);
            }
            if current != Ready::True && observed == Ready::True {
                let written = world.unready(node);
                // The node's conditions, its NoSchedule taint, its Pods.
                world.measure.counts().writes += 2 + written as u64;
            }
        }
        self.handle_disruption(world);
    }

    /// `tryUpdateNodeHealth`: what the node's Ready condition is afterwards.
    fn update_health(&mut self, world: &mut World, node: usize) -> Ready {
        let (now, seen) = (world.now, world.seen[node]);
        let saved = self.nodes[node];
        let mut health = match saved {
            Some(health) if health.heartbeat == seen.heartbeat => health,
            // A new record, without a lease.
            _ => Health {
                probe: now,
                renewed: None,
                heartbeat: seen.heartbeat,
            },
        };
        // Compared are times of the node's clock, with the lease of the record before.
        let is_newer = saved
            .and_then(|health| health.renewed)
            .is_none_or(|renewed| renewed < seen.renewed);
        if is_newer {
            health.renewed = Some(seen.renewed);
            health.probe = now;
        }
        let live = world.nodes[node].heartbeat;
        let is_due = now > health.probe + GRACE && world.nodes[node].ready == Ready::True;
        if is_due && live != health.heartbeat {
            // The watch is behind: the write conflicts, and what is read instead is news.
            health = Health {
                probe: now,
                renewed: None,
                heartbeat: live,
            };
        } else if is_due {
            world.nodes[node].ready = Ready::Unknown;
            // With the record comes the lease of now, whatever its time is.
            health.renewed = Some(seen.renewed);
        }
        self.nodes[node] = Some(health);
        world.nodes[node].ready
    }

    /// `markNodeAsReachable`.
    fn mark_reachable(&mut self, world: &mut World, node: usize) {
        let zone = world.network.place(node).zone;
        self.zones[zone].queue.remove(node);
        if std::mem::take(&mut self.tainted[node]) {
            // The NoSchedule taint goes with it.
            world.measure.counts().writes += 2;
            self.evictions.cancel(node);
        }
    }

    /// `handleDisruption`.
    fn handle_disruption(&mut self, world: &mut World) {
        let mut counts = vec![(0, 0); self.zones.len()];
        for (node, object) in world.nodes.iter().enumerate() {
            let (ready, not_ready) = &mut counts[world.network.place(node).zone];
            match object.ready {
                Ready::True => *ready += 1,
                Ready::Unknown => *not_ready += 1,
            }
        }
        let new: Vec<ZoneState> = counts
            .iter()
            .map(|&(ready, not_ready)| ZoneState::of(ready, not_ready))
            .collect();
        let are_all_full = new.iter().all(|&state| state == ZoneState::Full);
        let were_all_full = self.zones.iter().all(|zone| zone.state == ZoneState::Full);
        if are_all_full && were_all_full {
            return;
        }
        if are_all_full {
            for node in 0..world.nodes.len() {
                self.mark_reachable(world, node);
            }
            for zone in &mut self.zones {
                zone.state = ZoneState::Full;
                zone.bucket.swap(0, world.now);
            }
            return;
        }
        if were_all_full {
            for health in self.nodes.iter_mut().flatten() {
                health.probe = world.now;
            }
        }
        for ((zone, state), (ready, not_ready)) in self.zones.iter_mut().zip(new).zip(counts) {
            if zone.state != state || were_all_full {
                zone.state = state;
                zone.bucket.swap(state.rate(ready + not_ready), world.now);
            }
        }
    }

    /// `doNoExecuteTaintingPass`, every 100 ms.
    fn taint(&mut self, world: &mut World) {
        for zone in &mut self.zones {
            while let Some(node) = zone.queue.head() {
                if !zone.bucket.take(world.now) {
                    break;
                }
                zone.queue.pop();
                if world.nodes[node].ready == Ready::Unknown {
                    self.tainted[node] = true;
                    world.measure.counts().writes += 1;
                    self.evictions.see(node, world.now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
