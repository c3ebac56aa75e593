use proto_ipam::v1::{PoolStatus, StatusResponse};

use super::*;
use crate::health::signal::Finding;

fn gateway(network: &str, address: &str, subnet: &str) -> Gateway {
    Gateway {
        network: network.into(),
        address: address.parse().unwrap(),
        subnet: subnet.parse().unwrap(),
    }
}

fn external() -> Gateway {
    gateway("external", "10.20.1.1", "10.20.1.0/24")
}

fn internal() -> Gateway {
    gateway("internal", "10.30.1.1", "10.30.1.0/24")
}

fn pool(network: &str, rack: &str, subnet: &str, gateway: &str) -> PoolStatus {
    PoolStatus {
        network: network.into(),
        rack: rack.into(),
        subnet: subnet.into(),
        gateway: gateway.into(),
        ..PoolStatus::default()
    }
}

#[test]
fn gateways_are_those_of_this_racks_pools() {
    let status = |phase: Phase| {
        ipamd::Sight::Told(Box::new(StatusResponse {
            phase: phase.into(),
            rack: "a".into(),
            pools: vec![
                pool("internal", "a", "10.30.1.0/24", "10.30.1.1"),
                pool("external", "a", "10.20.1.0/24", "10.20.1.1"),
                pool("external", "a", "10.20.1.0/24", "10.20.1.1"),
                pool("external", "b", "10.20.2.0/24", "10.20.2.1"),
                pool("backup", "a", "10.40.1.0/24", ""),
            ],
            ..StatusResponse::default()
        }))
    };
    assert_eq!(
        told(&status(Phase::Serving)),
        Some(vec![external(), internal()])
    );
    assert_eq!(told(&status(Phase::Recovering)), None);
    assert_eq!(told(&ipamd::Sight::Silent), None);
}

#[test]
fn gateways_are_judged_by_the_table() {
    let silent = || Sight::Silent { misses: 3 };
    let blind = || Sight::Blind {
        why: "EPERM".into(),
    };
    let unasked = || Sight::Unasked { why: "no" };
    let table = [
        (vec![], Some("absent")),
        (vec![Sight::New], None),
        (vec![Sight::Answers, Sight::New], None),
        (vec![Sight::Answers, Sight::Answers], Some("good")),
        (vec![Sight::Answers, silent()], Some("silent")),
        (vec![blind(), silent()], Some("silent")),
        (vec![Sight::Answers, blind()], Some("unclear")),
        (vec![Sight::Answers, Sight::Mute], Some("good")),
        (vec![Sight::Answers, unasked()], Some("good")),
        (vec![Sight::Mute, unasked()], Some("unclear")),
        (vec![unasked()], Some("absent")),
    ];
    for (sights, expected) in table {
        let gateways = [external(), internal()];
        let all: Vec<_> = gateways.into_iter().zip(sights.clone()).collect();
        let found = assess(&all).map(|verdict| match verdict.finding {
            Finding::Good => "good",
            Finding::Bad(trouble) => trouble.kind,
            Finding::Absent => "absent",
            Finding::Unclear { .. } => "unclear",
        });
        assert_eq!(found, expected, "{sights:?}");
    }
}

#[test]
fn each_gateway_is_told() {
    let sights = [
        (external(), Sight::Answers),
        (internal(), Sight::Silent { misses: 7 }),
    ];
    let verdict = assess(&sights).unwrap();
    assert_eq!(
        verdict.value,
        "external 10.20.1.1 answers, internal 10.30.1.1 silent for 7 s"
    );
    let Finding::Bad(trouble) = verdict.finding else {
        panic!("not bad");
    };
    let message = "the gateway does not answer: internal 10.30.1.1 silent for 7 s";
    assert_eq!(trouble.message, message);
}
