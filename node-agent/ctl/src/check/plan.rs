//! What does not agree, and what to do about it. Pure; one function a rule.

mod claims;
mod pods;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::claims::ClaimSeen;
use crate::pools::PoolSeen;
use crate::range::{Extent, Place};
use crate::seen::{NodeSeen, PodSeen};

/// A holder that lives lets a deleted claim go within seconds, at most after a quarantine of the usual length.
const DELETION_STUCK: Duration = Duration::from_secs(15 * 60);

/// What was read.
#[derive(Debug)]
pub(super) struct World {
    /// All pools.
    pub(super) pools: Vec<PoolSeen>,
    /// All claims.
    pub(super) claims: Vec<ClaimSeen>,
    /// All Pods with addresses of their own that have not ended.
    pub(super) pods: Vec<PodSeen>,
    /// All nodes.
    pub(super) nodes: Vec<NodeSeen>,
    /// The nodes on which berth-ipamd runs.
    pub(super) daemons: BTreeSet<String>,
    /// When.
    pub(super) now: Timestamp,
}

/// Something that does not agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    /// Which rule.
    pub(super) kind: Kind,
    /// Of what.
    pub(super) subject: String,
    /// What is the case.
    pub(super) what: String,
    /// What to do.
    pub(super) advice: String,
}

/// The rules, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    PodsShareAddress,
    AddressClaimedTwice,
    AddressOfAnother,
    AddressUnclaimed,
    PoolsOverlap,
    IdentityTwice,
    BindingIncomplete,
    PodGone,
    OutsidePool,
    NodeMissing,
    FencedButReady,
    DeletionStuck,
    NodeDiffers,
    NodeSilent,
}

impl Kind {
    /// What it is called.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::PodsShareAddress => "two Pods have one address",
            Self::AddressClaimedTwice => "an address is claimed twice",
            Self::AddressOfAnother => "a Pod has an address that is not its own",
            Self::AddressUnclaimed => "a Pod has an address that nobody has claimed",
            Self::PoolsOverlap => "pools overlap",
            Self::IdentityTwice => "an identity has two addresses where it should have one",
            Self::BindingIncomplete => "an address of a binding has no claim for it",
            Self::PodGone => "an address is attached to a Pod that is gone",
            Self::OutsidePool => "a claim is outside of its pool",
            Self::NodeMissing => "claims of a node that is gone",
            Self::FencedButReady => "a node is fenced and ready",
            Self::DeletionStuck => "a claim is deleted and stays",
            Self::NodeDiffers => "a node's kernel or store does not agree with its book",
            Self::NodeSilent => "a node could not be asked",
        }
    }
}

/// Everything that does not agree, worst first.
pub(super) fn plan(world: &World) -> Vec<Finding> {
    let mut findings = Vec::new();
    let extents = Extents::of(world);
    pods::pods_share(world, &extents, &mut findings);
    claims::claimed_twice(world, &mut findings);
    pods::pods_against_claims(world, &extents, &mut findings);
    claims::pools_overlap(world, &extents, &mut findings);
    claims::bindings(world, &mut findings);
    pods::pods_gone(world, &mut findings);
    claims::outside(world, &extents, &mut findings);
    claims::nodes(world, &mut findings);
    claims::deletions(world, &mut findings);
    findings.sort_by(|one, other| (one.kind, &one.subject).cmp(&(other.kind, &other.subject)));
    findings
}

/// What two looks have found: the later words.
pub(super) fn confirmed(first: Vec<Finding>, again: &[Finding]) -> Vec<Finding> {
    let later = |it: Finding| {
        let mut again = again.iter();
        again
            .find(|other| (other.kind, &other.subject) == (it.kind, &it.subject))
            .cloned()
    };
    first.into_iter().filter_map(later).collect()
}

/// What the nodes say of themselves.
pub(super) fn of_nodes(answers: &BTreeMap<String, Result<Vec<String>, String>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (node, answer) in answers {
        match answer {
            Ok(told) => findings.extend(told.iter().map(|what| Finding {
                kind: Kind::NodeDiffers,
                subject: node.clone(),
                what: what.clone(),
                advice: format!(
                    "the log of its berth-ipamd says since when, and kubectl berth why of what it names says more (kubectl -n berth-system \
                     get pods -l app.kubernetes.io/name=berth-ipamd --field-selector spec.nodeName={node})"
                ),
            })),
            Err(why) => findings.push(Finding {
                kind: Kind::NodeSilent,
                subject: node.clone(),
                what: why.clone(),
                advice: format!("kubectl berth health {node}; then run this again"),
            }),
        }
    }
    findings.sort_by(|one, other| (one.kind, &one.subject).cmp(&(other.kind, &other.subject)));
    findings
}

/// The pools' addresses by the pools' names.
struct Extents<'a> {
    by_pool: BTreeMap<&'a str, Extent>,
}

impl<'a> Extents<'a> {
    fn of(world: &'a World) -> Self {
        let extents = world.pools.iter();
        let extents = extents.map(|pool| (pool.name.as_str(), Extent::of(&pool.spec)));
        Self {
            by_pool: extents.collect(),
        }
    }

    /// Whether it is an address of any pool's subnet.
    fn include(&self, address: IpAddr) -> bool {
        let mut pools = self.by_pool.values();
        pools.any(|it| it.place(address) != Place::Elsewhere)
    }
}

fn join(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests;
