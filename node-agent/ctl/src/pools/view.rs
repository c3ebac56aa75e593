//! What is known of a pool now: by the leader's numbers where they are of now, else by the claims. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proto_crd::condition::Condition;
use proto_crd::pool::PoolStatus;
use serde::Serialize;

use super::PoolSeen;
use crate::age::since;
use crate::claims::{ClaimSeen, State};
use crate::range::Addresses;

/// Numbers older than that are not shown as present ones: the leader writes them when they change and every few minutes.
const FRESH: Duration = Duration::from_secs(15 * 60);

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
    /// When they were right.
    pub(super) counted: Timestamp,
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
    /// Whether there is an address left.
    pub(super) fn is_fine(&self) -> bool {
        self.free > 0
    }
}

/// The leader's numbers, where they are of the pool as it is and of now.
pub(super) fn fresh(pool: &PoolSeen, now: Timestamp) -> Option<&PoolStatus> {
    let status = pool.status.as_ref()?;
    let of_this = status.observed_generation == pool.generation;
    let young = since(status.update_time.0, now) <= FRESH;
    (of_this && young).then_some(status)
}

#[derive(Default)]
struct Counted {
    claimed: u64,
    bound: u64,
    attached: u64,
}

/// By network, rack and name.
pub(super) fn views(pools: &[PoolSeen], claims: &[ClaimSeen], now: Timestamp) -> Vec<PoolView> {
    let mut counted: BTreeMap<&str, Counted> = BTreeMap::new();
    for claim in claims {
        let count = counted.entry(&claim.spec.pool).or_default();
        count.claimed += 1;
        count.bound += u64::from(claim.spec.binding.is_some());
        count.attached += u64::from(claim.state() == State::Attached);
    }
    let mut views: Vec<_> = pools
        .iter()
        .map(|pool| match fresh(pool, now) {
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
        counted: status.update_time.0,
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
        counted: now,
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
        counted: Timestamp::UNIX_EPOCH,
        conditions: conditions.unwrap_or_default(),
    }
}

#[cfg(test)]
pub(super) mod tests;
