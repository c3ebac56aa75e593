//! Rules about claims, pools and nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{DELETION_STUCK, Extents, Finding, Kind, World, join};
use crate::age::{short, since};
use crate::claims::{ClaimSeen, State};
use crate::pools::PoolSeen;
use crate::range::{Extent, Place};
use crate::seen::NodeSeen;

pub(super) fn claimed_twice(world: &World, findings: &mut Vec<Finding>) {
    let mut by_address: BTreeMap<(IpAddr, &str), Vec<&ClaimSeen>> = BTreeMap::new();
    for claim in &world.claims {
        let key = (claim.address, claim.spec.network.as_str());
        by_address.entry(key).or_default().push(claim);
    }
    for ((address, network), claims) in by_address.into_iter().filter(|(_, all)| all.len() > 1) {
        let named = claims.iter().map(|it| {
            let whose = it.identity().unwrap_or("nobody");
            format!(
                "node {} by pool {} ({} for {whose})",
                it.spec.node,
                it.spec.pool,
                it.words()
            )
        });
        findings.push(Finding {
            kind: Kind::AddressClaimedTwice,
            subject: format!("{address} of network {network}"),
            what: format!("it is claimed by {}", join(named)),
            advice: "the pools overlap: take the address out of all but one (spec.ranges, spec.exclude), delete the Pod that is in \
                     the wrong one, then the claim that is left over"
                .to_owned(),
        });
    }
}

pub(super) fn pools_overlap(world: &World, extents: &Extents<'_>, findings: &mut Vec<Finding>) {
    for (index, one) in world.pools.iter().enumerate() {
        for other in &world.pools[index + 1..] {
            if one.spec.network != other.spec.network {
                continue;
            }
            let usable =
                |pool: &PoolSeen| extents.by_pool.get(pool.name.as_str()).map(Extent::usable);
            let shared = usable(one).zip(usable(other));
            if let Some(shared) = shared.and_then(|(one, other)| one.shared(other)) {
                findings.push(Finding {
                    kind: Kind::PoolsOverlap,
                    subject: format!("{} and {}", one.name, other.name),
                    what: format!("both hand out {shared} of network {}", one.spec.network),
                    advice: "correct the ranges or exclusions of one; nodes use neither pool for new addresses where they see both"
                        .to_owned(),
                });
            }
        }
    }
}

pub(super) fn bindings(world: &World, findings: &mut Vec<Finding>) {
    let mut claimed: BTreeMap<(&str, IpAddr), &ClaimSeen> = BTreeMap::new();
    let mut had: BTreeMap<(&str, &str, &str, bool), BTreeSet<IpAddr>> = BTreeMap::new();
    for claim in &world.claims {
        let spec = &claim.spec;
        claimed.insert((&spec.network, claim.address), claim);
        if let Some(identity) = claim.identity() {
            let key = (
                identity,
                spec.network.as_str(),
                spec.rack.as_str(),
                claim.address.is_ipv6(),
            );
            had.entry(key).or_default().insert(claim.address);
        }
    }
    for ((identity, network, rack, _), addresses) in had.iter().filter(|(_, all)| all.len() > 1) {
        findings.push(Finding {
            kind: Kind::IdentityTwice,
            subject: format!("{identity} in network {network} of rack {rack}"),
            what: format!("it has {}", join(addresses.iter().map(ToString::to_string))),
            advice:
                "kubectl berth why tells which of them its Pod has; kubectl berth release the other"
                    .to_owned(),
        });
    }
    for claim in &world.claims {
        let Some(binding) = &claim.spec.binding else {
            continue;
        };
        let listed = binding
            .addresses
            .iter()
            .filter_map(|it| it.parse::<IpAddr>().ok());
        let missing = listed.filter(|address| {
            let other = claimed.get(&(claim.spec.network.as_str(), *address));
            other.is_none_or(|other| other.identity() != Some(&binding.identity))
        });
        for address in missing {
            findings.push(Finding {
                kind: Kind::BindingIncomplete,
                subject: format!("{} {address}", binding.identity),
                what: format!(
                    "the binding in Claim {} lists {address}, whose own Claim is missing or another's",
                    claim.name
                ),
                advice: format!(
                    "kubectl berth why {}; while its Pod runs node {} writes the Claim again, else kubectl berth release {}",
                    binding.identity, claim.spec.node, claim.spec.address
                ),
            });
        }
    }
}

pub(super) fn outside(world: &World, extents: &Extents<'_>, findings: &mut Vec<Finding>) {
    for claim in &world.claims {
        let spec = &claim.spec;
        let what = match extents.by_pool.get(spec.pool.as_str()) {
            None => format!("there is no Pool {}", spec.pool),
            Some(pool) if pool.place(claim.address) != Place::Usable => {
                format!("Pool {} does not hand it out any more", spec.pool)
            }
            Some(_) => continue,
        };
        findings.push(Finding {
            kind: Kind::OutsidePool,
            subject: claim.name.clone(),
            what: format!("it is {} for {}, and {what}", claim.words(), claim.identity().unwrap_or("nobody")),
            advice: "make the Pool as it was, or delete the Pod that has the address: without a binding the claim goes by itself"
                .to_owned(),
        });
    }
}

pub(super) fn nodes(world: &World, findings: &mut Vec<Finding>) {
    let nodes: BTreeMap<&str, &NodeSeen> = world
        .nodes
        .iter()
        .map(|it| (it.name.as_str(), it))
        .collect();
    let mut claims: BTreeMap<&str, Vec<&ClaimSeen>> = BTreeMap::new();
    for claim in &world.claims {
        claims.entry(&claim.spec.node).or_default().push(claim);
    }
    for (name, claims) in claims {
        let fenced = claims.iter().filter(|it| it.spec.fenced.is_some()).count();
        match nodes.get(name) {
            // Fenced is all that can be done; who needs an address takes it.
            None if fenced == claims.len() => {}
            None => findings.push(Finding {
                kind: Kind::NodeMissing,
                subject: name.to_owned(),
                what: format!(
                    "{} of its {} claims are not fenced, so nobody can have these addresses",
                    claims.len() - fenced,
                    claims.len()
                ),
                advice: format!(
                    "the controllers do that by themselves: kubectl -n berth-system get lease berth-controllers says whether they run. By \
                     hand: kubectl berth fence {name} --reason …"
                ),
            }),
            Some(node) if fenced > 0 && node.ready == Some(true) && !node.out_of_service => {
                findings.push(Finding {
                    kind: Kind::FencedButReady,
                    subject: name.to_owned(),
                    what: format!("{fenced} of its {} claims are fenced: it gives these addresses to nobody", claims.len()),
                    advice: format!("if it is to go on with what nobody has taken: kubectl berth unfence {name}"),
                });
            }
            Some(_) => {}
        }
    }
}

pub(super) fn deletions(world: &World, findings: &mut Vec<Finding>) {
    for claim in &world.claims {
        let Some(time) = claim.deleting_since else {
            continue;
        };
        let stuck = since(time, world.now);
        if stuck < DELETION_STUCK {
            continue;
        }
        let node = &claim.spec.node;
        let advice = if claim.state() == State::Attached {
            format!(
                "it goes with its Pod ({}); delete that Pod",
                claim.identity().unwrap_or("unknown")
            )
        } else {
            format!(
                "node {node} has to let it go: kubectl berth health {node}; if the node is off, kubectl berth fence {node}"
            )
        };
        findings.push(Finding {
            kind: Kind::DeletionStuck,
            subject: claim.name.clone(),
            what: format!(
                "it was deleted {} ago and waits for node {node}",
                short(stuck)
            ),
            advice,
        });
    }
}
