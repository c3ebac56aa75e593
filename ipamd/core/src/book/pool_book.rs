//! One pool's free addresses in the order they are handed out, and its counts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::network::Class;
use crate::range::{AddressSet, Family, bits};
use crate::settings::ValidSettings;

/// How many addresses of a pool are in each state that is not free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) attached: u64,
    pub(crate) held: u64,
    pub(crate) quarantined: u64,
    pub(crate) conflicting: u64,
}

/// One pool of a network. Follows from the network's tables; only they call the mutating methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PoolBook {
    settings: ValidSettings,
    /// The pool's place in the settings.
    pub(crate) index: usize,
    pub(crate) tally: Tally,
    fresh: AddressSet,
    retired: BTreeSet<(u64, IpAddr)>,
}

impl PoolBook {
    pub(crate) fn new(settings: ValidSettings, index: usize) -> Self {
        // In a cluster, nothing is this node's before it is claimed.
        let fresh = if settings.settings().claiming {
            AddressSet::default()
        } else {
            settings.usable(index).clone()
        };
        Self {
            settings,
            index,
            tally: Tally::default(),
            fresh,
            retired: BTreeSet::new(),
        }
    }

    pub(crate) fn pool(&self) -> &crate::Pool {
        &self.settings.settings().pools[self.index]
    }

    pub(crate) fn family(&self) -> Family {
        self.pool().family()
    }

    /// Whether the pool hands out this address at all.
    pub(crate) fn hands_out(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family()
            && self.settings.usable(self.index).contains(bits(address))
    }

    /// The free addresses in the order they are handed out: never used first, then those used longest ago.
    pub(crate) fn free(&self) -> impl Iterator<Item = IpAddr> + Clone {
        let family = self.family();
        self.fresh
            .iter()
            .map(move |bits| family.address(bits))
            .chain(self.retired.iter().map(|&(_, address)| address))
    }

    /// How many addresses the pool may hand out, at most `u64::MAX`.
    pub(crate) fn capacity(&self) -> u64 {
        self.settings.capacity(self.index)
    }

    pub(crate) fn free_count(&self) -> u64 {
        let Tally {
            attached,
            held,
            quarantined,
            conflicting,
        } = self.tally;
        if self.settings.settings().claiming {
            return self.fresh.count().saturating_add(self.retired.len() as u64);
        }
        self.capacity()
            .saturating_sub(attached + held + quarantined + conflicting)
    }

    pub(super) fn leave(&mut self, address: IpAddr, class: Class) {
        match class {
            Class::Fresh => self.fresh.remove((bits(address), bits(address))),
            Class::Retired(sequence) => {
                self.retired.remove(&(sequence, address));
            }
            Class::Unclaimed => {}
            counted => self.count(counted, u64::saturating_sub),
        }
    }

    pub(super) fn enter(&mut self, address: IpAddr, class: Class) {
        match class {
            Class::Fresh => self.fresh.insert((bits(address), bits(address))),
            Class::Retired(sequence) => {
                self.retired.insert((sequence, address));
            }
            Class::Unclaimed => {}
            counted => self.count(counted, u64::saturating_add),
        }
    }

    fn count(&mut self, class: Class, step: fn(u64, u64) -> u64) {
        let Tally {
            attached,
            held,
            quarantined,
            conflicting,
        } = &mut self.tally;
        let count = match class {
            Class::Fresh | Class::Retired(_) | Class::Unclaimed => return,
            Class::Attached => attached,
            Class::Held => held,
            Class::Quarantined => quarantined,
            Class::Conflicting => conflicting,
        };
        *count = step(*count, 1);
    }
}
