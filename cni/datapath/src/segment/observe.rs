//! Reads the kernel's state of one segment. Changes nothing.

use ipnet::IpNet;

use super::mark::Mark;
use super::name;
use crate::netlink::link::{self, Link};
use crate::netlink::vlan::{self, Tagging};
use crate::netlink::{NetlinkError, Socket, address};
use crate::wiring::{Segment, VlanMode};

/// What there is of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) uplink: Option<Link>,
    /// The VLAN sub-interface, where the segment has one.
    pub(crate) sub_interface: Option<Link>,
    /// The link of the bridge's name.
    pub(crate) named: Option<Link>,
    /// What the port (uplink or sub-interface) is enslaved to.
    pub(crate) master: Option<Link>,
    /// The link of the VLAN device's name, on a filtering bridge.
    pub(crate) vlan_device: Option<Link>,
    /// The port's addresses that are not of the kernel's making.
    pub(crate) addresses: Vec<IpNet>,
    /// Which VLANs the ports of filtering bridges carry.
    pub(crate) vlans: Vec<(u32, u16, Tagging)>,
}

impl Observed {
    /// The link that is or becomes the bridge's port to the switch.
    pub(crate) fn port(&self, segment: &Segment) -> Option<&Link> {
        match name::sub_interface(segment) {
            Some(_) => self.sub_interface.as_ref(),
            None => self.uplink.as_ref(),
        }
    }
}

/// The mark of a link that Berth made.
pub(crate) fn mark(link: &Link) -> Option<Mark> {
    link.alias.as_deref()?.parse().ok()
}

/// Reads everything about a segment that [`super::plan::plan`] looks at.
pub(crate) fn observe(socket: &mut Socket, segment: &Segment) -> Result<Observed, NetlinkError> {
    let named = segment
        .bridge
        .clone()
        .unwrap_or_else(|| name::bridge(segment));
    let sub = name::sub_interface(segment);
    let mut requests = vec![
        link::get(segment.uplink.as_str()),
        link::get(named.as_str()),
    ];
    requests.extend(sub.iter().map(|sub| link::get(sub.as_str())));
    let mut replies = socket.batch(&requests)?.into_iter();
    let mut next = || replies.next().map_or(Ok(None), link::found);
    let mut observed = Observed {
        uplink: next()?,
        named: next()?,
        sub_interface: next()?,
        ..Observed::default()
    };
    let Some(port) = observed.port(segment).cloned() else {
        return Ok(observed);
    };
    observed.master = match port.master {
        None => None,
        Some(index) if observed.named.as_ref().is_some_and(|n| n.index == index) => {
            observed.named.clone()
        }
        Some(index) => link::found(socket.call(&link::get_index(index)))?,
    };
    observed.addresses = address::of(socket, port.index)?
        .iter()
        .filter_map(address::net)
        .filter(|net| !is_link_local(*net))
        .collect();
    if let Some(vlan) = segment.vlan.filter(|vlan| vlan.mode == VlanMode::Filtering) {
        let bridge = observed.master.as_ref().or(observed.named.as_ref());
        if let Some(Ok(bridge)) = bridge.map(|bridge| bridge.name.parse()) {
            let device = name::vlan_device(&bridge, vlan.id);
            observed.vlan_device = link::found(socket.call(&link::get(device.as_str())))?;
        }
        observed.vlans = vlan::all(socket)?;
    }
    Ok(observed)
}

/// The kernel gives every link a link-local IPv6 address by itself.
pub(crate) fn is_link_local(net: IpNet) -> bool {
    matches!(net, IpNet::V6(v6) if v6.addr().is_unicast_link_local())
}
