//! Who can reserve an address, or why nobody can. Pure.

use std::net::IpAddr;

use proto_crd::names::ADDRESSES_ANNOTATION;

use crate::claims::{ClaimSeen, State};
use crate::pools::PoolSeen;
use crate::range::{Place, place};

/// A pool that may know the address.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// The pool.
    pub(super) pool: PoolSeen,
    /// The address's claim, if there is one.
    pub(super) claim: Option<ClaimSeen>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The node's berth-ipamd is asked.
    Ask { node: String, network: String },
    /// Nothing.
    Refused { because: String },
}

/// What is to be done.
pub(super) fn plan(address: IpAddr, identity: &str, candidates: &[Candidate]) -> Plan {
    decide(address, identity, candidates).unwrap_or_else(|because| Plan::Refused { because })
}

fn decide(address: IpAddr, identity: &str, candidates: &[Candidate]) -> Result<Plan, String> {
    let knows = |it: &&Candidate| place(&it.pool.spec, address) != Place::Elsewhere;
    let found: Vec<_> = candidates.iter().filter(knows).collect();
    let it = match found[..] {
        [] => {
            return Err(format!(
                "{address} is in no Pool; kubectl berth pools -o wide lists them"
            ));
        }
        [it] => it,
        [..] => {
            let networks: Vec<_> = found
                .iter()
                .map(|it| it.pool.spec.network.as_str())
                .collect();
            let networks = networks.join(", ");
            return Err(format!(
                "{address} is known to several pools (networks {networks}); choose one with --network"
            ));
        }
    };
    let pool = &it.pool;
    if place(&pool.spec, address) == Place::NotHandedOut {
        return Err(format!(
            "Pool {} never hands out {address}: it is outside of its ranges, excluded, or a router's",
            pool.name
        ));
    }
    let Some(claim) = &it.claim else {
        return Err(format!(
            "no node has claimed {address} of Pool {}, so nobody can keep it for {identity}. Put the annotation \
             {ADDRESSES_ANNOTATION}: \"{address}\" on the Pod (or its template): the node that gets the Pod claims that address, \
             and it sticks to the Pod from then on. To keep the address from everybody until then, add it to spec.exclude of the \
             Pool, and take it out when the Pod is made",
            pool.name
        ));
    };
    refusal(claim, identity).map_or_else(
        || {
            Ok(Plan::Ask {
                node: claim.spec.node.clone(),
                network: claim.spec.network.clone(),
            })
        },
        Err,
    )
}

fn refusal(claim: &ClaimSeen, identity: &str) -> Option<String> {
    let spec = &claim.spec;
    let address = &spec.address;
    let holder = claim.identity();
    if let Some(other) = holder.filter(|holder| *holder != identity) {
        return Some(format!(
            "{address} is {} for {other} on node {}; kubectl berth why {address} says more, and kubectl berth release {address} \
             lets it go if nobody needs it",
            claim.words(),
            spec.node
        ));
    }
    if claim.state() == State::Attached {
        return Some(format!(
            "{address} is attached to {identity} already, on node {}: it sticks to it. How long it is held after its Pod, the \
             annotation berth.dev/hold says",
            spec.node
        ));
    }
    let busy = if spec.fenced.is_some() {
        Some(format!(
            "its node {} was fenced; kubectl berth unfence {} takes that back",
            spec.node, spec.node
        ))
    } else if let Some(handover) = &spec.handover {
        Some(format!(
            "node {} asks for it; try again when it has moved",
            handover.to
        ))
    } else if spec.release.is_some() || claim.deleting_since.is_some() {
        Some("it is being given back; try again when that is done".to_owned())
    } else {
        None
    };
    busy.map(|because| format!("{address} cannot be reserved now: {because}"))
}

/// The command for the node's berth-ipamd.
pub(super) fn words(
    network: &str,
    address: IpAddr,
    identity: &str,
    note: Option<&str>,
) -> Vec<String> {
    // One word each: a note that begins with a dash is no flag.
    let mut words = vec![
        "reserve".to_owned(),
        format!("--network={network}"),
        format!("--ip={address}"),
        format!("--identity={identity}"),
    ];
    words.extend(note.map(|note| format!("--note={note}")));
    words
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::claims::fixture::{bound, claim, mark};

    fn candidate(network: &str, spec: Option<&Value>) -> Candidate {
        let pool = json!({
            "network": network, "rack": "a", "subnet": "10.20.1.0/24", "ranges": ["10.20.1.100-10.20.1.199"],
        });
        Candidate {
            pool: PoolSeen {
                name: format!("{network}-a"),
                generation: 1,
                spec: serde_json::from_value(pool).unwrap(),
                status: None,
            },
            claim: spec.map(|spec| claim("10.20.1.100", spec)),
        }
    }

    #[test]
    fn the_node_that_has_the_address_is_asked_or_it_is_said_why_not() {
        let address: IpAddr = "10.20.1.100".parse().unwrap();
        let mut asked = bound("prod/db-0", "10.20.1.100", false);
        asked["handover"] = json!({"to": "n2"});
        let fine = Plan::Ask {
            node: "n1".into(),
            network: "external".into(),
        };
        let one = |spec: &Value| vec![candidate("external", Some(spec))];
        for (case, candidates, words) in [
            ("warm", one(&json!({})), None),
            (
                "its own, held",
                one(&bound("prod/db-0", "10.20.1.100", false)),
                None,
            ),
            (
                "its own, attached",
                one(&bound("prod/db-0", "10.20.1.100", true)),
                Some("attached to prod/db-0 already"),
            ),
            (
                "another's",
                one(&bound("prod/x", "10.20.1.100", false)),
                Some("held for prod/x on node n1"),
            ),
            ("asked for", one(&asked), Some("node n2 asks for it")),
            (
                "fenced",
                one(&json!({"fenced": mark("off")})),
                Some("was fenced"),
            ),
            (
                "released",
                one(&json!({"release": mark("x")})),
                Some("being given back"),
            ),
            (
                "unclaimed",
                vec![candidate("external", None)],
                Some("berth.dev/addresses: \"10.20.1.100\""),
            ),
            ("no pool", vec![], Some("in no Pool")),
            (
                "two networks",
                vec![candidate("external", None), candidate("internal", None)],
                Some("--network"),
            ),
        ] {
            match (plan(address, "prod/db-0", &candidates), words) {
                (plan, None) => assert_eq!(plan, fine, "{case}"),
                (Plan::Refused { because }, Some(words)) => {
                    assert!(because.contains(words), "{case}: {because}");
                }
                (plan, _) => panic!("{case}: {plan:?}"),
            }
        }
        let outside = plan("10.20.1.99".parse().unwrap(), "x", &one(&json!({})));
        assert!(
            matches!(outside, Plan::Refused { because } if because.contains("never hands out"))
        );
    }

    #[test]
    fn what_people_type_is_never_a_flag() {
        let words = words(
            "external",
            "10.20.1.100".parse().unwrap(),
            "a/b",
            Some("--quarantine"),
        );
        assert_eq!(words[4], "--note=--quarantine");
    }
}
