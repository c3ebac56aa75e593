use super::*;
use crate::health::signal::Finding;
use crate::health::underlay::links::Link;

fn segment(bridge: bool, port: bool) -> Segment {
    Segment {
        network: "external".into(),
        uplink: "eth0".into(),
        port: port.then(|| "eth0".into()),
        bridge: bridge.then(|| "br-eth0".into()),
        ear: None,
    }
}

fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.into(),
        is_up: true,
        has_carrier: true,
        ..Link::default()
    }
}

/// A port that forwards.
fn port() -> Link {
    Link {
        master: Some(2),
        bridge_state: Some(BridgePortState::Forwarding),
        ..link(1, "eth0")
    }
}

fn kind(verdict: &Verdict) -> &'static str {
    match &verdict.finding {
        Finding::Good => "good",
        Finding::Bad(trouble) => trouble.kind,
        Finding::Absent => "absent",
        Finding::Unclear { .. } => "unclear",
    }
}

fn bridge() -> Link {
    link(2, "br-eth0")
}

fn set_down(link: Link) -> Link {
    Link {
        is_up: false,
        ..link
    }
}

fn cut(link: Link) -> Link {
    Link {
        has_carrier: false,
        ..link
    }
}

fn port_that(state: BridgePortState) -> Link {
    Link {
        bridge_state: Some(state),
        ..port()
    }
}

#[test]
fn nics_are_judged_by_the_table() {
    let table = [
        ("all is well", vec![port(), bridge()], true, "good"),
        ("no Pod yet", vec![link(1, "eth0")], false, "good"),
        ("no NIC", vec![bridge()], true, "missing"),
        ("set down", vec![set_down(port()), bridge()], true, "down"),
        ("cut", vec![cut(port()), bridge()], true, "no-carrier"),
        (
            "cut before the first Pod",
            vec![cut(link(1, "eth0"))],
            false,
            "no-carrier",
        ),
    ];
    for (case, links, has_bridge, expected) in table {
        let verdict = assess(&[segment(has_bridge, true)], &Links(links));
        assert_eq!(kind(&verdict), expected, "{case}");
    }
    assert_eq!(kind(&assess(&[], &Links::default())), "absent");
}

#[test]
fn bridges_and_ports_are_judged_by_the_table() {
    let elsewhere = Link {
        master: Some(9),
        ..port()
    };
    let blocked = port_that(BridgePortState::Blocking);
    let disabled = port_that(BridgePortState::Disabled);
    let table = [
        ("bridge gone", vec![link(1, "eth0")], true, "no-bridge"),
        (
            "bridge down",
            vec![port(), set_down(bridge())],
            true,
            "bridge-down",
        ),
        (
            "VLAN device gone",
            vec![port(), bridge()],
            false,
            "no-vlan-device",
        ),
        (
            "off its bridge",
            vec![link(1, "eth0"), bridge()],
            true,
            "detached",
        ),
        (
            "in another bridge",
            vec![elsewhere, bridge()],
            true,
            "detached",
        ),
        ("blocked", vec![blocked, bridge()], true, "blocked"),
        ("disabled", vec![disabled, bridge()], true, "blocked"),
    ];
    for (case, links, has_port, expected) in table {
        let verdict = assess(&[segment(true, has_port)], &Links(links));
        assert_eq!(kind(&verdict), expected, "{case}");
    }
}

#[test]
fn worst_of_several_names_the_trouble_and_all_are_told() {
    let other = Segment {
        network: "internal".into(),
        uplink: "eth1".into(),
        ..segment(false, true)
    };
    let detached = link(1, "eth0");
    let links = Links(vec![detached, link(2, "br-eth0")]);
    let verdict = assess(&[segment(true, true), other], &links);
    assert_eq!(
        verdict.value,
        "external eth0: detached, internal eth1: missing"
    );
    let Finding::Bad(trouble) = verdict.finding else {
        panic!("not bad");
    };
    assert_eq!(trouble.kind, "missing");
    assert_eq!(
        trouble.message,
        "network internal: uplink eth1 is not there; network external: eth0 is no port of bridge br-eth0"
    );
}

#[test]
fn what_has_moved_is_surveyed_again() {
    let links = Links(vec![port(), link(2, "br-eth0")]);
    assert!(is_as_surveyed(&[segment(true, true)], &links));
    for other in [
        Links(vec![port()]),
        Links(vec![link(1, "eth0"), link(2, "br-eth0")]),
        Links(vec![port(), link(7, "br-eth0")]),
    ] {
        assert!(!is_as_surveyed(&[segment(true, true)], &other), "{other:?}");
    }
    let before_the_first_pod = Links(vec![link(1, "eth0")]);
    assert!(is_as_surveyed(
        &[segment(false, true)],
        &before_the_first_pod
    ));
    assert!(!is_as_surveyed(&[segment(false, true)], &links));
}
