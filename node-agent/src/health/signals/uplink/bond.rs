//! Signal `bond`: an uplink of several NICs has at least two of them with carrier.

use proto_crd::node_health::Decision;
use std::time::Duration;

use super::{PERIOD, QUALITY_EVERY};
use crate::health::assess::Rule;
use crate::health::signal::{Signal, Trouble, Verdict};
use crate::health::underlay::links::{Kind, Link, Links};
use crate::health::underlay::{Segment, Underlay};

pub(super) const SIGNAL: Signal = Signal::new("bond");

/// How it is judged.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: Duration::from_secs(PERIOD.as_secs() * QUALITY_EVERY as u64),
    ttl: Duration::from_secs(60),
    set: 2,
    clear: 2,
    // One NIC is as good as two until it fails; when none is left, `uplink` says so.
    decision: Decision::Observe,
    escalation: None,
    threshold: "two NICs of each bond, or all it has, have carrier; wrong when not so at 2 looks, 10 s apart",
};

/// The NICs in the bonds that are uplinks.
pub(super) fn slaves(underlay: &Underlay, links: &Links) -> Vec<String> {
    let bonds = bonds(&underlay.segments, links);
    let is_slave = |link: &&Link| bonds.iter().any(|bond| link.master == Some(bond.index));
    let slaves = links.all().filter(is_slave);
    slaves.map(|link| link.name.clone()).collect()
}

fn bonds<'a>(segments: &[Segment], links: &'a Links) -> Vec<&'a Link> {
    let mut bonds: Vec<&Link> = segments
        .iter()
        .filter_map(|segment| links.named(&segment.uplink))
        .filter(|link| link.kind == Kind::Bond)
        .collect();
    bonds.sort_by_key(|bond| bond.index);
    bonds.dedup_by_key(|bond| bond.index);
    bonds
}

/// What the bonds among the uplinks say.
pub(super) fn assess(segments: &[Segment], links: &Links) -> Verdict {
    let bonds = bonds(segments, links);
    if bonds.is_empty() {
        return Verdict::absent(SIGNAL, "no uplink is a bond");
    }
    let mut values = Vec::new();
    let mut short = Vec::new();
    for bond in bonds {
        let slaves: Vec<_> = links
            .all()
            .filter(|link| link.master == Some(bond.index))
            .collect();
        let alive = slaves
            .iter()
            .filter(|it| it.is_up && it.has_carrier)
            .count();
        values.push(format!("{}: {alive} of {} alive", bond.name, slaves.len()));
        // A bond of one NIC has nothing to lose, but is no bond.
        if alive < 2 {
            let dead = slaves.iter().filter(|it| !(it.is_up && it.has_carrier));
            let dead: Vec<_> = dead.map(|it| it.name.as_str()).collect();
            let without = if dead.is_empty() {
                "it has no more".to_owned()
            } else {
                format!("without carrier: {}", dead.join(", "))
            };
            short.push(format!(
                "{} has {alive} NIC with carrier, {without}",
                bond.name
            ));
        }
    }
    let value = values.join(", ");
    if short.is_empty() {
        return Verdict::good(SIGNAL, value);
    }
    let trouble = Trouble {
        kind: "not-redundant",
        message: short.join("; "),
        impact: "the next NIC, cable or switch that fails takes the Pods of this node off that network".to_owned(),
        advice: "cat /proc/net/bonding/BOND names each NIC with its state; mend cable, transceiver or the switch's port of the dead one"
            .to_owned(),
    };
    Verdict::bad(SIGNAL, value, trouble)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    fn segment() -> Segment {
        Segment {
            network: "external".into(),
            uplink: "bond0".into(),
            port: Some("bond0".into()),
            bridge: None,
            ear: None,
        }
    }

    fn world(slaves: &[bool]) -> Links {
        let bond = Link {
            index: 1,
            name: "bond0".into(),
            kind: Kind::Bond,
            ..Link::default()
        };
        let slave = |(index, carrier): (u32, &bool)| Link {
            index,
            name: format!("eth{index}"),
            master: Some(1),
            is_up: true,
            has_carrier: *carrier,
            ..Link::default()
        };
        Links(
            [bond]
                .into_iter()
                .chain((2..).zip(slaves).map(slave))
                .collect(),
        )
    }

    #[test]
    fn bond_must_have_two_nics_alive() {
        for (slaves, expected) in [
            (&[true, true][..], "good"),
            (&[true, true, false], "good"),
            (&[true, false], "not-redundant"),
            (&[false, false], "not-redundant"),
            (&[true], "not-redundant"),
        ] {
            let verdict = assess(&[segment(), segment()], &world(slaves));
            let found = match verdict.finding {
                Finding::Bad(trouble) => trouble.kind,
                _ => "good",
            };
            assert_eq!(found, expected, "{slaves:?}");
        }
        let none = assess(&[segment()], &Links::default());
        assert_eq!(none.finding, Finding::Absent);
    }

    #[test]
    fn slaves_of_uplinks_are_followed() {
        let underlay = Underlay {
            segments: vec![segment()],
            ..Underlay::default()
        };
        assert_eq!(slaves(&underlay, &world(&[true, false])), ["eth2", "eth3"]);
    }
}
