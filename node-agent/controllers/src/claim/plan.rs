//! One pass over all claims: what is to be done about which, as far as the views tell. Pure; every instant is passed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use node_agent_lifecycle::fencing::{Life, SignOfLife};

use super::decide::{Deed, Facts, OwnerFact, PodSight, decide};
use super::fence::{self, NodeSight};
use super::life::{Reports, life_of};
use super::owner::{self, Asked, OwnerKind, Sight, Wish};
use super::patience::Patience;
use super::view::{BindingView, ClaimView};
use crate::heartbeats::Heartbeats;
use crate::lean::{NodeView, SetView};
use crate::pool::{DEFAULT_REST, PoolView};
use crate::world::{Key, World};

/// Since when things are as they are.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Nodes that are not there.
    missing: Patience<String>,
    /// Fence marks: of which claim, set when.
    marks: Patience<(String, Timestamp)>,
    /// Ordinals that their owner does not want.
    unwanted: Patience<(Asked, i64)>,
    /// Reports that see a node alive of which somebody says that it is dead.
    reports: Reports,
    /// Nodes that live though somebody says that they are dead: by name and UID.
    refused: Patience<(String, String)>,
}

/// One instant by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// For durations.
    pub(super) at: Instant,
    /// For people.
    pub(super) wall: Timestamp,
}

/// What follows from a pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// By the claim's name.
    pub(super) deeds: Vec<(String, Deed)>,
    /// Something is to be looked at again though nothing changes.
    pub(super) is_waiting: bool,
    /// Nodes that live though somebody has said for long that they are dead, and what shows it: people are told.
    pub(super) refused: Vec<Refused>,
}

/// A node that is not fenced, whoever says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Its name.
    pub(super) node: String,
    /// What shows that it lives.
    pub(super) sign: SignOfLife,
}

/// A node that was switched off a moment ago has signs of life that were under way: not before then is anybody told.
const REFUSAL_TOLD_AFTER: Duration = Duration::from_secs(60);

/// Live reads, in place of the views.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Nodes that were asked for, by name.
    pub(super) nodes: BTreeMap<String, Option<NodeView>>,
    /// Owners that were asked for.
    pub(super) sets: BTreeMap<Asked, Option<SetView>>,
    /// Whether there are Pods of these names.
    pub(super) pods: BTreeMap<Key, bool>,
}

impl Memory {
    /// Looks at every claim.
    pub(super) fn plan(&mut self, world: &World, heartbeats: &Heartbeats, now: Moment) -> Plan {
        let mut plan = Plan::default();
        let nodes = world.nodes.items();
        let lives = self.lives(world, heartbeats, now, &mut plan);
        let life = |node: &String| lives.get(node.as_str()).copied().unwrap_or(Life::Unknown);
        for (name, claim) in world.claims.items() {
            let node = match nodes.get(&claim.node) {
                Some(node) => NodeSight::There(node, life(&claim.node)),
                None => NodeSight::Missing(self.missing.seen(claim.node.clone(), now.at)),
            };
            let marked = match &claim.fenced {
                Some(mark) => self.marks.seen((claim.uid.clone(), mark.at.0), now.at),
                None => Duration::ZERO,
            };
            let owner = claim.binding.as_deref().and_then(|binding| {
                let (key, ordinal) = asked(binding)?;
                let wish = owner::wish(&key, ordinal, owner::sight(world, &key));
                let unwanted = match wish {
                    Wish::Wanted => Duration::ZERO,
                    Wish::Unwanted { .. } => self.unwanted.seen((key, ordinal), now.at),
                };
                Some(OwnerFact { wish, unwanted })
            });
            let is_unwanted = owner
                .as_ref()
                .is_some_and(|owner| owner.wish != Wish::Wanted);
            plan.is_waiting |=
                is_unwanted || claim.fenced.is_some() || matches!(node, NodeSight::Missing(_));
            let facts = Facts {
                node,
                owner,
                pod: PodSight::Unasked,
                marked,
                rest: rest(claim, world.pools.items()),
                wall: now.wall,
            };
            if let Some(deed) = decide(claim, &facts) {
                plan.deeds.push((name.clone(), deed));
            }
        }
        self.missing.end_pass();
        self.marks.end_pass();
        self.unwanted.end_pass();
        self.reports.end_pass();
        self.refused.end_pass();
        plan
    }

    /// Whether those nodes live of which somebody says that they do not.
    fn lives<'a>(
        &mut self,
        world: &'a World,
        heartbeats: &Heartbeats,
        now: Moment,
        plan: &mut Plan,
    ) -> BTreeMap<&'a str, Life> {
        let mut lives = BTreeMap::new();
        let nodes = world.nodes.items().iter();
        for (name, node) in nodes.filter(|(_, node)| fence::is_said(&node.marks.fence)) {
            let reports = &mut self.reports;
            let shown = life_of(name, world, heartbeats, now.at, |observer, report| {
                let key = (observer.to_owned(), report.version.to_string());
                reports.seen(key, now.at)
            });
            plan.is_waiting = true;
            if let Life::Seen(sign) = shown {
                let key = (name.clone(), node.uid.clone());
                if self.refused.seen(key, now.at) >= REFUSAL_TOLD_AFTER {
                    let node = name.clone();
                    plan.refused.push(Refused { node, sign });
                }
            }
            lives.insert(name.as_str(), shown);
        }
        lives
    }

    /// Decides again, by live reads; what was not read is as the views say.
    pub(super) fn confirm(
        &self,
        claim: &ClaimView,
        world: &World,
        (heartbeats, live): (&Heartbeats, &Live),
        now: Moment,
    ) -> Option<Deed> {
        let node = live.nodes.get(&claim.node).map(Option::as_ref);
        let node = match node.unwrap_or_else(|| world.nodes.items().get(&claim.node)) {
            Some(node) if fence::is_said(&node.marks.fence) => {
                let reports = &self.reports;
                let shown = life_of(
                    &claim.node,
                    world,
                    heartbeats,
                    now.at,
                    |observer, report| {
                        let key = (observer.to_owned(), report.version.to_string());
                        reports.known(&key, now.at)
                    },
                );
                NodeSight::There(node, shown)
            }
            Some(node) => NodeSight::There(node, Life::Unknown),
            None => NodeSight::Missing(self.missing.known(&claim.node, now.at)),
        };
        let mark = claim.fenced.as_ref();
        let owner = claim.binding.as_deref().and_then(|binding| {
            let (key, ordinal) = asked(binding)?;
            let read = live.sets.get(&key).cloned().map(Sight::Known);
            let set = read.unwrap_or_else(|| owner::sight(world, &key));
            let has_pod = binding.pod.as_ref().and_then(|pod| live.pods.get(pod));
            let wish = match key.0 {
                // It may have Pods for a while that it would not make: what it has, it wants.
                OwnerKind::InPlaceSet if has_pod == Some(&true) => Wish::Wanted,
                _ => owner::wish(&key, ordinal, set),
            };
            let unwanted = self.unwanted.known(&(key, ordinal), now.at);
            Some(OwnerFact { wish, unwanted })
        });
        let pod = claim
            .binding
            .as_deref()
            .and_then(|binding| live.pods.get(binding.pod.as_ref()?));
        let facts = Facts {
            node,
            owner,
            pod: match pod {
                None => PodSight::Unasked,
                Some(true) => PodSight::There,
                Some(false) => PodSight::Gone,
            },
            marked: mark.map_or(Duration::ZERO, |mark| {
                self.marks.known(&(claim.uid.clone(), mark.at.0), now.at)
            }),
            rest: rest(claim, world.pools.items()),
            wall: now.wall,
        };
        decide(claim, &facts)
    }
}

/// The owner that can be asked about a binding, and the ordinal.
pub(super) fn asked(binding: &BindingView) -> Option<(Asked, i64)> {
    let (key, owner) = binding.owner_key()?;
    let (kind, ordinal) = owner::ordinal(owner)?;
    Some(((kind, key), ordinal))
}

fn rest(claim: &ClaimView, pools: &BTreeMap<String, PoolView>) -> Duration {
    let pool = pools.get(&claim.pool);
    pool.map_or(DEFAULT_REST, |pool| pool.rest)
}

#[cfg(test)]
mod tests;
