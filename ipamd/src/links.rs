//! The host-side ports that exist, as they say it themselves in their link aliases.
//!
//! Reads one dump of all links by rtnetlink. **Never changes a link**: only `berth` does.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use proto_ids::PortAlias;
use tokio_stream::StreamExt;

/// How the alias of a port of ours begins, before its version. Bridges of ours begin `berth-segment`: they hold no address.
const MARK: &str = "berth";

/// Whether an alias is that of a port, of whatever version.
fn is_ports(alias: &str) -> bool {
    let version = alias.strip_prefix(MARK);
    version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
}

/// A host-side port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// Its name on the node.
    pub(crate) name: String,
    /// What it says of itself.
    pub(crate) alias: PortAlias,
}

/// All host-side ports of one dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    /// Those whose alias was read, by name.
    pub(crate) ports: Vec<Port>,
    /// Those that are ours but whose alias cannot be read: name and why.
    pub(crate) unreadable: Vec<(String, String)>,
}

/// Why the ports could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObservePortsError {
    /// No netlink socket.
    #[error("no netlink socket can be opened")]
    Open(#[source] std::io::Error),
    /// The dump failed.
    #[error("links cannot be listed")]
    Dump(#[source] rtnetlink::Error),
    /// The socket was closed before the dump was over.
    #[error("the netlink socket was closed")]
    Closed,
}

/// How ports are read: [`observe`], except where there are none to read.
pub(crate) type ObservePorts = Arc<
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<Ports, ObservePortsError>> + Send>>
        + Send
        + Sync,
>;

/// Reading by [`observe`].
pub(crate) fn by_netlink() -> ObservePorts {
    Arc::new(|| Box::pin(observe()))
}

/// Reads the ports of this network namespace.
///
/// # Errors
/// When netlink does not answer in full; a part of the ports is never taken for all of them.
pub(crate) async fn observe() -> Result<Ports, ObservePortsError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(ObservePortsError::Open)?;
    let dump = async {
        let mut links = std::pin::pin!(handle.link().get().execute());
        let mut ports = Ports::default();
        while let Some(link) = links.next().await {
            ports.take(&link.map_err(ObservePortsError::Dump)?);
        }
        ports.ports.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(ports)
    };
    tokio::select! {
        biased;
        ports = dump => ports,
        () = connection => Err(ObservePortsError::Closed),
    }
}

impl Ports {
    fn take(&mut self, link: &LinkMessage) {
        let (mut name, mut alias) = (None, None);
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text),
                LinkAttribute::IfAlias(text) => alias = Some(text),
                _ => {}
            }
        }
        let (Some(name), Some(alias)) = (name, alias) else {
            return;
        };
        if !is_ports(alias) {
            return;
        }
        match alias.parse() {
            Ok(alias) => self.ports.push(Port {
                name: name.clone(),
                alias,
            }),
            Err(error) => {
                let error: proto_ids::alias::ParseAliasError = error;
                self.unreadable.push((name.clone(), error.to_string()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, alias: &str) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::Mtu(1500),
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::IfAlias(alias.to_owned()),
        ];
        link
    }

    #[test]
    fn our_ports_are_told_from_foreign_and_damaged_ones() {
        let ours = "berth1 bank abc eth0 net1 internal b6:e7:0a:14:01:64 10.20.1.100/24 prod/db-0";
        let mut ports = Ports::default();
        ports.take(&link("bth000000000000", ours));
        ports.take(&link("eth0", "uplink to rack 7"));
        ports.take(&link("br-eth0", "berth-segment1 plain eth0 whole"));
        ports.take(&link("bth111111111111", "berth1 bank"));
        ports.take(&link("bth222222222222", "berth9 of a newer version"));
        ports.take(&LinkMessage::default());
        assert_eq!(ports.ports.len(), 1);
        assert_eq!(ports.ports[0].alias.to_string(), ours);
        let names: Vec<_> = ports
            .unreadable
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["bth111111111111", "bth222222222222"]);
    }
}
