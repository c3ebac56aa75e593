//! Which Pools are used, and which are refused and why. Pure.
//!
//! The older of two that cannot stand side by side is used, so that whoever makes a new one breaks nothing. A pool that has
//! addresses which are in use here goes before all others, as it was.

use std::fmt;

use ipamd_core::{Displaced, Pool, objections};
use kube::core::DynamicObject;
use proto_ids::RackName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::convert::convert;

/// A Pool as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PoolObject {
    /// Its name.
    pub(crate) name: String,
    /// When it was made, in seconds since 1970.
    pub(crate) created: Option<i64>,
    /// What it says.
    pub(crate) spec: Value,
}

impl PoolObject {
    /// What counts of an object.
    pub(super) fn of(mut object: DynamicObject) -> Self {
        let created = object.metadata.creation_timestamp;
        Self {
            name: object.metadata.name.unwrap_or_default(),
            created: created.map(|time| time.0.as_second()),
            spec: object.data.get_mut("spec").map_or(Value::Null, Value::take),
        }
    }

    /// The pool that it says.
    pub(super) fn pool(&self) -> Result<Pool, String> {
        convert(&self.name, &self.spec)
    }

    fn age(&self) -> (i64, &str) {
        (self.created.unwrap_or(i64::MAX), &self.name)
    }
}

/// A pool that is used, and the Pool it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsedPool {
    pub(crate) object: PoolObject,
    pub(crate) pool: Pool,
}

/// What follows from the Pools of a rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PoolPlan {
    /// Used from now on, the oldest first.
    pub(super) used: Vec<UsedPool>,
    /// Not used as written.
    pub(super) refused: Vec<RefusedPool>,
    /// A pool is used only for the sake of addresses that are in use here.
    pub(super) keeps: bool,
}

/// A Pool that is not used as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusedPool {
    pub(super) name: String,
    problem: String,
    /// It is used as it was before.
    stays: bool,
    /// Addresses in use here are the reason.
    in_use: bool,
}

impl fmt::Display for RefusedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, problem, .. } = self;
        let then = if self.stays {
            "it goes on as it was"
        } else {
            "it is not used"
        };
        write!(f, "pool {name}: {problem}: {then}")
    }
}

impl RefusedPool {
    /// What an operator does about it.
    pub(super) const fn advice(&self) -> &'static str {
        if self.in_use {
            "leave the addresses in the pool, or delete their Pods and release them first; it counts then by itself"
        } else {
            "correct the Pool (`kubectl -n berth-system edit pool NAME`); of two that contradict each other the older one is used"
        }
    }
}

/// What follows from the Pools of this rack. `stuck` are addresses in use here that would be in no pool otherwise.
pub(super) fn plan(
    rack: &RackName,
    listed: &[PoolObject],
    in_force: &[UsedPool],
    stuck: &[Displaced],
) -> PoolPlan {
    let (mut used, mut refused) = (Vec::new(), Vec::new());
    for before in in_force {
        let mut inside = stuck
            .iter()
            .filter(|one| one.network == before.pool.network && before.pool.hands_out(one.address));
        let Some(first) = inside.next() else {
            continue;
        };
        let count = 1 + inside.count();
        used.push(before.clone());
        let now = listed.iter().find(|now| now.name == before.object.name);
        let what = match now {
            Some(now) if now.spec == before.object.spec => continue,
            Some(_) => "its change",
            None if before.pool.rack == *rack => "that it was deleted",
            // The node was in another rack: what is in use there ends with its Pods.
            None => continue,
        };
        refused.push(RefusedPool {
            name: before.object.name.clone(),
            problem: format!(
                "{what} would leave {count} addresses that are in use here in no pool, the first is {} of {} (network {})",
                first.address, first.identity, first.network
            ),
            stays: true,
            in_use: true,
        });
    }
    let keeps = !used.is_empty();
    let mut rest: Vec<_> = listed
        .iter()
        .filter(|now| used.iter().all(|kept| kept.object.name != now.name))
        .collect();
    rest.sort_by_key(|object| object.age());
    for object in rest {
        let problem = match judged(object, &used) {
            Ok(pool) => {
                let object = object.clone();
                used.push(UsedPool { object, pool });
                continue;
            }
            Err(problem) => problem,
        };
        let before = in_force
            .iter()
            .find(|before| before.object.name == object.name && before.pool.rack == *rack);
        let before = before.filter(|before| beside(&before.pool, &used).is_ok());
        refused.push(RefusedPool {
            name: object.name.clone(),
            problem,
            stays: before.is_some(),
            in_use: false,
        });
        used.extend(before.cloned());
    }
    used.sort_by(|one, other| one.object.age().cmp(&other.object.age()));
    PoolPlan {
        used,
        refused,
        keeps,
    }
}

/// The pool of an object, where it can stand beside those that are used.
fn judged(object: &PoolObject, used: &[UsedPool]) -> Result<Pool, String> {
    let pool = object.pool()?;
    beside(&pool, used).map(|()| pool)
}

fn beside(pool: &Pool, used: &[UsedPool]) -> Result<(), String> {
    let others: Vec<_> = used.iter().map(|used| used.pool.clone()).collect();
    let errors = objections(pool, &others);
    if errors.is_empty() {
        return Ok(());
    }
    let errors: Vec<_> = errors
        .iter()
        .map(|error| format!("{}: {}", error.field, error.reason))
        .collect();
    Err(errors.join("; "))
}

#[cfg(test)]
pub(super) mod tests;
