//! What the operator configured, checked whole before anything uses it.

mod check;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proto_ids::{Identity, NetworkName, NodeName, PoolName};

use crate::binding::Origin;
use crate::pool::Pool;
use crate::rack::NodeRack;
use crate::range::{AddressSet, Family, bits};
use crate::rule::{self, Hold, Rule};

/// What the operator configured for this node, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This node.
    pub node: NodeName,
    /// The rack of this node; addresses are taken from its pools only.
    pub rack: NodeRack,
    /// All pools, in the order in which they are used.
    pub pools: Vec<Pool>,
    /// Stickiness rules; the first that fits decides.
    pub rules: Vec<Rule>,
    /// How long the audit log is kept. Trimming it is the store's work.
    pub audit_keep: Duration,
    /// Whether STATUS answers 50 when a network has no free address.
    pub refuse_when_exhausted: bool,
    /// Whether the pools are shared with other nodes, so that an address is handed out only when this node has claimed it.
    pub claiming: bool,
}

/// What a [`SettingsError`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The settings of the node itself.
    Node,
    /// A pool.
    Pool {
        /// Its place among the pools, from 0.
        index: usize,
        /// Its name.
        name: PoolName,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("settings"),
            Self::Pool { name, .. } => write!(f, "pool {name}"),
        }
    }
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject}: {field}: {reason}")]
pub struct SettingsError {
    /// What it is about.
    pub subject: Subject,
    /// The key, as in the configuration file: `name`, `subnet`, `ranges`, `exclude`, `gateway`, `routes`, `rack`.
    pub field: &'static str,
    /// What is wrong, in words.
    pub reason: String,
}

/// What is wrong with a pool, by itself and beside others that stand.
pub fn objections(pool: &Pool, others: &[Pool]) -> Vec<SettingsError> {
    let mut errors = Vec::new();
    let usable = pool.usable();
    let mut report = |field, reason| {
        errors.push(SettingsError {
            subject: Subject::Pool {
                index: others.len(),
                name: pool.name.clone(),
            },
            field,
            reason,
        });
    };
    check::pool(pool, &usable, &mut report);
    for other in others {
        check::pair((pool, &usable), (other, &other.usable()), &mut report);
    }
    errors
}

/// Settings that were found free of contradictions. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidSettings(Arc<Checked>);

#[derive(Debug, PartialEq, Eq)]
struct Checked {
    settings: Settings,
    /// What each pool hands out, in the order of the pools, and how many that are.
    usable: Vec<(AddressSet, u64)>,
}

impl Settings {
    /// Checks the whole, and finds everything that is wrong, not only the first.
    ///
    /// # Errors
    /// One entry for each contradiction.
    pub fn validate(self) -> Result<ValidSettings, Vec<SettingsError>> {
        let usable: Vec<_> = self.pools.iter().map(Pool::usable).collect();
        let mut errors = Vec::new();
        for (index, pool) in self.pools.iter().enumerate() {
            let mut report = |field, reason| {
                errors.push(SettingsError {
                    subject: Subject::Pool {
                        index,
                        name: pool.name.clone(),
                    },
                    field,
                    reason,
                });
            };
            check::pool(pool, &usable[index], &mut report);
            for (earlier, other) in self.pools[..index].iter().enumerate() {
                check::pair(
                    (pool, &usable[index]),
                    (other, &usable[earlier]),
                    &mut report,
                );
            }
        }
        // A label says what it says; that there is no pool for it is told when somebody asks.
        if let NodeRack::Configured(rack) = &self.rack
            && !self.pools.is_empty()
            && !self.pools.iter().any(|pool| self.uses(pool))
        {
            let node = if self.pools.iter().any(|pool| pool.rack == *rack) {
                format!(" and node {}", self.node)
            } else {
                String::new()
            };
            errors.push(SettingsError {
                subject: Subject::Node,
                field: "rack",
                reason: format!("no pool belongs to rack {rack}{node}"),
            });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let counted = usable.into_iter().map(|set| {
            let count = set.count();
            (set, count)
        });
        Ok(ValidSettings(Arc::new(Checked {
            usable: counted.collect(),
            settings: self,
        })))
    }

    /// How long the bindings of an identity are kept after release.
    pub(crate) fn hold(&self, identity: &Identity, origin: &Origin) -> Hold {
        let pod = origin.pod(identity);
        let rule = pod
            .as_ref()
            .and_then(|pod| self.rules.iter().find(|rule| rule.fits(pod)));
        match (origin, rule) {
            (Origin::Sandbox | Origin::Adopted, _) => Hold::None,
            (_, Some(rule)) => rule.hold,
            // Whoever names an identity wants it kept.
            (Origin::Named { .. } | Origin::Reserved, None) => Hold::Forever,
            (Origin::Pod, None) => {
                if pod.as_ref().is_some_and(rule::has_ordinal) {
                    Hold::Forever
                } else {
                    Hold::None
                }
            }
        }
    }
}

impl ValidSettings {
    /// The settings as typed.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The same on a node of this rack.
    #[must_use]
    pub fn with_rack(&self, rack: NodeRack) -> Self {
        if self.settings().rack == rack {
            return self.clone();
        }
        // Nothing that was checked depends on what a label says.
        Self(Arc::new(Checked {
            settings: Settings {
                rack,
                ..self.settings().clone()
            },
            usable: self.0.usable.clone(),
        }))
    }

    /// The same with these pools.
    ///
    /// # Errors
    /// One entry for each contradiction.
    pub fn with_pools(&self, pools: Vec<Pool>) -> Result<Self, Vec<SettingsError>> {
        if self.settings().pools == pools {
            return Ok(self.clone());
        }
        let settings = Settings {
            pools,
            ..self.settings().clone()
        };
        settings.validate()
    }

    /// The pool of another node that has an address, and that node.
    pub(crate) fn other_node_with(
        &self,
        network: &NetworkName,
        address: IpAddr,
    ) -> Option<(&PoolName, &NodeName)> {
        let settings = self.settings();
        let has = |(index, pool): &(usize, &Pool)| {
            pool.network == *network
                && pool.family() == Family::of(address)
                && !settings.owns(pool)
                && self.usable(*index).contains(bits(address))
        };
        let (_, pool) = settings.pools.iter().enumerate().find(has)?;
        Some((&pool.name, pool.node.as_ref()?))
    }

    /// What the pool at this place hands out.
    pub(crate) fn usable(&self, pool: usize) -> &AddressSet {
        &self.0.usable[pool].0
    }

    /// How many addresses the pool at this place hands out, at most `u64::MAX`.
    pub(crate) fn capacity(&self, pool: usize) -> u64 {
        self.0.usable[pool].1
    }
}

#[cfg(test)]
mod tests;
