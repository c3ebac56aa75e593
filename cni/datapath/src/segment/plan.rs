//! What has to be done so that a segment's bridge stands. Pure: no IO, no clock.
//!
//! A link without Berth's mark is never changed, only checked; the uplink itself only becomes a port, or comes up.

use std::fmt;

use proto_ids::IfName;

use super::mark::{Mark, State};
use super::name;
use super::observe::{Observed, mark};
use crate::netlink::link::Link;
use crate::netlink::vlan::Tagging;
use crate::wiring::{Segment, UplinkMode, Vlan, VlanMode};

/// How a segment shall stand, and what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) mode: UplinkMode,
    pub(crate) bridge: IfName,
    pub(crate) port: IfName,
    /// Empty: the segment stands.
    pub(crate) steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Bring the uplink up.
    RaiseUplink,
    /// Make the VLAN sub-interface of the uplink.
    CreateSubInterface(u16),
    /// Make the bridge, marked as begun.
    CreateBridge,
    /// Give the bridge its port's MTU, so that it stays when ports come and go.
    SetMtu(u32),
    /// Spanning tree off, no forward delay, no multicast snooping.
    TuneBridge,
    /// Keep netfilter out of the bridge.
    BypassNetfilter,
    /// Let the bridge tell VLANs apart.
    FilterVlans,
    /// No IPv6 of the kernel's own making on the bridge.
    SilenceBridge,
    /// Bring the bridge up.
    RaiseBridge,
    /// Bring the port up.
    RaisePort,
    /// Make the uplink or its sub-interface a port.
    Enslave,
    /// Move addresses and routes of the uplink to the bridge and make it a port.
    TakeOver,
    /// Let the port to the switch carry the VLAN, tagged.
    CarryVlan(u16),
    /// Let the node itself be in the VLAN.
    JoinVlan(u16),
    /// Make the node's VLAN device on the bridge.
    CreateVlanDevice(u16),
    /// Bring the VLAN device up.
    RaiseVlanDevice,
    /// Mark the bridge as whole.
    MarkWhole,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RaiseUplink => f.write_str("bring the uplink up"),
            Self::CreateSubInterface(id) => {
                write!(f, "make the uplink's sub-interface of VLAN {id}")
            }
            Self::CreateBridge => f.write_str("make the bridge"),
            Self::SetMtu(mtu) => write!(f, "set the bridge's MTU to {mtu}"),
            Self::TuneBridge => f.write_str(
                "switch off the bridge's spanning tree, forward delay and multicast snooping",
            ),
            Self::BypassNetfilter => f.write_str("keep netfilter out of the bridge"),
            Self::FilterVlans => f.write_str("switch on the bridge's VLAN filtering"),
            Self::SilenceBridge => f.write_str("switch off router advertisements on the bridge"),
            Self::RaiseBridge => f.write_str("bring the bridge up"),
            Self::RaisePort => f.write_str("bring the bridge's port to the switch up"),
            Self::Enslave => f.write_str("make the uplink a port of the bridge"),
            Self::TakeOver => f.write_str("move the uplink's addresses and routes to the bridge"),
            Self::CarryVlan(id) => write!(f, "let the uplink carry VLAN {id}"),
            Self::JoinVlan(id) => write!(f, "let the bridge itself be in VLAN {id}"),
            Self::CreateVlanDevice(id) => write!(f, "make the node's device of VLAN {id}"),
            Self::RaiseVlanDevice => f.write_str("bring the node's VLAN device up"),
            Self::MarkWhole => f.write_str("mark the bridge as complete"),
        }
    }
}

/// Why a segment cannot stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// The uplink does not exist.
    Missing,
    /// The uplink has addresses, and taking over was not asked for.
    NeedsTakeOver,
    /// Something is used in another way; in words, with what to do.
    Used(String),
}

/// Decides the mode and the steps.
pub(crate) fn plan(segment: &Segment, observed: &Observed) -> Result<Plan, Conflict> {
    let uplink = observed.uplink.as_ref().ok_or(Conflict::Missing)?;
    let port = port_name(segment, uplink, observed)?;
    let limit = observed.port(segment).map_or(uplink.mtu, |port| port.mtu);
    if let Some(mtu) = segment.mtu.filter(|mtu| *mtu > limit) {
        return Err(used(format!(
            "MTU {mtu} is configured, but {port} has {limit}: raise the MTU of {} or lower the network's",
            segment.uplink
        )));
    }
    match &observed.master {
        Some(master) if !master.is_kind("bridge") => Err(used(format!(
            "{port} is enslaved to {}, which is no bridge: name {} as the uplink instead",
            master.name, master.name
        ))),
        Some(master) if mark(master).is_none() || segment.mode == Some(UplinkMode::Existing) => {
            existing(segment, port, master, observed)
        }
        Some(master) => own(segment, port, master, observed),
        None if segment.mode == Some(UplinkMode::Existing) => Err(used(format!(
            "{port} is in no bridge, but mode existing is configured: put it into one, or use mode plain or take-over"
        ))),
        None => fresh(segment, port, observed),
    }
}

fn used(why: String) -> Conflict {
    Conflict::Used(why)
}

fn port_name(segment: &Segment, uplink: &Link, observed: &Observed) -> Result<IfName, Conflict> {
    let Some(sub) = name::sub_interface(segment) else {
        return Ok(segment.uplink.clone());
    };
    let id = segment.vlan.map(|vlan| vlan.id);
    match &observed.sub_interface {
        Some(link)
            if !link.is_kind("vlan") || link.vlan != id || link.lower != Some(uplink.index) =>
        {
            Err(used(format!(
                "{sub} exists, but is not the sub-interface of {} for VLAN {}: remove or rename it",
                segment.uplink,
                id.unwrap_or_default()
            )))
        }
        None if segment.mode == Some(UplinkMode::Existing) => Err(used(format!(
            "{sub} does not exist, but mode existing is configured: make it, or use mode plain"
        ))),
        _ => Ok(sub),
    }
}

fn right_name(segment: &Segment, port: &IfName, master: &Link) -> Result<IfName, Conflict> {
    let bridge: IfName = master.name.parse().map_err(|_| {
        used(format!(
            "the bridge of {port} has the unusable name {:?}",
            master.name
        ))
    })?;
    match &segment.bridge {
        Some(wanted) if *wanted != bridge => Err(used(format!(
            "{port} is a port of {bridge}, but bridge {wanted} is configured: correct the configuration, or take it out of {bridge}"
        ))),
        _ => Ok(bridge),
    }
}

/// An operator's bridge: checked, never changed.
fn existing(
    segment: &Segment,
    port: IfName,
    master: &Link,
    observed: &Observed,
) -> Result<Plan, Conflict> {
    let bridge = right_name(segment, &port, master)?;
    if let Some(mode @ (UplinkMode::Plain | UplinkMode::TakeOver)) = segment.mode {
        return Err(used(format!(
            "{port} is a port of {bridge}, which Berth did not make, but mode {} is configured: use mode existing, or take it out of {bridge}",
            if mode == UplinkMode::Plain {
                "plain"
            } else {
                "take-over"
            }
        )));
    }
    if !master.up {
        return Err(used(format!("bridge {bridge} is down: bring it up")));
    }
    if let Some(Vlan {
        id,
        mode: VlanMode::Filtering,
    }) = segment.vlan
    {
        if !master.bridge.is_some_and(|bridge| bridge.vlan_filtering) {
            return Err(used(format!(
                "bridge {bridge} does not filter VLANs: switch it on, or use VLAN mode sub-interface"
            )));
        }
        if !carries(observed, observed.port(segment), id) {
            return Err(used(format!(
                "port {port} of bridge {bridge} does not carry VLAN {id}: add it with `bridge vlan add dev {port} vid {id}`"
            )));
        }
    }
    Ok(Plan {
        mode: UplinkMode::Existing,
        bridge,
        port,
        steps: Vec::new(),
    })
}

/// A bridge of Berth's that has its port.
fn own(
    segment: &Segment,
    port: IfName,
    master: &Link,
    observed: &Observed,
) -> Result<Plan, Conflict> {
    let bridge = right_name(segment, &port, master)?;
    let Some(Mark { mode, state, .. }) = mark(master) else {
        return existing(segment, port, master, observed);
    };
    let mut steps = Vec::new();
    // What is left on the port does not work there: its frames go to the bridge.
    let stranded = !observed.addresses.is_empty();
    let interrupted = mode == UplinkMode::TakeOver && state == State::Begun;
    if interrupted || (stranded && segment.mode == Some(UplinkMode::TakeOver)) {
        steps.push(Step::TakeOver);
    } else if stranded {
        return Err(Conflict::NeedsTakeOver);
    }
    settings(segment, master, observed, &mut steps);
    steps.sort_by_key(|step| rank(*step));
    if state == State::Begun || !steps.is_empty() {
        steps.push(Step::MarkWhole);
    }
    Ok(Plan {
        mode: if steps.contains(&Step::TakeOver) {
            UplinkMode::TakeOver
        } else {
            mode
        },
        bridge,
        port,
        steps,
    })
}

/// A port that is in no bridge.
fn fresh(segment: &Segment, port: IfName, observed: &Observed) -> Result<Plan, Conflict> {
    let bridge = segment
        .bridge
        .clone()
        .unwrap_or_else(|| name::bridge(segment));
    let begun = observed.named.as_ref().and_then(mark);
    if observed.named.is_some() && begun.is_none() {
        return Err(used(format!(
            "a link named {bridge} exists that Berth did not make: put {port} into it and use mode existing, or configure another bridge name"
        )));
    }
    let interrupted = begun
        .as_ref()
        .is_some_and(|mark| mark.mode == UplinkMode::TakeOver && mark.state == State::Begun);
    let take_over = interrupted
        || (segment.mode == Some(UplinkMode::TakeOver) && !observed.addresses.is_empty());
    if !take_over && !observed.addresses.is_empty() {
        return Err(Conflict::NeedsTakeOver);
    }
    let mut steps = Vec::new();
    if let Some(Vlan {
        id,
        mode: VlanMode::SubInterface,
    }) = segment.vlan
        && observed.sub_interface.is_none()
    {
        steps.push(Step::CreateSubInterface(id));
    }
    let absent = Link::default();
    if observed.named.is_none() {
        steps.push(Step::CreateBridge);
    }
    settings(
        segment,
        observed.named.as_ref().unwrap_or(&absent),
        observed,
        &mut steps,
    );
    // The bridge is up and carries the addresses before the uplink stops carrying them.
    steps.push(if take_over {
        Step::TakeOver
    } else {
        Step::Enslave
    });
    steps.sort_by_key(|step| rank(*step));
    steps.push(Step::MarkWhole);
    Ok(Plan {
        mode: if take_over {
            UplinkMode::TakeOver
        } else {
            begun.map_or(UplinkMode::Plain, |mark| mark.mode)
        },
        bridge,
        port,
        steps,
    })
}

/// VLANs can only be given to ports that are in the bridge.
fn rank(step: Step) -> u8 {
    match step {
        Step::Enslave | Step::TakeOver => 1,
        Step::CarryVlan(_)
        | Step::JoinVlan(_)
        | Step::CreateVlanDevice(_)
        | Step::RaiseVlanDevice
        | Step::RaisePort => 2,
        _ => 0,
    }
}

fn settings(segment: &Segment, bridge: &Link, observed: &Observed, steps: &mut Vec<Step>) {
    let new = bridge.index == 0;
    let now = bridge.bridge.unwrap_or_default();
    let mut need = |condition: bool, step| {
        if condition {
            steps.push(step);
        }
    };
    need(
        observed.uplink.as_ref().is_some_and(|u| !u.up),
        Step::RaiseUplink,
    );
    let port = observed.port(segment).or(observed.uplink.as_ref());
    if let Some(port) = port {
        need(new || bridge.mtu != port.mtu, Step::SetMtu(port.mtu));
    }
    let tuned = !now.stp && now.forward_delay == 0 && !now.multicast_snooping;
    need(!new && !tuned, Step::TuneBridge);
    need(new || now.netfilter, Step::BypassNetfilter);
    let speaks = bridge
        .ipv6
        .as_ref()
        .is_some_and(|conf| conf.settings.accept_ra != 0);
    need(new || speaks, Step::SilenceBridge);
    if let Some(Vlan {
        id,
        mode: VlanMode::Filtering,
    }) = segment.vlan
    {
        need(!now.vlan_filtering, Step::FilterVlans);
        need(
            !carries(observed, observed.port(segment), id),
            Step::CarryVlan(id),
        );
        need(
            !carries(observed, Some(bridge).filter(|_| !new), id),
            Step::JoinVlan(id),
        );
        need(observed.vlan_device.is_none(), Step::CreateVlanDevice(id));
        need(
            !observed.vlan_device.as_ref().is_some_and(|d| d.up),
            Step::RaiseVlanDevice,
        );
    }
    need(!bridge.up, Step::RaiseBridge);
    // The uplink itself is seen to above.
    let lowered = !observed.sub_interface.as_ref().is_some_and(|sub| sub.up);
    need(
        name::sub_interface(segment).is_some() && lowered,
        Step::RaisePort,
    );
}

fn carries(observed: &Observed, port: Option<&Link>, id: u16) -> bool {
    port.is_some_and(|port| {
        observed.vlans.iter().any(|(index, vlan, tagging)| {
            *index == port.index && *vlan == id && *tagging == Tagging::Tagged
        })
    })
}

#[cfg(test)]
mod tests;
