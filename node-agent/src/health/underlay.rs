//! The networks of this node as they stand: which uplink, which bridge, which port leads to the switch, on which link the node hears
//! each. Wanted by the plugin's configuration, found among the kernel's links.
//!
//! Reads only; the plugin alone changes links. [`lay`] is pure.

pub(super) mod links;
pub(super) mod networks;

use std::time::Instant;

use self::links::{Kind, Link, Links};
use self::networks::{Network, Networks};

/// How the alias of a bridge begins that Berth made; then come the mode, the uplink and how far the making got.
const SEGMENT_MARK: &str = "berth-segment1 ";

/// One network of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The network.
    pub(super) network: String,
    /// The NIC, as it is configured.
    pub(super) uplink: String,
    /// What is or would be the bridge's port to the switch: the NIC, or its VLAN sub-interface; none where the latter is missing.
    pub(super) port: Option<String>,
    /// The bridge; none before the first Pod.
    pub(super) bridge: Option<String>,
    /// Where the node itself hears the network: the bridge, its VLAN device, or the NIC while there is no bridge; none where only Pods do.
    pub(super) ear: Option<String>,
}

/// What is known of the node's networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Underlay {
    /// The networks of the configuration, in its order.
    pub(super) segments: Vec<Segment>,
    /// Sandboxes whose ports are on this node, each with the name of one of its ports.
    pub(super) ports: Vec<(String, String)>,
    /// veth ends here.
    pub(super) veths: usize,
    /// When it was found.
    pub(super) laid: Option<Instant>,
}

/// Finds the configured networks among the links.
pub(super) fn lay(networks: &Networks, links: &Links) -> Underlay {
    let mut underlay = Underlay {
        segments: networks.0.iter().map(|it| segment(it, links)).collect(),
        ..Underlay::default()
    };
    for link in links.all() {
        underlay.veths += usize::from(link.kind == Kind::Veth);
        if let Some(port) = &link.port_of {
            underlay.ports.push((port.clone(), link.name.clone()));
        }
    }
    underlay
}

fn segment(network: &Network, links: &Links) -> Segment {
    let uplink = links.named(&network.uplink);
    let port = match (network.vlan, network.is_filtering) {
        (Some(id), false) => uplink.and_then(|uplink| links.vlan_on(uplink.index, id)),
        _ => uplink,
    };
    let bridge = bridge(network, port, links);
    let ear = match (bridge, network.vlan, network.is_filtering) {
        (Some(bridge), Some(id), true) => links.vlan_on(bridge.index, id),
        (Some(bridge), ..) => Some(bridge),
        (None, Some(_), true) => None,
        (None, ..) => port,
    };
    let name = |link: Option<&Link>| link.map(|link| link.name.clone());
    Segment {
        network: network.name.clone(),
        uplink: network.uplink.clone(),
        port: name(port),
        bridge: name(bridge),
        ear: name(ear),
    }
}

/// The bridge: what the port is in, else what has the configured name, or was made for this uplink. The last two find it when its port
/// was taken away.
fn bridge<'a>(network: &Network, port: Option<&Link>, links: &'a Links) -> Option<&'a Link> {
    let is_bridge = |link: &&Link| link.kind == Kind::Bridge;
    let master = port.and_then(|port| links.at(port.master?));
    let named = || links.named(network.bridge.as_deref()?);
    let expected = network.vlan.filter(|_| !network.is_filtering);
    let derived = expected.map_or_else(
        || format!("br-{}", network.uplink),
        |id| format!("br-{}.{id}", network.uplink),
    );
    let made = |link: &&Link| {
        let mark = link.alias.as_deref().unwrap_or_default();
        let uplink = mark
            .strip_prefix(SEGMENT_MARK)
            .and_then(|rest| rest.split(' ').nth(1));
        is_bridge(link) && uplink == Some(&network.uplink)
    };
    // Two VLANs of one uplink have two bridges with like marks: there the name tells them apart.
    let own = || {
        let mut all = links.all().filter(made);
        let first = all.next();
        let only = first.filter(|_| all.next().is_none());
        links.named(&derived).filter(made).or(only)
    };
    master
        .filter(is_bridge)
        .or_else(|| named().filter(is_bridge))
        .or_else(own)
}

#[cfg(test)]
mod tests;
