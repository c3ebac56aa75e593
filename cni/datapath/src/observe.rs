//! Reads the kernel's state of one attachment. Changes nothing.

use crate::desired::Nic;
use crate::netlink::{NetlinkError, Socket, address, link, neighbour, route, vlan};
use crate::plan::{Observed, ObservedNic};

/// The sockets of the two namespaces that an attachment lies in.
pub(crate) struct Sockets {
    pub(crate) node: Socket,
    pub(crate) pod: Socket,
}

/// The links only: enough to plan an ADD, in two calls to the kernel.
pub(crate) fn links(sockets: &mut Sockets, desired: &[Nic]) -> Result<Observed, NetlinkError> {
    let ports: Vec<_> = desired
        .iter()
        .map(|nic| link::get(nic.pair.port.as_str()))
        .collect();
    let mut insides: Vec<_> = desired
        .iter()
        .map(|nic| link::get(nic.pair.inside.as_str()))
        .collect();
    insides.push(link::get("lo"));
    let ports = sockets.node.batch(&ports)?;
    let mut insides = sockets.pod.batch(&insides)?;
    let loopback = insides.pop().map(link::found).transpose()?.flatten();
    let mut observed = Observed {
        loopback_up: loopback.is_none_or(|lo| lo.up),
        ..Observed::default()
    };
    for (inside, port) in insides.into_iter().zip(ports) {
        observed.nics.push(ObservedNic {
            inside: link::found(inside)?,
            port: link::found(port)?,
            ..ObservedNic::default()
        });
    }
    Ok(observed)
}

/// Everything that [`crate::plan::plan`] compares.
pub(crate) fn everything(sockets: &mut Sockets, desired: &[Nic]) -> Result<Observed, NetlinkError> {
    let mut observed = links(sockets, desired)?;
    let addresses = address::all(&mut sockets.pod)?;
    let vlans = if desired.iter().any(|nic| nic.access_vlan.is_some()) {
        vlan::all(&mut sockets.node)?
    } else {
        Vec::new()
    };
    for nic in &mut observed.nics {
        if let Some(inside) = &nic.inside {
            nic.addresses = addresses
                .iter()
                .filter(|message| message.header.index == inside.index)
                .filter_map(address::net)
                .collect();
        }
        if let Some(port) = &nic.port {
            nic.vlans = vlans
                .iter()
                .filter(|(index, ..)| *index == port.index)
                .map(|(_, id, tagging)| (*id, *tagging))
                .collect();
        }
    }
    observed.pod_routes = route::in_any_table(&mut sockets.pod)?;
    observed.pod_neighbours = neighbour::all(&mut sockets.pod)?;
    observed.node_routes = route::all(&mut sockets.node, Some(route::NODE_PROTOCOL))?;
    Ok(observed)
}
