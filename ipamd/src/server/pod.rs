//! What a Pod says of its addresses, put into the request of its ADD. Pure.
//!
//! What the runtime asks for goes before what the Pod says. Nothing the Pod says is passed over: what cannot be followed is
//! refused, in words that name annotation, value and what is allowed.

use std::net::IpAddr;

use ipamd_core::{Family, PodPolicy, Pool, Reason, Settings};
use proto_crd::names::ADDRESSES_ANNOTATION;
use proto_ids::{AllocateRequest, InterfaceRequest, NetworkName, PodKey, PoolName, RackName};

use crate::sync::PodFacts;

/// Why a Pod's ADD is refused for what the Pod says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FollowPodError {
    /// Annotations that cannot be read.
    #[error("Pod {pod}: {}", .problems.join("; "))]
    Unreadable {
        /// The Pod.
        pod: PodKey,
        /// Each, in words.
        problems: Vec<String>,
    },
    /// An address is of no network that the Pod joins here.
    #[error("Pod {pod}: annotation {ADDRESSES_ANNOTATION} asks for {address}, which lies in no pool of {} in rack {rack} \
        (pools there: {})", networks(.joined), listed(.pools))]
    Outside {
        /// The Pod.
        pod: PodKey,
        /// The address.
        address: IpAddr,
        /// The networks it joins.
        joined: Vec<NetworkName>,
        /// This node's rack.
        rack: RackName,
        /// All pools of this rack.
        pools: Vec<(PoolName, NetworkName, String)>,
    },
    /// Two addresses of one family for one interface.
    #[error(
        "Pod {pod}: annotation {ADDRESSES_ANNOTATION} asks for {address} and {other}, both {family} addresses of network {network}"
    )]
    Twice {
        /// The Pod.
        pod: PodKey,
        /// The address.
        address: IpAddr,
        /// The one before it.
        other: IpAddr,
        /// Their family.
        family: Family,
        /// Their network.
        network: NetworkName,
    },
}

impl FollowPodError {
    /// For programs.
    pub(super) const fn reason(&self) -> Reason {
        match self {
            Self::Unreadable { .. } | Self::Twice { .. } => Reason::InvalidRequest,
            Self::Outside { .. } => Reason::AddressOutside,
        }
    }

    /// What an operator does about it.
    pub(super) fn advice(&self) -> String {
        let (pod, key) = match self {
            Self::Unreadable { pod, .. } => (pod, "KEY"),
            Self::Outside { pod, .. } | Self::Twice { pod, .. } => (pod, ADDRESSES_ANNOTATION),
        };
        let what = match self {
            Self::Unreadable { .. } => "correct it",
            Self::Outside { .. } => {
                "name an address of a pool of this rack, or keep the Pod on nodes of the rack that has the address"
            }
            Self::Twice { .. } => "leave one of them out",
        };
        format!(
            "{what} in the workload, or in this Pod with `kubectl annotate pod -n {} {} --overwrite {key}=VALUE`; the \
             runtime tries again by itself",
            pod.namespace(),
            pod.name()
        )
    }
}

fn networks(joined: &[NetworkName]) -> String {
    let names: Vec<_> = joined.iter().map(NetworkName::as_str).collect();
    match names.as_slice() {
        [one] => format!("network {one}"),
        several => format!("networks {}", several.join(", ")),
    }
}

fn listed(pools: &[(PoolName, NetworkName, String)]) -> String {
    let words = pools
        .iter()
        .map(|(pool, network, subnet)| format!("{pool} of {network} with {subnet}"));
    words.collect::<Vec<_>>().join(", ")
}

/// Puts into a request what its Pod says and the runtime does not. Answers what counts after the Pod.
///
/// # Errors
/// When the Pod says what cannot be read, or asks for addresses that it cannot have here.
pub(super) fn follow(
    request: &mut AllocateRequest,
    facts: &PodFacts,
    settings: &Settings,
) -> Result<PodPolicy, FollowPodError> {
    if !facts.problems.is_empty() {
        return Err(FollowPodError::Unreadable {
            pod: facts.pod.clone(),
            problems: facts.problems.iter().map(ToString::to_string).collect(),
        });
    }
    if request.identity.is_none() && facts.named {
        request.identity = Some(facts.identity.clone());
    }
    fix_addresses(&mut request.interfaces, facts, settings)?;
    Ok(facts.policy.clone())
}

fn fix_addresses(
    interfaces: &mut [InterfaceRequest],
    facts: &PodFacts,
    settings: &Settings,
) -> Result<(), FollowPodError> {
    let used: Vec<&Pool> = settings
        .pools
        .iter()
        .filter(|pool| settings.uses(pool))
        .collect();
    let joins = |pool: &Pool| interfaces.iter().any(|one| one.network == pool.network);
    let Some(rack) = settings.rack.name() else {
        // The book says what is wrong with the node.
        return Ok(());
    };
    if !used.iter().any(|pool| joins(pool)) {
        return Ok(());
    }
    let told: Vec<bool> = interfaces
        .iter()
        .map(|one| !one.addresses.is_empty())
        .collect();
    for &address in &facts.addresses {
        let holds = |network: &NetworkName| {
            let mut pools = used.iter().filter(|pool| pool.network == *network);
            pools.any(|pool| pool.subnet.contains(&address))
        };
        let place = interfaces.iter().position(|one| holds(&one.network));
        let Some(place) = place else {
            return Err(FollowPodError::Outside {
                pod: facts.pod.clone(),
                address,
                joined: interfaces.iter().map(|one| one.network.clone()).collect(),
                rack: rack.clone(),
                pools: used.iter().map(|pool| shown(pool)).collect(),
            });
        };
        if told[place] {
            continue;
        }
        let interface = &mut interfaces[place];
        let family = Family::of(address);
        let mut before = interface.addresses.iter();
        if let Some(&other) = before.find(|other| Family::of(**other) == family) {
            return Err(FollowPodError::Twice {
                pod: facts.pod.clone(),
                address,
                other,
                family,
                network: interface.network.clone(),
            });
        }
        interface.addresses.push(address);
    }
    Ok(())
}

fn shown(pool: &Pool) -> (PoolName, NetworkName, String) {
    let subnet = pool.subnet.to_string();
    (pool.name.clone(), pool.network.clone(), subnet)
}

#[cfg(test)]
mod tests;
