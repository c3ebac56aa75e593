use super::*;
use crate::netlink::bridge::Bridge;
use Step::{
    BypassNetfilter, CarryVlan, CreateBridge, CreateSubInterface, CreateVlanDevice, Enslave,
    FilterVlans, JoinVlan, MarkWhole, RaiseBridge, RaisePort, RaiseUplink, RaiseVlanDevice, SetMtu,
    SilenceBridge, TakeOver, TuneBridge,
};

const UPLINK: u32 = 2;
const BRIDGE: u32 = 4;
const SUB: u32 = 5;

fn segment(mode: Option<UplinkMode>, vlan: Option<(u16, VlanMode)>) -> Segment {
    Segment {
        uplink: "eth0".parse().unwrap(),
        bridge: None,
        mode,
        vlan: vlan.map(|(id, mode)| Vlan { id, mode }),
        mtu: None,
    }
}

fn uplink() -> Link {
    Link {
        index: UPLINK,
        name: "eth0".to_owned(),
        up: true,
        mtu: 1500,
        ..Link::default()
    }
}

fn bridge(alias: Option<&str>) -> Link {
    Link {
        index: BRIDGE,
        name: "br-eth0".to_owned(),
        kind: Some("bridge".to_owned()),
        up: true,
        mtu: 1500,
        alias: alias.map(str::to_owned),
        bridge: Some(Bridge::default()),
        ..Link::default()
    }
}

fn fresh_uplink() -> Observed {
    Observed {
        uplink: Some(uplink()),
        ..Observed::default()
    }
}

fn enslaved(alias: Option<&str>) -> Observed {
    Observed {
        uplink: Some(Link {
            master: Some(BRIDGE),
            ..uplink()
        }),
        named: Some(bridge(alias)),
        master: Some(bridge(alias)),
        ..Observed::default()
    }
}

const PLAIN: Option<&str> = Some("berth-segment1 plain eth0 whole");
const TAKEN: Option<&str> = Some("berth-segment1 take-over eth0 whole");
const TAKING: Option<&str> = Some("berth-segment1 take-over eth0 begun");

fn with_address(mut observed: Observed) -> Observed {
    observed.addresses = vec!["10.20.1.10/24".parse().unwrap()];
    observed
}

fn outcome(segment: &Segment, observed: &Observed) -> Result<(UplinkMode, Vec<Step>), Conflict> {
    plan(segment, observed).map(|plan| (plan.mode, plan.steps))
}

#[test]
fn missing_uplink_is_named() {
    let nothing = Observed::default();
    assert_eq!(
        outcome(&segment(None, None), &nothing),
        Err(Conflict::Missing)
    );
}

#[test]
fn nic_without_addresses_becomes_a_port_of_a_new_bridge() {
    let steps = vec![
        CreateBridge,
        SetMtu(1500),
        BypassNetfilter,
        SilenceBridge,
        RaiseBridge,
        Enslave,
        MarkWhole,
    ];
    for mode in [None, Some(UplinkMode::Plain), Some(UplinkMode::TakeOver)] {
        assert_eq!(
            outcome(&segment(mode, None), &fresh_uplink()),
            Ok((UplinkMode::Plain, steps.clone())),
            "{mode:?}"
        );
    }
}

#[test]
fn nic_with_addresses_is_only_taken_over_when_asked_for_by_name() {
    let observed = with_address(fresh_uplink());
    for mode in [None, Some(UplinkMode::Plain)] {
        assert_eq!(
            outcome(&segment(mode, None), &observed),
            Err(Conflict::NeedsTakeOver),
            "{mode:?}"
        );
    }
    let (mode, steps) = outcome(&segment(Some(UplinkMode::TakeOver), None), &observed).unwrap();
    assert_eq!(mode, UplinkMode::TakeOver);
    // The bridge is complete and up before anything moves, and is marked as whole last.
    assert_eq!(steps[steps.len() - 3..], [RaiseBridge, TakeOver, MarkWhole]);
}

#[test]
fn what_stands_needs_nothing_in_any_mode_that_fits() {
    for (alias, asked, in_force) in [
        (PLAIN, None, UplinkMode::Plain),
        (PLAIN, Some(UplinkMode::Plain), UplinkMode::Plain),
        (TAKEN, None, UplinkMode::TakeOver),
        (TAKEN, Some(UplinkMode::TakeOver), UplinkMode::TakeOver),
        (None, None, UplinkMode::Existing),
        (None, Some(UplinkMode::Existing), UplinkMode::Existing),
    ] {
        assert_eq!(
            outcome(&segment(asked, None), &enslaved(alias)),
            Ok((in_force, Vec::new())),
            "{alias:?} {asked:?}"
        );
    }
}

#[test]
fn interrupted_take_over_is_continued_whatever_is_configured_now() {
    let asked = segment(None, None);
    let (mode, steps) = outcome(&asked, &enslaved(TAKING)).unwrap();
    assert_eq!(
        (mode, steps),
        (UplinkMode::TakeOver, vec![TakeOver, MarkWhole])
    );
    let begun = Observed {
        named: Some(bridge(TAKING)),
        ..with_address(fresh_uplink())
    };
    let (mode, steps) = outcome(&asked, &begun).unwrap();
    assert_eq!(mode, UplinkMode::TakeOver);
    assert!(steps.ends_with(&[TakeOver, MarkWhole]) && !steps.contains(&CreateBridge));
}

#[test]
fn drift_of_our_own_bridge_is_mended() {
    let mut observed = enslaved(PLAIN);
    let master = observed.master.as_mut().unwrap();
    master.mtu = 1400;
    master.up = false;
    master.bridge = Some(Bridge {
        stp: true,
        netfilter: true,
        ..Bridge::default()
    });
    observed.uplink.as_mut().unwrap().up = false;
    let (_, steps) = outcome(&segment(None, None), &observed).unwrap();
    assert_eq!(
        steps,
        [
            RaiseUplink,
            SetMtu(1500),
            TuneBridge,
            BypassNetfilter,
            RaiseBridge,
            MarkWhole
        ]
    );
}

#[test]
fn addresses_that_came_back_to_the_nic_are_taken_over_again_or_refused() {
    let observed = with_address(enslaved(TAKEN));
    let (_, steps) = outcome(&segment(Some(UplinkMode::TakeOver), None), &observed).unwrap();
    assert_eq!(steps, [TakeOver, MarkWhole]);
    assert_eq!(
        outcome(&segment(None, None), &observed),
        Err(Conflict::NeedsTakeOver)
    );
}

#[test]
fn whatever_somebody_else_made_is_refused_with_advice() {
    let foreign_name = Observed {
        named: Some(bridge(None)),
        ..fresh_uplink()
    };
    let mut down = enslaved(None);
    down.master.as_mut().unwrap().up = false;
    let mut bonded = enslaved(None);
    bonded.master.as_mut().unwrap().kind = Some("bond".to_owned());
    let named = Segment {
        bridge: Some("br1".parse().unwrap()),
        ..segment(None, None)
    };
    let large = Segment {
        mtu: Some(9000),
        ..segment(None, None)
    };
    let plain = segment(None, None);
    let existing = segment(Some(UplinkMode::Existing), None);
    let asked_plain = segment(Some(UplinkMode::Plain), None);
    let filtering = segment(None, Some((120, VlanMode::Filtering)));
    let cases = vec![
        (&plain, foreign_name, "Berth did not make"),
        (&plain, down, "is down"),
        (&plain, bonded, "which is no bridge"),
        (&named, enslaved(None), "bridge br1 is configured"),
        (&named, enslaved(PLAIN), "bridge br1 is configured"),
        (&large, fresh_uplink(), "MTU 9000"),
        (&existing, fresh_uplink(), "is in no bridge"),
        (&asked_plain, enslaved(None), "mode plain is configured"),
        (&filtering, enslaved(None), "does not filter VLANs"),
    ];
    for (asked, observed, part) in cases {
        match outcome(asked, &observed) {
            Err(Conflict::Used(why)) => assert!(why.contains(part), "{why:?} lacks {part:?}"),
            other => panic!("{part:?}: {other:?}"),
        }
    }
}

#[test]
fn vlan_sub_interface_gets_a_bridge_of_its_own_beside_the_uplinks() {
    let asked = segment(None, Some((120, VlanMode::SubInterface)));
    // The uplink itself carries the node's addresses, or is in another bridge: neither matters.
    let plan = plan(&asked, &fresh_uplink()).unwrap();
    assert_eq!(
        (plan.bridge.as_str(), plan.port.as_str()),
        ("br-eth0.120", "eth0.120")
    );
    assert_eq!(plan.steps[0], CreateSubInterface(120));
    assert!(plan.steps.ends_with(&[Enslave, RaisePort, MarkWhole]));
    let stranger = Observed {
        sub_interface: Some(Link {
            index: SUB,
            kind: Some("vlan".to_owned()),
            vlan: Some(121),
            lower: Some(UPLINK),
            ..Link::default()
        }),
        ..fresh_uplink()
    };
    assert!(matches!(outcome(&asked, &stranger), Err(Conflict::Used(_))));
}

#[test]
fn filtering_bridge_carries_the_vlan_and_the_node_is_in_it() {
    let asked = segment(None, Some((120, VlanMode::Filtering)));
    let (_, steps) = outcome(&asked, &fresh_uplink()).unwrap();
    assert_eq!(
        steps,
        [
            CreateBridge,
            SetMtu(1500),
            BypassNetfilter,
            SilenceBridge,
            FilterVlans,
            RaiseBridge,
            Enslave,
            CarryVlan(120),
            JoinVlan(120),
            CreateVlanDevice(120),
            RaiseVlanDevice,
            MarkWhole
        ]
    );
    // A bridge that another network made: only the VLAN is added.
    let (_, steps) = outcome(&asked, &enslaved(PLAIN)).unwrap();
    assert_eq!(
        steps,
        [
            FilterVlans,
            CarryVlan(120),
            JoinVlan(120),
            CreateVlanDevice(120),
            RaiseVlanDevice,
            MarkWhole
        ]
    );
}
