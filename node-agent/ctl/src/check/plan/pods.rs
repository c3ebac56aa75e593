//! Rules about Pods and the addresses they have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Extents, Finding, Kind, World, join};
use crate::claims::{ClaimSeen, State, pod_of};
use crate::seen::PodSeen;

pub(super) fn pods_share(world: &World, extents: &Extents<'_>, findings: &mut Vec<Finding>) {
    let mut by_address: BTreeMap<IpAddr, Vec<&PodSeen>> = BTreeMap::new();
    for pod in world.pods.iter().filter(|pod| !pod.deleting) {
        for address in &pod.addresses {
            by_address.entry(*address).or_default().push(pod);
        }
    }
    for (address, pods) in by_address {
        // Networks without claims may use one range on every node; those are not ours to judge.
        if pods.len() > 1 && extents.include(address) {
            let named = pods
                .iter()
                .map(|pod| format!("{} on {}", pod.key(), node_of(pod)));
            findings.push(Finding {
                kind: Kind::PodsShareAddress,
                subject: address.to_string(),
                what: format!("kubelet tells {address} of {}", join(named)),
                advice: format!(
                    "kubectl berth history {address} says who had it first; delete the Pod that got it last, and report this with \
                     both nodes' logs"
                ),
            });
        }
    }
}

pub(super) fn pods_against_claims(
    world: &World,
    extents: &Extents<'_>,
    findings: &mut Vec<Finding>,
) {
    let mut claims: BTreeMap<IpAddr, Vec<&ClaimSeen>> = BTreeMap::new();
    for claim in &world.claims {
        claims.entry(claim.address).or_default().push(claim);
    }
    // Without pools addresses are not claimed at all.
    for pod in world.pods.iter().filter(|_| !world.pools.is_empty()) {
        let Some(node) = pod
            .node
            .as_ref()
            .filter(|node| world.daemons.contains(*node))
        else {
            continue;
        };
        for address in pod.addresses.iter().filter(|it| extents.include(**it)) {
            let of_it = claims.get(address).map(Vec::as_slice).unwrap_or_default();
            let what = format!("Pod {} on node {node} has {address}", pod.key());
            let Some(claim) = of_it.first() else {
                findings.push(Finding {
                    kind: Kind::AddressUnclaimed,
                    subject: format!("{} {address}", pod.key()),
                    what: format!("{what}, and there is no Claim of it"),
                    advice: format!(
                        "somebody has deleted the Claim, or node {node} cannot write it: kubectl berth why {address} and its log; \
                         until it is there again another node may claim the address"
                    ),
                });
                continue;
            };
            let fits = of_it.iter().any(|it| {
                it.spec.node == *node
                    && it.identity() == Some(&pod.identity())
                    && it.state() == State::Attached
            });
            if !fits {
                findings.push(Finding {
                    kind: Kind::AddressOfAnother,
                    subject: format!("{} {address}", pod.key()),
                    what: format!(
                        "{what}, which by its Claim is node {}'s: {} for {}",
                        claim.spec.node,
                        claim.words(),
                        claim.identity().unwrap_or("nobody")
                    ),
                    advice: format!(
                        "kubectl berth why {address}: a node that was fenced while it ran gives up its address only with the Pod, \
                         so delete that Pod; otherwise node {node} is late in writing (kubectl berth health {node})"
                    ),
                });
            }
        }
    }
}

pub(super) fn pods_gone(world: &World, findings: &mut Vec<Finding>) {
    let there: BTreeMap<String, &PodSeen> = world.pods.iter().map(|pod| (pod.key(), pod)).collect();
    for claim in world
        .claims
        .iter()
        .filter(|it| it.state() == State::Attached)
    {
        let spec = &claim.spec;
        // Whose Pod is not known, of that nobody can say that it is gone.
        let Some(key) = spec.binding.as_ref().and_then(pod_of) else {
            continue;
        };
        let what = match there.get(key).map(|pod| pod.node.as_deref()) {
            None => format!("Pod {key} is not there"),
            Some(None) => format!("Pod {key} is on no node"),
            Some(Some(node)) if node != spec.node => format!("Pod {key} is on node {node}"),
            Some(Some(_)) => continue,
        };
        findings.push(Finding {
            kind: Kind::PodGone,
            subject: format!("{} of network {}", spec.address, spec.network),
            what: format!("it is attached to {key} on node {}, but {what}", spec.node),
            advice: format!(
                "node {} gives it up when its runtime has removed the sandbox: kubectl berth why {}; if the node is off, kubectl berth \
                 fence {}",
                spec.node, spec.address, spec.node
            ),
        });
    }
}

fn node_of(pod: &PodSeen) -> &str {
    pod.node.as_deref().unwrap_or("no node")
}
