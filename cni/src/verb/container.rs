//! The container's namespace, opened with the questions that come before anything is touched.

use std::fs;
use std::io;
use std::path::Path;

use cni_datapath::netns::Netns;
use cni_datapath::node_address::NodeAddresses;
use cni_spec::NodeReach;
use proto_ids::{Attachment, IfName};

use crate::add_plan::Planned;
use crate::error::CallError;
use crate::request;

/// Opens the namespace of an ADD or CHECK.
///
/// # Errors
/// [`CallError::OwnNetns`] for the plugin's own namespace: wiring it would put a Pod's address on the node.
pub(super) fn open(path: &Path) -> Result<Netns, CallError> {
    let netns = Netns::open(path).map_err(|source| CallError::OpenNetns { source })?;
    if !request::may_use_own_namespace() {
        let own = Netns::current().map_err(|source| CallError::OpenOwnNetns { source })?;
        if netns.same_as(&own) {
            return Err(CallError::OwnNetns {
                path: path.to_owned(),
            });
        }
    }
    Ok(netns)
}

/// The first of these interfaces that the container has.
pub(super) fn existing<'a>(
    netns: &Netns,
    mut wanted: impl Iterator<Item = &'a IfName>,
) -> Result<Option<IfName>, CallError> {
    let present = netns
        .run(interfaces)
        .map_err(|source| CallError::EnterNetns { source })?
        .map_err(|source| CallError::ListInterfaces { source })?;
    Ok(wanted
        .find(|name| present.iter().any(|other| other == name.as_str()))
        .cloned())
}

/// Names of the interfaces of the calling thread's namespace.
fn interfaces() -> io::Result<Vec<String>> {
    let table = fs::read_to_string("/proc/thread-self/net/dev")?;
    Ok(names(&table))
}

/// Names in the table of `/proc/net/dev`: two lines of heading, then `  name: figures`. A name holds no colon but may
/// hold what an alias of old days has, so the last colon before the figures counts.
fn names(table: &str) -> Vec<String> {
    table
        .lines()
        .skip(2)
        .filter_map(|line| line.rsplit_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}

/// The node's addresses, looked for only where a network wants them found.
pub(super) fn node_addresses(planned: &[Planned<'_>]) -> Result<NodeAddresses, CallError> {
    let wanted = |one: &Planned<'_>| one.network.node_reach == NodeReach::Found;
    if !planned.iter().any(wanted) {
        return Ok(NodeAddresses::default());
    }
    NodeAddresses::observe().map_err(|source| CallError::NodeAddresses { source })
}

/// Whether the node has a port of this attachment.
pub(super) fn has_ports(attachment: &Attachment) -> Result<bool, CallError> {
    let ports = cni_datapath::ports::ports().map_err(|source| CallError::Ports { source })?;
    Ok(ports
        .iter()
        .any(|port| port.alias.attachment == *attachment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_the_kernels_table() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes    packets|bytes\n    lo: 1 2 3\n\
                     eth0: 0 0\nfifteen-bytes-x:12 0\n";
        assert_eq!(names(table), ["lo", "eth0", "fifteen-bytes-x"]);
        assert!(names("").is_empty());
    }
}
