//! Claims of the rack under another pool's name: an address that an operator moved from one pool to another while it is claimed.
//!
//! A claim's name is its lock, and names its pool. So whenever the pools of the rack are others than before, all its claims are listed
//! before anything new is claimed; and an address whose claim has another pool's name is left alone until that is gone.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipamd_core::Settings;
use proto_crd::claim::Claim as Object;
use proto_ids::RackName;
use tracing::warn;

use super::Driver;
use super::object::read;
use super::requests::{Ask, Call};
use super::round::pool_of;
use crate::ledger::claims::Place;

/// While there are such claims, it is looked so often whether they are gone.
const AGAIN: Duration = Duration::from_secs(60);

/// What the last list of the rack's claims said.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// The pools for which it counts.
    done: Option<Pools>,
    under_way: Option<Pools>,
    at: Option<Instant>,
    /// Places whose claim has another pool's name.
    strays: BTreeSet<Place>,
}

/// The pools of the rack: what they are called and what they hand out.
type Pools = Vec<String>;

impl Sweep {
    /// Places that somebody has under another pool's name.
    pub(super) const fn strays(&self) -> &BTreeSet<Place> {
        &self.strays
    }

    /// Whether a new claim of this place may be made.
    pub(super) fn lets(&self, place: &Place, settings: &Settings) -> bool {
        self.done.as_ref() == Some(&pools(settings)) && !self.strays.contains(place)
    }

    fn is_due(&self, settings: &Settings, now: Instant) -> bool {
        let again = self
            .at
            .is_none_or(|at| now.saturating_duration_since(at) >= AGAIN);
        let stale = self.done.as_ref() != Some(&pools(settings));
        self.under_way.is_none() && (stale || (again && !self.strays.is_empty()))
    }
}

fn pools(settings: &Settings) -> Pools {
    let used = settings.pools.iter().filter(|pool| settings.uses(pool));
    used.map(|pool| {
        format!(
            "{} {} {} {:?} {:?}",
            pool.name, pool.network, pool.subnet, pool.ranges, pool.exclude
        )
    })
    .collect()
}

/// Whose claims have another pool's name than the one that has their address now.
fn strays(objects: &[Object], settings: &Settings) -> BTreeSet<Place> {
    let places = objects.iter().filter_map(|object| {
        let (place, _) = read(object).ok()?;
        let pool = pool_of(settings, &place)?;
        (pool.name.as_str() != object.spec.pool).then_some(place)
    });
    places.collect()
}

impl Driver {
    /// Lists the rack's claims where that is due. Not while nothing is wanted of any pool.
    pub(super) fn sweep(&mut self, settings: &Settings) {
        let now = Instant::now();
        let Some(rack) = settings.rack.name() else {
            return;
        };
        if self.connection.is_none()
            || pools(settings).is_empty()
            || !self.sweep.is_due(settings, now)
        {
            return;
        }
        if !self.pace.take(true, self.calls.len(), now) {
            self.wake = self.wake.min(self.pace.next(now));
            return;
        }
        self.sweep.under_way = Some(pools(settings));
        self.sweep.at = Some(now);
        self.send(Call {
            ask: Ask::Sweep(rack.clone()),
            name: String::new(),
            object: None,
        });
    }

    /// The rack's claims were listed, or could not be.
    pub(super) fn swept(&mut self, rack: &RackName, objects: Option<&[Object]>) {
        let Some(pools) = self.sweep.under_way.take() else {
            return;
        };
        let Some(objects) = objects else {
            return;
        };
        let settings = self.parts.ledger.status().borrow().settings.clone();
        let settings = settings.settings();
        if settings.rack.name() != Some(rack) {
            return;
        }
        let strays = strays(objects, settings);
        if !strays.is_empty() && strays != self.sweep.strays {
            let ip: Vec<_> = strays.iter().map(|(_, ip)| ip.to_string()).collect();
            warn!(
                ip = ip.join(","),
                "addresses moved to another pool while they are claimed under the old one's name: they are not claimed anew before"
            );
        }
        self.sweep.strays = strays;
        self.sweep.done = Some(pools);
        // What others have need not be found out one by one.
        let now = Instant::now();
        for object in objects {
            if let Ok((place, claim)) = read(object)
                && claim.content.node != self.parts.node
            {
                let bound = claim.content.binding.is_some();
                self.others.insert(place, (bound, now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipamd_core::{NodeRack, Pool};
    use proto_crd::claim::ClaimSpec;

    use super::*;

    fn settings(pools: &[(&str, &str)]) -> Settings {
        Settings {
            node: "n1".parse().unwrap(),
            rack: NodeRack::Configured("a".parse().unwrap()),
            pools: pools
                .iter()
                .map(|(name, range)| pool(name, range))
                .collect(),
            rules: Vec::new(),
            audit_keep: Duration::from_secs(60),
            refuse_when_exhausted: false,
            claiming: true,
        }
    }

    fn pool(name: &str, subnet: &str) -> Pool {
        Pool {
            name: name.parse().unwrap(),
            network: "external".parse().unwrap(),
            rack: "a".parse().unwrap(),
            node: None,
            subnet: subnet.parse().unwrap(),
            ranges: Vec::new(),
            exclude: Vec::new(),
            gateway: None,
            quarantine: Duration::ZERO,
            routes: Vec::new(),
            probe: false,
        }
    }

    fn claim(pool: &str, address: &str) -> Object {
        Object::new(
            "any",
            ClaimSpec {
                pool: pool.to_owned(),
                network: "external".to_owned(),
                rack: "a".to_owned(),
                address: address.to_owned(),
                node: "n2".to_owned(),
                epoch: 1,
                binding: None,
                handover: None,
                fenced: None,
                release: None,
            },
        )
    }

    fn place(address: &str) -> Place {
        ("external".parse().unwrap(), address.parse().unwrap())
    }

    #[test]
    fn claims_under_another_pools_name_are_found() {
        let settings = settings(&[("old", "10.0.0.0/24"), ("new", "10.0.1.0/24")]);
        let objects = [
            claim("old", "10.0.0.7"),
            claim("old", "10.0.1.7"),
            claim("new", "10.0.1.8"),
            // In no pool any more: nobody claims it anew.
            claim("old", "10.9.9.9"),
        ];
        assert_eq!(strays(&objects, &settings), [place("10.0.1.7")].into());
    }

    #[test]
    fn nothing_new_is_claimed_before_the_claims_were_listed_for_these_pools() {
        let now = Instant::now();
        let (before, after) = (
            settings(&[("old", "10.0.0.0/24")]),
            settings(&[("new", "10.0.0.0/24")]),
        );
        let mut sweep = Sweep::default();
        assert!(!sweep.lets(&place("10.0.0.7"), &before) && sweep.is_due(&before, now));
        sweep.under_way = Some(pools(&before));
        assert!(!sweep.is_due(&before, now));
        sweep.done = sweep.under_way.take();
        sweep.at = Some(now);
        assert!(sweep.lets(&place("10.0.0.7"), &before) && !sweep.is_due(&before, now));
        assert!(!sweep.lets(&place("10.0.0.7"), &after) && sweep.is_due(&after, now));
        sweep.done = Some(pools(&after));
        sweep.strays = [place("10.0.0.7")].into();
        assert!(!sweep.lets(&place("10.0.0.7"), &after) && sweep.lets(&place("10.0.0.8"), &after));
        assert!(!sweep.is_due(&after, now) && sweep.is_due(&after, now + AGAIN));
    }
}
