//! New settings for a living book: applied whole or refused whole.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proto_ids::{Identity, NetworkName, PoolName};

use crate::book::Book;
use crate::change::Change;
use crate::settings::{Settings, ValidSettings};
use crate::view::BindingView;

/// The book under new settings. Nothing stored changes.
#[derive(Clone, Debug)]
pub struct ReconfigurePlan {
    /// The book that replaces the old one.
    pub book: Book,
    /// What changes, one line each.
    pub report: Vec<String>,
}

/// A bound address that no pool of the new settings has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Displaced {
    /// The address.
    pub address: IpAddr,
    /// The network.
    pub network: NetworkName,
    /// Who has it.
    pub identity: Identity,
}

/// Why new settings are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigureError {
    /// Bound addresses would be in no pool of their network.
    #[error("{} bound addresses would be in no pool, the first is {} of {} (network {})",
        .all.len(), .first.address, .first.identity, .first.network)]
    Displaces {
        /// The first of them.
        first: Displaced,
        /// All of them.
        all: Vec<Displaced>,
    },
}

impl ReconfigureError {
    /// What an operator does about it.
    pub fn advice(&self) -> String {
        "keep the ranges that hold them, or release these addresses first".to_owned()
    }
}

impl Book {
    /// The book under new settings.
    ///
    /// # Errors
    /// When an address that is attached or held now, and in a pool now, would be in none.
    pub fn reconfigure(
        &self,
        settings: ValidSettings,
    ) -> Result<ReconfigurePlan, ReconfigureError> {
        let known: BTreeSet<_> = self.strays().into_iter().map(key).collect();
        let mut book = Self::new(settings);
        // The records are this book's own: they cannot contradict each other.
        book.apply(&self.records().map(Change::Put).collect::<Vec<_>>());
        let displaced: Vec<_> = book
            .strays()
            .into_iter()
            .filter(|stray| !known.contains(&key(stray.clone())))
            .filter_map(|stray| {
                Some(Displaced {
                    address: stray.address,
                    network: stray.network,
                    identity: stray.identity?,
                })
            })
            .collect();
        if let Some(first) = displaced.first() {
            return Err(ReconfigureError::Displaces {
                first: first.clone(),
                all: displaced,
            });
        }
        Ok(ReconfigurePlan {
            report: report(self.settings().settings(), book.settings().settings()),
            book,
        })
    }
}

fn key(view: BindingView) -> (NetworkName, IpAddr) {
    (view.network, view.address)
}

fn report(old: &Settings, new: &Settings) -> Vec<String> {
    let mut lines = Vec::new();
    if old.node != new.node {
        lines.push(format!("node: {} becomes {}", old.node, new.node));
    }
    // Why it is not known may change often.
    if old.rack.name() != new.rack.name() {
        lines.push(format!("rack: {} becomes {}", old.rack, new.rack));
    }
    for pool in &old.pools {
        match new.pools.iter().find(|other| other.name == pool.name) {
            None => lines.push(format!("pool {}: removed", pool.name)),
            Some(other) if other != pool => lines.push(format!("pool {}: changed", pool.name)),
            Some(_) => {}
        }
    }
    for pool in &new.pools {
        if old.pools.iter().all(|other| other.name != pool.name) {
            lines.push(format!("pool {}: added", pool.name));
        }
    }
    let order = |settings: &Settings| -> Vec<_> {
        let pools = settings.pools.iter();
        pools.map(|pool| pool.name.clone()).collect()
    };
    let (before, after) = (order(old), order(new));
    let kept = |these: &[PoolName], those: &[PoolName]| -> Vec<PoolName> {
        let kept = these.iter().filter(|name| those.contains(name));
        kept.cloned().collect()
    };
    if kept(&before, &after) != kept(&after, &before) {
        lines.push("pools: used in another order".to_owned());
    }
    if old.rules != new.rules {
        lines
            .push("rules: changed; bindings that are held already keep their deadlines".to_owned());
    }
    if old.audit_keep != new.audit_keep {
        lines.push(format!(
            "audit log: kept for {}",
            humantime::format_duration(new.audit_keep)
        ));
    }
    if old.refuse_when_exhausted != new.refuse_when_exhausted {
        lines.push(format!(
            "refuse when exhausted: {}",
            new.refuse_when_exhausted
        ));
    }
    lines
}

#[cfg(test)]
mod tests;
