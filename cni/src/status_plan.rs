//! Whether an ADD could succeed, and whether running Pods suffer: the verdict of a STATUS. Pure.

use cni_datapath::segment::SegmentStatus;
use cni_spec::SpecCode;
use proto_ids::NetworkName;
use proto_ipam::v1::{Phase, PoolStatus, StatusResponse};

/// One network's segment as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// The network.
    pub(crate) network: NetworkName,
    /// Its segment.
    pub(crate) segment: SegmentStatus,
    /// Whether Pods are plugged in there.
    pub(crate) has_pods: bool,
}

/// Why no ADD can succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable {
    /// 50, or 51 where running Pods suffer too.
    pub(crate) code: SpecCode,
    /// Every reason.
    pub(crate) reasons: Vec<String>,
}

/// Judges. `ipamd` is its answer, or why there is none.
pub(crate) fn verdict(
    ipamd: Result<&StatusResponse, String>,
    segments: &[Observed],
) -> Result<(), Unavailable> {
    let mut reasons = match ipamd {
        Ok(answer) => daemon(answer),
        Err(reason) => vec![reason],
    };
    let mut code = SpecCode::NotAvailable;
    for observed in segments {
        if let Some((reason, hurts)) = uplink(observed) {
            reasons.push(reason);
            if hurts && observed.has_pods {
                code = SpecCode::NotAvailableLimited;
            }
        }
    }
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(Unavailable { code, reasons })
    }
}

/// What is wrong with an uplink, and whether Pods that are plugged in notice.
fn uplink(observed: &Observed) -> Option<(String, bool)> {
    let Observed {
        network, segment, ..
    } = observed;
    let uplink = &segment.uplink;
    if !segment.present {
        let reason = format!(
            "uplink {uplink} of network {network} does not exist: is the NIC there, and named so?"
        );
        return Some((reason, true));
    }
    if !segment.carrier {
        let reason =
            format!("uplink {uplink} of network {network} has no carrier: check cable and switch");
        return Some((reason, true));
    }
    segment
        .conflict
        .as_ref()
        .map(|conflict| (format!("network {network}: {conflict}"), false))
}

fn daemon(answer: &StatusResponse) -> Vec<String> {
    let mut reasons = Vec::new();
    let phase = answer.phase();
    if phase != Phase::Serving {
        let state = match phase {
            Phase::Recovering => "is recovering",
            Phase::ReadOnly => "cannot write its store",
            Phase::Damaged => "has a damaged store",
            Phase::NoRack => "has no rack to take addresses of",
            Phase::Serving | Phase::Unspecified => "does not say whether it serves",
        };
        reasons.push(format!("berth-ipamd {state}: {}", answer.message));
    }
    reasons.extend(
        answer
            .networks_without_pool
            .iter()
            .map(|network| format!("network {network} has no pool in rack {}", answer.rack)),
    );
    if answer.refuse_when_exhausted {
        reasons.extend(exhausted(&answer.pools));
    }
    reasons
}

/// A network is exhausted when one of its families is: an ADD needs one address of each.
fn exhausted(pools: &[PoolStatus]) -> Vec<String> {
    let family = |pool: &PoolStatus| pool.subnet.contains(':');
    let is_alternative = |pool: &PoolStatus, other: &PoolStatus| {
        other.network == pool.network && family(other) == family(pool)
    };
    pools
        .iter()
        .filter(|pool| {
            pools
                .iter()
                .all(|other| !is_alternative(pool, other) || other.free == 0)
        })
        .map(|pool| {
            format!(
                "pool {} of network {} has no free address",
                pool.pool, pool.network
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving() -> StatusResponse {
        StatusResponse {
            phase: Phase::Serving.into(),
            rack: "a".to_owned(),
            ..StatusResponse::default()
        }
    }

    fn pool(name: &str, subnet: &str, free: u64) -> PoolStatus {
        PoolStatus {
            pool: name.to_owned(),
            network: "external".to_owned(),
            subnet: subnet.to_owned(),
            free,
            ..PoolStatus::default()
        }
    }

    fn fine() -> Observed {
        Observed {
            network: "external".parse().unwrap(),
            segment: SegmentStatus {
                uplink: "eth0".parse().unwrap(),
                present: true,
                carrier: true,
                mode: None,
                bridge: None,
                pending: vec!["create bridge".to_owned()],
                conflict: None,
                snapshot: false,
            },
            has_pods: true,
        }
    }

    #[test]
    fn all_well_is_available_even_where_the_bridge_is_still_to_be_made() {
        assert_eq!(verdict(Ok(&serving()), &[fine()]), Ok(()));
    }

    #[test]
    fn daemon_that_cannot_serve_makes_the_node_unavailable() {
        for phase in [
            Phase::Unspecified,
            Phase::Recovering,
            Phase::ReadOnly,
            Phase::Damaged,
            Phase::NoRack,
        ] {
            let answer = StatusResponse {
                phase: phase.into(),
                message: "advice".to_owned(),
                ..serving()
            };
            let verdict = verdict(Ok(&answer), &[fine()]).unwrap_err();
            assert_eq!(verdict.code, SpecCode::NotAvailable, "{phase:?}");
            assert!(verdict.reasons[0].ends_with(": advice"));
        }
        let away = verdict(Err("away".to_owned()), &[fine()]).unwrap_err();
        assert_eq!(away.code, SpecCode::NotAvailable);
        assert_eq!(away.reasons, ["away"]);
    }

    #[test]
    fn network_without_pool_is_named() {
        let answer = StatusResponse {
            networks_without_pool: vec!["internal".to_owned()],
            ..serving()
        };
        assert_eq!(
            verdict(Ok(&answer), &[]).unwrap_err().reasons,
            ["network internal has no pool in rack a"]
        );
    }

    #[test]
    fn dead_uplink_hurts_running_pods_only_where_there_are_some() {
        let changes: [fn(&mut SegmentStatus); 2] = [|s| s.present = false, |s| s.carrier = false];
        for change in changes {
            for (has_pods, code) in [
                (true, SpecCode::NotAvailableLimited),
                (false, SpecCode::NotAvailable),
            ] {
                let mut observed = Observed { has_pods, ..fine() };
                change(&mut observed.segment);
                let verdict = verdict(Ok(&serving()), &[fine(), observed]).unwrap_err();
                assert_eq!(verdict.code, code);
                assert!(verdict.reasons[0].contains("uplink eth0 of network external"));
            }
        }
    }

    #[test]
    fn conflict_refuses_new_pods_and_leaves_running_ones_alone() {
        let mut observed = fine();
        observed.segment.conflict = Some("eth0 is a port of bond0".to_owned());
        let verdict = verdict(Ok(&serving()), &[observed]).unwrap_err();
        assert_eq!(verdict.code, SpecCode::NotAvailable);
    }

    #[test]
    fn exhaustion_counts_per_family_and_only_where_configured() {
        let cases = [
            (vec![("a4", "10.0.0.0/24", 0)], true, 1),
            (vec![("a4", "10.0.0.0/24", 0)], false, 0),
            (
                vec![("a4", "10.0.0.0/24", 0), ("b4", "10.0.1.0/24", 1)],
                true,
                0,
            ),
            (
                vec![("a4", "10.0.0.0/24", 5), ("a6", "fd00::/64", 0)],
                true,
                1,
            ),
            (
                vec![("a4", "10.0.0.0/24", 0), ("b4", "10.0.1.0/24", 0)],
                true,
                2,
            ),
        ];
        for (pools, refuse_when_exhausted, wanted) in cases {
            let answer = StatusResponse {
                pools: pools
                    .iter()
                    .map(|(name, subnet, free)| pool(name, subnet, *free))
                    .collect(),
                refuse_when_exhausted,
                ..serving()
            };
            let reasons = verdict(Ok(&answer), &[])
                .err()
                .map_or(0, |v| v.reasons.len());
            assert_eq!(reasons, wanted, "{pools:?}");
        }
    }
}
