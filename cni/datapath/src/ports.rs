//! The host-side ports that Berth made, as their aliases tell.

use proto_ids::{IfName, PortAlias};

use crate::fault::Fault;

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

/// Why the ports could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum ObservePortsError {
}

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
    unimplemented!()
}
