//! What a pool's status says, and when that is worth a write. Pure; every instant is passed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proto_crd::condition::{self, Condition, ConditionStatus};
use proto_crd::pool::PoolStatus;

use super::forecast::Forecast;
use super::{PoolView, spec};
use crate::claim::ClaimView;

/// From one write of a pool's status to the next at least.
pub(super) const WRITE_GAP: Duration = Duration::from_secs(30);
/// An estimate alone is written anew only so often, and where it differs by a tenth of what is left.
const ESTIMATE_GAP: Duration = Duration::from_secs(10 * 60);

/// The longest message of a condition.
const MESSAGE_LIMIT: usize = 1024;

/// Claims of one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) claimed: i64,
    pub(super) bound: i64,
    pub(super) attached: i64,
}

/// How the pools filled, and when their status was written.
#[derive(Debug, Default)]
pub(super) struct History {
    pools: BTreeMap<String, Course>,
}

#[derive(Debug, Default)]
struct Course {
    uid: String,
    forecast: Forecast,
    written: Option<Instant>,
}

/// Counts the claims of each pool.
pub(super) fn count<'a>(claims: impl Iterator<Item = &'a ClaimView>) -> BTreeMap<&'a str, Count> {
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    for claim in claims {
        let count = counts.entry(claim.pool.as_str()).or_default();
        count.claimed += 1;
        if let Some(binding) = &claim.binding {
            count.bound += 1;
            count.attached += i64::from(binding.is_attached);
        }
    }
    counts
}

/// What speaks against a pool, by itself and beside the others of its rack.
pub(super) fn objections(name: &str, pools: &BTreeMap<String, PoolView>) -> Vec<String> {
    let Some(view) = pools.get(name) else {
        return Vec::new();
    };
    let pool = match spec::parse(name, &view.spec) {
        Ok(pool) => pool,
        Err(error) => return vec![error.to_string()],
    };
    let others: Vec<_> = pools
        .iter()
        .filter(|(other, view)| *other != name && view.spec.rack == pool.rack.as_str())
        .filter_map(|(other, view)| spec::parse(other, &view.spec).ok())
        .collect();
    let errors = ipamd_core::objections(&pool, &others);
    let texts = errors.iter();
    texts
        .map(|error| format!("{}: {}", error.field, error.reason))
        .collect()
}

impl History {
    /// The statuses to be written now, by pool.
    pub(super) fn plan(
        &mut self,
        pools: &BTreeMap<String, PoolView>,
        counts: &BTreeMap<&str, Count>,
        now: Instant,
        wall: Timestamp,
    ) -> Vec<(String, PoolStatus)> {
        self.pools.retain(|name, _| pools.contains_key(name));
        let mut due = Vec::new();
        for (name, view) in pools {
            let course = self.pools.entry(name.clone()).or_default();
            if course.uid != view.uid {
                *course = Course {
                    uid: view.uid.clone(),
                    ..Course::default()
                };
            }
            let count = counts.get(name.as_str()).copied().unwrap_or_default();
            course.forecast.sample(count.claimed, now);
            let rested = course.written.map(|at| now.saturating_duration_since(at));
            if rested.is_some_and(|rested| rested < WRITE_GAP) {
                continue;
            }
            let capacity = i64::try_from(view.capacity).unwrap_or(i64::MAX);
            let left = course.forecast.left(count.claimed, capacity, now);
            let status = PoolStatus {
                observed_generation: view.generation,
                capacity,
                claimed: count.claimed,
                bound: count.bound,
                attached: count.attached,
                exhausted_at: left.map(|left| estimate(left, view.status.as_ref(), wall)),
                update_time: Time(wall),
                conditions: vec![accepted(&objections(name, pools), view, wall)],
            };
            if is_news(view.status.as_ref(), &status, rested, wall) {
                due.push((name.clone(), status));
            }
        }
        due
    }

    /// A status was written, or tried to.
    pub(super) fn wrote(&mut self, name: &str, now: Instant) {
        if let Some(course) = self.pools.get_mut(name) {
            course.written = Some(now);
        }
    }
}

/// To the minute. A pool that is full was full when that was first said.
fn estimate(left: Duration, old: Option<&PoolStatus>, wall: Timestamp) -> Time {
    if left.is_zero()
        && let Some(since) = old.and_then(|old| old.exhausted_at.as_ref())
        && since.0 <= wall
    {
        return since.clone();
    }
    let shift = SignedDuration::try_from(left).unwrap_or(SignedDuration::MAX);
    let at = wall.saturating_add(shift).unwrap_or(Timestamp::MAX);
    let minute = at.as_second() - at.as_second().rem_euclid(60);
    Time(Timestamp::from_second(minute).unwrap_or(at))
}

fn accepted(objections: &[String], view: &PoolView, wall: Timestamp) -> Condition {
    let (status, reason, message) = if objections.is_empty() {
        let message = "nothing speaks against it".to_owned();
        (ConditionStatus::True, condition::VALID, message)
    } else {
        let message = format!(
            "{}; the address daemons do not use what contradicts: correct it, or the other pool",
            objections.join("; ")
        );
        (ConditionStatus::False, condition::CONTRADICTORY, message)
    };
    let old = view.status.iter().flat_map(|status| &status.conditions);
    let old = old
        .filter(|it| it.r#type == condition::ACCEPTED && it.status == status)
        .map(|it| it.last_transition_time.clone())
        .next();
    Condition {
        r#type: condition::ACCEPTED.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.chars().take(MESSAGE_LIMIT).collect(),
        last_transition_time: old.unwrap_or(Time(wall)),
    }
}

/// Whether it says something else than what stands there.
fn is_news(
    old: Option<&PoolStatus>,
    new: &PoolStatus,
    rested: Option<Duration>,
    wall: Timestamp,
) -> bool {
    let Some(old) = old else {
        return true;
    };
    let same = PoolStatus {
        update_time: old.update_time.clone(),
        exhausted_at: old.exhausted_at.clone(),
        ..new.clone()
    };
    if same != *old {
        return true;
    }
    match (&old.exhausted_at, &new.exhausted_at) {
        (None, None) => false,
        (Some(old), Some(new)) => {
            let is_time = rested.is_none_or(|rested| rested >= ESTIMATE_GAP);
            let left = new.0.duration_since(wall).abs();
            let moved = new.0.duration_since(old.0).abs();
            is_time && moved > left / 10 && moved > SignedDuration::from_mins(2)
        }
        // What comes and goes with single claims is not told by itself.
        _ => rested.is_none_or(|rested| rested >= ESTIMATE_GAP),
    }
}

#[cfg(test)]
mod tests;
