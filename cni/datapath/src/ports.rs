//! The host-side ports that Berth made, as their aliases tell. Changes nothing.

use std::collections::HashMap;

use proto_ids::{IfName, PortAlias};

use crate::fault::Fault;
use crate::netlink::link::{self, Link};
use crate::netlink::{NetlinkError, Socket};

/// A host-side port of Berth's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// What it says of itself.
    pub alias: PortAlias,
    /// Its name.
    pub name: IfName,
    /// Its interface index.
    pub index: u32,
    /// The bridge it is a port of.
    pub master: Option<IfName>,
}

/// The kernel did not list its links.
#[derive(Debug, thiserror::Error)]
#[error("list the node's links")]
pub struct ObservePortsError(#[source] NetlinkError);

impl ObservePortsError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        Fault::Kernel
    }
}

/// All ports of this namespace that carry an alias of Berth's.
///
/// # Errors
/// When the kernel cannot be read.
pub fn ports() -> Result<Vec<Port>, ObservePortsError> {
    let mut socket = Socket::open().map_err(ObservePortsError)?;
    let links = link::all(&mut socket).map_err(ObservePortsError)?;
    Ok(among(&links))
}

/// The ports among these links.
pub(crate) fn among(links: &[Link]) -> Vec<Port> {
    let names: HashMap<_, _> = links
        .iter()
        .map(|link| (link.index, link.name.as_str()))
        .collect();
    let name = |index| names.get(&index).and_then(|name: &&str| name.parse().ok());
    links
        .iter()
        .filter(|link| link.is_kind("veth"))
        .filter_map(|link| {
            Some(Port {
                alias: link.alias.as_deref()?.parse().ok()?,
                name: link.name.parse().ok()?,
                index: link.index,
                master: link.master.and_then(name),
            })
        })
        .collect()
}
