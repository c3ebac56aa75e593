//! What a Pod waits for, and what to do about it. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proto_crd::names;

use super::{Known, Sentence};
use crate::age::{short, since};
use crate::claims::{ClaimSeen, State};
use crate::output::Tone;
use crate::seen::PodSeen;

/// A fenced claim is taken over only when its mark has stood for so long: the protocol's.
const FENCE_SETTLES: SignedDuration = SignedDuration::from_secs(30);

/// Another node's question is replaced only when it has stood for so long: the protocol's.
const ASK_SETTLES: Duration = Duration::from_secs(10);

/// What keeps the Pod from its addresses; nothing, where it has them or there is no Pod on a node.
pub(super) fn tell(known: &Known, now: Timestamp) -> Vec<Sentence> {
    let Some(pod) = known
        .pod
        .as_ref()
        .filter(|pod| !pod.host_network && !pod.has_ended())
    else {
        return Vec::new();
    };
    let Some(here) = &pod.node else {
        return Vec::new();
    };
    let Some(rack) = known.nodes.get(here).map(|node| node.rack.as_deref()) else {
        return vec![wrong(format!(
            "Node {here} is not there any more, or cannot be read: what the Pod waits for is not known."
        ))];
    };
    let Some(rack) = rack else {
        return vec![wrong(format!(
            "Node {here} has no rack, so it gives no address: kubectl label node {here} {}=RACK",
            known.rack_label
        ))];
    };
    let identity = pod.identity();
    let own = known
        .claims
        .iter()
        .filter(|it| it.identity() == Some(&identity));
    let (same, other): (Vec<_>, Vec<_>) = own.partition(|it| it.spec.rack == rack);
    let mut told = Vec::new();
    for claim in &same {
        told.extend(in_rack(claim, here, known, now));
    }
    if same.is_empty() {
        told.extend(other_rack(pod, rack, &other));
    }
    // What it has is not waited for, and a Pod with an address needs none.
    if pod.addresses.is_empty() {
        let waits = !other.is_empty() && waits_for_its_rack(pod);
        if !waits {
            told.extend(new_addresses((pod, here), rack, (known, now), &same));
        }
    }
    told
}

fn wrong(text: String) -> Sentence {
    Sentence::toned(Tone::Wrong, text)
}

fn doubtful(text: String) -> Sentence {
    Sentence::toned(Tone::Doubtful, text)
}

/// A claim of the Pod's identity in the rack of its node.
fn in_rack(claim: &ClaimSeen, here: &str, known: &Known, now: Timestamp) -> Vec<Sentence> {
    let spec = &claim.spec;
    let (address, holder) = (&spec.address, &spec.node);
    if holder == here {
        return Vec::new();
    }
    let mut told = Vec::new();
    if let Some(mark) = &spec.fenced {
        let from = mark.at.0.checked_add(FENCE_SETTLES).unwrap_or(mark.at.0);
        told.push(doubtful(if from > now {
            format!("Node {here} waits for {address} until the mark has settled: it takes it from {from} on.")
        } else {
            format!("Node {here} may take {address} over now, and does at the Pod's next try.")
        }));
        return told;
    }
    match &spec.handover {
        Some(handover) if handover.to == here => told.push(doubtful(format!(
            "Node {here} has asked node {holder} for {address} and waits for its consent."
        ))),
        Some(handover) => told.push(doubtful(format!(
            "Node {} asks node {holder} for {address} too; node {here} asks when that has stood for {}.",
            handover.to,
            short(ASK_SETTLES)
        ))),
        None => told.push(doubtful(format!(
            "Node {here} has to ask node {holder} for {address}, which it does at the Pod's next try."
        ))),
    }
    let attached = claim.state() == State::Attached;
    if attached {
        told.push(doubtful(format!(
            "Node {holder} consents when the Pod that has {address} there is gone."
        )));
    }
    let node = known.nodes.get(holder);
    match node.map(|node| (node.ready, &node.readiness)) {
        None => told.push(wrong(format!(
            "There is no Node {holder} any more: the controllers fence its addresses by themselves (do they run? kubectl -n \
             berth-system get lease {}), or kubectl berth fence {holder} --reason …",
            names::CONTROLLERS_LEASE
        ))),
        Some((Some(true), _)) => {}
        Some((_, readiness)) => told.push(wrong(format!(
            "Node {holder} cannot consent while it does not run: {readiness}. If it is off for sure: kubectl berth fence {holder} \
             --reason …; then node {here} takes the address"
        ))),
    }
    told
}

/// Whatever the Pod's identity has is another rack's.
fn other_rack(pod: &PodSeen, rack: &str, other: &[&ClaimSeen]) -> Vec<Sentence> {
    let racks: BTreeSet<_> = other.iter().map(|it| it.spec.rack.as_str()).collect();
    let racks = racks.into_iter().collect::<Vec<_>>().join(", ");
    let key = names::RACK_CHANGE_ANNOTATION;
    if other.is_empty() {
        Vec::new()
    } else if waits_for_its_rack(pod) {
        vec![wrong(format!(
            "Its addresses are of rack {racks}, its node is in rack {rack}, and it would rather wait than get new ones \
             (annotation {key}): keep it in its rack by node affinity, or take the annotation away."
        ))]
    } else {
        vec![Sentence::plain(format!(
            "Its addresses are of rack {racks}, its node is in rack {rack}: here it gets new ones (annotation {key} says \
             otherwise with {}).",
            names::RACK_CHANGE_WAIT
        ))]
    }
}

fn waits_for_its_rack(pod: &PodSeen) -> bool {
    let said = pod.annotations.get(names::RACK_CHANGE_ANNOTATION);
    said.is_some_and(|it| it == names::RACK_CHANGE_WAIT)
}

/// Networks in which the identity has nothing in this rack.
fn new_addresses(
    (pod, here): (&PodSeen, &str),
    rack: &str,
    (known, now): (&Known, Timestamp),
    has: &[&ClaimSeen],
) -> Vec<Sentence> {
    let has: BTreeSet<_> = has.iter().map(|it| it.spec.network.as_str()).collect();
    let of_rack = known.pools.iter().filter(|pool| pool.spec.rack == rack);
    let there: BTreeSet<_> = of_rack
        .clone()
        .map(|pool| pool.spec.network.as_str())
        .collect();
    let named = pod.annotations.get(names::NETWORKS_ANNOTATION);
    let named: Option<BTreeSet<&str>> = named.map(|it| it.split(',').map(str::trim).collect());
    if there.is_empty() {
        return vec![wrong(format!(
            "No Pool is of rack {rack}: make one for each network, or correct the label of node {here}."
        ))];
    }
    let mut told = Vec::new();
    for network in named.iter().flatten().filter(|it| !there.contains(*it)) {
        told.push(wrong(format!(
            "No Pool of network {network} is of rack {rack}: make one, or correct the Pod's annotation {}.",
            names::NETWORKS_ANNOTATION
        )));
    }
    let joins = |network: &&str| named.as_ref().is_none_or(|named| named.contains(network));
    for network in there.difference(&has).copied().filter(joins) {
        let of_network = |it: &&ClaimSeen| it.spec.network == network && it.spec.rack == rack;
        let warm = known.warm.iter().filter(of_network).count();
        let pools: Vec<_> = of_rack
            .clone()
            .filter(|it| it.spec.network == network)
            .collect();
        let full = pools.iter().all(|pool| {
            let status = pool.status.as_ref();
            status.is_some_and(|it| {
                it.observed_generation == pool.generation && it.claimed >= it.capacity
            })
        });
        let counts = pools.iter().filter_map(|pool| pool.status.as_ref());
        let counted = counts.map(|it| it.update_time.0).min();
        let ago = counted.map_or_else(String::new, |time| {
            format!(
                " (so for {}, by the Pool's status)",
                short(since(time, now))
            )
        });
        told.push(match (warm, full) {
            (0, true) => wrong(format!(
                "If it joins network {network}: node {here} has no address of it in reserve, and every address of rack {rack} is \
                 claimed{ago}. kubectl berth ips --network {network} --rack {rack} --held lists what is kept unused; or add ranges to \
                 the Pool."
            )),
            (0, false) => Sentence::plain(format!(
                "If it joins network {network}: node {here} has no address of it in reserve and claims one."
            )),
            (warm, _) => Sentence::plain(format!(
                "If it joins network {network}: node {here} has {warm} of it in reserve and gives it one."
            )),
        });
    }
    told
}
