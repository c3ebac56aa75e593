//! What is known of a pool now: by the leader's numbers where they are of now, else by the claims. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proto_crd::condition::{ACCEPTED, Condition, ConditionStatus};
use proto_crd::pool::PoolStatus;
use serde::Serialize;

use super::PoolSeen;
use crate::age::since;
use crate::claims::{ClaimSeen, State};
use crate::range::Addresses;

/// A leader says every two seconds that it leads. That much longer, because this machine's clock is another.
const LEADS: Duration = Duration::from_secs(120);

/// How full a pool is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PoolView {
    /// The pool.
    pub(super) pool: String,
    /// Its network.
    pub(super) network: String,
    /// Its rack.
    pub(super) rack: String,
    /// Its subnet.
    pub(super) subnet: String,
    /// Its gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gateway: Option<String>,
    /// Addresses that may be handed out.
    pub(super) capacity: u64,
    /// Of these, claimed by a node.
    pub(super) claimed: u64,
    /// Of these, with a binding.
    pub(super) bound: u64,
    /// Of these, on a Pod's interface.
    pub(super) attached: u64,
    /// Not claimed.
    pub(super) free: u64,
    /// When no address is left, at the present rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exhausted_at: Option<Timestamp>,
    /// Where the numbers are from.
    pub(super) source: Source,
    /// Since when they are so.
    pub(super) since: Timestamp,
    /// What the leader says of the pool.
    pub(super) conditions: Vec<Condition>,
}

/// Where numbers are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    /// The pool's status.
    Status,
    /// The claims, counted now.
    Claims,
}

impl PoolView {
    /// Whether there is an address left, and the nodes use the pool.
    pub(super) fn is_fine(&self) -> bool {
        self.free > 0 && self.refused().is_none()
    }

    /// Why the nodes do not use the pool as it is.
    pub(super) fn refused(&self) -> Option<&Condition> {
        let mut conditions = self.conditions.iter();
        conditions.find(|it| it.r#type == ACCEPTED && it.status == ConditionStatus::False)
    }
}

/// Whether somebody leads now, who writes numbers when they change.
pub(super) fn leads(renewed: Option<Timestamp>, now: Timestamp) -> bool {
    renewed.is_some_and(|time| since(time, now) <= LEADS)
}

/// The leader's numbers, where they are of the pool as it is, and somebody leads: they are written when they change.
pub(super) fn fresh(pool: &PoolSeen, leads: bool) -> Option<&PoolStatus> {
    let status = pool.status.as_ref()?;
    let of_this = status.observed_generation == pool.generation;
    (of_this && leads).then_some(status)
}

#[derive(Default)]
struct Counted {
    claimed: u64,
    bound: u64,
    attached: u64,
}

/// By network, rack and name.
pub(super) fn views(
    pools: &[PoolSeen],
    claims: &[ClaimSeen],
    leads: bool,
    now: Timestamp,
) -> Vec<PoolView> {
    let mut counted: BTreeMap<&str, Counted> = BTreeMap::new();
    for claim in claims {
        let count = counted.entry(&claim.spec.pool).or_default();
        count.claimed += 1;
        count.bound += u64::from(claim.spec.binding.is_some());
        count.attached += u64::from(claim.state() == State::Attached);
    }
    let mut views: Vec<_> = pools
        .iter()
        .map(|pool| match fresh(pool, leads) {
            Some(status) => by_status(pool, status),
            None => by_claims(pool, counted.get(pool.name.as_str()), now),
        })
        .collect();
    let key = |it: &PoolView| (it.network.clone(), it.rack.clone(), it.pool.clone());
    views.sort_by_key(key);
    views
}

fn by_status(pool: &PoolSeen, status: &PoolStatus) -> PoolView {
    // The schema lets no negative number in.
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    PoolView {
        capacity: number(status.capacity),
        claimed: number(status.claimed),
        bound: number(status.bound),
        attached: number(status.attached),
        exhausted_at: status.exhausted_at.as_ref().map(|it| it.0),
        source: Source::Status,
        since: status.update_time.0,
        ..empty(pool)
    }
    .with_free()
}

fn by_claims(pool: &PoolSeen, counted: Option<&Counted>, now: Timestamp) -> PoolView {
    let none = Counted::default();
    let counted = counted.unwrap_or(&none);
    PoolView {
        capacity: u64::try_from(Addresses::usable(&pool.spec).count()).unwrap_or(u64::MAX),
        claimed: counted.claimed,
        bound: counted.bound,
        attached: counted.attached,
        since: now,
        ..empty(pool)
    }
    .with_free()
}

impl PoolView {
    fn with_free(mut self) -> Self {
        self.free = self.capacity.saturating_sub(self.claimed);
        self
    }
}

fn empty(pool: &PoolSeen) -> PoolView {
    let conditions = pool.status.as_ref().map(|it| it.conditions.clone());
    PoolView {
        pool: pool.name.clone(),
        network: pool.spec.network.clone(),
        rack: pool.spec.rack.clone(),
        subnet: pool.spec.subnet.clone(),
        gateway: pool.spec.gateway.clone(),
        capacity: 0,
        claimed: 0,
        bound: 0,
        attached: 0,
        free: 0,
        exhausted_at: None,
        source: Source::Claims,
        since: Timestamp::UNIX_EPOCH,
        conditions: conditions.unwrap_or_default(),
    }
}

#[cfg(test)]
pub(super) mod tests;
